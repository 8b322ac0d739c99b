// SPDX-License-Identifier: GPL-2.0 OR MIT

//! May two DATA packets that arrived one after the other be joined?
//!
//! The packets of a segment differ in their sequence only, and the payload of one continues that of
//! the one before: put together again, they are the segment as it was sent.

use super::bytes::{u32_at, u64_at, u8_at};
use super::{at, SealFlags, DATA_LEN, SEALED_DATA_LEN};

/// How two packets with the same addresses belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// They have nothing to do with each other, or are not DATA.
    Separate,
    /// Both are DATA of one message.
    SameMessage,
    /// And the second is what follows the first: one header and both payloads are one packet.
    Continues,
}

/// Length of the header of a DATA packet, of which `head` is the beginning; None for other packets.
#[inline]
pub fn data_header_len(head: &[u8]) -> Option<usize> {
    let (kind, doff) = (head.get(at::TYPE)?, head.get(at::DOFF)?);
    match (kind & 0xf, usize::from(doff >> 4) * 4) {
        (0, len @ (DATA_LEN | SEALED_DATA_LEN)) => Some(len),
        _ => None,
    }
}

/// Whether a DATA packet with this header (as long as [`data_header_len`] says) and so many bytes of payload has all of its message: the last of
/// several packets lacks more than what sealing adds.
#[inline]
pub fn is_whole(header: &[u8], payload: usize) -> bool {
    let Some(header) = header.first_chunk::<DATA_LEN>() else {
        return false;
    };
    payload >= u32_at::<{ at::MESSAGE_LENGTH }, DATA_LEN>(header) as usize
}

/// How the packet with the header `second` belongs to one with the header `first` and `payload` bytes of payload. Both are
/// as long as [`data_header_len`] says of the second.
#[inline]
pub fn join(first: &[u8], second: &[u8], payload: usize) -> Join {
    const N: usize = DATA_LEN;
    let (Some(a), Some(b)) = (first.first_chunk::<N>(), second.first_chunk::<N>()) else {
        return Join::Separate;
    };
    // Eight bytes at a time, as this is done for every packet. The sequence is the low half of the first.
    let begin = u64_at::<0, N>(a) ^ u64_at::<0, N>(b);
    let rest = (u64_at::<8, N>(a) ^ u64_at::<8, N>(b))
        | (u64_at::<16, N>(a) ^ u64_at::<16, N>(b))
        | (u64_at::<24, N>(a) ^ u64_at::<24, N>(b))
        | (u64_at::<32, N>(a) ^ u64_at::<32, N>(b))
        | (u64_at::<40, N>(a) ^ u64_at::<40, N>(b))
        | (u64_at::<48, N>(a) ^ u64_at::<48, N>(b));
    let next = u64::from(u32_at::<{ at::SEQUENCE }, N>(a)).wrapping_add(payload as u64);
    if (begin >> 32) | rest == 0
        && next == u64::from(u32_at::<{ at::SEQUENCE }, N>(b))
        && tail_continues(first, second, b)
    {
        return Join::Continues;
    }
    let same = begin >> 32 == 0
        && u8_at::<{ at::TYPE }, N>(a) == u8_at::<{ at::TYPE }, N>(b)
        && u64_at::<{ at::SENDER_ID }, N>(a) == u64_at::<{ at::SENDER_ID }, N>(b);
    if same {
        Join::SameMessage
    } else {
        Join::Separate
    }
}

