// SPDX-License-Identifier: GPL-2.0

//! Where a packet came from: for packets being received, whose network header IP has set.

use super::{SkBuff, Skb};
use crate::sys::{
    addr::{Addr, Family},
    gfp,
    skbq::SkbQueue,
};
use ::core::{mem, ptr, ptr::NonNull};
use homa_bindings as bindings;
use kernel::prelude::*;

impl Skb {
    /// Where the transport header is, if that is set.
    pub(in crate::sys) fn transport_header(&self) -> *const u8 {
        self.raw().head.wrapping_add(usize::from(self.meta().transport_header))
    }

    /// Bytes of the link layer's header, if that is set.
    pub(in crate::sys) fn mac_header_len(&self) -> u32 {
        let meta = self.meta();
        u32::from(meta.network_header.wrapping_sub(meta.mac_header))
    }

    fn network_header(&self) -> *const u8 {
        self.raw().head.wrapping_add(usize::from(self.meta().network_header))
    }

    /// Whether IP or IPv6 carried it.
    #[inline]
    pub fn family(&self) -> Family {
        match u32::from(u16::from_be(self.meta().protocol)) {
            bindings::ETH_P_IPV6 => Family::V6,
            _ => Family::V4,
        }
    }

    /// Bytes of the network header; zeros if it is not linear, as it is in all packets that IP delivers.
    #[inline]
    fn ip_bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let end = (self.raw().data as usize).saturating_add(self.headlen());
        let start = self.network_header().wrapping_add(at);
        if (start as usize).saturating_add(N) > end {
            return [0; N];
        }
        // SAFETY: between head and the end of the linear part.
        unsafe { start.cast::<[u8; N]>().read_unaligned() }
    }

    /// Both addresses as they are in the header, for comparing.
    #[inline(always)]
    pub(in crate::sys) fn both_addresses(&self) -> [u64; 4] {
        match self.family() {
            Family::V4 => [u64::from_ne_bytes(self.ip_bytes(12)), 0, 0, 0],
            Family::V6 => {
                let word = |at| u64::from_ne_bytes(self.ip_bytes(at));
                [word(8), word(16), word(24), word(32)]
            }
        }
    }

    /// The source address.
    #[inline]
    pub fn source(&self) -> Addr {
        match self.family() {
            Family::V4 => Addr::v4(self.ip_bytes(12)),
            Family::V6 => Addr::v6(self.ip_bytes(8)),
        }
    }

    /// The destination address.
    #[inline]
    pub fn dest(&self) -> Addr {
        match self.family() {
            Family::V4 => Addr::v4(self.ip_bytes(16)),
            Family::V6 => Addr::v6(self.ip_bytes(24)),
        }
    }

    /// IPv4's identification; 0 for IPv6.
    #[inline]
    pub fn ip_id(&self) -> u16 {
        match self.family() {
            Family::V4 => u16::from_be_bytes(self.ip_bytes(4)),
            Family::V6 => 0,
        }
    }

    /// Tells the sender that nobody has the port (rate-limited, as all ICMP).
    ///
    /// For a packet as IP handed it up: with its headers in place, and IP's control block in `cb`.
    #[cold]
    pub fn port_unreachable(&mut self) {
        // SAFETY: the packet is valid.
        unsafe { bindings::shim_icmp_port_unreachable(self.as_raw()) }
    }

    /// Whether packets are chained behind this one (by [`super::gro`]).
    #[inline]
    pub fn has_frag_list(&self) -> bool {
        // SAFETY: the shared info is valid as long as the packet.
        unsafe { !(*self.shinfo()).frag_list.is_null() }
    }

    /// Takes the packets that GRO chained behind this one: each is a whole packet, with `data` at its transport header. ENOMEM: then
    /// drop it all.
    pub fn take_frag_list(&mut self) -> Result<SkbQueue> {
        let mut queue = SkbQueue::new();
        // IP's reassembly leaves a frag_list, too: of payload, not of packets.
        let chained = self.gso().is_some_and(|gso| gso.kind & super::Gso::FRAGLIST != 0);
        if !chained || !self.has_frag_list() {
            return Ok(queue);
        }
        self.make_head_writable(GFP_ATOMIC)?;
        // SAFETY: the shared info is ours alone now.
        let mut next = unsafe { mem::replace(&mut (*self.shinfo()).frag_list, ptr::null_mut()) };
        let mut failed = false;
        while let Some(skb) = NonNull::new(next) {
            // SAFETY: packets on a frag_list are valid, linked by `next`, and what they count as is part of what the
            // first one counts as. A tap's clone of the first one has the same list (`pskb_expand_head` only took
            // references), so that nothing of it may change before `shim_skb_share_check`, which gives a packet
            // that has no other user, or gives up our reference.
            unsafe {
                next = (*skb.as_ptr()).__bindgen_anon_1.__bindgen_anon_1.next;
                self.uncount_nonlinear((*skb.as_ptr()).len, (*skb.as_ptr()).truesize);
                let skb_iif = self.meta().skb_iif;
                match NonNull::new(bindings::shim_skb_share_check(skb.as_ptr(), gfp(GFP_ATOMIC))) {
                    Some(skb) => {
                        (*skb.as_ptr()).__bindgen_anon_1.__bindgen_anon_1.next = ptr::null_mut();
                        let mut skb = SkBuff::from_raw(skb);
                        skb.meta_mut().skb_iif = skb_iif;
                        queue.push_back(skb);
                    }
                    None => failed = true,
                }
            }
        }
        if failed {
            return Err(ENOMEM);
        }
        Ok(queue)
    }
}
