// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The simulation itself: takes what happens next, lets it happen, and checks what must hold.

pub mod fates;
mod grants;
mod network;
mod programs;

use homa_core::rpc::Failure;

use crate::check::{Invariant, Violation};
use crate::faults::{Judge, Mishap};
use crate::host::{Event, Host, Received, Setup, Time};
use crate::ledger::Ledger;
use crate::net::port::Wait;
use crate::net::Network;
use crate::packet::{mix, Digest, HostId};
use crate::pool::{Handle, Pool};
use crate::queue::Queue;
use crate::random::Random;
use crate::scenario::{Scenario, SECOND};
use crate::trace::Trace;
use fates::{End, Fates, Name};
use grants::Grants;
use homa_core::msgin::Range;
use homa_workload::Lengths;

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A packet is at the end of a link.
    Arrive(Handle, crate::net::Node),
    /// A packet is with the host's protocol, after all that could happen to it.
    Handle(Handle),
    /// A port's link is free.
    Serve(u32),
    /// A host's link is free, and its card empty.
    Card(HostId),
    /// A host's timer.
    Timer(HostId),
    /// A host's programs make the next request.
    Request(HostId),
    /// A server's program answers.
    Reply(u32),
    /// A client's program gives up.
    Abort(u32),
    /// What is planned for hosts: its place in the plan.
    Mishap(u32),
}

/// A host and what the simulation knows of it.
struct Slot<H> {
    host: H,
    /// It is not there.
    down: bool,
    /// What its clock is ahead.
    clock: Time,
    /// For when its timer is planned, in virtual time.
    timer: Option<Time>,
    /// Something is planned for when its link is free.
    card_planned: bool,
    /// Its processor is busy until then.
    busy_until: Time,
    /// Allocations fail until then, with this probability.
    no_memory: (Time, f64),
    /// How often it booted.
    boots: u64,
}

/// What a message waited for beyond what an idle network takes, in nanoseconds; exact for messages of one packet, else of
/// the packet that came last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Causes {
    /// At the sender: for the end of the packet that its card was sending.
    pub sender_lag: u32,
    /// At the sender: for other packets that went first.
    pub sender_queue: u32,
    /// In switches.
    pub switches: Wait,
}

/// A message that was measured.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Bytes of the message; of request and response in an echo.
    pub length: u32,
    /// How many times as long as in an idle network it took.
    pub slowdown: f32,
    /// Nanoseconds.
    pub took: Time,
    /// What it waited for.
    pub causes: Causes,
}

/// What is counted in a run.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// RPCs begun.
    pub rpcs: u64,
    /// Those that completed.
    pub completed: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were given up, or whose client crashed.
    pub abandoned: u64,
    /// Requests that a host refused.
    pub refused: u64,
    /// Packets that hosts sent.
    pub packets: u64,
    /// Packets that all messages need.
    pub needed: u64,
    /// Packets that the network lost, for whatever reason.
    pub lost: u64,
    /// Packets lost for want of buffers in switches.
    pub overflowed: u64,
    /// Bytes of messages that were delivered.
    pub delivered: u64,
    /// Things that happened.
    pub events: u64,
    /// Virtual time at the end, in nanoseconds.
    pub time: Time,
    /// Most bytes that waited at a switch's port.
    pub peak_queue: u64,
    /// Part of the hosts' uplinks that was used from the end of the warm-up until requests ended: whole frames of all kinds,
    /// and the gaps between them.
    pub link_load: f64,
    /// The part of that which control packets had, from 0 to 1.
    pub control: f64,
}

/// What a run ended with.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Counts.
    pub totals: Totals,
    /// All measured messages.
    pub samples: Vec<Sample>,
}

/// A run has no more virtual time than this.
const END: Time = 600 * SECOND;
/// So much may happen at one point of time.
const MAX_AT_ONCE: u64 = 1_000_000;

/// Header of plain DATA, for whatever is compared with an ideal.
pub const HEADER: u32 = homa_core::wire::DATA_LEN as u32;

/// A simulation.
pub struct World<H> {
    scenario: Scenario,
    seed: u64,
    now: Time,
    /// How much happened at this very time.
    at_once: u64,
    queue: Queue<Happening>,
    pool: Pool,
    net: Network,
    hosts: Vec<Slot<H>>,
    fates: Fates,
    grants: Option<Grants>,
    judge: Option<Judge>,
    ledger: Option<Ledger>,
    /// Sessions of each pair of hosts were made so often.
    sessions: u64,
    lengths: Option<(Lengths, f64)>,
    /// Of an incast: RPCs of the running round, and rounds to come.
    round: (u16, u32),
    spray: Random,
    arrivals: Random,
    think: Random,
    totals: Totals,
    samples: Vec<Sample>,
    /// How long the packet waited in switches that was handed to a host last.
    waited: Wait,
    /// Bytes sent by hosts, as they are on the wire: DATA, and control packets.
    sent: [u64; 2],
    /// What both were when the share of control packets was looked at last, and that share, relative to DATA.
    looked: (Time, [u64; 2]),
    control_share: f64,
    /// What both were when the measured time began, and when requests ended.
    sent_from: Option<(Time, [u64; 2])>,
    sent_to: Option<(Time, [u64; 2])>,
    violation: Option<Violation>,
    /// The diary, if there is to be one.
    pub trace: Option<Trace>,
}

