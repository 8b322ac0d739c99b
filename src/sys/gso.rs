// SPDX-License-Identifier: GPL-2.0

//! Cutting large packets: what a protocol does in its `gso_segment` callback.

use super::{
    proto::DatagramProtocol,
    skb::{Gso, Skb},
};
use ::core::{
    marker::PhantomData,
    ptr::{self, NonNull},
    slice,
};
use homa_bindings as bindings;
use kernel::{error::from_err_ptr, prelude::*};

/// The large packet that the callback got: its `data` is at the transport header.
pub struct GsoSkb<'a> {
    skb: *mut bindings::sk_buff,
    features: bindings::netdev_features_t,
    _borrow: PhantomData<&'a mut Skb>,
}

impl GsoSkb<'_> {
    /// The first `n` bytes.
    pub fn header(&mut self, n: usize) -> Option<&[u8]> {
        // SAFETY: valid while the callback runs, and ours.
        unsafe { Skb::from_raw(self.skb) }.pull_head(n)
    }

    /// Cuts it: each piece gets a copy of all headers (`header_len` bytes of them are the transport's), and up to `gso_size` bytes of
    /// payload. EINVAL if the packet is shorter than its header.
    pub fn cut(&mut self, header_len: usize) -> Result<Segments> {
        // SAFETY: valid while the callback runs, and ours.
        let skb = unsafe { Skb::from_raw(self.skb) };
        if skb.pull_head(header_len).is_none() || !skb.pull(header_len) {
            return Err(EINVAL);
        }
        // Our packets have no checksum. A device that fills in any would not have to do anything: with this, skb_segment does not
        // compute sums for nothing.
        let features = self.features | (1 << bindings::NETIF_F_HW_CSUM_BIT);
        // SAFETY: the packet is valid, and `data` behind its headers.
        let segs = from_err_ptr(unsafe { bindings::skb_segment(self.skb, features) })?;
        // NULL: it needs no cutting after all.
        Ok(Segments { first: NonNull::new(segs).ok_or(EINVAL)?, header_len })
    }
}

/// The pieces, in order; their headers can still be changed.
pub struct Segments {
    /// Linked by `next`; all ours.
    first: NonNull<bindings::sk_buff>,
    header_len: usize,
}

impl Segments {
    /// Calls `f(the transport header, payload length)` on each.
    pub fn for_each_header(&mut self, mut f: impl FnMut(&mut [u8], usize)) -> Result {
        let mut at = self.first.as_ptr();
        while !at.is_null() {
            // SAFETY: the list is ours.
            let skb = unsafe { Skb::from_raw(at) };
            let header = usize::from(skb.meta().transport_header);
            let payload_at = header.saturating_add(self.header_len);
            let linear_end = skb.headroom().saturating_add(skb.headlen());
            if payload_at > linear_end || skb.is_header_cloned() {
                return Err(EINVAL);
            }
            let len = skb.len_from_head(payload_at);
            // SAFETY: within the linear part, which nobody else sees.
            let bytes = unsafe {
                slice::from_raw_parts_mut(skb.raw().head.wrapping_add(header), self.header_len)
            };
            f(bytes, len);
            // SAFETY: the list is linked by `next`.
            at = unsafe { skb.raw().__bindgen_anon_1.__bindgen_anon_1.next };
        }
        Ok(())
    }

    fn into_raw(self) -> *mut bindings::sk_buff {
        ::core::mem::ManuallyDrop::new(self).first.as_ptr()
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        // SAFETY: the list is ours.
        unsafe {
            bindings::kfree_skb_list_reason(
                self.first.as_ptr(),
                bindings::skb_drop_reason_SKB_DROP_REASON_SKB_GSO_SEG,
            )
        }
    }
}

/// net_offload's callback.
///
/// # Safety
///
/// `skb` must be a valid packet being sent, its mac header set, that nobody else uses during the call.
pub(super) unsafe extern "C" fn gso_segment<P: DatagramProtocol>(
    skb: *mut bindings::sk_buff,
    features: bindings::netdev_features_t,
) -> *mut bindings::sk_buff {
    // SAFETY: called with a valid packet, which is ours meanwhile.
    let gso = unsafe { Skb::from_raw(skb) }.gso();
    if gso.is_some_and(|g| g.kind & Gso::FRAGLIST != 0) {
        // What our GRO chained, and somebody forwards.
        // SAFETY: called with a valid packet, whose mac header is set as it is being sent.
        return unsafe {
            let headers = Skb::from_raw(skb).mac_header_len();
            bindings::skb_segment_list(skb, features, headers)
        };
    }
    let mut gso = GsoSkb { skb, features, _borrow: PhantomData };
    match P::gso_segment(&mut gso) {
        Ok(segments) => segments.into_raw(),
        Err(e) => ptr::without_provenance_mut(e.to_errno() as isize as usize),
    }
}
