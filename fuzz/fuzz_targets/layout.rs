// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Any message, cut in any way: each byte once, each packet in its place.

#![no_main]

use homa_core::layout::{Cut, Layout};
use homa_core::msgin::Range;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([u32; 3], [u32; 2], [u32; 2])| {
    let ([length, record, overhead], [packet, segment], [from, limit]) = input;
    let layouts = [
        Layout::sealed(length, record, overhead),
        Layout::sealed(length % 300_000, record % 20_000, 22),
        Layout::plain(length % 1_000_000),
    ];
    for layout in layouts.into_iter().flatten() {
        if let Some(record) = layout.record_at(from) {
            assert!(record.stream.start <= from && from < record.stream.end);
        }
        for cut in [Cut::new(packet, segment), Cut::new(100 + packet % 9000, segment)] {
            let Some(cut) = cut else { continue };
            let mut at = None;
            for segment in layout.segments(&cut, Range { start: from, end: limit }).take(2000) {
                assert!(at.is_none_or(|at| at == segment.stream.start));
                assert!(segment.stream.len() > 0 && segment.stream.len() <= cut.segment());
                assert!(segment.stream.end <= layout.stream_length());
                let mut next = segment.stream.start;
                for packet in segment.packets(&cut) {
                    assert_eq!(packet.start, next);
                    next = packet.end;
                }
                assert_eq!(next, segment.stream.end);
                at = Some(next);
            }
        }
    }
});
