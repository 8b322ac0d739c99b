// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Layouts, by properties: however a message is cut, every byte is in exactly one record and one
//! packet, and every packet tells its true place.

use homa_core::layout::{Cut, Layout};
use homa_core::msgin::Range;
use homa_core::session::TlsVersion;
use homa_core::wire::{MAX_RECORD, MAX_SEGMENT};
use proptest::prelude::*;

fn sealed() -> impl Strategy<Value = Layout> {
    let length = prop_oneof![9..20_000u32, 9..=1_048_576u32];
    let record = prop_oneof![64..2000u32, 64..=u32::from(MAX_RECORD)];
    (length, record, any::<bool>()).prop_map(|(length, record, tls13)| {
        let version = if tls13 { TlsVersion::Tls13 } else { TlsVersion::Tls12 };
        Layout::sealed(length, record, version.record_overhead()).unwrap()
    })
}

fn any_layout() -> impl Strategy<Value = Layout> {
    prop_oneof![sealed(), (1..=1_000_000u32).prop_map(|length| Layout::plain(length).unwrap())]
}

fn cut() -> impl Strategy<Value = Cut> {
    (1..=MAX_SEGMENT, 0..=MAX_SEGMENT, any::<bool>()).prop_map(|(a, b, small)| {
        let packet = if small { 1 + a % 9000 } else { a };
        Cut::new(packet, b.max(20_000)).unwrap()
    })
}

proptest! {
    #[test]
    fn records_cover_stream_and_plaintext(layout in sealed()) {
        let (mut stream, mut plaintext) = (0, 0);
        for (index, record) in layout.records_in(layout.stream()).enumerate() {
            prop_assert_eq!(usize::from(record.index), index);
            prop_assert_eq!(record.stream.start, stream);
            prop_assert_eq!(record.plaintext.start, plaintext);
            let overhead = record.stream.len() - record.plaintext.len();
            prop_assert!(overhead == 22 || overhead == 29);
            prop_assert!(record.plaintext.len() >= 1);
            prop_assert!(record.plaintext.len() <= layout.record_size());
            (stream, plaintext) = (record.stream.end, record.plaintext.end);
            for at in [record.stream.start, record.stream.end - 1] {
                prop_assert_eq!(layout.record_at(at), Some(record));
            }
            prop_assert_eq!(layout.record(index as u32), Some(record));
        }
        prop_assert_eq!((stream, plaintext), (layout.stream_length(), layout.length()));
        prop_assert_eq!(layout.record(layout.records()), None);
        prop_assert_eq!(layout.record_at(layout.stream_length()), None);
    }

    #[test]
    fn every_byte_is_in_exactly_one_packet(layout in any_layout(), cut in cut()) {
        let (mut stream, mut plaintext) = (0, 0);
        for segment in layout.segments(&cut, layout.stream()) {
            prop_assert_eq!(segment.stream.start, stream);
            prop_assert_eq!(segment.plaintext.start, plaintext);
            prop_assert!(segment.stream.len() <= cut.segment());
            if layout.is_sealed() {
                let first = layout.record(u32::from(segment.first_record)).unwrap();
                let last = u32::from(segment.first_record) + u32::from(segment.records) - 1;
                let last = layout.record(last).unwrap();
                prop_assert_eq!(segment.stream.start, first.stream.start);
                prop_assert_eq!(segment.stream.end, last.stream.end);
                prop_assert_eq!(segment.plaintext.end, last.plaintext.end);
            }
            for (i, packet) in segment.packets(&cut).enumerate() {
                prop_assert_eq!(packet.start, stream);
                prop_assert!(packet.len() >= 1 && packet.len() <= cut.packet());
                // All packets but a segment's last are full: the place counts in packets.
                prop_assert_eq!(packet.start - segment.stream.start, i as u32 * cut.packet());
                stream = packet.end;
            }
            prop_assert_eq!(segment.stream.end, stream);
            plaintext = segment.plaintext.end;
        }
        prop_assert_eq!((stream, plaintext), (layout.stream_length(), layout.length()));
    }

    #[test]
    fn segments_of_a_range_hold_it_and_little_more(
        layout in any_layout(),
        cut in cut(),
        a in any::<u32>(),
        b in any::<u32>(),
    ) {
        let (a, b) = (a % layout.stream_length(), b % layout.stream_length());
        let range = Range { start: a.min(b), end: a.max(b) + 1 };
        let segments: Vec<_> = layout.segments(&cut, range).collect();
        let (first, last) = (segments.first().unwrap(), segments.last().unwrap());
        prop_assert!(first.stream.start <= range.start && last.stream.end >= range.end);
        for pair in segments.windows(2) {
            prop_assert_eq!(pair[0].stream.end, pair[1].stream.start);
        }
        let most = if layout.is_sealed() { layout.record_size() + 29 } else { cut.packet() };
        prop_assert!(range.start - first.stream.start < most);
        prop_assert!(last.stream.end - range.end < most);
    }

    #[test]
    fn nothing_panics(
        length in any::<u32>(), record in any::<u32>(), overhead in any::<u32>(),
        packet in any::<u32>(), segment in any::<u32>(),
        from in any::<u32>(), limit in any::<u32>(),
    ) {
        let range = Range { start: from, end: limit };
        for layout in [Layout::sealed(length, record, overhead), Layout::plain(length),
            Layout::sealed(length % 70_000, record % 70_000, overhead)].into_iter().flatten() {
            layout.record_at(from);
            layout.record(limit);
            layout.records_in(range).take(100).count();
            if let Some(cut) = Cut::new(packet % 70_000, segment) {
                if let Some(segment) = layout.segment(&cut, from, limit) {
                    prop_assert!(segment.stream.end <= layout.stream_length());
                    segment.packets(&cut).take(100).count();
                }
                layout.segments(&cut, range).take(100).count();
            }
        }
    }
}
