// SPDX-License-Identifier: GPL-2.0 OR MIT

//! In an idle network a message takes as long as the ideal says: the yardstick of all slowdowns is right, and
//! neither network nor host adds to it.

use homa_core::config::Config;
use homa_sim::host::TheHost;
use homa_sim::net::Topology;
use homa_sim::scenario::{Mode, Pattern, Scenario, Traffic, MS};
use homa_sim::world::World;

/// One RPC at a time: 100 bytes there, so many back.
fn slowdowns(topology: Topology, response: u32, sealed: bool) -> Vec<f32> {
    let scenario = Scenario {
        topology,
        pattern: Pattern::Incast(1),
        mode: Mode::Response(response),
        traffic: Traffic::Rounds(20),
        duration: MS,
        warmup: 0,
        sealed,
        config: Config::default(),
        card_queue: 0,
        slow: None,
        dead: None,
        weather: None,
        checks: true,
    };
    let outcome = World::<TheHost>::new(scenario, 7).run().unwrap_or_else(|v| panic!("{v}"));
    assert_eq!(outcome.totals.completed, 20);
    outcome.samples.iter().map(|sample| sample.slowdown).collect()
}

/// The ideal keeps packets in order; where there are several spines, a short last one may overtake.
const LEAST: f32 = 0.985;

#[test]
fn nothing_is_faster_and_little_is_slower() {
    let near = Topology { racks: 1, ..Topology::SIGCOMM18 };
    // Host 1 is in another rack.
    let far = Topology { racks: 2, hosts_per_rack: 1, ..Topology::SIGCOMM18 };
    for topology in [near, far] {
        for response in [1, 100, 1424, 1425, 10_000] {
            let plain = slowdowns(topology, response, false);
            assert!(plain.iter().all(|s| (LEAST..1.005).contains(s)), "{response}: {plain:?}");
            let sealed = slowdowns(topology, response, true);
            assert!(
                sealed.iter().all(|s| (LEAST..1.12).contains(s)),
                "{response}, sealed: {sealed:?}"
            );
        }
        // With grants on the way, once round trips are known.
        for response in [100_000, 1_000_000] {
            let plain = slowdowns(topology, response, false);
            assert!(plain.iter().all(|s| *s >= LEAST), "{response}: {plain:?}");
            assert!(plain.iter().skip(5).all(|s| *s < 1.1), "{response}: {plain:?}");
        }
    }
}
