// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Messages that come to the receive pool and are handed back: no two of them share a byte.

#![no_main]

use homa_core::bpool::{BufferPool, BPAGE_SIZE};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<(bool, u32)>)| {
    let (pages, steps) = input;
    let pages = usize::from(pages % 40);
    let Ok(mut pool) = BufferPool::new(pages) else { return };
    // Pieces (start, end) of the messages that the program has.
    let mut messages: Vec<Vec<(u32, u32)>> = vec![];
    for (allocate, n) in steps {
        if allocate {
            let len = 1 + n % 1_000_000;
            let Some(place) = pool.allocate(len) else {
                assert!(pool.available() < u64::from(len.next_multiple_of(BPAGE_SIZE)));
                continue;
            };
            let mut rest = len;
            let mut pieces = vec![];
            for offset in place.offsets() {
                let part = rest.min(BPAGE_SIZE);
                assert!(offset % BPAGE_SIZE + part <= BPAGE_SIZE);
                assert!(u64::from(offset + part) <= pages as u64 * u64::from(BPAGE_SIZE));
                pieces.push((*offset, offset + part));
                rest -= part;
            }
            assert_eq!(rest, 0);
            for (start, end) in &pieces {
                assert!(messages.iter().flatten().all(|(s, e)| e <= start || end <= s));
            }
            messages.push(pieces);
        } else if n & 1 == 0 && !messages.is_empty() {
            let message = messages.swap_remove(n as usize / 2 % messages.len());
            for (start, _) in message {
                assert!(pool.release(start).is_ok());
            }
        } else {
            // Anything: refused, unless some message of that bpage is there to be handed back.
            let page = n / BPAGE_SIZE;
            let owned = messages.iter().flatten().any(|(start, _)| start / BPAGE_SIZE == page);
            if !owned {
                assert!(pool.release(n).is_err());
            }
        }
    }
    for (start, _) in messages.into_iter().flatten() {
        assert!(pool.release(start).is_ok());
    }
    // At most the bpage that is open is not free.
    assert!(pool.available() + u64::from(BPAGE_SIZE) >= pages as u64 * u64::from(BPAGE_SIZE));
});
