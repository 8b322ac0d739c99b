// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The whole protocol: all of the core's types, composed as the kernel's transport does it.
//!
//! What the kernel has behind locks of their own are fields here: the RPCs ([`Rpc`]), the peers ([`Peer`]), the grant
//! scheduler and the learner of priorities (one per host), the pacer (one per device). What must not be called
//! under an RPC's lock there is not called with an RPC borrowed here. [`send`] is the kernel's `transmit`, [`receive`] its
//! `receive`, [`time`] its `timer`; [`session`](super::session) stands for its `tls`.

mod receive;
mod send;
mod time;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use homa_core::acks::PendingAcks;
use homa_core::grant::{self, Grants};
use homa_core::layout::{Cut, Layout};
use homa_core::msgin::Range;
use homa_core::msgout::MsgOut;
use homa_core::pacer::{self, Pacer};
use homa_core::peer::Pulse;
use homa_core::priority::{Learner, PeerCutoffs};
use homa_core::recent::RecentIds;
use homa_core::rpc::{Action, Failure, Phase, Role, Rpc};
use homa_core::rtt::Rtt;
use homa_core::session::seq::MessageId;
use homa_core::slab::Token;
use homa_core::window::{Path, ResponseLimit};
use homa_core::wire::{Common, DATA_LEN, SEALED_DATA_LEN};
use rustc_hash::FxHashMap;

use self::receive::Incoming;
use super::session::{Sealed, Session};
use super::{Counts, Event, Host, Refused, Setup, Time};
use crate::packet::{HostId, Message, Packet, IP};

/// Everybody's port.
const PORT: u16 = 99;

/// Whom an RPC is with, and this host's id for it.
type Key = (HostId, u64);

/// A message on its way out.
#[derive(Debug)]
struct Outgoing {
    message: Message,
    layout: Layout,
    /// If there are sessions.
    sealed: Option<Box<Sealed>>,
    /// Requests: what is asked of the response.
    limit: ResponseLimit,
}

impl Outgoing {
    /// Of which `unscheduled` bytes need no grant; and the first record, as in the kernel, which sends whole segments: without
    /// it nothing is authenticated, and so nothing granted.
    fn progress(&self, unscheduled: u32) -> MsgOut {
        let first = self.layout.record(0).map_or(0, |first| first.stream.end);
        MsgOut::new(self.layout.stream_length(), unscheduled.max(first))
    }
}

/// An RPC, and the model of its messages' bytes.
struct State {
    core: Rpc,
    out: Option<Outgoing>,
    /// Parts to be sent again.
    again: VecDeque<Range>,
    incoming: Incoming,
    /// It waits for its turn at the device.
    turn: Option<Token>,
    /// The earliest timer that is set.
    timer: Option<Time>,
    /// The request was given to the program.
    delivered: bool,
}

/// What is known of another host.
struct Peer {
    pulse: Pulse,
    path: Path,
    rtt: Rtt,
    cutoffs: PeerCutoffs,
    acks: PendingAcks,
    recent: RecentIds,
    session: Option<Session>,
}

/// The host.
pub struct Full {
    setup: Setup,
    cut: Cut,
    sealed_cut: Cut,
    rpcs: FxHashMap<Key, State>,
    peers: FxHashMap<HostId, Peer>,
    next_id: u64,
    /// RPCs of this host as a client.
    outstanding: u32,
    grants: Grants<Key>,
    limits: grant::Limits,
    learner: Learner,
    pacer: Pacer<Key>,
    /// Samples of all peers, for those that are new.
    typical: Path,
    /// At the device.
    outbox: VecDeque<Packet>,
    timers: BinaryHeap<Reverse<(Time, Key)>>,
    events: VecDeque<Event>,
    drops: u64,
}

impl Full {
    fn common(id: u64) -> Common {
        Common { source_port: PORT, destination_port: PORT, sender_id: id }
    }

    /// A round trip to whomever.
    fn usual(&self) -> u64 {
        self.typical.least().unwrap_or(0)
    }

    fn peer(&mut self, id: HostId) -> &mut Peer {
        self.peers.entry(id).or_insert_with(|| Peer {
            pulse: Pulse::new(),
            path: Path::new(),
            rtt: Rtt::new(),
            cutoffs: PeerCutoffs::new(),
            acks: PendingAcks::new(),
            recent: RecentIds::new(),
            session: None,
        })
    }

