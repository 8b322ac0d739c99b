// SPDX-License-Identifier: GPL-2.0

//! The other end: what a socket remembers about one remote address and port.

use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::Arc;

use super::endpoint::Endpoint;
use super::net::Net;
use crate::observe::counters::Counter;
use crate::protocol::acks::{PendingAcks, MAX_ACKS};
use crate::protocol::recent::RecentIds;
use crate::protocol::rtt::Rtt;
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
    uses: Atomic<u32>,
    /// There is a session: nothing may go there in clear any more.
    sealed: Atomic<bool>,
    #[pin]
    state: SpinLockBh<State>,
}

struct State {
    route: Option<Arc<Dst>>,
    acks: PendingAcks,
    /// Its plain requests that we have forgotten.
    recent: RecentIds,
    /// How quickly it answers.
    rtt: Rtt,
    session: Option<Arc<Session>>,
}

impl Peer {
    /// Remembers `name`.
    pub(super) fn new(ns: &Arc<Net>, name: SockAddr, local: Addr) -> Result<Arc<Self>> {
        let state = State {
            route: None,
            acks: PendingAcks::new(),
            recent: RecentIds::new(),
            rtt: Rtt::new(),
            session: None,
        };
        let peer = Arc::pin_init(
            try_pin_init!(Self {
                name,
                local,
                ns: ns.clone(),
                // Whoever makes it uses it.
                uses: Atomic::new(1),
                sealed: Atomic::new(false),
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

    /// The route to it; looked up anew when it went stale.
    pub(crate) fn route(&self, endpoint: &Endpoint) -> Result<Arc<Dst>> {
        if let Some(dst) = &self.state.lock().route {
            if dst.is_valid() {
                return Ok(dst.clone());
            }
        }
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
        let dst = Arc::new(dst, GFP_ATOMIC)?;
        let old = self.state.lock().route.replace(dst.clone());
        drop(old);
        Ok(dst)
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
        self.sealed.store(true, Relaxed);
        state.session.get_or_insert(session).clone()
    }

    /// Is there a session with it?
    #[inline]
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Relaxed)
    }

    /// The response of the RPC `id` arrived, after `rtt` if that is known. Returns ids for an ACK packet
    /// when there are enough; sealed RPCs need none.
    pub(super) fn answered(&self, id: u64, rtt: Option<u64>) -> Option<[u64; MAX_ACKS]> {
        let mut state = self.state.lock();
        if let Some(ns) = rtt {
            state.rtt.sample(ns);
        }
        if self.is_sealed() {
            None
        } else {
            state.acks.push(id)
        }
    }

    /// What a request to it needs: the session, if there is one; if not, an acknowledgment to send along;
    /// and how long to wait before asking for the response.
    pub(super) fn for_request(&self) -> (Option<Arc<Session>>, Option<u64>, u64) {
        let mut state = self.state.lock();
        let patience = state.rtt.patience(&self.ns.config);
        match &state.session {
            Some(session) => (Some(session.clone()), None, patience),
            None => (None, state.acks.pop(), patience),
        }
    }

    /// The server here forgets its plain request `id`.
    pub(super) fn add_recent(&self, id: u64) {
        self.state.lock().recent.add(id);
    }

    /// Did the server here forget its plain request `id` lately?
    pub(super) fn is_recent(&self, id: u64) -> bool {
        self.state.lock().recent.contains(id)
    }

    /// One more refers to it. For whoever found it in the table: under the bucket's lock, so that it is not
    /// forgotten meanwhile.
    pub(super) fn enter(&self) {
        self.uses.add(1, Relaxed);
    }

    /// One less.
    pub(super) fn leave(&self) {
        self.uses.fetch_sub(1u32, Relaxed);
    }

    /// How many RPCs (and calls) refer to it.
    pub(super) fn use_count(&self) -> u32 {
        self.uses.load(Relaxed)
    }

    /// May it be forgotten?
    pub(super) fn is_idle(&self) -> bool {
        self.uses.load(Relaxed) == 0 && !self.is_sealed()
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
