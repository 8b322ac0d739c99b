// SPDX-License-Identifier: GPL-2.0

//! What is counted, and under which names `/proc/net/homa` and `/proc/net/homa_tls_stat` show it.
//!
//! Counters belong to a network namespace and only grow, except the three `live_` ones, which
//! count objects that exist: zero when nothing is going on, and so a check for leaks.

use kernel::prelude::*;

use crate::protocol::wire::{Malformed, PacketType};
use crate::sys::percpu::Counters;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// One counter. (Those of packet types are reached by number.)
        #[allow(dead_code)]
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub(crate) enum Counter {
            $($(#[$doc])* $name,)*
        }

        /// The names, in the order of [`Counter`].
        pub(crate) const NAMES: &[&str] = &[$($text,)*];
    };
}

counters! {
    /// Requests that programs here sent.
    RequestsSent => "requests_sent",
    /// Requests handed to programs here.
    RequestsReceived => "requests_received",
    /// Responses that programs here sent.
    ResponsesSent => "responses_sent",
    /// Responses that arrived whole.
    ResponsesReceived => "responses_received",
    /// RPCs of clients here that ended because the peer was silent.
    RpcTimeouts => "rpc_timeouts",
    /// RPCs of clients here that the server forgot half-way.
    RpcResets => "rpc_resets",
    /// RPCs of servers here whose client went silent.
    ClientsLost => "clients_lost",
    /// Packets received, whatever became of them.
    PacketsReceived => "packets_received",
    /// Packets that came with the route of the last one of their flow.
    EarlyRoutes => "early_routes",
    /// Packets sent again because a peer asked.
    Retransmits => "retransmits",
    /// Messages that had to wait for their turn at a device.
    PacedMessages => "paced_messages",
    /// DATA received. The types follow in the order of the wire, plain and sealed together.
    DataReceived => "data_received",
    /// GRANT received.
    GrantsReceived => "grants_received",
    /// RESEND received.
    ResendsReceived => "resends_received",
    /// UNKNOWN received.
    UnknownsReceived => "unknowns_received",
    /// BUSY received.
    BusysReceived => "busys_received",
    /// CUTOFFS received.
    CutoffsReceived => "cutoffs_received",
    /// FREEZE received.
    FreezesReceived => "freezes_received",
    /// NEED_ACK received.
    NeedAcksReceived => "need_acks_received",
    /// ACK received.
    AcksReceived => "acks_received",
    /// DATA sent, in segments. The types follow in the order of the wire, plain and sealed together.
    DataSent => "data_sent",
    /// GRANT sent.
    GrantsSent => "grants_sent",
    /// RESEND sent.
    ResendsSent => "resends_sent",
    /// UNKNOWN sent.
    UnknownsSent => "unknowns_sent",
    /// BUSY sent.
    BusysSent => "busys_sent",
    /// CUTOFFS sent.
    CutoffsSent => "cutoffs_sent",
    /// FREEZE sent.
    FreezesSent => "freezes_sent",
    /// NEED_ACK sent.
    NeedAcksSent => "need_acks_sent",
    /// ACK sent.
    AcksSent => "acks_sent",
    /// Packets that the IP layer refused to send.
    SendErrors => "send_errors",
    /// Dropped: all of its bytes were here already.
    DropDuplicate => "drop_duplicate",
    /// Dropped: it contradicts the message that it claims to be part of.
    DropRefused => "drop_refused",
    /// Dropped: no socket has the port.
    DropNoSocket => "drop_no_socket",
    /// Dropped: the socket takes no requests.
    DropNotServer => "drop_not_server",
    /// Dropped: no such RPC.
    DropUnknownRpc => "drop_unknown_rpc",
    /// Dropped: a socket filter, a cgroup's program or a security module refused it.
    DropFilter => "drop_filter",
    /// Dropped: no memory.
    DropNoMemory => "drop_no_memory",
    /// Dropped: the socket's receive buffer is full.
    DropBufferFull => "drop_buffer_full",
    /// Dropped: plain, though the peer has a session or the socket takes sealed messages only.
    DropPlain => "drop_plain",
    /// Dropped: sealed, and there is no session with its sender, or no key of its epoch (any more, or yet).
    DropNoSession => "drop_no_session",
    /// Dropped: too short.
    MalformedShort => "malformed_short",
    /// Dropped: no such type.
    MalformedType => "malformed_type",
    /// Dropped: a port is zero.
    MalformedPort => "malformed_port",
    /// Dropped: no message has that length.
    MalformedLength => "malformed_length",
    /// Dropped: it lies outside its message.
    MalformedPlace => "malformed_place",
    /// Dropped: its record fields contradict each other.
    MalformedRecord => "malformed_record",
    /// Dropped: too many acknowledgments.
    MalformedAcks => "malformed_acks",
    /// Dropped: no message has that id.
    MalformedId => "malformed_id",
    /// Dropped: an unknown version of the sealed format.
    MalformedFormat => "malformed_format",
    /// Dropped: reserved bits are set.
    MalformedReserved => "malformed_reserved",
    /// Dropped: bytes after its end.
    MalformedTrailing => "malformed_trailing",
    /// First keys set for sending in software.
    TlsTxSw => "TlsTxSw",
    /// First keys set for receiving in software.
    TlsRxSw => "TlsRxSw",
    /// Next keys set for sending.
    TlsTxRekeyOk => "TlsTxRekeyOk",
    /// Keys for sending that could not be set.
    TlsTxRekeyError => "TlsTxRekeyError",
    /// Next keys set for receiving.
    TlsRxRekeyOk => "TlsRxRekeyOk",
    /// Keys for receiving that could not be set.
    TlsRxRekeyError => "TlsRxRekeyError",
    /// Records or control packets that did not authenticate.
    TlsDecryptError => "TlsDecryptError",
    /// Messages or control packets that were received before, or whose id is dead.
    TlsReplay => "TlsReplay",
    /// Records sealed.
    TlsRecordsSealed => "TlsRecordsSealed",
    /// Records opened.
    TlsRecordsOpened => "TlsRecordsOpened",
    /// Sockets that exist.
    LiveSockets => "live_sockets",
    /// RPCs that exist.
    LiveRpcs => "live_rpcs",
    /// Peers that exist.
    LivePeers => "live_peers",
}

