// SPDX-License-Identifier: GPL-2.0

//! One RPC: the core's state machine and the packets that belong to it, behind one lock.

use crate::sys::relaxed::Relaxed;
use kernel::list::{impl_list_arc_safe, impl_list_item, AtomicTracker, ListLinks, TryNewListArc};
use kernel::prelude::*;
use kernel::sync::Arc;

use super::endpoint::Endpoint;
use super::incoming::Incoming;
use super::net::Net;
use super::outgoing::{Outgoing, Short};
use super::pacing::{Turn, Way};
use super::peer::Peer;
use crate::observe::counters::Counter;
use crate::observe::trace;
use crate::protocol::rpc as core;
use crate::protocol::session::seq::MessageId;
use crate::sys::addr::SockAddr;
use crate::sys::lock::{new_spinlock_bh, SpinLockBh};
use crate::sys::skbq::SkbQueue;
use crate::sys::sock::SockRef;
use crate::tls::{Session, Unproven};

/// Beyond this receive buffers are not charged any more.
const MAX_FORCED: usize = 1 << 30;

/// One RPC at one end.
#[pin_data(PinnedDrop)]
pub(crate) struct Rpc {
    /// The other end.
    pub(crate) peer: Arc<Peer>,
    /// The session that it is sealed in. Fixed when it begins.
    pub(crate) session: Option<Arc<Session>>,
    /// Its id on the wire, as this end knows it: even at the client, odd at the server.
    pub(crate) id: u64,
    /// Its id as the program knows it.
    pub(crate) visible_id: u64,
    /// What the program wants back with the response.
    pub(crate) cookie: u64,
    /// Only a recvmsg that names it gets the response.
    pub(crate) private: bool,
    /// Under which the socket's table keeps it.
    pub(super) hash: u64,
    ns: Arc<Net>,
    /// Whose receive buffer `charged` is taken from.
    sk: SockRef,
    /// Bytes of the socket's receive buffer that are reserved for the incoming message. Grows under the state's lock.
    charged: Relaxed<usize>,
    #[pin]
    tracker: AtomicTracker,
    #[pin]
    links: ListLinks,
    /// Everything that changes.
    #[pin]
    pub(crate) state: SpinLockBh<State>,
}

/// What of an RPC changes.
pub(crate) struct State {
    /// How far it is.
    pub(crate) core: core::Rpc,
    /// The outgoing message, until the peer has it.
    pub(crate) out: Option<Outgoing>,
    /// Its bytes, if it is short.
    pub(super) short: Short,
    /// The incoming message.
    pub(crate) incoming: Incoming,
    /// Why it failed.
    pub(crate) error: Option<Error>,
    /// The program can have it.
    pub(crate) ready: bool,
    /// The program has it, or is just getting it.
    pub(crate) taken: bool,
    /// It is over, and the program gets nothing.
    pub(crate) gone: bool,
    /// The response has been handed in. (It may not have been sent yet.)
    replied: bool,
    /// A request of which nothing has been authenticated.
    pub(super) unproven: Option<Unproven>,
    /// The outgoing message waits until the device has room.
    pub(super) turn: Option<KBox<Turn>>,
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Rpc { tracked_by tracker: AtomicTracker; }
}
impl_list_item! {
    impl ListItem<0> for Rpc { using ListLinks { self.links }; }
}

/// The parts of an RPC that never change.
pub(super) struct Identity {
    pub(super) id: u64,
    pub(super) visible_id: u64,
    pub(super) cookie: u64,
    pub(super) private: bool,
    pub(super) session: Option<Arc<Session>>,
}

impl Rpc {
    /// Makes the RPC of a client, which is going to send `out`; it is not in any table yet.
    #[inline]
    pub(super) fn client(
        endpoint: &Endpoint,
        peer: Arc<Peer>,
        identity: Identity,
        core: impl FnOnce() -> core::Rpc,
        out: Outgoing,
    ) -> Result<Arc<Self>> {
        Self::new(endpoint, peer, identity, core, || Some(out), 0, None)
    }

    /// Makes the RPC of a server, for which `charged` bytes are reserved; it is not in any table yet.
    #[inline]
    pub(super) fn server(
        endpoint: &Endpoint,
        peer: Arc<Peer>,
        identity: Identity,
        core: impl FnOnce() -> core::Rpc,
        charged: usize,
        unproven: Option<Unproven>,
    ) -> Result<Arc<Self>> {
        Self::new(endpoint, peer, identity, core, || None, charged, unproven)
    }

    // It is large: it is made where it stays.
    #[inline(always)]
    fn new(
        endpoint: &Endpoint,
        peer: Arc<Peer>,
        identity: Identity,
        core: impl FnOnce() -> core::Rpc,
        out: impl FnOnce() -> Option<Outgoing>,
        charged: usize,
        unproven: Option<Unproven>,
    ) -> Result<Arc<Self>> {
        // It fits the kmalloc bucket of 1024 bytes with its reference count.
        const { assert!(cfg!(CONFIG_DEBUG_SPINLOCK) || ::core::mem::size_of::<Self>() <= 1024 - 8) };
        let Identity { id, visible_id, cookie, private, session } = identity;
        let ns = &endpoint.ns;
        let hash = Self::hash(ns, &peer.name, id);
        let state = init!(State {
            core: core(),
            out: out(),
            short: Short::new(),
            incoming: Incoming::new(),
            error: None,
            ready: false,
            taken: false,
            gone: false,
            replied: false,
            unproven,
            turn: None,
        });
        let rpc = endpoint.spare.pin_init::<Error>(
            try_pin_init!(Self {
                peer,
                session,
                id,
                visible_id,
                cookie,
                private,
                hash,
                ns: ns.clone(),
                sk: endpoint.sk.clone(),
                charged: Relaxed::new(charged),
                tracker <- AtomicTracker::new(),
                links <- ListLinks::new(),
                state <- new_spinlock_bh!(state, "homa_rpc"),
            }),
            GFP_ATOMIC,
        )?;
        rpc.peer.enter();
        ns.stats.inc(Counter::LiveRpcs);
        trace::rpc_start(&rpc, rpc.end_name(), 0, 0);
        Ok(rpc)
    }

