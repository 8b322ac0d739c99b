// SPDX-License-Identifier: GPL-2.0

//! A packet under construction: the only place where payload is written.

use super::{
    gfp,
    linear::Linear,
    pagebytes::PageBytes,
    secret::wipe,
    skb::{RawRuns, SkBuff, Skb},
    uio::IovIter,
};
use ::core::{marker::PhantomData, ptr, ptr::NonNull, slice};
use homa_bindings as bindings;
use kernel::{alloc::Flags, prelude::*};

/// Up to so many bytes the kernel has a cache of its own for linear parts.
const SMALL: u32 = 384;

/// A packet that nobody else has seen. It has room for headers in front; payload is appended (to the linear part while it fits there
/// whole, then to page fragments), encrypted in place, and the packet [`finish`](Self::finish)ed.
pub struct SkbBuilder {
    skb: SkBuff,
}

impl SkbBuilder {
    /// `headroom`: bytes for headers, ours and those below (see [`Dst::headroom`](super::route::Dst::headroom)). `linear`: bytes of
    /// payload to keep linear. `fclone`: it is going to be kept, and clones of it sent. ENOMEM.
    #[inline]
    pub fn new(headroom: usize, linear: usize, fclone: bool, flags: Flags) -> Result<Self> {
        let size =
            headroom.checked_add(linear).and_then(|n| u32::try_from(n).ok()).ok_or(EINVAL)?;
        let alloc_flags = if fclone { bindings::SKB_ALLOC_FCLONE } else { 0 };
        let mut skb = ptr::null_mut();
        if size > SMALL && !fclone {
            // From a page, as packets that arrive, rather than from kmalloc(), which would clear it each time. (Only without leave to sleep.)
            // SAFETY: callable from any context but hard interrupts.
            skb = unsafe { bindings::__netdev_alloc_skb(ptr::null_mut(), size, gfp(GFP_NOWAIT)) };
        }
        if skb.is_null() {
            // SAFETY: callable from any context that `flags` allows.
            skb = unsafe {
                bindings::__alloc_skb(size, gfp(flags), alloc_flags as i32, bindings::NUMA_NO_NODE)
            };
        }
        // SAFETY: a new packet is valid, and ours.
        let mut skb = unsafe { SkBuff::from_raw(NonNull::new(skb).ok_or(ENOMEM)?) };
        let raw = skb.raw_mut();
        raw.data = raw.data.wrapping_add(headroom);
        raw.tail = raw.tail.saturating_add(headroom as u32);
        Ok(Self { skb })
    }

    /// Appends bytes of a program. EFAULT, ENOMEM; EMSGSIZE if no fragment is left. After an error the packet is of no use. Process context.
    #[inline]
    pub fn append_iter(&mut self, from: &mut IovIter, len: usize) -> Result {
        // SAFETY: the closure writes all bytes if it returns Ok.
        unsafe { self.append_with(len, |to, n| from.copy_from_raw(to, n)) }
    }

