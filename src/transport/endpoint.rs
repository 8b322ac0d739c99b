// SPDX-License-Identifier: GPL-2.0

//! A socket's transport half: its peers, its RPCs, and those that are ready for the program.

use crate::sys::relaxed::Relaxed;
use kernel::list::{List, ListArc};
use kernel::prelude::*;
use kernel::sync::Arc;

use super::grants;
use super::net::Net;
use super::notices::Notices;
use super::outgoing::{Outgoing, Sealing, Terms};
use super::peer::{Advice, Peer, PeerUse};
use super::rpc::{Identity, Rpc};
use crate::observe::counters::Counter;
use crate::observe::trace;
use crate::protocol::msgout::MsgOut;
use crate::protocol::rpc as core;
use crate::protocol::session::preamble::Padding;
use crate::protocol::session::seq::MessageId;
use crate::protocol::session::tag::{split, SessionTag};
use crate::protocol::window::ResponseLimit;
use crate::protocol::wire::{self, Ack, Common, Data};
use crate::sys::addr::{Addr, SockAddr};
use crate::sys::lock::{new_spinlock_bh, SpinLockBh};
use crate::sys::skbq::SkbQueue;
use crate::sys::sock::SockRef;
use crate::sys::spare::Spare;
use crate::sys::table::Table;
use crate::sys::time::now_ns;
use crate::sys::timer::Timer;
use crate::sys::uio::IovIter;
use crate::tls::{Direction, Keys, Session};

/// Buckets of a socket's tables.
const BUCKETS: usize = 256;

/// What a request is sent with.
pub(crate) struct Request {
    /// To whom.
    pub(crate) to: SockAddr,
    /// Returned with the response.
    pub(crate) cookie: u64,
    /// Only a recvmsg that names the RPC gets the response.
    pub(crate) private: bool,
    /// It must not go in clear, whatever the socket allows.
    pub(crate) sealed: bool,
}

/// The transport half of a socket.
#[pin_data(PinnedDrop)]
pub(crate) struct Endpoint {
    /// The socket.
    pub(crate) sk: SockRef,
    /// Its namespace.
    pub(crate) ns: Arc<Net>,
    port: Relaxed<u32>,
    server: Relaxed<bool>,
    sealed_only: Relaxed<bool>,
    /// Sealed messages are padded to a multiple of this.
    padding: Relaxed<u32>,
    closed: Relaxed<bool>,
    next_tag: Relaxed<u32>,
    pub(super) peers: Table<Peer>,
    pub(super) rpcs: Table<Rpc>,
    /// What was the last RPC that went.
    pub(super) spare: Spare<Rpc>,
    /// RPCs for the program, in the order in which they became ready; private ones are not in it.
    #[pin]
    ready: SpinLockBh<List<Rpc>>,
    /// There are some. Written under the lock.
    some_ready: Relaxed<bool>,
    /// What the program should know about keys.
    #[pin]
    pub(crate) notices: Notices,
    #[pin]
    pub(super) timer: Timer<Self>,
}

impl Endpoint {
    /// The transport half of the new socket `sk`.
    pub(crate) fn new(sk: SockRef, ns: Arc<Net>) -> Result<Arc<Self>> {
        let endpoint = Arc::pin_init(
            try_pin_init!(Self {
                sk,
                ns,
                port: Relaxed::new(0),
                server: Relaxed::new(false),
                sealed_only: Relaxed::new(false),
                padding: Relaxed::new(0),
                closed: Relaxed::new(false),
                next_tag: Relaxed::new(1),
                peers: Table::new(BUCKETS, GFP_KERNEL)?,
                rpcs: Table::new(BUCKETS, GFP_KERNEL)?,
                spare: Spare::new(),
                ready <- new_spinlock_bh!(List::new(), "homa_ready"),
                some_ready: Relaxed::new(false),
                notices <- Notices::new(),
                timer <- Timer::new(),
            }),
            GFP_KERNEL,
        )?;
        endpoint.ns.stats.inc(Counter::LiveSockets);
        Ok(endpoint)
    }

    /// Its port; 0 before it has one.
    #[inline]
    pub(crate) fn port(&self) -> u16 {
        self.port.load() as u16
    }

    fn set_port(&self, port: u16) {
        self.port.store(u32::from(port));
        self.sk.set_local_port(port);
    }

    /// Gives it some client port. EADDRNOTAVAIL.
    pub(crate) fn bind_any(self: &Arc<Self>) -> Result {
        self.ns.claim_client_port(self, |port| self.set_port(port)).map(|_| ())
    }

