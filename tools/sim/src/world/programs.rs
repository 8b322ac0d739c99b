// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What programs do: they ask, answer, and give up.

use super::fates::{End, Fate, Name};
use super::{Causes, Happening, Sample, World, HEADER};
use crate::check::Invariant;
use crate::host::{Host, Received, Time};
use crate::packet::{mix, HostId, Message, ETHERNET, IP};
use crate::random::Random;
use crate::scenario::{Mode, Pattern, Traffic};
use homa_workload::Lengths;

/// The longest message there can be.
const LONGEST: u32 = homa_core::wire::MAX_MESSAGE;

/// The share of control packets is looked at so often.
const LOOK: Time = 100_000;

/// Mostly short messages, some long, a few very long.
fn mixed(random: &mut Random, longest: u32) -> u32 {
    let reach = match random.below(20) {
        0..=9 => 200,
        10..=15 => 4000,
        16..=18 => 60_000,
        _ => longest,
    };
    1 + random.below(u64::from(reach.min(longest))) as u32
}

impl<H: Host> World<H> {
    /// Bytes of the link's time that a message needs.
    fn wire_bytes(&self, length: u32) -> f64 {
        let packets = length.div_ceil(self.scenario.topology.payload(HEADER));
        let bytes = length + packets * (HEADER + IP + ETHERNET);
        f64::from(bytes)
    }

    /// Plans the first requests.
    pub(super) fn plan_requests(&mut self) {
        let hosts = self.scenario.topology.hosts();
        match self.scenario.traffic {
            Traffic::Load { workload, load } => {
                let lengths = Lengths::new(workload, LONGEST);
                let mode = self.scenario.mode;
                let mean = lengths.mean(|length| match mode {
                    Mode::OneWay => self.wire_bytes(length) + self.wire_bytes(1),
                    Mode::Echo => 2.0 * self.wire_bytes(length),
                    Mode::Response(length) => self.wire_bytes(100) + self.wire_bytes(length),
                });
                let per_ns = self.scenario.topology.host_bps as f64 / 8e9 * load;
                self.lengths = Some((lengths, mean / per_ns));
                (0..hosts).for_each(|host| self.plan_next(host));
            }
            Traffic::Few { rpcs, within, .. } => {
                for _ in 0..rpcs {
                    let at = self.arrivals.below(within);
                    let host = self.arrivals.below(u64::from(hosts)) as HostId;
                    self.queue.push(at, Happening::Request(host));
                }
            }
            Traffic::Rounds(rounds) => {
                self.round = (0, rounds);
                self.queue.push(0, Happening::Request(0));
            }
        }
    }

    fn plan_next(&mut self, host: HostId) {
        let Some((_, gap)) = self.lengths else { return };
        let [data, control] = self.sent;
        // The load counts control packets, too: how many those are at present, is seen. (At first many, as nobody knows
        // anybody's cutoffs.)
        let (since, before) = self.looked;
        if self.now - since > LOOK && data > before[0] {
            self.control_share = (control - before[1]) as f64 / (data - before[0]) as f64;
            self.looked = (self.now, self.sent);
        }
        let gap = gap * (1.0 + self.control_share);
        let at = self.now + self.arrivals.exponential(gap) as Time;
        let sent = (self.now, self.sent);
        if self.now >= self.scenario.warmup {
            self.sent_from.get_or_insert(sent);
        }
        if at < self.scenario.duration {
            self.queue.push(at, Happening::Request(host));
        } else if self.now * 10 > self.scenario.duration * 9 {
            self.sent_to.get_or_insert(sent);
        }
    }