/// What sealed DATA has more: is it the same? And is it the sequence that tells where the payload belongs?
#[inline]
fn tail_continues(first: &[u8], second: &[u8], head: &[u8; DATA_LEN]) -> bool {
    const N: usize = SEALED_DATA_LEN;
    match (first.first_chunk::<N>(), second.first_chunk::<N>()) {
        (Some(a), Some(b)) => {
            u32_at::<DATA_LEN, N>(a) == u32_at::<DATA_LEN, N>(b)
                && u8_at::<{ at::SEAL_FLAGS }, N>(b) & SealFlags::PLACE_FROM_IP_ID == 0
        }
        _ => u32_at::<{ at::SEGMENT_OFFSET }, DATA_LEN>(head) == u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ack, Common, Data};
    use super::*;

    const COMMON: Common =
        Common { source_port: 0x8001, destination_port: 99, sender_id: 0x0102_0304_0506_0708 };

    fn head(common: &Common, offset: u32) -> [u8; DATA_LEN] {
        let data = Data {
            message_length: 10_000,
            incoming: 10_000,
            ack: None,
            cutoff_version: 0,
            retransmit: false,
            response_limit: crate::window::ResponseLimit::NONE,
            offset,
            payload: 1400,
        };
        data.emit(common)
    }

    #[test]
    fn packets_of_a_segment_continue() {
        let (a, b) = (head(&COMMON, 0), head(&COMMON, 1400));
        assert_eq!(data_header_len(&b), Some(DATA_LEN));
        assert_eq!(join(&a, &b, 1400), Join::Continues);
        assert_eq!(join(&a, &b, 1399), Join::SameMessage);
        assert_eq!(join(&b, &a, 1400), Join::SameMessage);
        assert_eq!(join(&a, &a, 0), Join::Continues);
        assert_eq!(join(&a, &b, usize::MAX), Join::SameMessage);
    }

    #[test]
    fn part_of_a_message_is_not_whole() {
        let header = head(&COMMON, 0);
        for (payload, whole) in [(0, false), (1400, false), (9_999, false), (10_000, true)] {
            assert_eq!(is_whole(&header, payload), whole, "{payload} bytes of 10,000");
        }
        assert!(is_whole(&header, 10_016), "sealed, with its tag");
        assert!(!is_whole(&header[..DATA_LEN - 1], 10_000), "a stump");
    }

    #[test]
    fn any_other_difference_keeps_them_apart() {
        let (a, b) = (head(&COMMON, 0), head(&COMMON, 1400));
        for at in 0..DATA_LEN {
            let mut b = b;
            b[at] ^= 0x40;
            assert_ne!(join(&a, &b, 1400), Join::Continues, "byte {at}");
        }
        for other in [
            Common { source_port: 0x8002, ..COMMON },
            Common { destination_port: 98, ..COMMON },
            Common { sender_id: 8, ..COMMON },
        ] {
            assert_eq!(join(&a, &head(&other, 1400), 1400), Join::Separate);
        }
        let acks = Data {
            message_length: 10_000,
            incoming: 10_000,
            ack: Some(Ack { client_id: 4, server_port: 9 }),
            cutoff_version: 0,
            retransmit: false,
            response_limit: crate::window::ResponseLimit::NONE,
            offset: 1400,
            payload: 1400,
        };
        assert_eq!(join(&a, &acks.emit(&COMMON), 1400), Join::SameMessage);
    }

    #[test]
    fn a_place_told_otherwise_is_not_trusted() {
        let (mut a, mut b) = (head(&COMMON, 0), head(&COMMON, 1400));
        for head in [&mut a, &mut b] {
            head[at::SEGMENT_OFFSET..].copy_from_slice(&[0; 4]);
        }
        assert_eq!(join(&a, &b, 1400), Join::SameMessage);

        let sealed = |offset: u32, flags: u8| {
            let mut h = [0; SEALED_DATA_LEN];
            h[..DATA_LEN].copy_from_slice(&head(&COMMON, offset));
            h[at::DOFF] = 15 << 4;
            h[at::SEAL_FLAGS] = flags;
            h
        };
        assert_eq!(join(&sealed(0, 1), &sealed(1400, 1), 1400), Join::Continues);
        assert_eq!(join(&sealed(0, 1), &sealed(1400, 2), 1400), Join::SameMessage);
        let odd = SealFlags::PLACE_FROM_IP_ID;
        assert_eq!(join(&sealed(0, odd), &sealed(1400, odd), 1400), Join::SameMessage);
    }

    #[test]
    fn control_packets_and_scraps_are_left_alone() {
        let a = head(&COMMON, 0);
        let mut control = a;
        control[at::TYPE] = 0x12;
        assert_eq!(data_header_len(&control), None);
        for n in 0..DATA_LEN {
            assert_ne!(join(&a[..n], &a[..n], 0), Join::Continues, "{n} bytes");
        }
        assert_eq!(data_header_len(&a[..at::DOFF]), None);
    }
}
