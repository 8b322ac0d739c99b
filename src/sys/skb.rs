// SPDX-License-Identifier: GPL-2.0

//! `struct sk_buff`: packets.
//!
//! [`Skb`] is one that somebody else owns (`&Skb`, `&mut Skb`), [`SkBuff`] an owned one; a packet under construction is a
//! [`builder::SkbBuilder`](super::builder): only there can payload be written, because only there is it nobody else's.

/// A packet (never moved or swapped: it has no size that Rust knows).
pub struct Skb;

/// An owned packet; dropping it is kfree_skb (a loss: seen by drop monitors). Derefs to [`Skb`] (also mutably).
pub struct SkBuff;

/// Why a packet is dropped (enum skb_drop_reason): `DropReason::NO_SOCKET`, `PKT_TOO_SMALL`, `SOCKET_RCVBUFF`, `NOMEM`, `PROTO_MEM`, `XFRM_POLICY`, `NOT_SPECIFIED`, ...
pub struct DropReason;

impl SkBuff {
    /// Frees a packet that served its purpose (consume_skb).
    pub fn consume(self);
    pub fn drop_with(self, reason: DropReason);
    /// All headers and data shared with `self`. To send what one keeps for retransmission.
    /// Fast if the packet was built with `fclone` and no earlier clone is in flight.
    pub fn try_clone(&self, flags: Flags) -> Result<SkBuff>;
    /// Own headers and linear data (with `headroom` in front), shared fragments: what to send when an earlier clone is still
    /// in flight ([`Skb::is_cloned`]).
    pub fn copy_linear(&self, headroom: usize, flags: Flags) -> Result<SkBuff>;
}

impl Skb {
    pub fn len(&self) -> usize;             // linear and fragments, from `data` on
    pub fn headlen(&self) -> usize;         // linear part
    pub fn headroom(&self) -> usize;
    pub fn truesize(&self) -> usize;
    /// The linear part.
    pub fn head(&self) -> &[u8];
    /// The first `n` bytes, made linear if need be (pskb_may_pull); None if the packet is shorter or memory is.
    #[inline] pub fn pull_head(&mut self, n: usize) -> Option<&[u8]>;
    /// Copies bytes from anywhere in the packet; false if it is too short.
    pub fn copy_bits(&self, offset: usize, out: &mut [u8]) -> bool;
    /// Drops `n` bytes at the front (they must be linear: see `pull_head`); false if there are not so many.
    pub fn pull(&mut self, n: usize) -> bool;
    /// Cuts to `len` bytes (pskb_trim).
    pub fn trim(&mut self, len: usize) -> Result;
    /// Puts `bytes` in front; ENOBUFS without headroom, EBUSY if the head is shared (cloned).
    pub fn push(&mut self, bytes: &[u8]) -> Result;
    /// True while a clone shares the head: do not push, send a `copy_linear` instead.
    pub fn is_cloned(&self) -> bool;
    pub fn is_nonlinear(&self) -> bool;
    /// Makes the head private (skb_unclone / pskb_expand_head), so that `head_mut` works.
    pub fn make_head_writable(&mut self) -> Result;
    /// The linear part, if it is private.
    pub fn head_mut(&mut self) -> Option<&mut [u8]>;

    // Who sent it (packets being received: network header is set by IP).
    pub fn source(&self) -> Addr;
    pub fn dest(&self) -> Addr;
    pub fn family(&self) -> Family;          // of the network header
    pub fn ip_id(&self) -> u16;              // 0 for IPv6
    pub fn tos(&self) -> u8;                 // or traffic class
    pub fn ttl(&self) -> u8;
    pub fn ifindex(&self) -> u32;            // device it came in on
    pub fn net(&self) -> &Net;               // of its device (panics never: receive path only, see proto)
    pub fn queue_mapping(&self) -> u16;
    /// Passes IPsec policy for `sk`. Drop it if not.
    pub fn policy_ok(&self, sk: Option<&Sock>) -> bool;
    /// Forgets conntrack, as transports do before queueing.
    pub fn reset_ct(&mut self);

    // Metadata.
    pub fn hash(&self) -> u32;
    pub fn set_hash(&mut self, hash: u32);   // L4 hash
    pub fn priority(&self) -> u32;
    pub fn set_priority(&mut self, p: u32);
    pub fn set_mark(&mut self, m: u32);
    pub fn set_queue_mapping(&mut self, q: u16);
    pub fn set_decrypted(&mut self, on: bool);
    pub fn is_decrypted(&self) -> bool;
    pub fn set_checksum_unnecessary(&mut self);
    pub fn set_checksum_none(&mut self);
    pub fn set_ignore_df(&mut self, on: bool);
    /// Charges the socket for it until it is freed (wmem); write_space then wakes writers.
    pub fn set_owner_w(&mut self, sk: &Sock);
    /// Leaves the socket (skb_orphan).
    pub fn orphan(&mut self);
    pub fn set_gso(&mut self, gso: Gso);
    pub fn gso(&self) -> Option<Gso>;
    pub fn set_transport_header_here(&mut self);   // at `data`
    pub fn transport_offset(&self) -> isize;
    /// A value of at most 48 bytes in skb->cb, the owner's scratch space: undefined contents until set, lost when the packet is passed on.
    pub fn cb<T: Plain>(&self) -> T;
    pub fn set_cb<T: Plain>(&mut self, value: &T);

    // Payload.
    /// Contiguous runs of `len` bytes from `offset` on: linear part, fragments, frag_list, in order.
    /// (Others may share the pages: never decrypt in place.)
    pub fn runs(&self, offset: usize, len: usize) -> Runs<'_>;      // Iterator<Item = &[u8]>
    pub fn copy_to_iter(&self, offset: usize, to: &mut IovIter, len: usize) -> Result;
    /// Packets that GRO chained behind this one (frag_list), taken off it: each is a whole packet of its own.
    pub fn take_frag_list(&mut self) -> SkbQueue;
    pub fn has_frag_list(&self) -> bool;
}

/// GSO fields of skb_shared_info.
#[derive(Clone, Copy)]
pub struct Gso { pub size: u16, pub segs: u16, pub kind: GsoKind }
/// SKB_GSO_*
pub struct GsoKind(pub u32);    // TCPV4, TCPV6, SCTP, UDP_L4, FRAGLIST, DODGY, ...
