// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sessions, by properties: each structure beside a naive model of itself, and client and server
//! side together.

use std::collections::{BTreeSet, HashSet};

use homa_core::session::control::{ControlSender, ControlWindow};
use homa_core::session::ids::{Ids, IdsError};
use homa_core::session::replay::{MarkError, ReplayWindow, Verdict};
use homa_core::session::seq::{MessageId, SequenceNumber};
use homa_core::session::{TlsVersion, WINDOW};
use proptest::prelude::*;

fn id(number: u64) -> MessageId {
    MessageId::new(2 * number).unwrap()
}

/// What happens to ids: `(true, _)` gives one out, `(false, n)` finishes one of those that run.
fn life() -> impl Strategy<Value = Vec<(bool, usize)>> {
    proptest::collection::vec((proptest::bool::weighted(0.55), any::<usize>()), 0..600)
}

proptest! {
    #[test]
    fn ids_are_like_a_set(life in life()) {
        let mut ids = Ids::new();
        let mut running = BTreeSet::new();
        let mut next = 0;
        for (begin, n) in life {
            if begin {
                prop_assert_eq!(ids.next(), Ok(id(next)));
                running.insert(next);
                next += 1;
            } else if let Some(&number) = running.iter().nth(n % running.len().max(1)) {
                running.remove(&number);
                prop_assert!(ids.finish(id(number)));
                prop_assert!(!ids.finish(id(number)));
            }
            let floor = running.first().copied().unwrap_or(next);
            prop_assert_eq!(ids.floor(), 2 * floor);
            prop_assert_eq!(ids.in_window(), next - floor);
            for &number in running.iter().take(3) {
                prop_assert_eq!(u64::from(ids.floor_distance(id(number))), number - floor);
            }
        }
    }

    /// The replay window beside a set of all that was ever seen, under any calls at all.
    #[test]
    fn replay_window_is_like_a_set(
        steps in proptest::collection::vec((0..3u8, any::<u32>(), any::<u16>()), 0..400),
        spread in prop_oneof![Just(300u64), Just(70_000), Just(1 << 20), Just(1 << 46)],
    ) {
        let mut window = ReplayWindow::new();
        let (mut seen, mut floor) = (HashSet::new(), 0u64);
        for (step, number, distance) in steps {
            let number = floor.saturating_sub(100) + u64::from(number) % spread;
            let Some(id) = MessageId::new(2 * number) else { continue };
            let verdict = if number < floor {
                Verdict::Dead
            } else if seen.contains(&number) {
                Verdict::Seen
            } else if number - floor >= WINDOW {
                Verdict::Ahead
            } else {
                Verdict::Fresh
            };
            prop_assert_eq!(window.check(id), verdict);
            match step {
                0 => {
                    let distance = distance % 300;
                    let told = number.checked_sub(u64::from(distance));
                    let dead = told.filter(|told| *told > floor);
                    let dead = dead.map(|told| 2 * floor..2 * told.min(floor + WINDOW));
                    prop_assert_eq!(window.advance_floor(id, distance), dead);
                    floor = told.map_or(floor, |told| floor.max(told));
                }
                1 => {}
                _ => {
                    let expected = match verdict {
                        Verdict::Fresh => Ok(()),
                        Verdict::Seen => Err(MarkError::Seen),
                        Verdict::Dead => Err(MarkError::Dead),
                        Verdict::Ahead => Err(MarkError::Ahead),
                    };
                    prop_assert_eq!(window.mark(id), expected);
                    if expected.is_ok() {
                        seen.insert(number);
                    }
                }
            }
            prop_assert_eq!(window.floor(), 2 * floor);
            prop_assert!(window.memory() <= 8192);
        }
    }

    /// Client and server together, over a network that loses, delays and repeats: no honest
    /// request is refused, and none is taken twice.
    #[test]
    fn honest_requests_pass_once(life in life(), network in any::<u64>()) {
        let mut random = network | 1;
        let mut random = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let (mut ids, mut window) = (Ids::new(), ReplayWindow::new());
        let (mut flying, mut all, mut running) = (vec![], vec![], vec![]);
        let mut taken = HashSet::new();
        for (begin, n) in life {
            if begin {
                let id = ids.next().unwrap();
                flying.push((id, ids.floor_distance(id)));
                all.push((id, ids.floor_distance(id)));
            } else if !running.is_empty() {
                // Only what the server took can finish.
                let id: MessageId = running.swap_remove(n % running.len());
                prop_assert!(ids.finish(id));
            }
            while !flying.is_empty() && random() % 4 != 0 {
                let (id, distance) = flying.swap_remove(random() as usize % flying.len());
                prop_assert!(matches!(window.check(id), Verdict::Fresh | Verdict::Ahead));
                window.advance_floor(id, distance);
                prop_assert_eq!(window.mark(id), Ok(()));
                prop_assert!(taken.insert(id));
                running.push(id);
            }
            // A replay of anything, taken or not, does not add what was taken before.
            if !all.is_empty() {
                let (id, distance) = all[random() as usize % all.len()];
                if taken.contains(&id) {
                    prop_assert!(matches!(window.check(id), Verdict::Seen | Verdict::Dead));
                    window.advance_floor(id, distance);
                    prop_assert!(window.mark(id).is_err());
                }
            }
        }
    }

    #[test]
    fn control_window_is_like_a_set(
        steps in proptest::collection::vec(0..400u64, 0..600),
        base in prop_oneof![Just(0u64), 0..(1u64 << 63) - 1000],
    ) {
        let mut window = ControlWindow::new();
        let mut seen = BTreeSet::new();
        for (i, step) in steps.into_iter().enumerate() {
            let counter = base + i as u64 / 2 + step % 200;
            let newest = seen.last().copied();
            let known = newest.is_some_and(|newest| newest >= counter + ControlWindow::SIZE);
            let fresh = !known && !seen.contains(&counter);
            prop_assert_eq!(window.check(counter), fresh);
            prop_assert_eq!(window.mark(counter), fresh);
            seen.insert(counter);
        }
    }

    /// No two of the numbers that a session can make are the same, nor their nonces.
    #[test]
    fn nonces_are_unique(
        ids in proptest::collection::hash_set(0..MessageId::END, 1..40),
        iv in any::<[u8; 12]>(),
        records in proptest::collection::hash_set(any::<u16>(), 1..20),
        counters in 1..50usize,
    ) {
        let mut numbers = vec![];
        for raw in ids {
            // Requests, responses, and their neighbours.
            for raw in [raw, raw ^ 1] {
                let id = MessageId::new(raw).unwrap();
                for index in records.iter().copied() {
                    numbers.push((raw, index, SequenceNumber::record(id, index)));
                }
            }
        }
        let mut sender = ControlSender::new();
        for _ in 0..counters {
            let counter = sender.next().unwrap();
            numbers.push((counter | (1 << 63), 0, SequenceNumber::control(counter).unwrap()));
        }
        let things: HashSet<_> = numbers.iter().map(|(a, b, _)| (*a, *b)).collect();
        let unique: HashSet<_> = numbers.iter().map(|(_, _, number)| number.get()).collect();
        prop_assert_eq!(things.len(), unique.len());
        for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
            let nonces: HashSet<_> =
                numbers.iter().map(|(_, _, number)| number.nonce(version, &iv)).collect();
            prop_assert_eq!(things.len(), nonces.len());
        }
    }
}

#[test]
fn a_window_of_65536_and_not_one_more() {
    let (mut ids, mut window) = (Ids::new(), ReplayWindow::new());
    let given: Vec<_> = (0..WINDOW).map(|_| ids.next().unwrap()).collect();
    assert_eq!(ids.next(), Err(IdsError::Full));
    // The last first: it is the furthest that an honest message can be.
    for id in given.iter().rev() {
        window.advance_floor(*id, ids.floor_distance(*id));
        assert_eq!(window.mark(*id), Ok(()));
    }
    for id in &given {
        assert_eq!(window.check(*id), Verdict::Seen);
        assert!(ids.finish(*id));
    }
    // All at once gone, and the next one tells so.
    let next = ids.next().unwrap();
    assert_eq!(window.check(next), Verdict::Ahead);
    assert_eq!(window.advance_floor(next, ids.floor_distance(next)), Some(0..2 * WINDOW));
    assert_eq!(window.mark(next), Ok(()));
    assert_eq!(window.check(given[0]), Verdict::Dead);
}
