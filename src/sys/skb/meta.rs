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
    /// Nobody has the port.
    pub const NO_SOCKET: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_NO_SOCKET);
    /// The socket was closed.
    pub const SOCKET_CLOSE: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_SOCKET_CLOSE);
    /// The socket's receive buffer is full.
    pub const SOCKET_RCVBUFF: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_SOCKET_RCVBUFF);
    /// A limit of the protocol was reached.
    pub const PROTO_MEM: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_PROTO_MEM);
    /// No memory.
    pub const NOMEM: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_NOMEM);
    /// Too short for its headers.
    pub const PKT_TOO_SMALL: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_PKT_TOO_SMALL);
    /// Headers that make no sense.
    pub const HDR_INVALID: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_IP_INHDR);
    /// Not of a protocol we speak.
    pub const UNHANDLED: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_UNHANDLED_PROTO);
    /// Not authentic, or seen before.
    pub const SECURITY: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_SECURITY_HOOK);
    /// IPsec forbids it.
    pub const XFRM_POLICY: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_XFRM_POLICY);
    /// Already there.
    pub const DUPLICATE: Self = Self(bindings::skb_drop_reason_SKB_DROP_REASON_DUP_FRAG);
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
    /// TCP's cut, over IPv4.
    pub const TCPV4: u32 = bindings::SKB_GSO_TCPV4 as u32;
    /// TCP's cut, over IPv6.
    pub const TCPV6: u32 = bindings::SKB_GSO_TCPV6 as u32;
    /// SCTP's: only software devices (veth, loopback) announce it.
    pub const SCTP: u32 = bindings::SKB_GSO_SCTP as u32;
    /// UDP's.
    pub const UDP_L4: u32 = bindings::SKB_GSO_UDP_L4 as u32;
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

    /// The queue it came in on, or goes out on.
    #[inline]
    pub fn queue_mapping(&self) -> u16 {
        self.raw().queue_mapping
    }

    /// Chooses the queue that it goes out on.
    pub fn set_queue_mapping(&mut self, queue: u16) {
        self.raw_mut().queue_mapping = queue;
    }

    /// The flow's hash, or 0.
    #[inline]
    pub fn hash(&self) -> u32 {
        self.meta().hash
    }

    /// Sets the hash of its flow (addresses and ports): chooses queues, and saves everybody computing one.
    #[inline]
    pub fn set_hash(&mut self, hash: u32) {
        let meta = self.meta_mut();
        meta.hash = hash;
        meta.set_l4_hash(1);
        meta.set_sw_hash(1);
    }

    /// SO_PRIORITY's number.
    pub fn priority(&self) -> u32 {
        self.meta().priority
    }

    /// Sets it. (IPv4 output replaces it by the socket's.)
    pub fn set_priority(&mut self, priority: u32) {
        self.meta_mut().priority = priority;
    }

    /// SO_MARK's number.
    pub fn set_mark(&mut self, mark: u32) {
        self.meta_mut().__bindgen_anon_4.mark = mark;
    }

    /// Says that this is clear text which must not leave before a device (or `sk_validate_xmit_skb`) encrypted it.
    pub fn set_decrypted(&mut self, on: bool) {
        self.meta_mut().set_decrypted(u8::from(on));
    }

    /// Whether it is that, or (received) was decrypted by a device.
    pub fn is_decrypted(&self) -> bool {
        self.meta().decrypted() != 0
    }

    /// There is no checksum to look at or to fill in (large packets must say so, or filling in).
    #[inline]
    pub fn set_checksum_unnecessary(&mut self) {
        self.meta_mut().set_ip_summed(bindings::CHECKSUM_UNNECESSARY as u8);
    }

    /// Nobody looked at checksums.
    #[inline]
    pub fn set_checksum_none(&mut self) {
        self.meta_mut().set_ip_summed(bindings::CHECKSUM_NONE as u8);
    }

    /// Somebody below fills in a checksum: over all from `data` on, into the halfword `offset` bytes further on.
    #[inline]
    pub fn set_checksum_partial(&mut self, offset: u16) {
        let start = self.headroom() as u16;
        let meta = self.meta_mut();
        meta.set_ip_summed(bindings::CHECKSUM_PARTIAL as u8);
        let csum = bindings::sk_buff__bindgen_ty_4__bindgen_ty_1__bindgen_ty_1__bindgen_ty_1 {
            csum_start: start,
            csum_offset: offset,
        };
        meta.__bindgen_anon_1.__bindgen_anon_1 = csum;
    }

    /// May be larger than the path's MTU, and is fragmented then.
    pub fn set_ignore_df(&mut self, on: bool) {
        self.meta_mut().set_ignore_df(u8::from(on));
    }

    /// The transport header is where `data` is.
    #[inline]
    pub fn set_transport_header_here(&mut self) {
        // Offsets are from `head`; headroom is far less than 64 KiB.
        self.meta_mut().transport_header = self.headroom() as u16;
    }

    /// Where the transport header is, from `data` on.
    pub fn transport_offset(&self) -> isize {
        isize::from(self.meta().transport_header as i16) - self.headroom() as isize
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

    /// Ends that (or whatever the layer before us had set up).
    #[inline]
    pub fn orphan(&mut self) {
        // SAFETY: the packet is valid.
        unsafe { bindings::shim_skb_orphan(self.as_raw()) }
    }

    /// What a packet that is kept for a while should not hold on to: its route, its conntrack entry, its device's memory of IPsec.
    #[inline]
    pub fn forget_path(&mut self) {
        // SAFETY: the packet is valid.
        unsafe { bindings::shim_skb_forget_path(self.as_raw()) }
    }
}
