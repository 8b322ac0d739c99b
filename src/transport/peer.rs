// SPDX-License-Identifier: GPL-2.0

//! The other end: what a socket remembers about one remote address and port.

use crate::sys::relaxed::Relaxed;
use kernel::prelude::*;
use kernel::sync::Arc;

use super::endpoint::Endpoint;
use super::net::Net;
use super::pacing::Way;
use crate::observe::counters::Counter;
use crate::protocol::acks::{PendingAcks, MAX_ACKS};
use crate::protocol::config::{Config, MS};
use crate::protocol::peer::Pulse;
use crate::protocol::priority::{Cutoffs, PeerCutoffs};
use crate::protocol::recent::RecentIds;
use crate::protocol::rtt::Rtt;
use crate::protocol::session::preamble::Padding;
use crate::protocol::window::{News, Path};
use crate::protocol::wire::PRIORITIES;
use crate::sys::addr::{Addr, SockAddr};
use crate::sys::lock::{new_spinlock_bh, SpinLockBh};
use crate::sys::route::{Dst, Flow};
use crate::tls::Session;

/// A remote socket, as one local socket sees it.
#[pin_data(PinnedDrop)]
pub(crate) struct Peer {
    /// Its address and port.
    pub(crate) name: SockAddr,
    /// The local address that it used, and expects answers from; `Addr::ANY` if we spoke first.
    local: Addr,
    ns: Arc<Net>,
    /// RPCs with it, and calls that are about to use it.
    uses: Relaxed<u32>,
    /// There is a session: nothing may go there in clear any more.
    sealed: Relaxed<bool>,
    #[pin]
    state: SpinLockBh<State>,
}

struct State {
    route: Option<Arc<Way>>,
    acks: PendingAcks,
    /// Its plain requests that we have forgotten.
    recent: RecentIds,
    /// When the last of them was forgotten.
    recent_at: u64,
    /// How quickly it answers.
    rtt: Rtt,
    /// The network between us.
    path: Path,
    /// Speed of our link to it, in bits per second, once somebody asked; 0 if it is not known.
    speed: Option<u64>,
    /// What was heard of it, and asked.
    pulse: Pulse,
    /// Which priorities it wants, and what it knows of ours.
    cutoffs: PeerCutoffs,
    session: Option<Arc<Session>>,
    /// It has got something from us since that was told to the neighbour's entry.
    reached: bool,
}

/// What the answer to a request tells about the peer.
pub(super) struct Answer {
    /// How long it took, if nothing was lost.
    pub(super) rtt: Option<u64>,
    /// Bytes of the request.
    pub(super) request: u32,
    /// Bytes of the response, and those of them that are not counted yet.
    pub(super) response: u32,
    pub(super) rest: u32,
}

/// How to send a message to a peer.
pub(super) struct Advice {
    /// How long to wait for an answer before asking for it.
    pub(super) patience: u64,
    /// How long to wait for bytes that should come.
    pub(super) rto: u64,
    /// How long to wait for bytes that others overtook.
    pub(super) reordering: u64,
    /// How much to send unasked.
    pub(super) unscheduled: u32,
    /// With this priority.
    pub(super) level: u8,
    /// The version of its cutoffs that this follows.
    pub(super) cutoff_version: u16,
    /// Nobody knows how fast the link to it is: see [`Peer::ask_speed`].
    ask_speed: bool,
    /// The way to it, if it is known: see [`Peer::way`].
    route: Option<Arc<Way>>,
    /// It gets what we send: no need to ask the neighbour whether it lives.
    pub(super) reached: bool,
}

/// A message that fits a packet: its round trip is the network's, now and then.
const SMALL: u32 = 1400;

/// Before a peer is told the cutoffs again.
const CUTOFFS_PAUSE: u64 = 100 * MS;

/// After so many nanoseconds without one, a copy of a forgotten request is not expected any more.
const RECENT_AGE: u64 = 2_000 * MS;

