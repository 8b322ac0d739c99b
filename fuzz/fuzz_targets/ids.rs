// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Ids that begin and end in any order, beside a set.

#![no_main]

use std::collections::BTreeSet;

use homa_core::session::ids::{Ids, IdsError};
use homa_core::session::seq::MessageId;
use homa_core::session::WINDOW;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: Vec<(u8, u16)>| {
    let (mut ids, mut running, mut next) = (Ids::new(), BTreeSet::new(), 0u64);
    for (what, n) in steps {
        match what % 4 {
            0 | 1 => {
                // In runs, so that windows fill up.
                for _ in 0..=(n % if what & 8 != 0 { 5000 } else { 3 }) {
                    let floor = running.first().copied().unwrap_or(next);
                    match ids.next() {
                        Ok(id) => {
                            assert_eq!(id.number(), next);
                            running.insert(next);
                            next += 1;
                        }
                        Err(error) => {
                            assert_eq!(error, IdsError::Full);
                            assert_eq!(next - floor, WINDOW);
                        }
                    }
                }
            }
            2 => {
                let number = next.saturating_sub(u64::from(n) + 1);
                let id = MessageId::new(2 * number).unwrap();
                assert_eq!(ids.finish(id), running.remove(&number));
            }
            _ => {
                if let Some(number) = running.pop_first() {
                    assert!(ids.finish(MessageId::new(2 * number).unwrap()));
                }
            }
        }
        assert_eq!(ids.floor(), 2 * running.first().copied().unwrap_or(next));
        assert!(ids.memory() <= 8192);
    }
});