    /// A host's programs make their next request.
    pub(super) fn request(&mut self, client: HostId) {
        match self.scenario.traffic {
            Traffic::Load { .. } => {
                self.plan_next(client);
                let Some((lengths, _)) = self.lengths else { return };
                let length = lengths.quantile(self.arrivals.unit());
                let server = self.other_host(client);
                let (request, response) = match self.scenario.mode {
                    Mode::OneWay => (length, 1),
                    Mode::Echo => (length, length),
                    Mode::Response(length) => (100, length),
                };
                self.start(client, server, request, response);
            }
            Traffic::Few { longest, aborts, .. } => {
                let request = mixed(&mut self.arrivals, longest);
                let response = mixed(&mut self.arrivals, longest);
                let server = self.other_host(client);
                let fate = self.start(client, server, request, response);
                if self.arrivals.chance(aborts) {
                    let at = self.now + self.arrivals.below(5_000_000);
                    if let Some(fate) = fate {
                        self.queue.push(at, Happening::Abort(fate));
                    }
                }
            }
            Traffic::Rounds(_) => {
                let Pattern::Incast(fan) = self.scenario.pattern else { return };
                let Mode::Response(response) = self.scenario.mode else { return };
                self.round.0 = fan;
                self.round.1 = self.round.1.saturating_sub(1);
                for server in 1..=fan {
                    self.start(client, server, 100, response);
                }
            }
        }
        self.after(client);
    }

    /// Any host but this one, and but one that was never there.
    fn other_host(&mut self, host: HostId) -> HostId {
        let hosts = u64::from(self.scenario.topology.hosts());
        (host + 1 + self.arrivals.below(hosts - 1) as HostId) % hosts as HostId
    }

    fn start(
        &mut self,
        client: HostId,
        server: HostId,
        request: u32,
        response: u32,
    ) -> Option<u32> {
        if self.hosts[usize::from(client)].down {
            return None;
        }
        let count = self.totals.rpcs;
        let content = |side: u64| mix(self.seed ^ mix((count << 1) | side));
        let request = Message { length: request, content: content(0) };
        let response = Message { length: response, content: content(1) };
        let card = self.net.card(client);
        let card_busy = self.net.port(card).busy_until().saturating_sub(self.now) as u32;
        let started = self.call(client, |host, now| host.start(now, server, request));
        let id = match started {
            Ok(id) => id,
            Err(why) => {
                self.totals.refused += 1;
                self.note(None, || format!("host {client} refuses a request: {why:?}"));
                if !self.scenario.may_fail() {
                    self.violated(
                        Invariant::FailsForAReason,
                        None,
                        format!("a request is refused: {why:?}"),
                    );
                }
                return None;
            }
        };
        let name = Name { client, server, id };
        let payload = self.scenario.topology.payload(HEADER);
        self.totals.rpcs += 1;
        self.totals.needed +=
            u64::from(request.length.div_ceil(payload) + response.length.div_ceil(payload));
        self.note(Some(name), || format!("start: {request:?}, to be answered by {response:?}"));
        let fate = Fate {
            name,
            request,
            response,
            began: self.now,
            card_busy,
            executed: 0,
            end: None,
            retired: false,
            orphan: false,
        };
        if !self.fates.begin(fate) {
            self.violated(Invariant::EndsOnce, Some(name), "an id is given to two RPCs".into());
        }
        self.fates.find(&name).map(|(index, _)| index)
    }

    /// A server has a request.
    pub(super) fn requested(&mut self, name: Name, message: &Received) {
        let Some((index, fate)) = self.fates.find(&name) else {
            let text = "a request that nobody made, or whose RPC is long over".into();
            return self.violated(Invariant::AtMostOnce, Some(name), text);
        };
        fate.executed = fate.executed.saturating_add(1);
        let fate = *fate;
        // Plain, a server knows a late copy among the newest ids of a client only, and after a reboot these
        // are other ones: that is what plain Homa can promise.
        let excused = fate.orphan && !self.scenario.sealed;
        if fate.executed > 1 && !excused {
            return self.violated(Invariant::AtMostOnce, Some(name), "executed twice".into());
        }
        self.totals.delivered += u64::from(message.length);
        self.check_bytes(name, "request", fate.request.length, fate.request.content, message);
        if self.scenario.mode == Mode::OneWay {
            self.measure(&fate, fate.request.length, 0);
        }
        match self.scenario.traffic {
            Traffic::Few { think, .. } => {
                let at = self.now + self.think.below(think);
                self.queue.push(at, Happening::Reply(index));
            }
            _ => {
                self.call(name.server, |host, now| {
                    host.reply(now, name.client, name.id, fate.response)
                });
            }
        }
    }