impl State {
    /// The route, unless it went stale.
    #[inline]
    fn valid_route(&self) -> Option<Arc<Way>> {
        self.route.as_ref().filter(|way| way.is_valid()).cloned()
    }

    /// A client that was quiet for so long may have started anew. HomaModule then counts from 2 again and has the same
    /// port, so that what is remembered of before would refuse its requests one after the other.
    fn forget_old_life(&mut self, now: u64) {
        if now.saturating_sub(self.recent_at) > RECENT_AGE {
            self.recent = RecentIds::new();
        }
    }

    /// So many bytes that were sent to it have arrived.
    fn sent(&mut self, bytes: u32, config: &Config) {
        let speed = self.speed.unwrap_or(0);
        self.path.departed(bytes, speed, config);
    }

    fn advice(&mut self, ns: &Net, length: u32) -> Advice {
        let config = &ns.config;
        let theirs = self.cutoffs.theirs();
        Advice {
            patience: self.rtt.patience(config),
            rto: self.path.rto(config),
            reordering: self.path.reordering(config),
            unscheduled: self.path.unscheduled(self.speed.unwrap_or(0), config),
            ask_speed: self.speed.is_none(),
            level: theirs.level(length),
            cutoff_version: theirs.version,
            route: self.valid_route(),
            reached: ::core::mem::take(&mut self.reached),
        }
    }
}

impl Peer {
    /// Remembers `name`.
    pub(super) fn new(ns: &Arc<Net>, name: SockAddr, local: Addr) -> Result<Arc<Self>> {
        let state = State {
            route: None,
            acks: PendingAcks::new(),
            recent: RecentIds::new(),
            recent_at: 0,
            rtt: Rtt::new(),
            path: Path::new(),
            speed: None,
            pulse: Pulse::new(),
            cutoffs: PeerCutoffs::new(),
            session: None,
            reached: false,
        };
        let peer = Arc::pin_init(
            try_pin_init!(Self {
                name,
                local,
                ns: ns.clone(),
                // Whoever makes it uses it.
                uses: Relaxed::new(1),
                sealed: Relaxed::new(false),
                state <- new_spinlock_bh!(state, "homa_peer"),
            }),
            GFP_ATOMIC,
        )?;
        ns.stats.inc(Counter::LivePeers);
        Ok(peer)
    }

    /// The hash under which a socket's table keeps the peer called `name`.
    pub(super) fn hash(ns: &Net, name: &SockAddr) -> u64 {
        let [a, b] = name.addr.words();
        ns.hash.hash3(a, b, u64::from(name.port))
    }

    /// Names its host: all its sockets share a link.
    pub(super) fn host_key(&self) -> u64 {
        let [a, b] = self.name.addr.words();
        self.ns.hash.hash3(a, b, 0)
    }

    /// The route to it; looked up anew when it went stale.
    pub(crate) fn route(&self, endpoint: &Endpoint) -> Result<Arc<Way>> {
        let known = self.state.lock().valid_route();
        match known {
            Some(way) => Ok(way),
            None => self.new_route(endpoint),
        }
    }

    /// The way for the message that `advice` is about; if nobody knows how fast it is, that is found out. Sleeps.
    #[inline]
    pub(super) fn way(&self, endpoint: &Endpoint, advice: &mut Advice) -> Result<Arc<Way>> {
        let way = match advice.route.take() {
            Some(way) => way,
            None => self.new_route(endpoint)?,
        };
        Ok(if advice.ask_speed { self.ask_speed(way) } else { way })
    }

    #[cold]
    fn new_route(&self, endpoint: &Endpoint) -> Result<Arc<Way>> {
        let bound = endpoint.sk.local_addr();
        let dst = Dst::lookup(
            &endpoint.sk,
            &Flow {
                source: if bound.is_any() { self.local } else { bound },
                dest: self.name.addr,
                sport: endpoint.port(),
                dport: self.name.port,
                scope: self.name.scope,
                tos: endpoint.sk.tos(),
            },
        )?;
        let way = Arc::new(Way { dst, device: None }, GFP_ATOMIC)?;
        let mut state = self.state.lock();
        let old = state.route.replace(way.clone());
        state.speed = None;
        drop(state);
        drop(old);
        Ok(way)
    }

