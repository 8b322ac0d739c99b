// SPDX-License-Identifier: GPL-2.0

//! Cutting large packets and chaining small ones, for the stack.
//!
//! A segment of ours is a DATA header and up to 64 KiB of payload. Cut, each packet gets a copy of
//! the header; only the sequence, which is the place of the payload, differs from packet to packet.

use kernel::prelude::*;

use crate::protocol::wire::{at, DATA_LEN, SEALED_DATA_LEN};
use crate::sys::gro::GroVerdict;
use crate::sys::gso::{GsoSkb, Segments};

/// Bytes that [`same_message`] looks at.
pub(crate) const GRO_HEADER: usize = 28;

/// Bytes of the header of a DATA packet, by its data offset field; EINVAL for any other packet.
fn header_len(skb: &mut GsoSkb<'_>) -> Result<usize> {
    let header = skb.header(DATA_LEN).ok_or(EINVAL)?;
    let doff = header.get(at::DOFF).ok_or(EINVAL)?;
    match usize::from(doff >> 4) * 4 {
        DATA_LEN => Ok(DATA_LEN),
        SEALED_DATA_LEN => Ok(SEALED_DATA_LEN),
        _ => Err(EINVAL),
    }
}

/// Cuts a segment into packets.
pub(crate) fn segment(skb: &mut GsoSkb<'_>) -> Result<Segments> {
    let header = header_len(skb)?;
    let mut segments = skb.cut(header)?;
    let mut place: Option<u32> = None;
    segments.for_each_header(|_, header, payload| {
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

/// May GRO chain `new` behind `held`? Yes if both are DATA of one message.
pub(crate) fn same_message(held: &[u8], new: &[u8]) -> GroVerdict {
    let key = |h: &[u8]| -> Option<([u8; 4], u8, [u8; 8])> {
        Some((*h.first_chunk()?, *h.get(at::TYPE)?, *h.get(at::SENDER_ID..)?.first_chunk()?))
    };
    match (key(held), key(new)) {
        (Some(a), Some(b)) if a == b && a.1 & 0xf == 0 => GroVerdict::Chain,
        _ => GroVerdict::Separate,
    }
}
