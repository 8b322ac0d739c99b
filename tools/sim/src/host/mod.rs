// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A host: the core's state machines put together as the kernel layer does it.
//!
//! [`Host`] is what the simulator needs of one. It asks for nothing but that: no clock, no network, no
//! randomness but the seed it was given. The simulator calls it with the host's own time, which never
//! goes back by itself (but see the fault `clock`), and after every call takes what the host wants to
//! send ([`Host::poll_transmit`]) as fast as its network card takes it, and what it has to tell
//! ([`Host::poll_event`]).

mod basic;
mod full;
pub mod session;

pub use basic::Basic;
pub use full::Full;

/// The host that the simulator runs.
pub type TheHost = Full;

use homa_core::config::Config;
use homa_core::rpc::Failure;

use crate::ledger::Ledger;
use crate::packet::{Digest, HostId, Message, Packet};

/// Nanoseconds of virtual time.
pub type Time = u64;

/// What a host is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which one it is.
    pub id: HostId,
    /// How many there are.
    pub hosts: HostId,
    /// Times and sizes.
    pub config: Config,
    /// Bits per second of its network card.
    pub link_bps: u64,
    /// Longest IP packet, IP header included.
    pub mtu: u32,
    /// What the clock on the wall says when it boots, in nanoseconds.
    pub booted: Time,
    /// For whatever is random in a host: where ids start, for one. Another each time the host boots.
    pub seed: u64,
    /// All is sealed: where encryptions are entered.
    pub sealed: Option<Ledger>,
}

/// The programs of a host begin an RPC, and it cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No memory, or a limit.
    Memory,
    /// Sealed: no session with the peer, or its ids are used up for now.
    Session,
}

/// A whole message, as it is given to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes for the program.
    pub length: u32,
    /// Bytes of the stream: sealed, more than `length`.
    pub stream_length: u32,
    /// Of the whole stream.
    pub digest: Digest,
}

/// What a host tells its programs. An RPC is named by its client's id for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request of `peer` is whole: serve it.
    Request {
        /// The client.
        peer: HostId,
        /// The client's id.
        id: u64,
        /// The request.
        message: Received,
    },
    /// The response of an RPC of this host is whole. The RPC is done.
    Response {
        /// The server.
        peer: HostId,
        /// This host's id.
        id: u64,
        /// The response.
        message: Received,
    },
    /// An RPC of this host failed. It is done.
    Failed {
        /// The server.
        peer: HostId,
        /// This host's id.
        id: u64,
        /// Why.
        why: Failure,
    },
}

/// How much state a host has: what must come back to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// RPCs as a client.
    pub client_rpcs: usize,
    /// RPCs as a server.
    pub server_rpcs: usize,
    /// Whatever else belongs to running RPCs: entries in a grant scheduler's, a pacer's, a
    /// retransmission's queue.
    pub queued: usize,
    /// Sealed: ids of sessions that never ended.
    pub open_ids: u64,
    /// Packets that were dropped, for whatever reason.
    pub drops: u64,
}

/// A host.
pub trait Host {
    /// One that just booted.
    fn new(setup: Setup) -> Self;

    /// A program sends a request. Returns the client's id for the RPC.
    ///
    /// # Errors
    ///
    /// [`Refused`], and nothing has changed.
    fn start(&mut self, now: Time, peer: HostId, request: Message) -> Result<u64, Refused>;

    /// A program answers. False if the RPC is gone, or there is no memory.
    fn reply(&mut self, now: Time, peer: HostId, id: u64, response: Message) -> bool;

    /// A program gives up an RPC of its own. False if it is over. No event will tell of it.
    fn abort(&mut self, now: Time, peer: HostId, id: u64) -> bool;

    /// Sealed: both ends have agreed on keys, for the first time or since one of them booted.
    /// RPCs of a session that was there before fail.
    fn new_session(&mut self, now: Time, peer: HostId, transmit_key: u64, receive_key: u64);

    /// A packet arrives.
    fn handle(&mut self, now: Time, packet: &Packet);

    /// The next packet to send, if there is one that may be sent now: called whenever the network card
    /// has room, until there is none.
    fn poll_transmit(&mut self, now: Time) -> Option<Packet>;

    /// When [`on_timer`](Self::on_timer) has something to do next. Asked after every call: cheap.
    fn next_timer(&self) -> Option<Time>;

    /// Time passed.
    fn on_timer(&mut self, now: Time);

    /// The next thing to tell programs.
    fn poll_event(&mut self) -> Option<Event>;

    /// How much state there is.
    fn counts(&self) -> Counts;

    /// Most bytes that this host has granted (not counting what is sent unasked) and not received, in all
    /// its RPCs together; `None` if it sees to no bound.
    fn grant_bound(&self) -> Option<u64>;

    /// The state of an RPC, for a trace.
    fn describe(&self, peer: HostId, id: u64) -> String;
}