    /// Makes a message ready to be sent. `None` if it cannot be sealed.
    fn outgoing(&mut self, key: Key, message: Message, distance: u16) -> Option<Outgoing> {
        let limit = ResponseLimit::NONE;
        match &self.peer(key.0).session {
            Some(session) => {
                let sealed = Box::new(session.seal(MessageId::new(key.1)?, message, distance)?);
                Some(Outgoing { message, layout: sealed.layout, sealed: Some(sealed), limit })
            }
            None => {
                let layout = Layout::plain(message.length)?;
                Some(Outgoing { message, layout, sealed: None, limit })
            }
        }
    }

    fn insert(&mut self, key: Key, core: Rpc, out: Option<Outgoing>) {
        let state = State {
            core,
            out,
            again: VecDeque::new(),
            incoming: Incoming::default(),
            turn: None,
            timer: None,
            delivered: false,
        };
        self.rpcs.insert(key, state);
        self.outstanding += u32::from(key.1 & 1 == 0);
    }

    /// Ends an RPC: it leaves every queue.
    fn free(&mut self, key: Key) {
        let Some(mut rpc) = self.rpcs.remove(&key) else { return };
        rpc.core.leave(&mut self.grants);
        if let Some(turn) = rpc.turn {
            self.pacer.remove(turn);
        }
        let sealed = self.setup.sealed.is_some();
        let peer = self.peer(key.0);
        if rpc.core.role() == Role::Server {
            if rpc.delivered && !sealed {
                peer.recent.add(key.1);
            }
        } else {
            if let (Some(session), Some(id)) = (&mut peer.session, MessageId::new(key.1)) {
                session.ids.finish(id);
            }
            self.outstanding -= 1;
        }
    }

    fn perform(&mut self, now: Time, key: Key, action: Action) {
        match action {
            Action::None => {}
            Action::Send(control) => self.send_core_control(now, key, control),
            Action::Retransmit(range) => {
                if let Some(rpc) = self.rpcs.get_mut(&key) {
                    if !rpc.again.contains(&range) {
                        rpc.again.push_back(range);
                    }
                    self.peer(key.0).path.lost(now, range.len());
                }
            }
            Action::Free => self.free(key),
            Action::Fail(why) => {
                self.free(key);
                self.events.push_back(Event::Failed { peer: key.0, id: key.1, why });
            }
        }
    }
}

impl Host for Full {
    fn new(setup: Setup) -> Self {
        let cut = |header: usize| {
            let packet = setup.mtu - IP - header as u32;
            // Records cross packets, as on a device that cuts segments.
            Cut::new(packet, 65_535 - header as u32)
                .unwrap_or_else(|| panic!("the MTU {}", setup.mtu))
        };
        let limits = setup.config.grants;
        Self {
            cut: cut(DATA_LEN),
            sealed_cut: cut(SEALED_DATA_LEN),
            rpcs: FxHashMap::default(),
            peers: FxHashMap::default(),
            // Above those of earlier boots: late copies of their requests are known by that.
            next_id: (setup.booted >> 10) & !1,
            outstanding: 0,
            grants: Grants::new(limits),
            limits,
            learner: Learner::new(setup.seed as u16 | 1),
            // Timers are exact here, so the device's queue can be as short as the packet that is being sent.
            pacer: Pacer::new(pacer::Limits {
                speed: setup.link_bps,
                queue: 1,
                ..setup.config.pacer
            }),
            typical: Path::new(),
            outbox: VecDeque::new(),
            timers: BinaryHeap::new(),
            events: VecDeque::new(),
            drops: 0,
            setup,
        }
    }

    fn start(&mut self, now: Time, peer: HostId, request: Message) -> Result<u64, Refused> {
        let config = self.setup.config;
        let sealed = self.setup.sealed.is_some();
        let (id, distance) = match &mut self.peer(peer).session {
            Some(session) => {
                let id = session.ids.next().map_err(|_| Refused::Session)?;
                (id.get(), session.ids.floor_distance(id))
            }
            None if sealed => return Err(Refused::Session),
            None => {
                self.next_id += 2;
                (self.next_id, 0)
            }
        };
        let mut out = self.outgoing((peer, id), request, distance).ok_or(Refused::Memory)?;
        let speed = self.setup.link_bps;
        let outstanding = self.outstanding;
        let usual = self.usual();
        self.peer(peer).path.set_usual(usual);
        let path = self.peer(peer).path;
        let unscheduled = path.unscheduled(speed, &config);
        // As much as the scheduler would let come at a time.
        let window = path.full_window(speed, &config);
        let at_once = window.saturating_mul(u32::from(self.limits.overcommit));
        let at_once = at_once.min(self.limits.max_incoming);
        out.limit = ResponseLimit::for_client(outstanding, at_once, unscheduled);
        let mut progress = out.progress(unscheduled);
        if let Some(first) = out.layout.record(0) {
            progress.set_probe(first.stream.end);
        }
        let mut core = Rpc::client(now, &config, progress);
        core.set_patience(now, self.peer(peer).rtt.patience(&config));
        core.set_rto(now, path.rto(&config), path.reordering(&config));
        self.insert((peer, id), core, Some(out));
        self.push_out(now, (peer, id));
        self.touch((peer, id));
        Ok(id)
    }

