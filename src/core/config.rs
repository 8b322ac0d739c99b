// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the protocol is tuned with: one plain struct of times and sizes.
//!
//! Times are nanoseconds of a monotonic clock, sizes are bytes of a message as it is sent
//! (sealed bytes, for a sealed message).

use super::msgout::PROBE;
use super::{grant, pacer};

/// One millisecond in the core's unit of time.
pub const MS: u64 = 1_000_000;

/// The protocol's parameters; [`Config::default`] is what a data centre wants unmeasured.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of every message that may be sent before the receiver granted anything.
    pub unscheduled: u32,
    /// How far a receiver's grants run ahead of what it has received.
    pub grant_window: u32,
    /// How long an RPC hears nothing before it asks for what is missing.
    pub resend_first: u64,
    /// How long a server waits for the client to acknowledge a response before it asks: not long, as the
    /// RPC's memory waits too, but longer than until the client's next request, which tells.
    pub need_ack_first: u64,
    /// The pause between two questions doubles up to this.
    pub resend_max: u64,
    /// How long a peer may stay silent before its RPCs end with a time-out.
    pub timeout: u64,
    /// How long an RPC may hear nothing that concerns it while its peer answers others: the peer may be
    /// overloaded, but it may also drop just this. And how long an RPC may bring nothing new although it should.
    pub rpc_timeout: u64,
    /// Bytes that should have come are asked for after so long at the soonest, however near the peer is.
    pub rto_min: u64,
    /// A gap may be a packet that was overtaken: it is asked for after so long at the soonest.
    pub reordering: u64,
    /// Questions to a peer that answers none of them become as rare as this.
    pub ask_max: u64,
    /// Bytes that are asked for, or sent again, first when nothing came for long.
    pub probe: u32,
    /// Bounds of what is sent unasked, once a round trip was measured.
    pub unscheduled_min: u32,
    /// See `unscheduled_min`.
    pub unscheduled_max: u32,
    /// In place of `unscheduled_min` where a path was seen to be slower than the link.
    pub slow_min: u32,
    /// The longest measured window.
    pub window_max: u32,
    /// What windows are longer than a round trip's bytes: full packets take longer than the small ones measured.
    pub window_slack: u32,
    /// What the grant scheduler keeps to.
    pub grants: grant::Limits,
    /// What the pacer of each device keeps to, but for its speed.
    pub pacer: pacer::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Config {
    /// What [`Default`] gives.
    pub const DEFAULT: Self = {
        Self {
            // One TSO segment and a bit: a 64 KiB message and its record overhead need no grant.
            unscheduled: 72_000,
            grant_window: 160_000,
            resend_first: 10 * MS,
            need_ack_first: 50 * MS,
            resend_max: 200 * MS,
            timeout: 5_000 * MS,
            rpc_timeout: 20_000 * MS,
            rto_min: MS,
            reordering: MS / 20,
            ask_max: 1_000 * MS,
            probe: PROBE,
            unscheduled_min: 6_000,
            slow_min: 16_000,
            unscheduled_max: 262_144,
            window_max: 524_288,
            window_slack: 5_000,
            grants: grant::Limits::DEFAULT,
            pacer: pacer::Limits::DEFAULT,
        }
    };
}
