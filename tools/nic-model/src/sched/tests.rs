// SPDX-License-Identifier: GPL-2.0 OR MIT

use std::collections::{BTreeMap, HashSet};

use super::*;

/// Runs queues with so many WQEs each to their end: the order in which they went.
fn order(policy: Policy, work: &[usize]) -> Vec<usize> {
    let mut now = Instant::now();
    let mut left: BTreeMap<usize, usize> = work.iter().copied().enumerate().collect();
    let mut scheduler = Scheduler::new(policy);
    for queue in 0..work.len() {
        scheduler.ready(now, queue);
        scheduler.ready(now, queue);
    }
    let mut order = vec![];
    loop {
        match scheduler.next(now) {
            Next::Run(queue) => {
                order.push(queue);
                let left = left.get_mut(&queue).unwrap();
                *left -= 1;
                if *left == 0 {
                    scheduler.remove(queue);
                }
            }
            Next::Wait(until) => {
                assert!(until > now && until - now <= Duration::from_millis(1));
                now = until;
            }
            Next::Idle => return order,
        }
    }
}

#[test]
fn fair_is_in_turn() {
    assert_eq!(order(Policy::Fair, &[3, 1, 2]), [0, 1, 2, 0, 2, 0]);
}

#[test]
fn everything_runs_whatever_the_seed() {
    for seed in 0..200 {
        let order = order(Policy::adversarial(seed), &[50, 1, 20, 7]);
        for (queue, count) in [50, 1, 20, 7].into_iter().enumerate() {
            assert_eq!(order.iter().filter(|q| **q == queue).count(), count);
        }
    }
}

#[test]
fn a_seed_gives_one_order_and_seeds_give_many() {
    let of = |seed| order(Policy::adversarial(seed), &[30, 30]);
    assert_eq!(of(3), of(3));
    let different: HashSet<_> = (0..100).map(of).collect();
    assert!(different.len() > 80, "{}", different.len());
}

/// What this is for: queue 0 posts parameters and then data, as does queue 1; in between is room for the other one.
#[test]
fn most_seeds_interleave_two_queues() {
    let interleaved = (0..100)
        .filter(|seed| {
            let order = order(Policy::adversarial(*seed), &[8, 8]);
            order.windows(2).filter(|w| w[0] != w[1]).count() > 1
        })
        .count();
    assert!(interleaved > 50, "{interleaved}");
}

#[test]
fn held_queues_let_others_pass() {
    let policy = "seed=1,hold=100%,hold-time=4ms,switch=0%".parse().unwrap();
    let start = Instant::now();
    let mut scheduler = Scheduler::new(policy);
    scheduler.ready(start, 'a');
    let Next::Wait(until) = scheduler.next(start) else { panic!("not held") };
    assert_eq!(scheduler.next(until), Next::Run('a'));
    assert!(matches!(scheduler.next(until), Next::Wait(_)));
    scheduler.remove('a');
    assert_eq!(scheduler.next(until), Next::Idle);
}

#[test]
fn removing_keeps_the_turn() {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(Policy::Fair);
    for queue in ['a', 'b', 'c'] {
        scheduler.ready(now, queue);
    }
    assert_eq!(scheduler.next(now), Next::Run('a'));
    scheduler.remove('a');
    assert_eq!(scheduler.next(now), Next::Run('b'));
    scheduler.remove('x');
    assert_eq!(scheduler.next(now), Next::Run('c'));
    assert_eq!(scheduler.next(now), Next::Run('b'));
}

#[test]
fn options() {
    assert_eq!("fair".parse(), Ok(Policy::Fair));
    assert_eq!("seed=9".parse(), Ok(Policy::adversarial(9)));
    for bad in ["", "seed", "hold=1%", "seed=1,foo=2", "seed=1,hold=2"] {
        assert!(bad.parse::<Policy>().is_err(), "{bad}");
    }
}
