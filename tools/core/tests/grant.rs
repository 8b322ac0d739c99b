// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The receiver's grant scheduler: who may send, and how much.

use std::collections::{BTreeMap, BTreeSet};

use homa_core::grant::{Grants, Limits, Progress};
use homa_core::slab::Token;

const LIMITS: Limits =
    Limits { overcommit: 2, max_incoming: 30_000, oldest_permille: 50, oldest_grant: 1000 };

const fn at(received: u32, granted: u32) -> Progress {
    Progress { received, granted, window: 10_000 }
}

fn all(grants: &mut Grants<u32>) -> Vec<(u32, u32, u8)> {
    std::iter::from_fn(|| grants.poll(4)).map(|g| (g.handle, g.offset, g.priority)).collect()
}

#[test]
fn the_shortest_messages_of_two_peers() {
    let mut grants = Grants::new(LIMITS);
    grants.add(1, 1, 100_000, at(1000, 1000)).unwrap();
    assert_eq!(all(&mut grants), [(1, 11_000, 0)]);
    grants.add(2, 2, 90_000, at(1000, 1000)).unwrap();
    grants.add(3, 2, 80_000, at(1000, 1000)).unwrap();
    // One of each peer; the shorter one at the higher level.
    assert_eq!(all(&mut grants), [(3, 11_000, 1)]);
    // A shorter one takes the place of the longest.
    let four = grants.add(4, 4, 50_000, at(0, 0)).unwrap();
    assert_eq!((all(&mut grants), grants.active()), (vec![(4, 10_000, 1)], 2));
    assert_eq!(grants.incoming(), 30_000);
    // And gives it back.
    grants.remove(four);
    assert_eq!((all(&mut grants), grants.active(), grants.incoming()), (vec![], 2, 20_000));
}

#[test]
fn grants_come_in_steps_and_end() {
    let mut grants = Grants::new(LIMITS);
    let one = grants.add(1, 1, 12_000, at(1000, 1000)).unwrap();
    assert_eq!(all(&mut grants), [(1, 11_000, 0)]);
    // 1000 bytes more are granted as they are the last.
    assert_eq!(grants.progress(one, at(2000, 0)), Some(5333));
    assert_eq!(all(&mut grants), [(1, 12_000, 0)]);
    assert_eq!((grants.active(), grants.len(), grants.incoming()), (0, 1, 10_000));
    grants.progress(one, at(12_000, 0));
    assert_eq!((all(&mut grants), grants.incoming()), (vec![], 0));
    grants.remove(one);
    grants.remove(one);
    assert!(grants.is_empty());
    let two = grants.add(2, 1, 100_000, at(0, 0)).unwrap();
    assert_eq!((grants.progress(one, at(2000, 0)), grants.len()), (None, 1));
    assert_eq!(all(&mut grants), [(2, 10_000, 0)]);
    grants.progress(two, at(3332, 0));
    assert_eq!(all(&mut grants), []);
    grants.progress(two, at(3333, 0));
    assert_eq!(all(&mut grants), [(2, 13_333, 0)]);
}

#[test]
fn incoming_bytes_are_bounded() {
    let mut grants = Grants::new(Limits { overcommit: 8, max_incoming: 25_000, ..LIMITS });
    let tokens: Vec<_> =
        (0..5).map(|n| grants.add(n, n.into(), 100_000 + n, at(0, 0)).unwrap()).collect();
    assert_eq!(all(&mut grants), [(0, 10_000, 3), (1, 10_000, 2), (2, 5000, 1)]);
    // The first is served first.
    grants.progress(tokens[0], at(4000, 0));
    assert_eq!(all(&mut grants), [(0, 14_000, 3)]);
    grants.progress(tokens[2], at(5000, 0));
    // It has the fewest bytes left now.
    assert_eq!(all(&mut grants), [(2, 10_000, 3)]);
    assert_eq!(grants.incoming(), 25_000);
}

#[test]
fn silent_senders_keep_nobody_waiting() {
    let mut grants = Grants::new(Limits { overcommit: 1, max_incoming: 10_000, ..LIMITS });
    let one = grants.add(1, 1, 50_000, at(0, 0)).unwrap();
    grants.add(2, 2, 60_000, at(0, 0)).unwrap();
    assert_eq!(all(&mut grants), [(1, 10_000, 0)]);
    grants.stalled(one);
    assert_eq!(all(&mut grants), [(2, 10_000, 0)]);
    // Nothing new is no sign of life.
    grants.progress(one, at(0, 10_000));
    assert_eq!((all(&mut grants), grants.incoming()), (vec![], 10_000));
    // It is the shorter one again, but the bound is used up: even exceeded, by what was thought lost.
    grants.progress(one, at(5000, 10_000));
    assert_eq!((all(&mut grants), grants.incoming()), (vec![], 15_000));
    grants.progress(one, at(10_000, 10_000));
    assert_eq!(all(&mut grants), []);
    assert_eq!(grants.active(), 1);
}