    /// Gives it the server port `port`, and makes it a server; EADDRINUSE.
    pub(crate) fn bind(self: &Arc<Self>, port: u16) -> Result {
        let old = self.port();
        if old == port {
            self.set_server(true);
            return Ok(());
        }
        self.ns.release_port(self, old);
        self.set_port(port);
        if let Err(e) = self.ns.claim_port(self, port) {
            self.set_port(old);
            self.ns.claim_port(self, old)?;
            return Err(e);
        }
        self.set_server(true);
        Ok(())
    }

    /// Does it take requests?
    pub(crate) fn is_server(&self) -> bool {
        self.server.load()
    }

    /// Decides whether it takes requests.
    pub(crate) fn set_server(&self, on: bool) {
        self.server.store(on);
    }

    /// How the lengths of sealed messages are hidden.
    pub(crate) fn padding(&self) -> Padding {
        Padding::to_multiple_of(self.padding.load()).unwrap_or_default()
    }

    /// Decides how.
    pub(crate) fn set_padding(&self, padding: Padding) {
        self.padding.store(padding.multiple());
    }

    /// Does it refuse plain messages?
    pub(crate) fn is_sealed_only(&self) -> bool {
        self.sealed_only.load()
    }

    /// Decides whether it refuses plain messages.
    pub(crate) fn set_sealed_only(&self, on: bool) {
        self.sealed_only.store(on);
    }

