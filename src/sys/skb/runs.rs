// SPDX-License-Identifier: GPL-2.0

//! The contiguous runs of bytes that a packet consists of.

use super::Skb;
use ::core::{marker::PhantomData, mem, ptr::NonNull, slice};
use homa_bindings as bindings;

/// Walks the contiguous parts of a packet.
pub(in crate::sys) struct RawRuns {
    /// The packet of the part to come: the first, or one of its frag_list.
    skb: *mut bindings::sk_buff,
    /// 0: the linear part; then fragments.
    part: usize,
    first: bool,
    skip: usize,
    left: usize,
}

impl RawRuns {
    /// # Safety
    ///
    /// The packet must stay valid, and as it is, while this is used.
    #[inline]
    pub(in crate::sys) unsafe fn new(
        skb: *mut bindings::sk_buff,
        offset: usize,
        len: usize,
    ) -> Self {
        Self { skb, part: 0, first: true, skip: offset, left: len }
    }

    #[inline]
    pub(in crate::sys) fn next(&mut self) -> Option<(NonNull<u8>, usize)> {
        while self.left != 0 {
            // SAFETY: by the promise of `new`.
            let skb = unsafe { Skb::from_raw(self.skb) };
            let shinfo = skb.shinfo();
            let (start, len) = if self.part == 0 {
                (skb.raw().data, skb.headlen())
            // SAFETY: the shared info is valid as long as the packet.
            } else if self.part <= usize::from(unsafe { (*shinfo).nr_frags }) {
                // SAFETY: below nr_frags; fragments are valid. The shim gives NULL for memory that the CPU cannot read.
                unsafe {
                    let frag = (&raw const (*shinfo).frags)
                        .cast::<bindings::skb_frag_t>()
                        .add(self.part - 1);
                    (bindings::shim_frag_address(frag).cast(), (*frag).len as usize)
                }
            } else {
                // SAFETY: a frag_list is linked by `next`.
                let next = unsafe {
                    match self.first {
                        true => (*shinfo).frag_list,
                        false => skb.raw().__bindgen_anon_1.__bindgen_anon_1.next,
                    }
                };
                if next.is_null() {
                    return None;
                }
                (self.skb, self.part, self.first) = (next, 0, false);
                continue;
            };
            self.part += 1;
            if self.skip >= len {
                self.skip -= len;
                continue;
            }
            let n = (len - self.skip).min(self.left);
            let start = NonNull::new(start.cast::<u8>())?;
            // SAFETY: within the part.
            let start = unsafe { start.add(mem::take(&mut self.skip)) };
            self.left -= n;
            return Some((start, n));
        }
        None
    }
}

/// Contiguous runs of a packet's bytes.
pub struct Runs<'a>(pub(in crate::sys) RawRuns, pub(in crate::sys) PhantomData<&'a Skb>);

impl<'a> Iterator for Runs<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        // SAFETY: the part belongs to the packet, which is borrowed.
        self.0.next().map(|(start, len)| unsafe { slice::from_raw_parts(start.as_ptr(), len) })
    }
}