    /// The session with it, if there is one.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        if !self.is_sealed() {
            return None;
        }
        self.state.lock().session.clone()
    }

    /// The session with it; `session` becomes it if there is none.
    pub(crate) fn session_or_insert(&self, session: Arc<Session>) -> Arc<Session> {
        let mut state = self.state.lock();
        self.sealed.store(true);
        state.session.get_or_insert(session).clone()
    }

    /// Is there a session with it?
    #[inline]
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load()
    }

    /// The response of the RPC `id` arrived: what that says about the peer. Returns ids for an ACK packet
    /// when there are enough; sealed RPCs need none.
    pub(super) fn answered(&self, now: u64, id: u64, answer: &Answer) -> Option<[u64; MAX_ACKS]> {
        let config = &self.ns.config;
        let mut state = self.state.lock();
        state.pulse.heard(now);
        state.reached = true;
        if let Some(ns) = answer.rtt {
            state.rtt.sample(ns);
            if answer.request.max(answer.response) <= SMALL {
                state.path.sample(now, ns);
            }
        }
        state.sent(answer.request, config);
        let speed = state.speed.unwrap_or(0);
        state.path.arrived(answer.rest, speed, config);
        if self.is_sealed() {
            None
        } else {
            state.acks.push(id)
        }
    }

    /// What a request of `length` bytes to it needs: the session, if there is one, or else an acknowledgment to
    /// send along.
    pub(super) fn for_request(
        &self,
        length: u32,
        padding: Padding,
    ) -> (Option<Arc<Session>>, Option<u64>, Advice) {
        let mut state = self.state.lock();
        match state.session.clone() {
            Some(session) => {
                // The priority, too, tells the length.
                let advice = state.advice(&self.ns, padding.visible(length));
                (Some(session), None, advice)
            }
            None => {
                let advice = state.advice(&self.ns, length);
                (None, state.acks.pop(), advice)
            }
        }
    }

    /// How to send it a message of `length` bytes.
    pub(super) fn advice(&self, length: u32) -> Advice {
        self.state.lock().advice(&self.ns, length)
    }

    /// `arrived` bytes more came from it. How far to grant ahead of what came; how long to wait for bytes that should come,
    /// and for those that others overtook.
    pub(super) fn window(&self, arrived: u32) -> (u32, u64, u64) {
        let config = &self.ns.config;
        let State { path, speed, .. } = &mut *self.state.lock();
        path.arrived(arrived, speed.unwrap_or(0), config);
        (path.window(speed.unwrap_or(0), config), path.rto(config), path.reordering(config))
    }

    /// So many bytes more came from it.
    pub(super) fn arrived(&self, bytes: u32) {
        let State { path, speed, .. } = &mut *self.state.lock();
        path.arrived(bytes, speed.unwrap_or(0), &self.ns.config);
    }

    /// How long to wait for bytes that should come from it, and for those that others overtook.
    pub(super) fn waits(&self) -> (u64, u64) {
        let path = &self.state.lock().path;
        (path.rto(&self.ns.config), path.reordering(&self.ns.config))
    }

    /// The network's round trip took `ns`, or less.
    pub(super) fn round_trip(&self, now: u64, ns: u64) {
        self.state.lock().path.sample(now, ns);
    }

    /// What packets from it told of the network.
    #[cold]
    pub(super) fn learn(&self, now: u64, news: News) {
        self.state.lock().path.learn(now, news);
    }

    /// A message from it came with so many bits per second.
    pub(super) fn carried_in(&self, now: u64, speed: u64) {
        self.state.lock().path.carried_in(now, speed);
    }

    /// A message to it was carried with so many bits per second.
    pub(super) fn carried_out(&self, now: u64, speed: u64) {
        self.state.lock().path.carried_out(now, speed);
    }

    /// So many bytes to it were lost on the way.
    pub(super) fn lost_outgoing(&self, now: u64, bytes: u32) {
        self.state.lock().path.lost(now, bytes);
    }

    /// Finds out the speed of the link to it, which `way` goes over, and whether it is paced; returns what `way` is then. Sleeps.
    #[cold]
    fn ask_speed(&self, way: Arc<Way>) -> Arc<Way> {
        let Some(mbits) = self.ns.link_speed(&way) else { return way };
        let better = self.ns.device(&way, mbits).and_then(|device| {
            Arc::new(Way { dst: way.dst.clone(), device: Some(device) }, GFP_KERNEL).ok()
        });
        let mut state = self.state.lock();
        // Unless there is another route since.
        if state.route.as_ref().is_some_and(|route| Arc::ptr_eq(route, &way)) {
            state.speed = Some(u64::from(mbits).saturating_mul(1_000_000));
            if let Some(better) = better {
                state.route = Some(better.clone());
                drop(state);
                return better;
            }
        }
        drop(state);
        way
    }

    /// An authentic packet came from it.
    pub(super) fn heard(&self, now: u64) {
        self.state.lock().pulse.heard(now);
    }

    /// Runs `f` with what was heard of it and asked.
    pub(super) fn with_pulse<R>(&self, f: impl FnOnce(&mut Pulse) -> R) -> R {
        f(&mut self.state.lock().pulse)
    }

    /// It says how to choose the priorities of what is sent to it.
    pub(super) fn learn_cutoffs(&self, longest: [u32; PRIORITIES], version: u16) {
        self.state.lock().cutoffs.learn(longest, version);
    }

    /// A packet of it says that it has `version` of our cutoffs: is it to be told `ours`?
    pub(super) fn must_be_told(&self, now: u64, version: u16, ours: &Cutoffs) -> bool {
        self.state.lock().cutoffs.is_due(now, version, ours, CUTOFFS_PAUSE)
    }

    /// The server here forgets a request: if it was a plain one that was delivered, `id`; `sent` bytes of the response are there.
    pub(super) fn finished(&self, now: u64, id: Option<u64>, sent: u32, acknowledged: bool) {
        let mut state = self.state.lock();
        if let Some(id) = id {
            state.forget_old_life(now);
            state.recent.add(id);
            state.recent_at = now;
        }
        state.reached |= acknowledged;
        if sent != 0 {
            state.sent(sent, &self.ns.config);
        }
    }

    /// A plain request `id` begins to arrive. Did the server here forget it lately?
    pub(super) fn is_recent(&self, now: u64, id: u64) -> bool {
        let mut state = self.state.lock();
        state.pulse.heard(now);
        state.forget_old_life(now);
        state.recent.contains(id)
    }

    /// One more refers to it. For whoever found it in the table: under the bucket's lock, so that it is not
    /// forgotten meanwhile.
    pub(super) fn enter(&self) {
        self.uses.fetch_add(1);
    }

    /// One less.
    pub(super) fn leave(&self) {
        self.uses.fetch_sub(1u32);
    }

    /// How many RPCs (and calls) refer to it.
    pub(super) fn use_count(&self) -> u32 {
        self.uses.load()
    }

    /// May it be forgotten?
    pub(super) fn is_idle(&self) -> bool {
        self.uses.load() == 0 && !self.is_sealed()
    }
}

/// A peer in use: its socket does not forget it meanwhile.
pub(crate) struct PeerUse(Arc<Peer>);

impl PeerUse {
    /// Takes over one use, by [`Peer::enter`] or of a new peer.
    pub(super) fn of(peer: Arc<Peer>) -> Self {
        Self(peer)
    }

    /// The peer, for an RPC to refer to.
    pub(super) fn to_arc(&self) -> Arc<Peer> {
        self.0.clone()
    }
}

impl ::core::ops::Deref for PeerUse {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.0
    }
}

impl Drop for PeerUse {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[pinned_drop]
impl PinnedDrop for Peer {
    fn drop(self: Pin<&mut Self>) {
        self.ns.stats.dec(Counter::LivePeers);
    }
}
