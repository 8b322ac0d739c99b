// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What is simulated: the network, what programs do on it, and what goes wrong.

use homa_core::config::Config;

use crate::faults::Weather;
use crate::host::Time;
use crate::net::Topology;
use crate::packet::HostId;
use homa_workload::Workload;

/// One microsecond.
pub const US: Time = 1000;
/// One millisecond.
pub const MS: Time = 1_000_000;
/// One second.
pub const SECOND: Time = 1_000_000_000;

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Every host to all others, each as often as the others.
    AllToAll,
    /// Host 0 asks this number of other hosts, one RPC each and all at once; when all have answered, again.
    Incast(u16),
}

/// What a response is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Requests are measured until they are with the server; responses are of 1 byte.
    OneWay,
    /// As long as the request; the whole RPC is measured.
    Echo,
    /// So long, to requests of 100 bytes; the whole RPC is measured.
    Response(u32),
}

/// When requests are made.
#[derive(Clone, Copy, Debug)]
pub enum Traffic {
    /// Each host makes requests as a Poisson process, so that its link carries `load` (0 to 1) of what it can: headers,
    /// gaps between frames, grants and acknowledgments included.
    Load {
        /// How long messages are.
        workload: Workload,
        /// The part of the links that is used.
        load: f64,
    },
    /// So many RPCs in all, by hosts and at times that are drawn from the first `within`; of mixed lengths.
    Few {
        /// How many.
        rpcs: u32,
        /// When.
        within: Time,
        /// Longest message.
        longest: u32,
        /// A part of the RPCs that their clients give up.
        aborts: f64,
        /// A server takes up to so long to answer.
        think: Time,
    },
    /// [`Pattern::Incast`], so many rounds.
    Rounds(u32),
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The network.
    pub topology: Topology,
    /// Who sends to whom.
    pub pattern: Pattern,
    /// What responses are like.
    pub mode: Mode,
    /// When requests are made.
    pub traffic: Traffic,
    /// No request is made after this.
    pub duration: Time,
    /// Requests made before this are not measured.
    pub warmup: Time,
    /// All is sealed.
    pub sealed: bool,
    /// The protocol's times and sizes.
    pub config: Config,
    /// Bytes that a network card takes beyond the packet that it is sending.
    pub card_queue: u64,
    /// A host that needs so long for each packet it receives.
    pub slow: Option<(HostId, Time)>,
    /// A host that is not there.
    pub dead: Option<HostId>,
    /// What goes wrong; `None`: nothing.
    pub weather: Option<Weather>,
    /// Check everything, also what costs time.
    pub checks: bool,
}

impl Scenario {
    /// May RPCs fail at all?
    pub fn may_fail(&self) -> bool {
        self.dead.is_some() || self.weather.as_ref().is_some_and(Weather::may_fail)
    }
}