impl<H: Host> World<H> {
    /// A world in which nothing has happened.
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        let stream = |purpose| Random::new(seed, purpose);
        let hosts = scenario.topology.hosts();
        let ledger = scenario.sealed.then(Ledger::default);
        let weather = scenario.weather.clone();
        let judge = weather.map(|w| Judge::new(w, scenario.sealed, usize::from(hosts), stream(3)));
        let mut world = Self {
            seed,
            now: 0,
            at_once: 0,
            queue: Queue::new(),
            pool: Pool::default(),
            net: Network::new(scenario.topology),
            hosts: Vec::new(),
            fates: Fates::default(),
            grants: scenario.checks.then(|| Grants::new(usize::from(hosts))),
            judge,
            ledger,
            sessions: 0,
            lengths: None,
            round: (0, 0),
            spray: stream(0),
            arrivals: stream(1),
            think: stream(2),
            totals: Totals::default(),
            samples: Vec::new(),
            waited: Wait::default(),
            sent: [0; 2],
            looked: (0, [0; 2]),
            control_share: 0.0,
            sent_from: None,
            sent_to: None,
            violation: None,
            trace: None,
            scenario,
        };
        for id in 0..hosts {
            let host = world.boot(id, 0);
            world.hosts.push(Slot {
                host,
                down: world.scenario.dead == Some(id),
                clock: SECOND,
                timer: None,
                card_planned: false,
                busy_until: 0,
                no_memory: (0, 0.0),
                boots: 0,
            });
        }
        if world.scenario.sealed {
            for a in 0..hosts {
                (0..a).for_each(|b| world.agree(a, b));
            }
        }
        world.plan_requests();
        let happens = world.judge.as_ref().map_or(0, |judge| judge.happens().len());
        for index in 0..happens {
            let at = world.judge.as_ref().map_or(0, |judge| judge.happens()[index].0);
            world.queue.push(at, Happening::Mishap(index as u32));
        }
        world
    }

    fn boot(&self, id: HostId, boots: u64) -> H {
        let topology = &self.scenario.topology;
        H::new(Setup {
            id,
            hosts: topology.hosts(),
            config: self.scenario.config,
            link_bps: topology.host_bps,
            mtu: topology.mtu,
            // Later than that of the boot before.
            booted: 1_000_000 * SECOND + self.now,
            seed: mix(self.seed ^ mix((u64::from(id) << 32) | boots)),
            sealed: self.ledger.clone(),
        })
    }

    /// Two hosts agree on keys.
    fn agree(&mut self, a: HostId, b: HostId) {
        if self.hosts[usize::from(a)].down || self.hosts[usize::from(b)].down {
            // When it is back.
            return;
        }
        self.sessions += 1;
        let key = |side: u64| mix(self.seed ^ mix((self.sessions << 1) | side));
        let (one, two) = (key(0), key(1));
        for (host, peer, transmit, receive) in [(a, b, one, two), (b, a, two, one)] {
            let slot = &mut self.hosts[usize::from(host)];
            slot.host.new_session(self.now + slot.clock, peer, transmit, receive);
            self.after(host);
        }
        self.fates.retire(a, b);
    }

    /// Runs until all is over.
    ///
    /// # Errors
    ///
    /// The first invariant that did not hold.
    pub fn run(&mut self) -> Result<Outcome, Violation> {
        while let Some((at, what)) = self.queue.pop() {
            self.totals.events += 1;
            if at > self.now {
                self.now = at;
                self.at_once = 0;
            }
            self.at_once += 1;
            if self.at_once > MAX_AT_ONCE {
                self.violated(Invariant::TimeAdvances, None, format!("{what:?} and no end"));
            }
            if self.now > END {
                self.violated(Invariant::Ends, None, format!("{what:?} after {} s", END / SECOND));
            }
            self.happen(what);
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        self.check_end();
        if let Some(violation) = self.violation.take() {
            return Err(violation);
        }
        Ok(self.outcome())
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrive(packet, node) => self.arrive(packet, node),
            Happening::Handle(packet) => self.handle(packet),
            Happening::Serve(port) => self.serve(port as usize),
            Happening::Card(host) => {
                self.hosts[usize::from(host)].card_planned = false;
                self.after(host);
            }
            Happening::Timer(host) => self.timer(host),
            Happening::Request(host) => self.request(host),
            Happening::Reply(fate) => self.reply(fate),
            Happening::Abort(fate) => self.abort(fate),
            Happening::Mishap(index) => self.mishap(index),
        }
    }

    /// The first violation counts.
    fn violated(&mut self, invariant: Invariant, rpc: Option<Name>, what: String) {
        let at = self.now;
        self.violation.get_or_insert(Violation { invariant, at, rpc, what });
    }

    fn note(&mut self, rpc: Option<Name>, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.note(self.now, rpc, what());
        }
    }

    /// Calls a host, by its own clock; under allocation faults, if they rule now.
    fn call<R>(&mut self, id: HostId, what: impl FnOnce(&mut H, Time) -> R) -> R {
        let now = self.now;
        let slot = &mut self.hosts[usize::from(id)];
        let time = now + slot.clock;
        let (until, probability) = slot.no_memory;
        if until <= now {
            return what(&mut slot.host, time);
        }
        let seed = mix(self.seed ^ self.totals.events);
        homa_core::mem::fault::with(seed, probability, || what(&mut slot.host, time))
    }

    /// After anything that a host was told: takes what it has to tell, and lets it send.
    fn after(&mut self, id: HostId) {
        loop {
            let mut events = 0u64;
            while let Some(event) = self.hosts[usize::from(id)].host.poll_event() {
                self.told(id, event);
                events += 1;
                if events > MAX_AT_ONCE {
                    return self.violated(
                        Invariant::TimeAdvances,
                        None,
                        format!("{event:?} and no end"),
                    );
                }
            }
            let sent = self.fill_card(id);
            if sent == 0 || self.violation.is_some() {
                break;
            }
        }
        self.plan_timer(id);
    }

    fn plan_timer(&mut self, id: HostId) {
        let slot = &mut self.hosts[usize::from(id)];
        let Some(at) = slot.host.next_timer() else { return };
        let at = at.saturating_sub(slot.clock).max(self.now);
        if slot.timer.is_none_or(|planned| at < planned) && !slot.down {
            slot.timer = Some(at);
            self.queue.push(at, Happening::Timer(id));
        }
    }

    fn timer(&mut self, id: HostId) {
        let slot = &mut self.hosts[usize::from(id)];
        if slot.timer != Some(self.now) || slot.down {
            return;
        }
        slot.timer = None;
        if slot.host.next_timer().is_some_and(|at| at <= self.now + slot.clock) {
            self.call(id, |host, now| host.on_timer(now));
        }
        self.after(id);
    }

    /// A host tells something.
    fn told(&mut self, id: HostId, event: Event) {
        match event {
            Event::Request { peer, id: rpc, message } => {
                let name = Name { client: peer, server: id, id: rpc };
                self.note(Some(name), || format!("server has the request: {message:?}"));
                self.requested(name, &message);
            }
            Event::Response { peer, id: rpc, message } => {
                let name = Name { client: id, server: peer, id: rpc };
                self.note(Some(name), || format!("client has the response: {message:?}"));
                self.completed(name, &message);
            }
            Event::Failed { peer, id: rpc, why } => {
                let name = Name { client: id, server: peer, id: rpc };
                self.note(Some(name), || format!("failed: {why:?}"));
                self.failed(name, why);
            }
        }
    }

    /// Are these the bytes of `content`?
    fn check_bytes(
        &mut self,
        name: Name,
        what: &str,
        length: u32,
        content: u64,
        message: &Received,
    ) {
        let whole = Digest::of(content, Range { start: 0, end: message.stream_length });
        if message.length != length || message.digest != whole {
            let text = format!(
                "the {what} of {length} bytes arrives with {} bytes, other ones",
                message.length
            );
            self.violated(Invariant::RightBytes, Some(name), text);
        }
    }

    fn failed(&mut self, name: Name, why: Failure) {
        if !self.scenario.may_fail() {
            return self.violated(
                Invariant::FailsForAReason,
                Some(name),
                format!("{why:?}, for no reason"),
            );
        }
        self.totals.failed += 1;
        self.ended(name, End::Failed(why));
    }

    /// An RPC ends for its client. False if that cannot be.
    fn ended(&mut self, name: Name, end: End) -> bool {
        let keep = self.scenario.checks;
        let Some((index, fate)) = self.fates.find(&name) else {
            let text = format!("{end:?}, and is unknown or over");
            self.violated(Invariant::EndsOnce, Some(name), text);
            return false;
        };
        if let Some(before) = fate.end {
            self.violated(
                Invariant::EndsOnce,
                Some(name),
                format!("{before:?}, and again {end:?}"),
            );
            return false;
        }
        self.fates.end(index, end, keep);
        if let Some(grants) = &mut self.grants {
            grants.forget(name);
        }
        self.next_round();
        true
    }

    fn mishap(&mut self, index: u32) {
        let Some(judge) = &mut self.judge else { return };
        let (_, mishap) = judge.happens()[index as usize];
        let now = self.now;
        match mishap {
            Mishap::Stall(host, long) => judge.stall(host, now + long),
            Mishap::Cut(host, long) => judge.cut(host, now + long),
            Mishap::Clock(host, by) => self.hosts[usize::from(host)].clock += by,
            Mishap::Memory(host, probability, long) => {
                self.hosts[usize::from(host)].no_memory = (now + long, probability);
            }
            Mishap::Crash(host) => self.crash(host),
            Mishap::Boot(host) => self.reboot(host),
        }
        self.note(None, || format!("{mishap:?}"));
        if let Mishap::Clock(host, _) = mishap {
            // Whatever was planned by the old clock comes sooner now.
            self.hosts[usize::from(host)].timer = None;
            self.plan_timer(host);
        }
    }

    fn crash(&mut self, host: HostId) {
        if self.hosts[usize::from(host)].down {
            return;
        }
        self.hosts[usize::from(host)].down = true;
        for name in self.fates.crash(host) {
            self.totals.abandoned += 1;
            if let Some(grants) = &mut self.grants {
                grants.forget(name);
            }
        }
        if let Some(grants) = &mut self.grants {
            grants.crash(host);
        }
    }

    fn reboot(&mut self, id: HostId) {
        let slot = &mut self.hosts[usize::from(id)];
        if !slot.down || self.scenario.dead == Some(id) {
            return;
        }
        slot.boots += 1;
        let boots = slot.boots;
        let host = self.boot(id, boots);
        let slot = &mut self.hosts[usize::from(id)];
        slot.host = host;
        slot.down = false;
        slot.timer = None;
        if self.scenario.sealed {
            for peer in (0..self.scenario.topology.hosts()).filter(|peer| *peer != id) {
                self.agree(id, peer);
            }
        }
    }

    /// Nothing may be left of anything.
    fn check_end(&mut self) {
        let open = self.fates.iter().find(|fate| fate.end.is_none());
        if let (Some(fate), true) = (open, self.fates.open > 0) {
            let name = fate.name;
            let host = &self.hosts[usize::from(name.client)].host;
            let text = format!("never ended; {}", host.describe(name.server, name.id));
            self.violated(Invariant::Ends, Some(name), text);
        }
        for id in 0..self.hosts.len() {
            let slot = &self.hosts[id];
            let counts = slot.host.counts();
            let left = counts.client_rpcs + counts.server_rpcs + counts.queued;
            if !slot.down && (left > 0 || counts.open_ids > 0) {
                self.violated(
                    Invariant::MemoryReturns,
                    None,
                    format!("host {id} is left with {counts:?}"),
                );
            }
        }
        if !self.pool.is_empty() {
            let text = format!("{} packets are still under way", self.pool.len());
            self.violated(Invariant::Ends, None, text);
        }
        self.check_storm();
    }

    /// Are packets in proportion to what is to be delivered?
    ///
    /// Every packet of every message may be sent some times over, and every RPC has a number of control
    /// packets: far more than an honest run needs, far less than a storm makes.
    fn check_storm(&mut self) {
        let allowed = 20 * self.totals.needed + 300 * self.totals.rpcs + 1000;
        if self.totals.packets > allowed {
            let Totals { packets, needed, rpcs, .. } = self.totals;
            let text = format!("{packets} packets for {rpcs} RPCs that need {needed}");
            self.violated(Invariant::NoStorm, None, text);
        }
    }

    fn outcome(&mut self) -> Outcome {
        let mut totals = self.totals;
        totals.time = self.now;
        let hosts = usize::from(self.scenario.topology.hosts());
        let ports = self.net.ports();
        totals.peak_queue = ports[hosts..].iter().map(|port| port.peak).max().unwrap_or(0);
        let (from, before) = self.sent_from.unwrap_or((0, [0; 2]));
        let (to, after) = self.sent_to.unwrap_or((self.now, self.sent));
        let [data, control] = [0, 1].map(|kind| (after[kind] - before[kind]) as f64);
        let span = to.saturating_sub(from).max(1);
        let could =
            self.scenario.topology.host_bps as f64 / 8.0 * hosts as f64 * (span as f64 / 1e9);
        totals.link_load = (data + control) / could;
        totals.control = control / (data + control).max(1.0);
        Outcome { totals, samples: std::mem::take(&mut self.samples) }
    }
}