    /// Has it been closed or shut down?
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load()
    }

    /// The peer called `name`, if it is remembered.
    pub(super) fn find_peer(&self, name: &SockAddr) -> Option<Arc<Peer>> {
        self.peers.find(Peer::hash(&self.ns, name), |p| p.name == *name)
    }

    /// The peer called `name`, remembered from now on and in use; `local` is the address that it used.
    /// ENOMEM; ENOBUFS if there are too many.
    pub(super) fn peer(&self, name: SockAddr, local: Addr) -> Result<PeerUse> {
        let hash = Peer::hash(&self.ns, &name);
        // Under the bucket's lock, so that an idle peer is not forgotten in between.
        let used = |peer: &Peer| {
            let found = peer.name == name;
            if found {
                peer.enter();
            }
            found
        };
        if let Some(peer) = self.peers.find(hash, used) {
            return Ok(PeerUse::of(peer));
        }
        if self.peers.len() >= self.ns.config.limits().max_peers {
            self.forget_idle_peers();
            if self.peers.len() >= self.ns.config.limits().max_peers {
                return Err(ENOBUFS);
            }
        }
        let make = || Peer::new(&self.ns, name, local);
        self.peers.find_or_insert_with(hash, used, make).map(PeerUse::of)
    }

    fn forget_idle_peers(&self) {
        let mut cursor = rand_bucket();
        // A quarter of the table at a time: bounded work in softirq.
        self.peers.scan(&mut cursor, BUCKETS / 4, |peer| !peer.is_idle());
    }

    /// Sends a request of `length` bytes. Returns its id. Sleeps.
    ///
    /// ENOKEY if it would have to go in clear and may not; EAGAIN, EKEYEXPIRED from the session; route
    /// errors; ENOMEM, ENOBUFS, EFAULT.
    pub(crate) fn send_request(
        self: &Arc<Self>,
        request: Request,
        length: u32,
        from: &mut IovIter,
    ) -> Result<u64> {
        // Unread responses count, and each request may bring one.
        if self.sk.rmem() >= self.sk.rcvbuf() || self.has_too_many() {
            return Err(ENOBUFS);
        }
        let peer = self.peer(request.to, Addr::ANY)?;
        let padding = self.padding();
        let (session, ack, mut advice) = peer.for_request(length, padding);
        let way = peer.way(self, &mut advice)?;
        let config = &self.ns.config;
        let terms = Terms {
            unscheduled: advice.unscheduled,
            level: advice.level,
            cutoff_version: advice.cutoff_version,
            response_limit: ResponseLimit::for_client(
                self.rpcs.len() as u32,
                config.grants.max_incoming,
                advice.unscheduled,
            ),
            padding,
        };
        let (identity, out) = match session {
            Some(session) => {
                // First the id: who is told to try again has used nothing of the key.
                let (id, distance) = session.next_id()?;
                let common = self.common(&peer, id.get());
                let out = Sealing::new(&way, &session, length, &terms)
                    .and_then(|sealing| {
                        let sk = &self.sk;
                        Outgoing::sealed(sk, &way, common, sealing, id, distance, &terms, from)
                    })
                    .inspect_err(|_| session.finish_id(id))?;
                self.tell_usage(peer.name, &session);
                let identity = Identity {
                    id: id.get(),
                    visible_id: session.tag.program_id(id),
                    cookie: request.cookie,
                    private: request.private,
                    session: Some(session),
                };
                (identity, out)
            }
            None if request.sealed || self.is_sealed_only() => return Err(ENOKEY),
            None => {
                let id = self.ns.next_id();
                let ack = ack.map(|id| Ack { client_id: id, server_port: peer.name.port });
                let data = plain_data(length, ack, &terms);
                let common = self.common(&peer, id);
                let out = Outgoing::plain(&self.sk, &way, common, data, &terms, from)?;
                let identity = Identity {
                    id,
                    visible_id: id,
                    cookie: request.cookie,
                    private: request.private,
                    session: None,
                };
                (identity, out)
            }
        };
        let visible_id = identity.visible_id;
        let records = out.records();
        let mut progress = MsgOut::new(out.stream_length(), advice.unscheduled);
        progress.set_probe(out.probe());
        let core = || {
            let now = now_ns();
            let mut core = core::Rpc::client(now, config, progress);
            core.set_patience(now, advice.patience);
            core.set_rto(now, advice.rto, advice.reordering);
            core
        };
        let sealed_id = identity.session.clone().zip(MessageId::new(identity.id));
        let rpc = Rpc::client(self, peer.to_arc(), identity, core, out).inspect_err(|_| {
            if let Some((session, id)) = &sealed_id {
                session.finish_id(*id);
            }
        })?;
        let mut queue = SkbQueue::new();
        let level = rpc.transmit(self, &way, &mut queue);
        if let Err(e) = self.rpcs.insert(rpc.hash, rpc.clone()) {
            self.forget(&rpc);
            return Err(e);
        }
        if self.is_closed() {
            self.forget(&rpc);
            return Err(ESHUTDOWN);
        }
        trace::message_out(&rpc, "request", 0, length);
        self.count_sent(Counter::RequestsSent, records);
        confirm(&advice, &mut queue);
        self.send_all(&rpc, &way, level, queue);
        self.watch();
        Ok(visible_id)
    }

    /// Sends the response of `length` bytes to a request. Sleeps.
    ///
    /// That the request is gone is no error: its client may have given up. EINVAL if
    /// it was answered already, ENOKEY if the request came in clear and the answer must not go so
    /// (`sealed`); errors as for requests.
    pub(crate) fn send_reply(
        self: &Arc<Self>,
        rpc: &Arc<Rpc>,
        sealed: bool,
        length: u32,
        from: &mut IovIter,
    ) -> Result {
        if rpc.session.is_none() && (sealed || self.is_sealed_only()) {
            return Err(ENOKEY);
        }
        let peer = &rpc.peer;
        let config = &self.ns.config;
        let common = self.common(peer, rpc.id);
        if rpc.session.as_ref().is_some_and(|session| !session.has_tx()) {
            return Err(ENOKEY);
        }
        let padding = self.padding();
        let visible = if rpc.session.is_some() { padding.visible(length) } else { length };
        let mut advice = peer.advice(visible);
        let way = peer.way(self, &mut advice)?;
        // A message id is sealed once: whoever loses a race to reply must not have sealed, nor used anything of the key.
        let Some(unscheduled) = rpc.claim_reply(advice.unscheduled)? else {
            return Ok(());
        };
        let terms = Terms {
            unscheduled,
            level: advice.level,
            cutoff_version: advice.cutoff_version,
            response_limit: ResponseLimit::NONE,
            padding,
        };
        let made = match &rpc.session {
            Some(session) => {
                let id = MessageId::new(rpc.id).ok_or(EINVAL)?;
                // If the key does not do, the program may try again with the next one.
                let sealing = Sealing::new(&way, session, length, &terms)
                    .inspect_err(|_| rpc.unclaim_reply())?;
                self.tell_usage(peer.name, session);
                Outgoing::sealed(&self.sk, &way, common, sealing, id, 0, &terms, from)
            }
            None => {
                let data = plain_data(length, None, &terms);
                Outgoing::plain(&self.sk, &way, common, data, &terms, from)
            }
        };
        let out = match made {
            Ok(out) => out,
            Err(e) => {
                match rpc.session {
                    // Part of the id's records may be sealed: it cannot be used again.
                    Some(_) => self.forget(rpc),
                    None => rpc.unclaim_reply(),
                }
                return Err(e);
            }
        };
        let records = out.records();
        let mut queue = SkbQueue::new();
        let mut state = rpc.state.lock();
        let progress = MsgOut::new(out.stream_length(), unscheduled);
        if !state.core.reply(now_ns(), config, progress) {
            // The client took the request back.
            return Ok(());
        }
        state.out = Some(out);
        let level = rpc.transmit_locked(&mut state, self, &way, &mut queue);
        drop(state);
        trace::message_out(rpc, "response", 0, length);
        self.count_sent(Counter::ResponsesSent, records);
        confirm(&advice, &mut queue);
        self.send_all(rpc, &way, level, queue);
        self.watch();
        Ok(())
    }

    fn count_sent(&self, message: Counter, records: u32) {
        self.ns.stats.inc(message);
        if records != 0 {
            self.ns.stats.add(Counter::TlsRecordsSealed, u64::from(records));
        }
    }

    /// What all packets to `peer` about the RPC `id` say.
    pub(super) fn common(&self, peer: &Peer, id: u64) -> Common {
        Common { source_port: self.port(), destination_port: peer.name.port, sender_id: id }
    }

    /// The RPC with `name` that this end knows as `id` on the wire.
    pub(super) fn find_rpc(&self, name: &SockAddr, id: u64) -> Option<Arc<Rpc>> {
        self.rpcs.find(Rpc::hash(&self.ns, name, id), |rpc| rpc.is(name, id))
    }

    /// The RPC with `name` that the program knows as `id`.
    pub(crate) fn find_request(&self, name: &SockAddr, id: u64) -> Option<Arc<Rpc>> {
        // What looks like a session's tag may also be part of another implementation's id.
        let wire_id = split(id).map_or(id, |(_, wire_id)| wire_id);
        let is_it = |rpc: &Arc<Rpc>| rpc.visible_id == id;
        match self.find_rpc(name, wire_id).filter(is_it) {
            None if wire_id != id => self.find_rpc(name, id).filter(is_it),
            found => found,
        }
    }

    /// The first RPC, in no order, for which `is` holds.
    pub(crate) fn find_any(&self, mut is: impl FnMut(&Rpc) -> bool) -> Option<Arc<Rpc>> {
        let mut found = None;
        self.for_each(|rpc| {
            if found.is_none() && is(rpc) {
                found = Some(rpc.clone());
            }
        });
        found
    }

    /// Calls `f` for each RPC, under the lock of a bucket.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Arc<Rpc>)) {
        let mut cursor = 0;
        self.rpcs.scan(&mut cursor, BUCKETS, |rpc| {
            f(rpc);
            true
        });
    }

    /// The source address that messages to `name` have. Route errors.
    pub(crate) fn source_for(&self, name: &SockAddr) -> Result<Addr> {
        Ok(self.peer(*name, Addr::ANY)?.route(self)?.source())
    }

    /// Has it as many RPCs as it may have?
    pub(super) fn has_too_many(&self) -> bool {
        self.rpcs.len() >= self.ns.config.limits().max_rpcs
    }

    /// How many peers it remembers.
    pub(crate) fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Into so many parts its RPCs are divided for [`Self::rpcs_in`].
    pub(crate) const RPC_BUCKETS: usize = BUCKETS;

    /// Part of its RPCs, or those of them that there is memory to list.
    pub(crate) fn rpcs_in(&self, bucket: usize) -> KVec<Arc<Rpc>> {
        let (mut cursor, mut found) = (bucket, KVec::new());
        self.rpcs.scan(&mut cursor, 1, |rpc| {
            let _ = found.push(rpc.clone(), GFP_ATOMIC);
            true
        });
        found
    }

    /// How many RPCs there are.
    pub(crate) fn rpc_count(&self) -> usize {
        self.rpcs.len()
    }

    /// The RPC is whole, or failed: the program can have it.
    pub(super) fn make_ready(&self, rpc: &Arc<Rpc>) {
        if rpc.private {
            self.sk.wake_all_readers();
            return;
        }
        // It is in no list yet: an RPC becomes ready once.
        if let Some(entry) = ListArc::try_from_arc_or_drop(rpc.clone()) {
            let mut ready = self.ready.lock();
            ready.push_back(entry);
            self.some_ready.store(true);
        }
        self.sk.data_ready();
    }

    /// Takes the RPC that has been ready longest.
    #[inline]
    pub(crate) fn next_ready(&self) -> Option<Arc<Rpc>> {
        if !self.has_ready() {
            return None;
        }
        let mut ready = self.ready.lock();
        let next = ready.pop_front();
        self.some_ready.store(!ready.is_empty());
        next.map(ListArc::into_arc)
    }

    /// Puts an RPC back that could not be handed over.
    pub(crate) fn put_back(&self, rpc: &Arc<Rpc>) {
        self.put_back_quietly(rpc);
        self.sk.data_ready();
    }

    /// The same, without waking anybody: the caller waits for something else than RPCs.
    pub(crate) fn put_back_quietly(&self, rpc: &Arc<Rpc>) {
        if rpc.private {
            return;
        }
        if let Some(entry) = ListArc::try_from_arc_or_drop(rpc.clone()) {
            let mut ready = self.ready.lock();
            ready.push_front(entry);
            self.some_ready.store(true);
        }
    }

    /// Is an RPC ready? Without a lock: there is a full barrier between entering a wait queue and asking ([`Sock::wait`], `sock_poll_wait`),
    /// and one between making an RPC ready and looking who waits (`data_ready`).
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        self.some_ready.load()
    }

    /// [`Self::forget`], when the other end has all that it needs: the next RPC may have the memory. `now` is asked at a server only.
    #[inline]
    pub(crate) fn finish(&self, rpc: Arc<Rpc>, now: impl FnOnce() -> u64) {
        self.forget_at(&rpc, true, now);
        self.spare.put(rpc);
    }

    /// The RPC is over here: takes it out of the table and frees what it holds.
    pub(crate) fn forget(&self, rpc: &Arc<Rpc>) {
        self.forget_at(rpc, false, now_ns);
    }

    fn forget_at(&self, rpc: &Arc<Rpc>, acknowledged: bool, now: impl FnOnce() -> u64) {
        self.rpcs.remove(rpc.hash, rpc);
        let mut state = rpc.state.lock();
        if !rpc.is_client() && state.ready {
            // It was delivered: a late copy of the request must not be. (In a session the replay window sees to that.)
            let recent = rpc.session.is_none().then_some(rpc.id);
            let sent = state.core.out().filter(|out| out.is_sent()).map_or(0, |out| out.length());
            rpc.peer.finished(now(), recent, sent, acknowledged);
        }
        // Whoever made it ready has done this.
        if !state.ready {
            self.end_id(rpc);
        }
        let scheduled = grants::leave(&self.ns, &mut state);
        state.core.finish();
        state.gone = true;
        state.turn = None;
        state.out = None;
        state.incoming.clear();
        rpc.uncharge();
        drop(state);
        if scheduled {
            grants::poll(&self.ns);
        }
        if rpc.private {
            // Somebody may wait for just this one.
            self.sk.wake_all_readers();
        }
    }

    /// Fails the client's RPC with `error`: the program gets that instead of a response.
    pub(crate) fn fail(&self, rpc: &Arc<Rpc>, error: Error) {
        let mut state = rpc.state.lock();
        if state.ready || !rpc.is_client() {
            return;
        }
        let scheduled = grants::leave(&self.ns, &mut state);
        state.core.finish();
        state.error = Some(error);
        state.ready = true;
        state.turn = None;
        state.out = None;
        state.incoming.clear();
        drop(state);
        if scheduled {
            grants::poll(&self.ns);
        }
        self.end_id(rpc);
        self.make_ready(rpc);
    }

    /// The client's RPC needs nothing more from the server: its id need not be kept alive.
    pub(super) fn end_id(&self, rpc: &Rpc) {
        if let (true, Some(session)) = (rpc.is_client(), &rpc.session) {
            if let Some(id) = MessageId::new(rpc.id) {
                session.finish_id(id);
            }
        }
    }

    /// Something waits for the peer: the timer must run.
    pub(super) fn watch(self: &Arc<Self>) {
        self.timer.start_if_idle(self, self.ns.config.resend_first);
    }

    /// Keeps what the program should know about the keys of its session with `name`. Under no lock.
    #[inline]
    pub(super) fn tell_usage(&self, name: SockAddr, session: &Session) {
        if session.is_due() {
            self.report(name, session);
        }
    }

    #[cold]
    fn report(&self, name: SockAddr, session: &Session) {
        let mut any = false;
        session.tell(|notice| {
            let kept = self.notices.keep(name, notice);
            any |= kept;
            kept
        });
        if any {
            self.sk.wake_all_readers();
        }
    }

    /// Installs a key for the session with `name`, which begins with the first one. Sleeps.
    ///
    /// What [`Session::install`] says; ENOSPC if the socket has had too many sessions.
    pub(crate) fn install_key(
        self: &Arc<Self>,
        name: SockAddr,
        direction: Direction,
        keys: KBox<Keys>,
    ) -> Result {
        let peer = self.peer(name, Addr::ANY)?;
        let session = match peer.session() {
            Some(session) => session,
            None => {
                let tag = self.next_tag.fetch_add(1u32);
                let tag = u16::try_from(tag).ok().and_then(SessionTag::new).ok_or(ENOSPC)?;
                peer.session_or_insert(Session::new(tag)?)
            }
        };
        let stats = &self.ns.stats;
        let installed = session.install(direction, keys).inspect_err(|_| {
            stats.inc(match direction {
                Direction::Tx => Counter::TlsTxRekeyError,
                Direction::Rx => Counter::TlsRxRekeyError,
            });
        });
        let rekey = installed?;
        self.notices.forget(&name, direction);
        stats.inc(match (direction, rekey) {
            (Direction::Tx, false) => Counter::TlsTxSw,
            (Direction::Rx, false) => Counter::TlsRxSw,
            (Direction::Tx, true) => Counter::TlsTxRekeyOk,
            (Direction::Rx, true) => Counter::TlsRxRekeyOk,
        });
        if !rekey {
            let in_clear = |rpc: &Rpc| rpc.session.is_none() && rpc.peer.name == name;
            self.abort_matching(ECONNRESET, in_clear);
        }
        Ok(())
    }

    /// Ends RPCs: clients' fail with `error`, servers' are dropped. Of very many, some may stay when there
    /// is no memory to list them: their time-out ends them.
    pub(crate) fn abort_matching(&self, error: Error, mut is: impl FnMut(&Rpc) -> bool) {
        let mut found: KVec<Arc<Rpc>> = KVec::new();
        self.for_each(|rpc| {
            if is(rpc) {
                let _ = found.push(rpc.clone(), GFP_ATOMIC);
            }
        });
        for rpc in found {
            if rpc.is_client() {
                self.fail(&rpc, error);
            } else {
                self.forget(&rpc);
            }
        }
    }

    /// shutdown(2): no more RPCs; whoever waits learns it.
    pub(crate) fn shut_down(&self) {
        self.closed.store(true);
        self.abort_matching(ESHUTDOWN, |_| true);
        self.sk.wake_all_readers();
    }

    /// close(2): nobody can find it any more, and it keeps nothing.
    pub(crate) fn close(self: &Arc<Self>) {
        self.closed.store(true);
        self.ns.release_port(self, self.port());
        self.timer.cancel_sync();
        self.rpcs.drain(|rpc| {
            self.end_id(&rpc);
            let mut state = rpc.state.lock();
            grants::leave(&self.ns, &mut state);
            state.core.finish();
            state.turn = None;
            state.out = None;
        });
        grants::poll(&self.ns);
        while self.next_ready().is_some() {}
        self.peers.drain(drop);
    }
}

#[pinned_drop]
impl PinnedDrop for Endpoint {
    fn drop(self: Pin<&mut Self>) {
        self.ns.stats.dec(Counter::LiveSockets);
    }
}

/// A packet to a peer that is known to be reached tells so to the neighbour's entry on its way.
#[inline]
fn confirm(advice: &Advice, queue: &mut SkbQueue) {
    if let Some(skb) = queue.front_mut().filter(|_| advice.reached) {
        skb.confirm_neighbour();
    }
}

/// The fields of DATA that do not depend on the place of a packet.
fn plain_data(length: u32, ack: Option<Ack>, terms: &Terms) -> Data {
    Data {
        message_length: length,
        incoming: 0,
        ack,
        cutoff_version: terms.cutoff_version,
        retransmit: false,
        response_limit: terms.response_limit,
        offset: 0,
        payload: 0,
    }
}

fn rand_bucket() -> usize {
    crate::sys::rand::below(BUCKETS as u32) as usize
}

/// Longest message of a program, in bytes.
pub(crate) const MAX_MESSAGE: usize = wire::MAX_MESSAGE as usize;
