// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Everything holds in every state of the small scenarios.

use std::collections::BTreeSet;

use homa_model::check::Witness;
use homa_model::model::{run, Session};
use homa_model::sabotage::Rules;
use homa_model::scenario;

#[test]
fn everything_holds_and_everything_happens() {
    let mut seen = BTreeSet::new();
    for scenario in scenario::small() {
        let name = scenario.name;
        let report = run(Session::new(scenario, Rules::default()), 2, None, None);
        println!("{name}: {} states, {:?}", report.states, report.time);
        assert!(report.broken.is_empty(), "{name}: {:#?}", report.broken);
        assert!(report.exhaustive, "{name}");
        assert!(report.seen.contains(&Witness::AllAnswered), "{name}: {:?}", report.seen);
        seen.extend(report.seen);
    }
    assert_eq!(seen, BTreeSet::from(Witness::ALL));
}
