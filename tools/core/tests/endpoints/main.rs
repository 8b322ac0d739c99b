// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Two hosts, made of the core's types, over a network that loses, delays, repeats, changes,
//! replays and forges packets, in virtual time.
//!
//! Everything that happens follows from a seed. A scenario runs with many of them (`HOMA_SEEDS`
//! says how many; 150 if it does not); a seed that fails is printed with the command that repeats it.
//! What must hold, in each run:
//!
//! - every RPC completes exactly once, with the right bytes, or fails with a reason, or was given
//!   up by its client;
//! - a server executes a request at most once;
//! - at the end no RPC is left anywhere, and every id of a session is finished;
//! - no (key, nonce) pair encrypts twice.

mod host;
mod link;
mod random;
mod seal;

use std::collections::{BTreeMap, BinaryHeap};
use std::panic::{catch_unwind, resume_unwind};

use homa_core::config::{Config, MS};
use homa_core::rpc::Failure;
use homa_core::session::TlsVersion;

use host::{Event, Host};
use link::{Link, Weather};
use random::Random;
use seal::{Keys, Ledger, Session};

const SECOND: u64 = 1000 * MS;
/// Longest run in virtual time; far more than any needs.
const END: u64 = 600 * SECOND;

/// What is tried.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    sealed: bool,
    weather: Weather,
    rpcs: u64,
    /// Longest message, and how many in a thousand are as long as that.
    longest: u64,
    /// RPCs that their client gives up, in thousandths.
    abort: u32,
    /// When the network breaks for good.
    cut_at: Option<u64>,
    /// Fewer bytes before grants than by default.
    unscheduled: Option<u32>,
}

const CALM: Scenario = Scenario {
    name: "",
    sealed: false,
    weather: Weather { loss: 0, duplicate: 0, corrupt: 0, replay: 0, forge: 0, jitter: 0 },
    rpcs: 30,
    longest: 100_000,
    abort: 0,
    cut_at: None,
    unscheduled: None,
};

/// How an RPC ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Completed,
    Failed(Failure),
    Aborted,
}

/// What is known of an RPC from outside.
#[derive(Default)]
struct Fate {
    request: Vec<u8>,
    executed: u32,
    end: Option<End>,
}

/// What a program does at a time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    Request { host: usize },
    Reply { host: usize, id: u64 },
    Abort { host: usize, id: u64 },
}

struct World {
    scenario: Scenario,
    now: u64,
    random: Random,
    link: Link,
    hosts: [Host; 2],
    /// (when, order, what); a heap of the negated.
    plans: BinaryHeap<std::cmp::Reverse<(u64, u64, Doing)>>,
    order: u64,
    /// By client and id.
    fates: BTreeMap<(usize, u64), Fate>,
    responses: BTreeMap<(usize, u64), Vec<u8>>,
}

/// The response to a request: other bytes, of another length, that follow from it.
fn response_to(request: &[u8], longest: u64) -> Vec<u8> {
    let sum = request.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
    let mut random = Random::new(sum ^ request.len() as u64);
    let len = length(&mut random, longest);
    random.bytes(len)
}

/// Mostly short messages, some long, a few very long.
fn length(random: &mut Random, longest: u64) -> usize {
    let reach = match random.below(20) {
        0..=9 => 200,
        10..=15 => 4000,
        16..=18 => 60_000,
        _ => longest,
    };
    1 + random.below(reach.min(longest)) as usize
}

impl World {
    fn new(scenario: Scenario, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let config = Config {
            unscheduled: scenario.unscheduled.unwrap_or(Config::default().unscheduled),
            grant_window: scenario.unscheduled.unwrap_or(80_000) * 2,
            ..Config::default()
        };
        let sessions = if scenario.sealed {
            let ledger = Ledger::default();
            let mut key = || {
                let version =
                    if random.chance(500) { TlsVersion::Tls13 } else { TlsVersion::Tls12 };
                let bytes = random.bytes(28);
                let (key, iv) = bytes.split_at(16);
                Keys::new(version, key.try_into().unwrap(), iv.try_into().unwrap(), &ledger)
            };
            let (one, two) = (key(), key());
            [Some(Session::new(one.clone(), two.clone())), Some(Session::new(two, one))]
        } else {
            [None, None]
        };
        let [one, two] = sessions;
        let hosts = [
            Host::new(1001, 1002, config, one, Random::new(random.next())),
            Host::new(1002, 1001, config, two, Random::new(random.next())),
        ];
        let link = Link::new(scenario.weather, Random::new(random.next()));
        let mut world = Self {
            scenario,
            now: 0,
            random,
            link,
            hosts,
            plans: BinaryHeap::new(),
            order: 0,
            fates: BTreeMap::new(),
            responses: BTreeMap::new(),
        };
        for _ in 0..scenario.rpcs {
            let at = world.random.below(50 * MS);
            let host = world.random.below(2) as usize;
            world.plan(at, Doing::Request { host });
        }
        world
    }

