// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Draws a small network with mixed faults from a seed.

use homa_core::config::Config;

use super::{Mishap, Weather};
use crate::host::Time;
use crate::net::Topology;
use crate::random::Random;
use crate::scenario::{Mode, Pattern, Scenario, Traffic, MS, SECOND, US};

/// Requests are made within this time.
const WITHIN: Time = 50 * MS;

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    let random = &mut Random::new(seed, 1000);
    let racks = random.pick(&[1, 1, 2, 3]);
    let topology = Topology {
        racks,
        hosts_per_rack: random.pick(&[2, 2, 3, 4]),
        spines: if racks > 1 { random.pick(&[1, 2, 3]) } else { 0 },
        buffer: random.pick(&[u64::MAX, u64::MAX, 200_000, 20_000]),
        mtu: random.pick(&[1500, 1500, 9000, 700]),
        ..Topology::SIGCOMM18
    };
    let sealed = random.chance(0.5);
    let hosts = topology.hosts();
    let mut config = Config::default();
    if random.chance(0.4) {
        config.unscheduled = random.pick(&[1, 3000, 10_000]);
        config.grant_window = random.pick(&[6000, 20_000, 100_000]);
    }
    let weather = weather(random, hosts);
    // What can be repaired within the time-out, whatever is lost.
    let longest =
        if weather.loss > 0.1 { 20_000 } else { random.pick(&[5000, 100_000, 100_000, 1_000_000]) };
    Scenario {
        topology,
        pattern: Pattern::AllToAll,
        mode: Mode::Echo,
        traffic: Traffic::Few {
            rpcs: random.between(10, 80) as u32,
            within: WITHIN,
            longest,
            aborts: random.pick(&[0.0, 0.0, 0.1, 0.4]),
            think: random.pick(&[1, 100 * US, 3 * MS, 30 * MS]),
        },
        duration: WITHIN,
        warmup: 0,
        sealed,
        config,
        card_queue: random.pick(&[0, 0, 3000, 200_000]),
        slow: random
            .chance(0.1)
            .then(|| (random.below(u64::from(hosts)) as u16, random.between(1, 20) * US)),
        dead: random.chance(0.05).then(|| random.below(u64::from(hosts)) as u16),
        weather: Some(weather),
        checks: true,
    }
}

/// The scenario of a seed, without anything that goes wrong, and with long messages.
pub fn calm(seed: u64) -> Scenario {
    let faulty = scenario(seed);
    Scenario {
        topology: Topology { buffer: u64::MAX, ..faulty.topology },
        traffic: Traffic::Few {
            rpcs: 40,
            within: WITHIN,
            longest: 1_000_000,
            aborts: 0.0,
            think: MS,
        },
        sealed: seed % 2 == 1,
        slow: None,
        dead: None,
        weather: None,
        ..faulty
    }
}

fn weather(random: &mut Random, hosts: u16) -> Weather {
    let mut weather = Weather {
        loss: random.pick(&[0.0, 0.0, 0.001, 0.01, 0.05, 0.3]),
        burst: random.pick(&[0.0, 0.0, 0.001, 0.01]),
        burst_length: random.pick(&[5, 50, 300]),
        duplicate: random.pick(&[0.0, 0.0, 0.01, 0.1]),
        reorder: random.pick(&[0.0, 0.0, 0.01, 0.3]),
        jitter: random.pick(&[10 * US, 300 * US, 5 * MS]),
        corrupt: random.pick(&[0.0, 0.0, 0.01, 0.05]),
        forge: random.pick(&[0.0, 0.0, 0.02, 0.2]),
        replay: random.pick(&[0.0, 0.0, 0.02, 0.1]),
        happens: Vec::new(),
    };
    let count = random.pick(&[0, 0, 1, 2, 5]);
    for _ in 0..count {
        let at = random.below(2 * WITHIN);
        let host = random.below(u64::from(hosts)) as u16;
        let mishap = match random.below(6) {
            0 => {
                let back = at + random.pick(&[MS, 30 * MS, 2 * SECOND]);
                weather.happens.push((back, Mishap::Boot(host)));
                Mishap::Crash(host)
            }
            1 => Mishap::Clock(host, random.pick(&[US, 5 * MS, 300 * MS, 10 * SECOND])),
            2 => Mishap::Memory(host, random.pick(&[0.01, 0.3, 1.0]), random.between(MS, 50 * MS)),
            3 => Mishap::Cut(host, random.pick(&[MS, 20 * MS, 300 * MS, 8 * SECOND])),
            _ => Mishap::Stall(host, random.between(50 * US, 20 * MS)),
        };
        weather.happens.push((at, mishap));
    }
    weather.happens.sort_by_key(|(at, _)| *at);
    weather
}