    /// A server's program answers.
    pub(super) fn reply(&mut self, index: u32) {
        let Fate { name, response, retired, .. } = *self.fates.get(index);
        if self.hosts[usize::from(name.server)].down || retired {
            return;
        }
        let done =
            self.call(name.server, |host, now| host.reply(now, name.client, name.id, response));
        self.note(Some(name), || format!("server answers: {done}"));
        if !done && self.hosts[usize::from(name.server)].no_memory.0 > self.now {
            // A program that is told that there is no memory tries again.
            self.queue.push(self.now + 1_000_000, Happening::Reply(index));
        }
        self.after(name.server);
    }

    /// A client's program gives up.
    pub(super) fn abort(&mut self, index: u32) {
        let Fate { name, end, .. } = *self.fates.get(index);
        if end.is_some() || self.hosts[usize::from(name.client)].down {
            return;
        }
        if self.call(name.client, |host, now| host.abort(now, name.server, name.id)) {
            self.note(Some(name), || "given up".into());
            self.totals.abandoned += 1;
            self.ended(name, End::Aborted);
        }
        self.after(name.client);
    }

    /// A client has a response.
    pub(super) fn completed(&mut self, name: Name, message: &Received) {
        let Some((_, fate)) = self.fates.find(&name) else {
            return self.violated(
                Invariant::EndsOnce,
                Some(name),
                "completed, and is unknown or over".into(),
            );
        };
        let fate = *fate;
        self.check_bytes(name, "response", fate.response.length, fate.response.content, message);
        if fate.executed == 0 && !self.scenario.may_fail() {
            let text = "answered without having been executed".into();
            return self.violated(Invariant::RightBytes, Some(name), text);
        }
        if self.ended(name, End::Completed) {
            self.totals.completed += 1;
            self.totals.delivered += u64::from(message.length);
            if self.scenario.mode != Mode::OneWay {
                self.measure(&fate, fate.request.length, fate.response.length);
            }
        }
    }

    /// Notes how long an RPC took, or its request alone, if `response` is 0.
    fn measure(&mut self, fate: &Fate, request: u32, response: u32) {
        if fate.began < self.scenario.warmup {
            return;
        }
        let topology = &self.scenario.topology;
        let payload = topology.payload(HEADER);
        let Name { client, server, .. } = fate.name;
        let mut ideal = topology.ideal(client, server, request, payload, HEADER);
        let mut length = request;
        if response > 0 {
            ideal += topology.ideal(server, client, response, payload, HEADER);
            length = length.max(response);
        }
        let took = self.now - fate.began;
        let switches = self.waited;
        let waited = took.saturating_sub(ideal) as u32;
        let at_sender = waited.saturating_sub(switches.lag + switches.queue);
        let sender_lag = fate.card_busy.min(at_sender);
        let causes = Causes { sender_lag, sender_queue: at_sender - sender_lag, switches };
        self.samples.push(Sample { length, slowdown: took as f32 / ideal as f32, took, causes });
    }

    /// After the last RPC of a round, the next round.
    pub(super) fn next_round(&mut self) {
        if !matches!(self.scenario.traffic, Traffic::Rounds(_)) {
            return;
        }
        self.round.0 = self.round.0.saturating_sub(1);
        if self.round == (0, self.round.1) && self.round.1 > 0 {
            self.queue.push(self.now, Happening::Request(0));
        }
    }
}
