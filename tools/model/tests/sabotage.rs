// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Each rule is needed: without it, the invariant that it is for does not hold.

use clap::ValueEnum;
use homa_model::model::{run, Session};
use homa_model::sabotage::{Rules, Sabotage};
use homa_model::scenario;

#[test]
fn every_sabotage_is_found() {
    for sabotage in Sabotage::value_variants() {
        let scenario = scenario::small().into_iter().find(|s| s.name == sabotage.scenario());
        let scenario = scenario.expect("the scenario is there");
        let rules = Rules(Some(*sabotage));
        let report = run(Session::new(scenario, rules), 1, None, Some(sabotage.breaks()));
        let way = report.broken.iter().find(|(invariant, _)| *invariant == sabotage.breaks());
        let names: Vec<_> = report.broken.iter().map(|(i, way)| (i.name(), way.len())).collect();
        println!("{sabotage:?}, {}: {names:?}, {} states", sabotage.scenario(), report.states);
        assert!(way.is_some(), "{sabotage:?}: {names:?}");
    }
}