    /// The hash of the RPC that this end knows as `id` and has with `name`.
    pub(super) fn hash(ns: &Net, name: &SockAddr, id: u64) -> u64 {
        let [a, b] = name.addr.words();
        ns.hash.hash3(a, b, id ^ (u64::from(name.port) << 48))
    }

    /// Is it the RPC that this end knows as `id` and has with `name`?
    pub(super) fn is(&self, name: &SockAddr, id: u64) -> bool {
        self.id == id && self.peer.name == *name
    }

    /// Is this end its client?
    pub(crate) fn is_client(&self) -> bool {
        self.id & 1 == 0
    }

    /// The socket that it belongs to.
    pub(crate) fn sk(&self) -> &SockRef {
        &self.sk
    }

    /// What this end is called.
    pub(crate) fn end_name(&self) -> &'static str {
        match self.is_client() {
            true => "client",
            false => "server",
        }
    }

    /// What the message is called that goes `out` from here, or comes in.
    pub(crate) fn message_name(&self, out: bool) -> &'static str {
        match self.is_client() == out {
            true => "request",
            false => "response",
        }
    }

    /// Can the program have it?
    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().ready
    }

    /// Will the program get nothing of it any more?
    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().gone
    }

    /// If the response is wanted: how much of it may be sent unasked, if that is `unscheduled` for the peer. Given out once; then, or before the
    /// request is here, EINVAL.
    pub(super) fn claim_reply(&self, unscheduled: u32) -> Result<Option<u32>> {
        let mut state = self.state.lock();
        if state.gone {
            return Ok(None);
        }
        if state.core.phase() != core::Phase::InService || state.replied {
            return Err(EINVAL);
        }
        state.replied = true;
        Ok(Some(state.core.unscheduled_response(unscheduled)))
    }

    /// Nothing became of the response, and nothing of it was sealed; another one may be made.
    pub(super) fn unclaim_reply(&self) {
        self.state.lock().replied = false;
    }

    /// The id of the incoming message of a sealed RPC.
    pub(super) fn incoming_id(&self) -> Option<MessageId> {
        MessageId::new(self.id ^ 1)
    }

    /// Bytes of the receive buffer that an incoming message of `length` bytes reserves.
    pub(super) fn charge_for(length: u32) -> usize {
        length as usize + ::core::mem::size_of::<Self>()
    }

    /// Adds to `queue` what of the outgoing message may be sent now, and marks it as sent; if the device has no room, the rest waits for its turn there.
    /// Returns the priority of what is sent.
    pub(super) fn transmit(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        way: &Way,
        queue: &mut SkbQueue,
    ) -> u8 {
        self.transmit_locked(&mut self.state.lock(), endpoint, way, queue)
    }

    /// The same, under the state's lock.
    pub(super) fn transmit_locked(
        self: &Arc<Self>,
        state: &mut State,
        endpoint: &Arc<Endpoint>,
        way: &Way,
        queue: &mut SkbQueue,
    ) -> u8 {
        let (Some(out), Some(progress)) = (&mut state.out, state.core.out_mut()) else {
            return 0;
        };
        if state.turn.is_some() {
            return 0;
        }
        let (sk, short) = (&endpoint.sk, &mut state.short);
        let mut ask = |left, bytes, packets| way.may_send(left, bytes, packets);
        if !out.transmit(short, sk, way, progress, queue, &mut ask) {
            let left = progress.unsent();
            state.turn = way.device.as_ref().and_then(|device| device.wait(endpoint, self, left));
            if state.turn.is_none() {
                // Without memory: a queue that is too long is better than a message that hangs.
                out.transmit(short, sk, way, progress, queue, &mut |_, _, _| true);
            }
        }
        out.level(progress)
    }

    /// Reserves room for an incoming message of `length` bytes; false if there is none.
    pub(super) fn charge(&self, _: &mut State, length: u32) -> bool {
        let bytes = Self::charge_for(length);
        let ok = self.sk.charge_rmem(bytes);
        if ok {
            self.charged.fetch_add(bytes);
        }
        ok
    }

    /// Reserves room for an incoming message of `length` bytes, whether there is any or not.
    pub(super) fn force_charge(&self, _: &mut State, length: u32) {
        let bytes = Self::charge_for(length);
        if self.sk.rmem() > MAX_FORCED {
            // The count could overflow: it is full enough to keep everything else out.
            return;
        }
        self.sk.force_charge_rmem(bytes);
        self.charged.fetch_add(bytes);
    }

    /// Is anything reserved for the incoming message?
    #[inline]
    pub(super) fn is_charged(&self) -> bool {
        self.charged.load() != 0
    }

    /// Gives back what the incoming message reserved.
    #[inline]
    pub(crate) fn uncharge(&self) {
        if !self.is_charged() {
            return;
        }
        let charged = self.charged.swap(0);
        if charged != 0 {
            self.sk.uncharge_rmem(charged);
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Rpc {
    fn drop(self: Pin<&mut Self>) {
        self.uncharge();
        self.peer.leave();
        trace::rpc_end(&self, self.end_name(), 0, 0);
        self.ns.stats.dec(Counter::LiveRpcs);
    }
}
