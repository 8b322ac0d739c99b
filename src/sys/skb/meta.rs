// SPDX-License-Identifier: GPL-2.0

//! What a packet says about itself to the layers that it passes.

use super::Skb;
use crate::sys::sock::Sock;
use homa_bindings as bindings;

/// The fields that a clone inherits (`struct_group headers`).
pub(in crate::sys) type Meta = bindings::sk_buff__bindgen_ty_4__bindgen_ty_1;

/// Why a packet is dropped (enum skb_drop_reason): what drop monitors show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DropReason(pub(in crate::sys) bindings::skb_drop_reason);

impl DropReason {
    /// Nobody said.
    pub const NOT_SPECIFIED: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_NOT_SPECIFIED);
}

/// How a large packet is to be cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Gso {
    /// Payload bytes of each piece.
    pub size: u16,
    /// How many pieces.
    pub segs: u16,
    /// SKB_GSO_* bits: who can cut it.
    pub kind: u32,
}

impl Gso {
    /// SCTP's: only software devices (veth, loopback) announce it.
    pub const SCTP: u32 = bindings::SKB_GSO_SCTP as u32;
    /// Packets chained by GRO.
    pub const FRAGLIST: u32 = bindings::SKB_GSO_FRAGLIST as u32;
}

impl Skb {
    #[inline]
    pub(in crate::sys) fn meta(&self) -> &Meta {
        // SAFETY: both views of the group are the same plain fields.
        unsafe { self.raw().__bindgen_anon_4.__bindgen_anon_1.as_ref() }
    }

    #[inline]
    pub(in crate::sys) fn meta_mut(&mut self) -> &mut Meta {
        // SAFETY: both views of the group are the same plain fields.
        unsafe { self.raw_mut().__bindgen_anon_4.__bindgen_anon_1.as_mut() }
    }

    /// The index of the device that it came in on, or 0.
    #[inline]
    pub fn ifindex(&self) -> u32 {
        self.meta().skb_iif as u32
    }

    /// There is no checksum to look at or to fill in (large packets must say so, or filling in).
    #[inline]
    pub fn set_checksum_unnecessary(&mut self) {
        self.meta_mut().set_ip_summed(bindings::CHECKSUM_UNNECESSARY as u8);
    }

    /// Whoever gets it on the way (a router, or the peer) is alive: its neighbour's entry need not be verified.
    #[inline]
    pub fn confirm_neighbour(&mut self) {
        self.meta_mut().set_dst_pending_confirm(1);
    }

    /// The transport header is where `data` is.
    #[inline]
    pub fn set_transport_header_here(&mut self) {
        // Offsets are from `head`; headroom is far less than 64 KiB.
        self.meta_mut().transport_header = self.headroom() as u16;
    }

    /// How it is to be cut.
    #[inline]
    pub fn set_gso(&mut self, gso: Gso) {
        // SAFETY: the shared info is valid as long as the packet. (A clone sees it, too: set it before cloning.)
        unsafe {
            let shinfo = self.shinfo();
            (*shinfo).gso_size = gso.size;
            (*shinfo).gso_segs = gso.segs;
            (*shinfo).gso_type = gso.kind;
        }
    }

    /// How it is to be cut, or was put together.
    pub fn gso(&self) -> Option<Gso> {
        // SAFETY: the shared info is valid as long as the packet.
        let gso = unsafe {
            let shinfo = self.shinfo();
            Gso { size: (*shinfo).gso_size, segs: (*shinfo).gso_segs, kind: (*shinfo).gso_type }
        };
        (gso.size != 0).then_some(gso)
    }

    /// Charges the socket for it (wmem) until it is freed; writers are woken then.
    #[inline]
    pub fn set_owner_w(&mut self, sk: &Sock) {
        // SAFETY: both are valid. The charge keeps the socket alive.
        unsafe { bindings::skb_set_owner_w(self.as_raw(), sk.as_raw()) }
    }
}
