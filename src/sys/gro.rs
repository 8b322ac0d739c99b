// SPDX-License-Identifier: GPL-2.0

//! Joining small packets: one walk through IP for several that arrived together.
//!
//! GRO holds a packet back for a moment and asks the protocol about those that come after it, between the same two
//! addresses. There are two ways to join:
//!
//! - [`GroVerdict::Merge`]: the payload continues where the held packet's ends, under the same header. Its fragments move into
//!   the held packet, which becomes one large packet, as if it had never been cut; should it be forwarded, our GSO callback cuts it
//!   again.
//! - [`GroVerdict::Chain`]: the packet stays whole, with its own headers, and goes on the frag_list of the held one:
//!   [`Skb::take_frag_list`](super::skb::Skb::take_frag_list) takes them apart.
//!
//! A packet that is a whole message is not held: nothing will join it.

use super::{
    proto::DatagramProtocol,
    skb::{Gso, Skb},
};
use ::core::{mem::size_of, ptr, slice};
use homa_bindings as bindings;
use kernel::ffi::c_int;

/// What to do with a packet that came after another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum GroVerdict {
    /// Its payload continues the other's, and nothing else about them differs.
    Merge,
    /// Put it behind the other.
    Chain,
    /// Not those two; perhaps with one that is held besides.
    Separate,
}

/// As many as UDP chains.
const MAX_CHAIN: u16 = 64;

/// Fragments that a packet can have.
const MAX_FRAGS: usize = bindings::MAX_SKB_FRAGS as usize;

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
        let at = (*cb(skb)).data_offset as usize;
        let Some(header) = header::<P>(skb) else {
            (*cb(skb)).flush = 1;
            return ptr::null_mut();
        };
        if (*cb(skb)).flush != 0 {
            return ptr::null_mut();
        }
        // So that the header becomes linear if the packet is held.
        let payload_at = at.saturating_add(header.len());
        (*cb(skb)).data_offset = payload_at as c_int;

        let mut entry = (*head).next;
        while entry != head {
            // The list is at the beginning of a packet.
            let held: *mut bindings::sk_buff = entry.cast();
            entry = (*entry).next;
            if (*bits(held)).same_flow() == 0 {
                continue;
            }
            let h = Skb::from_raw(held);
            let begin = usize::from(h.meta().transport_header);
            let first = slice::from_raw_parts(h.raw().head.wrapping_add(begin), header.len());
            // What else it has is payload, unless others are chained to it.
            let payload = h.len_from_head(begin.saturating_add(header.len()));
            let chained = !(*h.shinfo()).frag_list.is_null();
            let verdict = match P::gro_same(first, header, payload) {
                // A local sender still uses the shared info of what it keeps: nothing may be added there.
                _ if h.is_cloned() => GroVerdict::Separate,
                GroVerdict::Merge if chained => GroVerdict::Chain,
                verdict => verdict,
            };
            let joined = match verdict {
                GroVerdict::Separate => {
                    (*bits(held)).set_same_flow(0);
                    continue;
                }
                GroVerdict::Merge => match merge(held, skb, payload_at, payload) {
                    Merged::Yes => return ptr::null_mut(),
                    // Whatever comes next is not its continuation.
                    Merged::Last => return held,
                    // No room, or it was cut in another way: a large packet cannot have others chained to it.
                    Merged::No if (*cb(held)).count > 1 => return held,
                    Merged::No => chain(held, skb, at),
                },
                GroVerdict::Chain if !chained && (*cb(held)).count > 1 => return held,
                GroVerdict::Chain => chain(held, skb, at),
            };
            if !joined || (*cb(held)).count >= MAX_CHAIN {
                return held;
            }
            return ptr::null_mut();
        }
        let payload = Skb::from_raw(skb).len().saturating_sub(payload_at);
        if P::gro_is_whole(header, payload) {
            (*cb(skb)).flush = 1;
        }
        ptr::null_mut()
    }
}

/// The transport header of a packet in GRO; None if there is none, or it is one that is not to be joined.
///
/// # Safety
///
/// As for [`cb`]; the result is valid until somebody changes the packet's linear part.
unsafe fn header<'a, P: DatagramProtocol>(skb: *mut bindings::sk_buff) -> Option<&'a [u8]> {
    let bytes = |n: usize| {
        // SAFETY: by the caller's promise; what is not NULL points at `n` bytes.
        unsafe {
            let header = bindings::shim_gro_header(skb, n as u32).cast::<u8>();
            (!header.is_null()).then(|| slice::from_raw_parts(header, n))
        }
    };
    let header = bytes(P::GRO_HEADER)?;
    match P::gro_header_len(header)? {
        len if len <= P::GRO_HEADER => header.get(..len),
        longer => bytes(longer),
    }
}

/// What came of [`merge`].
enum Merged {
    /// `held` has it, and room for more.
    Yes,
    /// `held` has it; it was the last one.
    Last,
    /// It cannot be.
    No,
}

/// napi_gro_cb::free: the sk_buff and its data are free.
const FREE: u8 = bindings::NAPI_GRO_FREE as u8;
/// The sk_buff is free, its data went elsewhere.
const FREE_STOLEN_HEAD: u8 = bindings::NAPI_GRO_FREE_STOLEN_HEAD as u8;

