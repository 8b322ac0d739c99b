// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Each invariant has a host that breaks it: the simulator must notice, and must notice nothing without it.

use clap::ValueEnum;
use homa_sim::check::Invariant;
use homa_sim::faults::plan;
use homa_sim::host::TheHost;
use homa_sim::sabotage::{self, Sabotage, Saboteur};
use homa_sim::scenario::Scenario;
use homa_sim::world::World;

/// Enough that each kind of sabotage has its occasion: plain and sealed, long messages, calm.
const SEEDS: u64 = 12;

fn scenario(seed: u64) -> Scenario {
    plan::calm(seed)
}

#[test]
fn every_sabotage_is_noticed() {
    for sabotage in Sabotage::value_variants() {
        let found: Vec<_> = (0..SEEDS)
            .filter_map(|seed| {
                let run = || World::<Saboteur<TheHost>>::new(scenario(seed), seed).run();
                sabotage::with(*sabotage, run).err().map(|violation| violation.invariant)
            })
            .collect();
        println!("{sabotage:?}: {} of {SEEDS} seeds: {found:?}", found.len());
        assert!(found.iter().any(|i| sabotage.breaks().contains(i)), "{sabotage:?}: {found:?}");
        let other = found.iter().find(|i| !sabotage.breaks().contains(i));
        assert_eq!(other, None, "{sabotage:?} breaks something else");
    }
}

#[test]
fn every_invariant_has_a_sabotage() {
    for invariant in Invariant::ALL {
        let broken = Sabotage::value_variants().iter().any(|s| s.breaks().contains(invariant));
        assert!(broken, "nothing breaks {invariant:?}");
    }
}

#[test]
fn without_sabotage_nothing_is_noticed() {
    for seed in 0..SEEDS {
        if let Err(violation) = World::<TheHost>::new(scenario(seed), seed).run() {
            panic!("seed {seed}: {violation}");
        }
    }
}