    /// Appends `head`, `len` bytes of a program, and `tail`, and lends them out, to be encrypted where they are. None, and nothing was done,
    /// if they do not all fit into the linear part. Errors as of [`append_iter`](Self::append_iter).
    #[inline]
    pub fn append_linear<const HEAD: usize, const TAIL: usize>(
        &mut self,
        head: &[u8; HEAD],
        from: &mut IovIter,
        len: usize,
        tail: &[u8; TAIL],
    ) -> Result<Option<Linear<'_>>> {
        let whole = HEAD.saturating_add(len).saturating_add(TAIL);
        if whole > self.skb.tailroom() {
            return Ok(None);
        }
        let raw = self.skb.raw_mut();
        let at = raw.head.wrapping_add(raw.tail as usize);
        // SAFETY: there is room for all of it, one behind the other, which nobody else uses.
        unsafe {
            ptr::copy_nonoverlapping(head.as_ptr(), at, HEAD);
            from.copy_from_raw(at.add(HEAD), len)?;
            ptr::copy_nonoverlapping(tail.as_ptr(), at.add(HEAD).add(len), TAIL);
        }
        raw.tail = raw.tail.saturating_add(whole as u32);
        raw.len = raw.len.saturating_add(whole as u32);
        // SAFETY: just initialised; borrowed for as long as the packet is, whose linear part is of kmalloc.
        Ok(Some(unsafe { Linear::new(slice::from_raw_parts_mut(at, whole)) }))
    }

    /// Appends bytes. In softirq only what fits into the linear part; else EMSGSIZE.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> Result {
        let mut rest = bytes;
        // SAFETY: the closure writes all bytes, of which there are enough: the `n` of all calls add up to `bytes.len()`.
        unsafe {
            self.append_with(bytes.len(), |to, n| {
                let (now, later) = rest.split_at_checked(n).ok_or(EINVAL)?;
                ptr::copy_nonoverlapping(now.as_ptr(), to, n);
                rest = later;
                Ok(())
            })
        }
    }

    /// Appends zeros; as [`append`](Self::append).
    pub fn append_zeros(&mut self, len: usize) -> Result {
        // SAFETY: the closure writes all bytes, of which the caller has room for `n`.
        unsafe {
            self.append_with(len, |to, n| {
                ptr::write_bytes(to, 0, n);
                Ok(())
            })
        }
    }

    /// # Safety
    ///
    /// `fill(to, n)` must write all `n` bytes at `to` if it returns Ok.
    #[inline]
    unsafe fn append_with(
        &mut self,
        len: usize,
        mut fill: impl FnMut(*mut u8, usize) -> Result,
    ) -> Result {
        if len <= self.skb.tailroom() {
            let raw = self.skb.raw_mut();
            let tail = raw.head.wrapping_add(raw.tail as usize);
            fill(tail, len)?;
            raw.tail = raw.tail.saturating_add(len as u32);
            raw.len = raw.len.saturating_add(len as u32);
            return Ok(());
        }
        // SAFETY: as our caller promises.
        unsafe { self.append_frags(len, &mut fill) }
    }

    /// # Safety
    ///
    /// As for `append_with`. Process context.
    unsafe fn append_frags(
        &mut self,
        mut len: usize,
        fill: &mut impl FnMut(*mut u8, usize) -> Result,
    ) -> Result {
        // SAFETY: the current thread's, or NULL in softirq, which may have interrupted a thread that is just using it.
        // Nobody else does, and we do not keep it.
        let pfrag = unsafe { bindings::shim_task_frag() };
        if pfrag.is_null() {
            return Err(EMSGSIZE);
        }
        while len != 0 {
            // SAFETY: `pfrag` is valid; process context.
            if !unsafe { bindings::skb_page_frag_refill(32, pfrag, gfp(GFP_KERNEL)) } {
                return Err(ENOMEM);
            }
            // SAFETY: as above. From `offset` to `size`, the page is ours to hand out.
            let (page, offset, n, to) = unsafe {
                let offset = (*pfrag).offset;
                let room = (*pfrag).size.checked_sub(offset).ok_or(ENOMEM)?;
                let n = len.min(room as usize) as u32;
                let base = bindings::shim_page_address((*pfrag).page).cast::<u8>();
                ((*pfrag).page, offset, n, base.add(offset as usize))
            };
            // The page pointer is the netmem reference of an ordinary page.
            let netmem = page as bindings::netmem_ref;
            // SAFETY: the shared info is valid and ours alone.
            let shinfo = unsafe { &mut *self.skb.shinfo() };
            let used = usize::from(shinfo.nr_frags);
            let last = shinfo.frags.get(..used).and_then(|frags| frags.last());
            let grows = last.is_some_and(|frag| {
                frag.netmem == netmem && frag.offset.checked_add(frag.len) == Some(offset)
            });
            let slot = if grows { used.saturating_sub(1) } else { used };
            let frag = shinfo.frags.get_mut(slot).ok_or(EMSGSIZE)?;
            fill(to, n as usize)?;
            if grows {
                frag.len = frag.len.saturating_add(n);
            } else {
                // SAFETY: the page is valid; the fragment holds this reference to it.
                unsafe { bindings::shim_get_page(page) };
                *frag = bindings::skb_frag_t { netmem, len: n, offset };
                shinfo.nr_frags = shinfo.nr_frags.saturating_add(1);
            }
            // SAFETY: as above.
            unsafe { (*pfrag).offset = (*pfrag).offset.saturating_add(n) };
            self.skb.count_nonlinear(n, n);
            len = len.saturating_sub(n as usize);
        }
        Ok(())
    }

    /// Appends bytes that others keep, without a copy: from now on nobody may change them in this packet. EMSGSIZE if no fragment is left.
    #[inline]
    pub fn append_page(&mut self, bytes: &PageBytes) -> Result {
        // SAFETY: the shared info is valid and ours alone.
        let shinfo = unsafe { &mut *self.skb.shinfo() };
        let slot = shinfo.frags.get_mut(usize::from(shinfo.nr_frags)).ok_or(EMSGSIZE)?;
        *slot = bytes.to_frag();
        shinfo.nr_frags = shinfo.nr_frags.saturating_add(1);
        // IPsec would encrypt them in place.
        shinfo.flags |= bindings::SKBFL_SHARED_FRAG as u8;
        let len = bytes.len() as u32;
        self.skb.count_nonlinear(len, len);
        Ok(())
    }

    /// Overwrites bytes that are there already; false if they are not.
    #[inline]
    pub fn write_at(&mut self, offset: usize, mut bytes: &[u8]) -> bool {
        for mut run in self.runs_mut(offset, bytes.len()) {
            let Some((now, later)) = bytes.split_at_checked(run.len()) else { return false };
            run.copy_from_slice(now);
            bytes = later;
        }
        bytes.is_empty()
    }

    /// Contiguous runs of what is there, to encrypt it in place.
    #[inline]
    pub fn runs_mut(&mut self, offset: usize, len: usize) -> RunsMut<'_> {
        // SAFETY: the packet is valid while it is borrowed.
        RunsMut(unsafe { RawRuns::new(self.skb.as_raw(), offset, len) }, PhantomData)
    }

    /// Wipes what is there from `offset` on: plaintext that is not going to be encrypted.
    #[cold]
    pub fn wipe(&mut self, offset: usize) {
        let len = self.skb.len().saturating_sub(offset);
        for mut run in self.runs_mut(offset, len) {
            // SAFETY: a slice is valid for writes.
            unsafe { wipe(run.as_mut_ptr(), run.len()) };
        }
    }

    /// Puts a header in front. ENOBUFS without headroom.
    #[inline]
    pub fn push(&mut self, header: &[u8]) -> Result {
        self.skb.push(header)
    }

    /// The packet, to set its metadata.
    #[inline]
    pub fn as_skb(&mut self) -> &mut Skb {
        &mut self.skb
    }

    /// Done: a packet to be sent once.
    #[inline]
    pub fn finish(self) -> SkBuff {
        self.skb
    }

    /// Done: a packet to be kept. To send it: clone it, or if [`Skb::is_cloned`] (the last one is still on its way) `copy_linear` it;
    /// push the transport header onto that. It itself takes no headers.
    #[inline]
    pub fn finish_kept(mut self) -> SkBuff {
        // As __skb_header_release(): we promise not to look at the headers, so that a clone may write them.
        self.skb.raw_mut().set_nohdr(1);
        // SAFETY: the shared info is valid and ours alone.
        unsafe { (*self.skb.shinfo()).dataref.counter = 1 + (1 << bindings::SKB_DATAREF_SHIFT) };
        self.skb
    }
}

/// Contiguous mutable runs of a packet's bytes.
pub struct RunsMut<'a>(RawRuns, PhantomData<&'a mut SkbBuilder>);

impl<'a> Iterator for RunsMut<'a> {
    type Item = Linear<'a>;

    #[inline]
    fn next(&mut self) -> Option<Linear<'a>> {
        // SAFETY: the part belongs to the packet, which is borrowed mutably; nobody else sees it, and no two parts overlap. It is in
        // memory of kmalloc, or of a page.
        self.0.next().map(|(start, len)| unsafe {
            Linear::new(slice::from_raw_parts_mut(start.as_ptr(), len))
        })
    }
}
