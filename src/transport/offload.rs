// SPDX-License-Identifier: GPL-2.0

//! Cutting large packets and joining small ones, for the stack.
//!
//! A segment of ours is a DATA header and up to 64 KiB of payload. Cut, each packet gets a copy of
//! the header; only the sequence, which is the place of the payload, differs from packet to packet.

use kernel::prelude::*;

use crate::protocol::wire::{at, data_header_len, join, Join, DATA_LEN};
use crate::sys::gro::GroVerdict;
use crate::sys::gso::{GsoSkb, Segments};

/// What GRO has to see of a packet to know how long its header is: that of plain DATA, the shortest that is joined.
pub(crate) const GRO_HEADER: usize = DATA_LEN;

/// Bytes of the header of a DATA packet, by its data offset field; EINVAL for any other packet.
fn header_len(skb: &mut GsoSkb<'_>) -> Result<usize> {
    skb.header(DATA_LEN).and_then(data_header_len).ok_or(EINVAL)
}

/// Cuts a segment into packets.
pub(crate) fn segment(skb: &mut GsoSkb<'_>) -> Result<Segments> {
    let header = header_len(skb)?;
    let mut segments = skb.cut(header)?;
    let mut place: Option<u32> = None;
    segments.for_each_header(|header, payload| {
        let Some(sequence) = header.get_mut(at::SEQUENCE..).and_then(<[u8]>::first_chunk_mut)
        else {
            return;
        };
        let here = place.unwrap_or(u32::from_be_bytes(*sequence));
        *sequence = here.to_be_bytes();
        place = Some(here.wrapping_add(payload as u32));
    })?;
    Ok(segments)
}

/// May GRO join `new` to `held`, which has `payload` bytes of payload?
pub(crate) fn same_message(held: &[u8], new: &[u8], payload: usize) -> GroVerdict {
    match join(held, new, payload) {
        Join::Continues => GroVerdict::Merge,
        Join::SameMessage => GroVerdict::Chain,
        Join::Separate => GroVerdict::Separate,
    }
}
