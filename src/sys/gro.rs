// SPDX-License-Identifier: GPL-2.0

//! Chaining small packets: one walk through IP for several that arrived together.
//!
//! Packets between the same two addresses (GRO sees to that) for which the protocol says [`GroVerdict::Chain`] are put on the frag_list
//! of the first one. Each stays whole, with its own headers: [`Skb::take_frag_list`](super::skb::Skb::take_frag_list) takes them apart.

use super::{
    proto::DatagramProtocol,
    skb::{Gso, Skb},
};
use ::core::{ptr, slice};
use homa_bindings as bindings;
use kernel::ffi::c_int;

/// What to do with a packet that came after another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum GroVerdict {
    /// Put it behind the other.
    Chain,
    /// Not those two; perhaps with one that is held besides.
    Separate,
    /// Hand up what is held, and begin anew with this one.
    FlushHeld,
}

/// As many as UDP chains.
const MAX_CHAIN: u16 = 64;

/// # Safety
///
/// `skb` must be a packet in GRO: its cb is GRO's.
#[inline]
unsafe fn cb(skb: *mut bindings::sk_buff) -> *mut bindings::napi_gro_cb {
    // SAFETY: by the caller's promise.
    unsafe { (&raw mut (*skb).cb).cast() }
}

/// # Safety
///
/// As for [`cb`].
#[inline]
unsafe fn bits(
    skb: *mut bindings::sk_buff,
) -> *mut bindings::napi_gro_cb__bindgen_ty_2__bindgen_ty_1 {
    // SAFETY: by the caller's promise; both variants of the union are the same plain fields.
    unsafe { &raw mut (*cb(skb)).__bindgen_anon_2.__bindgen_anon_1 }
}

/// net_offload's callback: `head` lists the packets that are held.
///
/// # Safety
///
/// `skb` and the packets in `head` must be in GRO and used by nobody else; those in `head` came through here.
pub(super) unsafe extern "C" fn receive<P: DatagramProtocol>(
    head: *mut bindings::list_head,
    skb: *mut bindings::sk_buff,
) -> *mut bindings::sk_buff {
    // SAFETY: called by GRO, with packets that are its own: valid, unshared, and with its cb. The transport header of
    // those that are held was made linear here, when they came.
    unsafe {
        let at = (*cb(skb)).data_offset;
        let header = bindings::shim_gro_header(skb, P::GRO_HEADER as u32).cast::<u8>();
        if header.is_null() {
            (*cb(skb)).flush = 1;
            return ptr::null_mut();
        }
        if (*cb(skb)).flush != 0 {
            return ptr::null_mut();
        }
        let header = slice::from_raw_parts(header, P::GRO_HEADER);
        // So that the header becomes linear if the packet is held.
        (*cb(skb)).data_offset += P::GRO_HEADER as c_int;

        let mut entry = (*head).next;
        while entry != head {
            // The list is at the beginning of a packet.
            let held: *mut bindings::sk_buff = entry.cast();
            entry = (*entry).next;
            if (*bits(held)).same_flow() == 0 {
                continue;
            }
            let h = Skb::from_raw(held);
            let first = slice::from_raw_parts(
                h.raw().head.wrapping_add(usize::from(h.meta().transport_header)),
                P::GRO_HEADER,
            );
            match P::gro_same(first, header) {
                GroVerdict::Separate => {
                    (*bits(held)).set_same_flow(0);
                    continue;
                }
                GroVerdict::FlushHeld => return held,
                GroVerdict::Chain => {}
            }
            if !chain(held, skb, at as usize) || (*cb(held)).count >= MAX_CHAIN {
                return held;
            }
            return ptr::null_mut();
        }
        ptr::null_mut()
    }
}

/// Puts `skb` behind `held`, with `data` at its transport header; false if it cannot be. (As skb_gro_receive_list(), which modules cannot call.)
///
/// # Safety
///
/// Both are packets in GRO; `at` is where `skb`'s transport header is, from `data` on.
unsafe fn chain(held: *mut bindings::sk_buff, skb: *mut bindings::sk_buff, at: usize) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        let (h, s) = (Skb::from_raw(held), Skb::from_raw(skb));
        // IP's length field has 16 bits.
        if h.len() + s.len() >= 65536
            || s.pull_head((*cb(skb)).data_offset as usize).is_none()
            || !s.pull(at)
        {
            (*cb(skb)).flush = 1;
            return false;
        }
        let last = (*cb(held)).__bindgen_anon_1.__bindgen_anon_2.last;
        if last == held {
            (*h.shinfo()).frag_list = skb;
        } else {
            (*last).__bindgen_anon_1.__bindgen_anon_1.next = skb;
        }
        (*cb(held)).__bindgen_anon_1.__bindgen_anon_2.last = skb;
        (*cb(held)).count += 1;
        // The chain is charged to nobody (a sender on this host could be charged for both): IP would see to that in a moment, too.
        bindings::shim_skb_orphan(held);
        bindings::shim_skb_orphan(skb);
        let (len, truesize) = ((*skb).len, (*skb).truesize);
        let raw = h.raw_mut();
        raw.data_len += len;
        raw.len += len;
        raw.truesize += truesize;
        (*h.shinfo()).flags |= (*s.shinfo()).flags & bindings::SKBFL_SHARED_FRAG as u8;
        (*bits(skb)).set_same_flow(1);
        true
    }
}

/// net_offload's callback: a held packet goes up, with more behind it.
///
/// # Safety
///
/// `skb` must be a packet that `receive` chained others to, still in GRO and used by nobody else.
pub(super) unsafe extern "C" fn complete(skb: *mut bindings::sk_buff, _: c_int) -> c_int {
    // SAFETY: called by GRO, with a packet of its own.
    unsafe {
        let shinfo = Skb::from_raw(skb).shinfo();
        (*shinfo).gso_type |= Gso::FRAGLIST;
        (*shinfo).gso_segs = (*cb(skb)).count;
        // The first may have had no payload.
        (*shinfo).gso_size = (*shinfo).gso_size.max(1);
        Skb::from_raw(skb).set_checksum_unnecessary();
    }
    0
}