    fn plan(&mut self, at: u64, doing: Doing) {
        self.order += 1;
        self.plans.push(std::cmp::Reverse((at, self.order, doing)));
    }

    fn run(&mut self) {
        loop {
            self.deliver();
            let plan = self.plans.peek().map(|plan| plan.0 .0);
            let timer = self.hosts.iter().filter_map(Host::deadline).min();
            let packet = self.link.next_at();
            let Some(next) = [plan, timer, packet].into_iter().flatten().min() else {
                return;
            };
            self.now = self.now.max(next);
            if self.now >= END {
                let [a, b] = &self.hosts;
                panic!("never ends:\n{}{}", a.describe(), b.describe());
            }
            if self.scenario.cut_at.is_some_and(|at| at <= self.now) {
                self.link.cut = true;
            }
            if plan == Some(next) {
                if let Some(plan) = self.plans.pop() {
                    self.act(plan.0 .2);
                }
            } else if packet == Some(next) {
                if let Some((to, packet)) = self.link.arrive() {
                    self.hosts[to].receive(self.now, &packet);
                }
            } else {
                // The kernel's timer ticks; it is late by up to some milliseconds.
                self.now += self.random.below(2 * MS);
                self.hosts.iter_mut().for_each(|host| host.tick(self.now));
            }
        }
    }

    fn act(&mut self, doing: Doing) {
        match doing {
            Doing::Request { host } => {
                let len = length(&mut self.random, self.scenario.longest);
                let request = self.random.bytes(len);
                let id = self.hosts[host].request(self.now, &request).expect("the window is large");
                let response = response_to(&request, self.scenario.longest);
                self.responses.insert((host, id), response);
                self.fates.insert((host, id), Fate { request, ..Fate::default() });
                if self.random.chance(self.scenario.abort) {
                    let at = self.now + self.random.below(5 * MS);
                    self.plan(at, Doing::Abort { host, id });
                }
            }
            Doing::Reply { host, id } => {
                let response = self.responses[&(1 - host, id ^ 1)].clone();
                self.hosts[host].reply(self.now, id, &response);
            }
            Doing::Abort { host, id } => {
                if self.hosts[host].abort(id) {
                    self.end(host, id, End::Aborted);
                }
            }
        }
    }

    fn end(&mut self, host: usize, id: u64, end: End) {
        let fate = self.fates.get_mut(&(host, id)).expect("an RPC that was begun");
        assert_eq!(fate.end, None, "RPC {id} of {host} ends twice: now {end:?}");
        fate.end = Some(end);
    }

    /// Takes from the hosts what they want to send and to tell.
    fn deliver(&mut self) {
        for host in 0..2 {
            for packet in std::mem::take(&mut self.hosts[host].outbox) {
                self.link.send(self.now, 1 - host, packet);
            }
            for event in std::mem::take(&mut self.hosts[host].events) {
                match event {
                    Event::Request { id, bytes } => {
                        let fate = self.fates.get_mut(&(1 - host, id ^ 1));
                        let fate = fate.expect("a request that was made");
                        assert!(fate.request == bytes, "request {id} arrives with other bytes");
                        fate.executed += 1;
                        assert!(fate.executed == 1, "request {id} is executed twice");
                        let at = self.now + self.random.below(3 * MS);
                        self.plan(at, Doing::Reply { host, id });
                    }
                    Event::Response { id, bytes } => {
                        assert!(self.responses[&(host, id)] == bytes, "response {id} is wrong");
                        assert_eq!(self.fates[&(host, id)].executed, 1);
                        self.end(host, id, End::Completed);
                    }
                    Event::Failed { id, why } => self.end(host, id, End::Failed(why)),
                }
            }
        }
    }

    /// Nothing may be left of anything.
    fn check_end(&self) {
        for host in &self.hosts {
            assert_eq!(host.rpc_count(), 0, "left behind:\n{}", host.describe());
            if let Some(session) = &host.session {
                assert_eq!(session.ids.in_window(), 0, "ids that never ended");
            }
        }
        for ((host, id), fate) in &self.fates {
            match fate.end {
                None => panic!("RPC {id} of {host} never ended"),
                Some(End::Failed(why)) if self.scenario.cut_at.is_none() => {
                    panic!("RPC {id} of {host} failed: {why:?}")
                }
                Some(_) => {}
            }
        }
    }
}