    fn reply(&mut self, now: Time, peer: HostId, id: u64, response: Message) -> bool {
        let key = (peer, id | 1);
        let config = self.setup.config;
        let speed = self.setup.link_bps;
        let usual = self.usual();
        self.peer(peer).path.set_usual(usual);
        let unscheduled = self.peer(peer).path.unscheduled(speed, &config);
        let waits = |rpc: &State| rpc.core.phase() == Phase::InService;
        if !self.rpcs.get(&key).is_some_and(waits) {
            return false;
        }
        let Some(out) = self.outgoing(key, response, 0) else { return false };
        let Some(rpc) = self.rpcs.get_mut(&key) else { return false };
        let unscheduled = rpc.core.unscheduled_response(unscheduled);
        if !rpc.core.reply(now, &config, out.progress(unscheduled)) {
            return false;
        }
        rpc.out = Some(out);
        self.push_out(now, key);
        self.touch(key);
        true
    }

    fn abort(&mut self, now: Time, peer: HostId, id: u64) -> bool {
        let key = (peer, id);
        let Some(rpc) = self.rpcs.get_mut(&key) else { return false };
        let action = rpc.core.cancel();
        self.perform(now, key, action);
        self.free(key);
        self.poll_grants(now);
        true
    }

    fn new_session(&mut self, now: Time, peer: HostId, transmit: u64, receive: u64) {
        // What ran under the old keys is over.
        let mut gone: Vec<Key> = self.rpcs.keys().filter(|key| key.0 == peer).copied().collect();
        gone.sort_unstable();
        for key in gone {
            self.free(key);
            if key.1 & 1 == 0 {
                self.events.push_back(Event::Failed { peer, id: key.1, why: Failure::Reset });
            }
        }
        self.outbox.retain(|packet| packet.destination != peer);
        if let Some(ledger) = self.setup.sealed.clone() {
            self.peer(peer).session = Some(Session::new(transmit, receive, ledger));
        }
        self.poll_grants(now);
    }

    fn handle(&mut self, now: Time, packet: &Packet) {
        self.receive(now, packet);
        self.poll_grants(now);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Packet> {
        self.run_pacer(now);
        self.outbox.pop_front()
    }

    fn next_timer(&self) -> Option<Time> {
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        [timer, self.pacer.next_at()].into_iter().flatten().min()
    }

    fn on_timer(&mut self, now: Time) {
        self.run_pacer(now);
        self.run_timers(now);
        self.poll_grants(now);
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn counts(&self) -> Counts {
        let servers = self.rpcs.values().filter(|rpc| rpc.core.role() == Role::Server).count();
        Counts {
            client_rpcs: self.rpcs.len() - servers,
            server_rpcs: servers,
            queued: self.outbox.len() + (self.pacer.len() + self.grants.len()) as usize,
            open_ids: self
                .peers
                .values()
                .filter_map(|peer| peer.session.as_ref())
                .map(|session| session.ids.in_window())
                .sum(),
            drops: self.drops,
        }
    }

    fn grant_bound(&self) -> Option<u64> {
        let grant::Limits { max_incoming, oldest_grant, .. } = self.limits;
        Some(u64::from(max_incoming) + u64::from(oldest_grant) + self.grants.excused())
    }

    fn describe(&self, peer: HostId, id: u64) -> String {
        let end = |id| match self.rpcs.get(&(peer, id)) {
            Some(rpc) => format!("{:?}, again {:?}, turn {:?}", rpc.core, rpc.again, rpc.turn),
            None => "nothing".into(),
        };
        format!("as client: {}; as server: {}", end(id), end(id | 1))
    }
}