#[test]
fn who_waits_for_us_is_not_silent() {
    let mut grants = Grants::new(Limits { overcommit: 1, ..LIMITS });
    grants.add(1, 1, 50_000, at(0, 0)).unwrap();
    let two = grants.add(2, 2, 60_000, at(500, 500)).unwrap();
    all(&mut grants);
    grants.stalled(two);
    let limits = Limits { overcommit: 2, ..LIMITS };
    grants.set_limits(limits);
    assert_eq!(all(&mut grants), [(2, 10_500, 0)]);
}

#[test]
fn the_oldest_gets_its_fraction() {
    let mut grants = Grants::new(Limits { overcommit: 1, max_incoming: 50_000, ..LIMITS });
    let old = grants.add(0, 0, 1_000_000, at(0, 0)).unwrap();
    let mut granted = [0u32; 2];
    all(&mut grants);
    grants.progress(old, at(10_000, 0));
    let mut next = grants.add(1, 1, 20_000, at(0, 0)).unwrap();
    for n in 2..=101 {
        // An endless row of shorter ones: the next is there before one ends.
        let token = next;
        next = grants.add(n, 1 + u64::from(n % 2), 20_000, at(0, 0)).unwrap();
        for received in (0..=20_000).step_by(2500) {
            grants.progress(token, at(received, 0));
            for (handle, offset, _) in all(&mut grants) {
                if handle == 0 {
                    granted[0] = offset;
                    // All of it arrives at once.
                    grants.progress(old, at(offset, 0));
                } else if offset == 20_000 {
                    granted[1] += offset;
                }
            }
        }
        grants.remove(token);
    }
    // 5 % of 2,000,000, and its first window.
    assert_eq!(granted[1], 2_000_000);
    assert!((90_000..=120_000).contains(&granted[0]), "{granted:?}");
}

/// Chance, against a model that knows only the rules.
#[test]
fn rules_hold_whatever_comes() {
    let mut seed = 7u64;
    let mut random = move |end: u32| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as u32 % end
    };
    struct Real {
        token: Token,
        peer: u64,
        length: u32,
        received: u32,
        granted: u32,
        stalled: bool,
    }
    for _ in 0..20 {
        let overcommit = 1 + random(9) as u8;
        let max_incoming = 10_000 + random(100_000);
        let limits = Limits { overcommit, max_incoming, ..LIMITS };
        let mut grants = Grants::new(limits);
        let mut real: BTreeMap<u32, Real> = BTreeMap::new();
        for step in 0..5000u32 {
            let some = real.keys().nth(random(40) as usize).copied();
            match (random(8), some) {
                (0..=1, _) if real.len() < 60 => {
                    let (peer, length) = (u64::from(random(12)), 2000 + random(200_000));
                    let received = random(2000);
                    let token = grants.add(step, peer, length, at(received, 2000)).unwrap();
                    let granted = 2000;
                    let stalled = false;
                    let message = Real { token, peer, length, received, granted, stalled };
                    real.insert(step, message);
                }
                (2, Some(id)) => {
                    let message = real.get_mut(&id).unwrap();
                    grants.stalled(message.token);
                    message.stalled = message.received < message.granted;
                }
                (3, Some(id)) if random(4) == 0 => {
                    grants.remove(real.remove(&id).unwrap().token);
                }
                (_, Some(id)) => {
                    let message = real.get_mut(&id).unwrap();
                    let more = message.granted.saturating_sub(message.received);
                    if more == 0 {
                        continue;
                    }
                    message.received += 1 + random(more);
                    message.stalled = false;
                    let (token, received) = (message.token, message.received);
                    grants.progress(token, at(received, message.granted));
                    if received == message.length {
                        grants.remove(token);
                        real.remove(&id);
                    }
                }
                _ => {}
            }
            while let Some(grant) = grants.poll(3) {
                assert!(grant.priority < 3);
                let message = real.get_mut(&grant.handle).unwrap();
                assert!(!message.stalled, "a grant to a silent sender");
                assert!(grant.offset > message.granted && grant.offset <= message.length);
                let oldest = message.received >= message.granted
                    && grant.offset - message.granted <= limits.oldest_grant;
                let within = grant.offset <= message.received + 10_000;
                assert!(within || oldest, "more than the window");
                message.granted = grant.offset;
            }
            let incoming: u32 = real
                .values()
                .filter(|m| !m.stalled)
                .map(|m| m.granted.saturating_sub(m.received))
                .sum();
            assert_eq!(u64::from(incoming), grants.incoming());
            // Nobody waits in vain: a waiting peer means that all places are taken.
            let peers: BTreeSet<u64> = real
                .values()
                .filter(|m| !m.stalled && m.granted < m.length)
                .map(|m| m.peer)
                .collect();
            assert_eq!(grants.active(), peers.len().min(usize::from(overcommit)));
            // The active ones are the shortest, or are granted as much as may be.
            let mut best: Vec<_> = real
                .iter()
                .filter(|(_, m)| !m.stalled && m.granted < m.length)
                .map(|(id, m)| (m.length - m.received, *id))
                .collect();
            best.sort_unstable();
            if let Some((left, id)) = best.first() {
                let message = &real[id];
                let window = (message.received + 10_000).min(message.length);
                let due = window.saturating_sub(message.granted);
                let full = grants.incoming() + 3333 > u64::from(max_incoming);
                assert!(due < 3333 || full, "{left} bytes left, and nothing granted");
            }
        }
    }
}
