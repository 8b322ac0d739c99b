// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Packets of a message in any order and any size, beside a flag for every byte.

#![no_main]

use homa_core::config::Config;
use homa_core::msgin::{Accept, MsgIn, Range};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u16, Vec<(u8, u16, u16)>)| {
    let (length, incoming, steps) = input;
    let length = u32::from(length);
    let config = Config { grant_window: 1000, ..Config::default() };
    let mut message = MsgIn::new(length, u32::from(incoming));
    let mut here = vec![false; length as usize];
    for (what, a, b) in steps {
        let (start, len) = (u32::from(a), u32::from(b % 3000));
        match what % 4 {
            0 | 1 => match message.accept(start, len) {
                Accept::New(range) => {
                    assert!(start <= range.start && range.end <= start + len && range.len() > 0);
                    for byte in &mut here[range.start as usize..range.end as usize] {
                        assert!(!*byte);
                        *byte = true;
                    }
                }
                Accept::Duplicate => {
                    assert!(here[start as usize..(start + len) as usize].iter().all(|b| *b));
                }
                Accept::Refused => {}
            },
            2 => {
                let range = Range { start, end: start + len };
                if message.forget(range) {
                    for byte in &mut here[range.start as usize..range.end as usize] {
                        assert!(*byte);
                        *byte = false;
                    }
                }
            }
            _ => {
                if let Some(to) = message.poll_grant(&config) {
                    assert!(to <= length && to == message.granted());
                }
            }
        }
        let received = here.iter().filter(|b| **b).count() as u32;
        assert_eq!(message.remaining(), length - received);
        if let Some(range) = message.missing() {
            assert!(here[range.start as usize..range.end as usize].iter().all(|b| !b));
        }
    }
});