/// Runs a scenario with many seeds, or with the one that `HOMA_SEED` names.
fn run(scenario: Scenario) {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse().expect("a number"));
    let seeds = match number("HOMA_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HOMA_SEEDS").unwrap_or(150),
    };
    let mut drops: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut packets, mut time, mut ends) = (0, 0, BTreeMap::<String, u32>::new());
    for seed in seeds {
        let result = catch_unwind(|| {
            let mut world = World::new(scenario, seed);
            world.run();
            world.check_end();
            let counts: Vec<_> = world.hosts.iter().flat_map(|h| h.drops.clone()).collect();
            let fates: Vec<_> = world.fates.values().filter_map(|fate| fate.end).collect();
            (counts, world.link.sent, world.now, fates)
        });
        match result {
            Ok((counts, sent, now, fates)) => {
                counts.into_iter().for_each(|(why, n)| *drops.entry(why).or_default() += n);
                fates.iter().for_each(|end| *ends.entry(format!("{end:?}")).or_default() += 1);
                packets += sent;
                time += now;
            }
            Err(panic) => {
                let name = scenario.name;
                eprintln!(
                    "seed {seed} failed; again:\n  \
                     HOMA_SEED={seed} cargo test -p homa-core --test endpoints -- --exact {name}"
                );
                resume_unwind(panic);
            }
        }
    }
    println!("{packets} packets, {} virtual ms, {ends:?}\n{drops:?}", time / MS);
}

#[test]
fn plain_in_calm() {
    run(Scenario { name: "plain_in_calm", longest: 1_000_000, ..CALM });
}

#[test]
fn plain_with_loss_and_reordering() {
    let weather = Weather { loss: 50, duplicate: 50, jitter: 300_000, ..CALM.weather };
    run(Scenario { name: "plain_with_loss_and_reordering", weather, ..CALM });
}

#[test]
fn plain_with_late_copies() {
    let weather = Weather { loss: 20, duplicate: 50, replay: 50, ..CALM.weather };
    run(Scenario { name: "plain_with_late_copies", weather, ..CALM });
}

#[test]
fn plain_with_heavy_loss() {
    let weather = Weather { loss: 300, jitter: 100_000, ..CALM.weather };
    let longest = 20_000;
    run(Scenario { name: "plain_with_heavy_loss", weather, longest, ..CALM });
}

#[test]
fn plain_with_few_unscheduled_bytes() {
    let weather = Weather { loss: 20, jitter: 50_000, ..CALM.weather };
    let unscheduled = Some(3000);
    run(Scenario { name: "plain_with_few_unscheduled_bytes", weather, unscheduled, ..CALM });
}

#[test]
fn plain_clients_give_up() {
    let weather = Weather { loss: 50, jitter: 50_000, ..CALM.weather };
    run(Scenario { name: "plain_clients_give_up", weather, abort: 300, ..CALM });
}

#[test]
fn plain_network_breaks() {
    let weather = Weather { loss: 50, jitter: 50_000, ..CALM.weather };
    let cut_at = Some(20 * MS);
    run(Scenario { name: "plain_network_breaks", weather, cut_at, ..CALM });
}

#[test]
fn sealed_in_calm() {
    run(Scenario { name: "sealed_in_calm", sealed: true, longest: 1_000_000, ..CALM });
}

#[test]
fn sealed_with_everything() {
    let weather =
        Weather { loss: 50, duplicate: 50, corrupt: 20, replay: 50, forge: 0, jitter: 300_000 };
    run(Scenario { name: "sealed_with_everything", sealed: true, weather, ..CALM });
}

#[test]
fn sealed_with_heavy_loss() {
    let weather = Weather { loss: 300, corrupt: 50, jitter: 100_000, ..CALM.weather };
    let longest = 20_000;
    run(Scenario { name: "sealed_with_heavy_loss", sealed: true, weather, longest, ..CALM });
}

#[test]
fn sealed_with_forgeries() {
    let weather =
        Weather { loss: 10, duplicate: 10, corrupt: 10, replay: 100, forge: 200, jitter: 50_000 };
    run(Scenario { name: "sealed_with_forgeries", sealed: true, weather, ..CALM });
}

#[test]
fn sealed_with_few_unscheduled_bytes() {
    let weather = Weather { loss: 20, replay: 50, jitter: 50_000, ..CALM.weather };
    let name = "sealed_with_few_unscheduled_bytes";
    run(Scenario { name, sealed: true, weather, unscheduled: Some(3000), ..CALM });
}

#[test]
fn sealed_clients_give_up() {
    let weather = Weather { loss: 50, replay: 50, jitter: 50_000, ..CALM.weather };
    run(Scenario { name: "sealed_clients_give_up", sealed: true, weather, abort: 300, ..CALM });
}

#[test]
fn sealed_network_breaks() {
    let weather = Weather { loss: 50, jitter: 50_000, ..CALM.weather };
    let cut_at = Some(20 * MS);
    run(Scenario { name: "sealed_network_breaks", sealed: true, weather, cut_at, ..CALM });
}