/// How many there are.
pub(crate) const COUNT: usize = NAMES.len();

/// Is the counter shown in `homa_tls_stat` (as kTLS's are, by the same kind of name)?
pub(crate) fn is_tls(name: &str) -> bool {
    name.starts_with("Tls")
}

impl From<Malformed> for Counter {
    /// The counter of packets that are none.
    fn from(why: Malformed) -> Self {
        match why {
            Malformed::Short => Self::MalformedShort,
            Malformed::Type => Self::MalformedType,
            Malformed::Port => Self::MalformedPort,
            Malformed::Length => Self::MalformedLength,
            Malformed::Place => Self::MalformedPlace,
            Malformed::Record => Self::MalformedRecord,
            Malformed::Acks => Self::MalformedAcks,
            Malformed::Id => Self::MalformedId,
            Malformed::Format => Self::MalformedFormat,
            Malformed::Reserved => Self::MalformedReserved,
            Malformed::Trailing => Self::MalformedTrailing,
        }
    }
}

/// The counters of a namespace.
pub(crate) struct Stats(Counters<COUNT>);

impl Stats {
    /// All zero.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Counters::new()?))
    }

    /// Adds one.
    #[inline]
    pub(crate) fn inc(&self, counter: Counter) {
        self.0.inc(counter as usize);
    }

    /// Adds `n`.
    #[inline]
    pub(crate) fn add(&self, counter: Counter, n: u64) {
        self.0.add(counter as usize, n);
    }

    /// A packet of `kind` came.
    #[inline]
    pub(crate) fn received(&self, kind: PacketType) {
        self.0.inc(Counter::DataReceived as usize + usize::from(kind.to_wire() & 0xf));
    }

    /// `n` packets or segments of `kind` go out.
    #[inline]
    pub(crate) fn sent(&self, kind: PacketType, n: u64) {
        self.0.add(Counter::DataSent as usize + usize::from(kind.to_wire() & 0xf), n);
    }

    /// Takes one off a `live_` counter.
    #[inline]
    pub(crate) fn dec(&self, counter: Counter) {
        self.0.add(counter as usize, u64::MAX);
    }

    /// The value summed over all CPUs.
    pub(crate) fn sum(&self, index: usize) -> u64 {
        self.0.sum(index)
    }

    /// Packets (or segments, where the stack or the device cuts them) sent.
    pub(crate) fn segments_sent(&self) -> u64 {
        (Counter::DataSent as usize..=Counter::AcksSent as usize)
            .fold(0, |sum, i| u64::wrapping_add(sum, self.sum(i)))
    }
}

// The types' counters are in the order of the wire.
const _: () = {
    let last = PacketType::Ack as usize & 0xf;
    assert!(Counter::DataReceived as usize + last == Counter::AcksReceived as usize);
    assert!(Counter::DataSent as usize + last == Counter::AcksSent as usize);
};