/// SKB_DATA_ALIGN(sizeof(T)).
const fn aligned<T>() -> u32 {
    size_of::<T>().next_multiple_of(1 << bindings::L1_CACHE_SHIFT) as u32
}

/// SKB_TRUESIZE of what a packet has besides its fragments.
fn truesize_of_head(skb: &Skb) -> u32 {
    const STRUCTS: u32 = aligned::<bindings::sk_buff>() + aligned::<bindings::skb_shared_info>();
    skb.raw().end.saturating_add(STRUCTS)
}

/// Moves the payload of `skb`, which begins at `offset` from `data` on, behind that of `held`, which has `held_payload`
/// bytes. (As skb_gro_receive(), which modules cannot call.)
///
/// # Safety
///
/// Both are packets in GRO, `held` not cloned and without frag_list.
unsafe fn merge(
    held: *mut bindings::sk_buff,
    skb: *mut bindings::sk_buff,
    offset: usize,
    held_payload: usize,
) -> Merged {
    // SAFETY: by the caller's promise both packets, their shared info and their cbs are valid and used by nobody else; `frags` has
    // room for MAX_SKB_FRAGS, which is checked before any is added.
    unsafe {
        let (h, s) = (Skb::from_raw(held), Skb::from_raw(skb));
        let (to, from) = (h.shinfo(), s.shinfo());
        let Some(payload) = s.len().checked_sub(offset) else { return Merged::No };
        let size = match usize::from((*to).gso_size) {
            0 => held_payload,
            size => size,
        };
        let (have, add) = (usize::from((*to).nr_frags), usize::from((*from).nr_frags));
        if payload == 0
            || payload > size
            || held_payload % size != 0
            || size > usize::from(u16::MAX)
            || h.len() + payload >= 65536
            || (*from).gso_size != 0
            || s.is_cloned()
            || !(*from).frag_list.is_null()
            || h.raw().pp_recycle() != s.raw().pp_recycle()
            || h.meta().unreadable() != s.meta().unreadable()
            || ((*to).flags | (*from).flags) & bindings::SKBFL_ZEROCOPY_ENABLE as u8 != 0
        {
            return Merged::No;
        }
        let frags = (&raw mut (*to).frags).cast::<bindings::skb_frag_t>();
        let new = (&raw mut (*from).frags).cast::<bindings::skb_frag_t>();
        let headlen = s.headlen();
        // What the sk_buff itself (and its linear part) takes, and gives back.
        let kept = if headlen <= offset {
            if add == 0 || have + add > MAX_FRAGS {
                return Merged::No;
            }
            let skip = (offset - headlen) as u32;
            if skip >= (*new).len {
                return Merged::No;
            }
            (*new).offset = (*new).offset.saturating_add(skip);
            (*new).len -= skip;
            ptr::copy_nonoverlapping(new, frags.add(have), add);
            (*to).nr_frags = (have + add) as u8;
            (*from).nr_frags = 0;
            s.raw_mut().len = headlen as u32;
            s.raw_mut().data_len = 0;
            (*bits(skb)).set_free(FREE);
            truesize_of_head(s)
        } else if s.raw().head_frag() != 0 {
            if have + 1 + add > MAX_FRAGS {
                return Merged::No;
            }
            bindings::shim_frag_fill_head(frags.add(have), skb, offset as u32);
            ptr::copy_nonoverlapping(new, frags.add(have + 1), add);
            (*to).nr_frags = (have + 1 + add) as u8;
            (*bits(skb)).set_free(FREE_STOLEN_HEAD);
            aligned::<bindings::sk_buff>()
        } else {
            return Merged::No;
        };
        let truesize = s.raw().truesize.saturating_sub(kept);
        s.raw_mut().truesize = kept;
        h.count_nonlinear(payload as u32, truesize);
        (*to).gso_size = size as u16;
        (*to).flags |= (*from).flags & bindings::SKBFL_SHARED_FRAG as u8;
        (*cb(held)).count = (*cb(held)).count.saturating_add(1);
        (*bits(skb)).set_same_flow(1);
        if payload < size || (*cb(held)).count >= MAX_CHAIN {
            Merged::Last
        } else {
            Merged::Yes
        }
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
        (*cb(held)).count = (*cb(held)).count.saturating_add(1);
        // The chain is charged to nobody (a sender on this host could be charged for both): IP would see to that in a moment, too.
        bindings::shim_skb_orphan(held);
        bindings::shim_skb_orphan(skb);
        h.count_nonlinear((*skb).len, (*skb).truesize);
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
        if (*shinfo).frag_list.is_null() {
            (*shinfo).gso_type |= Gso::SCTP;
        } else {
            (*shinfo).gso_type |= Gso::FRAGLIST;
            // The first may have had no payload.
            (*shinfo).gso_size = (*shinfo).gso_size.max(1);
        }
        (*shinfo).gso_segs = (*cb(skb)).count;
        Skb::from_raw(skb).set_checksum_unnecessary();
    }
    0
}
