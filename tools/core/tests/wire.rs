// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Packets, by properties: what is written is read back, and no bytes at all make reading fail in
//! another way than by saying so.

use homa_core::layout::Layout;
use homa_core::session::epoch::Epoch;
use homa_core::session::preamble::{Preamble, MAX_PADDING};
use homa_core::session::seq::MessageId;
use homa_core::session::TlsVersion;
use homa_core::window::ResponseLimit;
use homa_core::wire::*;
use proptest::prelude::*;

fn common(ids: impl Strategy<Value = u64>) -> impl Strategy<Value = Common> {
    (1..=u16::MAX, 1..=u16::MAX, ids).prop_map(|(source_port, destination_port, sender_id)| {
        Common { source_port, destination_port, sender_id }
    })
}

fn data() -> impl Strategy<Value = Data> {
    let ack = proptest::option::of((1..=u64::MAX, any::<u16>()));
    (1..=MAX_MESSAGE, any::<[u32; 3]>(), ack, any::<u16>(), any::<bool>()).prop_map(
        |(message_length, [incoming, offset, payload], ack, cutoff_version, retransmit)| {
            let offset = offset % message_length;
            Data {
                message_length,
                incoming: incoming % (message_length + 1),
                ack: ack.map(|(client_id, server_port)| Ack { client_id, server_port }),
                cutoff_version,
                retransmit,
                response_limit: ResponseLimit::from_wire(cutoff_version as u8),
                offset,
                payload: 1 + payload % (message_length - offset),
            }
        },
    )
}

fn control() -> impl Strategy<Value = Control> {
    let acks = proptest::collection::vec(any::<(u64, u16)>(), 0..=MAX_ACKS_PER_PACKET);
    prop_oneof![
        (0..=MAX_STREAM, 0..8u8).prop_map(|(offset, priority)| Control::Grant { offset, priority }),
        (0..=MAX_STREAM, proptest::option::of(0..=MAX_STREAM), 0..8u8)
            .prop_map(|(offset, length, priority)| Control::Resend { offset, length, priority }),
        Just(Control::Unknown),
        Just(Control::Busy),
        any::<([u32; 8], u16)>()
            .prop_map(|(cutoffs, version)| Control::Cutoffs { cutoffs, version }),
        Just(Control::Freeze),
        Just(Control::NeedAck),
        acks.prop_map(|list| {
            let mut acks = Acks::new();
            for (client_id, server_port) in list {
                assert!(acks.push(Ack { client_id, server_port }));
            }
            Control::Ack(acks)
        }),
    ]
}

fn flags() -> impl Strategy<Value = SealFlags> {
    (0..4u8, any::<bool>()).prop_map(|(epoch, tls13)| SealFlags {
        epoch: Epoch::new(epoch),
        version: if tls13 { TlsVersion::Tls13 } else { TlsVersion::Tls12 },
    })
}

/// A sealed packet that an honest sender could send: some piece of some segment.
fn sealed_data() -> impl Strategy<Value = SealedData> {
    let sizes = (MIN_SEALED_MESSAGE..=MAX_SEALED_MESSAGE, MIN_RECORD..=MAX_RECORD);
    (sizes, flags(), any::<[u32; 4]>(), any::<(u16, u16, bool, bool)>()).prop_map(
        |((message_length, record_size), flags, [a, b, c, incoming], rest)| {
            let (cutoff_version, window, retransmit, place_from_ip_id) = rest;
            let overhead = flags.version.record_overhead();
            let record_size = record_size.max(message_length.div_ceil(MAX_RECORDS) as u16);
            let layout = Layout::sealed(message_length, u32::from(record_size), overhead).unwrap();
            let record = layout.record(a % layout.records()).unwrap();
            let room = (layout.stream_length() - record.stream.start).min(MAX_SEGMENT);
            let sequence = b % room;
            SealedData {
                message_length,
                incoming: incoming % (layout.stream_length() + 1),
                cutoff_version,
                retransmit,
                response_limit: ResponseLimit::from_wire(cutoff_version as u8),
                flags,
                record_size,
                first_record: record.index,
                sequence,
                window,
                place_from_ip_id,
                payload: 1 + c % (room - sequence),
            }
        },
    )
}

/// A header of `kind` with anything in it, and in the places that are checked first something
/// that passes now and then.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(0x10u8), Just(0x20), 0x10..0x2au8];
    let bytes = proptest::collection::vec(any::<u8>(), COMMON_LEN..=MAX_HEADER);
    (bytes, kind, any::<[bool; 4]>()).prop_map(|(mut bytes, kind, [small, version, id, seq])| {
        bytes[at::TYPE] = kind;
        if seq {
            bytes[at::SEQUENCE..at::SEQUENCE + 2].fill(0);
            bytes[at::CONTROL_SEAL_FLAGS] &= 7;
            bytes[at::CONTROL_FORMAT] = FORMAT;
        }
        if small && bytes.len() >= DATA_LEN {
            for at in [at::MESSAGE_LENGTH, at::INCOMING, at::SEGMENT_OFFSET] {
                bytes[at] = 0;
                bytes[at + 1] &= 0x0f;
            }
        }
        if version && bytes.len() >= SEALED_DATA_LEN {
            bytes[at::FORMAT] = FORMAT;
            bytes[at::SEAL_FLAGS] &= 0x0f;
            bytes[at::RESPONSE_LIMIT] &= 0xf;
        }
        if id {
            bytes[at::SENDER_ID..at::SENDER_ID + 3].fill(0);
        }
        bytes
    })
}

