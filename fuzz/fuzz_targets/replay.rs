// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Requests that are seen and floors that rise, in any order, beside a set.

#![no_main]

use std::collections::BTreeSet;

use homa_core::session::replay::{MarkError, ReplayWindow, Verdict};
use homa_core::session::seq::MessageId;
use homa_core::session::WINDOW;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: Vec<(u8, u32, u16)>| {
    let (mut window, mut seen, mut floor) = (ReplayWindow::new(), BTreeSet::new(), 0u64);
    for (what, number, distance) in steps {
        // Near the floor, or anywhere.
        let number = match what & 0xc0 {
            0 => u64::from(number) << 14,
            0x40 => floor.saturating_sub(64) + u64::from(number % 200),
            _ => floor + u64::from(number % 80_000),
        };
        let Some(id) = MessageId::new(2 * number) else { continue };
        let verdict = window.check(id);
        let expected = match number.checked_sub(floor) {
            None => Verdict::Dead,
            Some(_) if seen.contains(&number) => Verdict::Seen,
            Some(distance) if distance >= WINDOW => Verdict::Ahead,
            Some(_) => Verdict::Fresh,
        };
        assert_eq!(verdict, expected);
        if what & 1 == 0 {
            match window.mark(id) {
                Ok(()) => {
                    assert_eq!(verdict, Verdict::Fresh);
                    assert!(seen.insert(number));
                }
                Err(error) => assert!(error != MarkError::Alloc && verdict != Verdict::Fresh),
            }
        } else {
            let told = number.saturating_sub(u64::from(distance));
            let dead = window.advance_floor(id, distance);
            assert_eq!(dead.is_some(), number >= u64::from(distance) && told > floor);
            if let Some(dead) = dead {
                assert_eq!(dead.start, 2 * floor);
                assert!(seen.range(floor..told).all(|n| dead.contains(&(2 * n))));
                assert!(dead.end - dead.start <= 2 * WINDOW);
                floor = told;
                seen = seen.split_off(&floor);
            }
        }
        assert_eq!(window.floor(), 2 * floor);
        assert!(window.memory() <= 8192);
    }
});