/// What every packet that passed must keep, whatever it was made of.
fn check_bounds(packet: &Packet, len: usize) -> Result<(), TestCaseError> {
    prop_assert!(packet.header_len <= len && packet.header_len <= MAX_HEADER);
    prop_assert!(packet.common.source_port != 0 && packet.common.destination_port != 0);
    match packet.body {
        Body::Data(data) => {
            prop_assert!(data.offset + data.payload <= data.message_length);
            prop_assert!(data.message_length <= MAX_MESSAGE && data.payload > 0);
            prop_assert!(data.incoming <= data.message_length);
        }
        Body::SealedData(data) => {
            let layout = data.layout().expect("a parsed packet has a layout");
            prop_assert!(layout.stream_length() <= MAX_STREAM);
            prop_assert!(data.incoming <= layout.stream_length());
            for ip_id in [None, Some(0), Some(1), Some(u16::MAX)] {
                match data.stream_offset(ip_id) {
                    Ok(offset) => {
                        prop_assert!(offset + data.payload <= layout.stream_length());
                    }
                    Err(_) => prop_assert!(data.place_from_ip_id),
                }
            }
        }
        Body::Control(_) => {}
        Body::SealedControl(control) => {
            prop_assert_eq!(control.aad_len + TAG_LEN, len);
            prop_assert!(control.counter < 1 << 63);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn data_round_trip(common in common(any::<u64>()), data in data()) {
        let head = data.emit(&common);
        let packet = Packet::parse(&head, DATA_LEN + data.payload as usize);
        let expected = Packet { common, body: Body::Data(data), header_len: DATA_LEN };
        prop_assert_eq!(packet, Ok(expected));
        check_bounds(&expected, DATA_LEN + data.payload as usize)?;
    }

    #[test]
    fn control_round_trip(common in common(any::<u64>()), control in control()) {
        let header = control.emit(&common);
        let bytes = header.as_slice();
        prop_assert_eq!(bytes.len(), control.header_len());
        let packet = Packet::parse(bytes, bytes.len());
        let header_len = bytes.len();
        prop_assert_eq!(packet, Ok(Packet { common, body: Body::Control(control), header_len }));
    }

    #[test]
    fn sealed_data_round_trip(common in common(0..MessageId::END), data in sealed_data()) {
        let head = data.emit(&common);
        let len = SEALED_DATA_LEN + data.payload as usize;
        let expected = Packet { common, body: Body::SealedData(data), header_len: SEALED_DATA_LEN };
        prop_assert_eq!(Packet::parse(&head, len), Ok(expected));
        check_bounds(&expected, len)?;
    }

    #[test]
    fn sealed_control_round_trip(
        common in common(0..MessageId::END),
        inner in control(),
        flags in flags(),
        counter in 0..1u64 << 63,
        tag in any::<[u8; 16]>(),
    ) {
        let untagged = SealedControl::emit(&inner, &common, flags, counter);
        let aad = untagged.aad().to_vec();
        let header = untagged.finish(&tag);
        let bytes = header.as_slice();
        let packet = Packet::parse(bytes, bytes.len()).unwrap();
        let control = SealedControl { inner, flags, counter, tag, aad_len: aad.len() };
        prop_assert_eq!(packet.body, Body::SealedControl(control));
        prop_assert_eq!(packet.common, common);
        prop_assert_eq!(&bytes[..aad.len()], &aad);
        check_bounds(&packet, bytes.len())?;
    }

    #[test]
    fn any_bytes_are_a_packet_or_malformed(
        bytes in prop_oneof![proptest::collection::vec(any::<u8>(), 0..=MAX_HEADER), nearly()],
        more in prop_oneof![Just(0usize), 0..70_000usize, any::<usize>()],
    ) {
        let len = bytes.len().saturating_add(more);
        if let Ok(packet) = Packet::parse(&bytes, len) {
            check_bounds(&packet, len)?;
        }
    }

    #[test]
    fn preamble_round_trip(
        length in 1..=MAX_MESSAGE,
        floor_distance in any::<u16>(),
        padding in 0..=MAX_PADDING,
    ) {
        let preamble = Preamble { length, floor_distance, padding };
        prop_assert_eq!(Preamble::parse(&preamble.emit()), Ok(preamble));
        let whole = preamble.message_length();
        prop_assert!((length + PREAMBLE_LEN..=MAX_SEALED_MESSAGE).contains(&whole));
        prop_assert_eq!(whole % (1 << padding), 0);
        prop_assert!(whole - length - PREAMBLE_LEN < 1 << padding);
    }

    #[test]
    fn any_bytes_are_a_preamble_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
        if let Ok(preamble) = Preamble::parse(&bytes) {
            prop_assert_eq!(&preamble.emit()[..], &bytes[..8]);
        }
    }
}
