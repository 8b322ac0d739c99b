// SPDX-License-Identifier: GPL-2.0

//! The sysctls `net.homa.*` of a namespace: what it is tuned with.
//!
//! None needs to be set; `docs/sysctl.md` says what each does. A change counts for whatever looks at it
//! afterwards.

use ::core::ops::Deref;
use kernel::prelude::*;

use crate::protocol::config::{Config, MS};
use crate::protocol::pacer;
use crate::sys::sysctl::{HasSettings, Setting};
use crate::sys::versions::Versions;
use crate::tls::Limits;
use crate::transport::net::Net;

/// The settings of a namespace; the protocol's own by `Deref`.
#[pin_data]
pub(crate) struct Settings {
    #[pin]
    values: Versions<Values>,
}

impl Settings {
    /// What is best when nothing is known.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        let values = Values {
            config: Config {
                unscheduled_min: Config::DEFAULT.unscheduled,
                rpc_timeout: 10_000 * MS,
                // A timer comes later than the simulator's, by tens of microseconds: the link must not be idle meanwhile.
                pacer: pacer::Limits { queue: 100 * US, ..pacer::Limits::DEFAULT },
                ..Config::DEFAULT
            },
            max_rpcs: 1 << 17,
            max_peers: 1 << 16,
            sndbuf: 4 << 20,
            rcvbuf: 16 << 20,
            link_mbps: 0,
            test_key_blocks: 0,
            test_key_failures: 0,
        };
        try_pin_init!(Self { values <- Versions::new(values) })
    }

    /// Those that are not the protocol's own.
    #[inline]
    pub(crate) fn limits(&self) -> &Values {
        self.values.get()
    }
}

impl Deref for Settings {
    type Target = Config;

    #[inline]
    fn deref(&self) -> &Config {
        &self.values.get().config
    }
}

/// Everything that can be set.
#[derive(Clone, Copy)]
pub(crate) struct Values {
    /// The protocol's part.
    config: Config,
    /// RPCs that a socket has at a time, both kinds together.
    pub(crate) max_rpcs: usize,
    /// Peers that a socket remembers, sessions not counted.
    pub(crate) max_peers: usize,
    /// Limit of what a new socket may have on its way out, in bytes.
    pub(crate) sndbuf: u32,
    /// Limit of what a new socket may have reserved for incoming messages, in bytes.
    pub(crate) rcvbuf: u32,
    /// Speed of the links, in Mbit/s; 0: what the devices say.
    pub(crate) link_mbps: u32,
    /// Limits of keys that are lower than TLS's, for tests; 0 for TLS's.
    test_key_blocks: u64,
    test_key_failures: u64,
}

impl Values {
    /// How far keys may be used.
    pub(crate) fn tls(&self) -> Limits {
        let lower = |test: u64, tls: u64| if test == 0 { tls } else { test };
        Limits {
            blocks: lower(self.test_key_blocks, Limits::TLS.blocks),
            failures: lower(self.test_key_failures, Limits::TLS.failures),
        }
    }
}

/// How one setting is read and written, in the unit of its file.
struct Access {
    get: fn(&Values) -> u64,
    set: fn(&mut Values, u64),
}

/// One microsecond in the core's unit of time.
const US: u64 = MS / 1000;

fn wide(value: impl TryInto<u64>) -> u64 {
    value.try_into().unwrap_or(u64::MAX)
}

/// (Limits are such that it fits.)
fn narrow<T: TryFrom<u64> + Default>(value: u64) -> T {
    value.try_into().unwrap_or_default()
}

macro_rules! settings {
    ($($name:literal $min:literal ..= $max:literal, $unit:expr, $($field:ident).+;)*) => {
        const SETTINGS: &[Setting] = &[$(Setting { name: $name, min: $min, max: $max },)*];
        const ACCESS: &[Access] = &[$(Access {
            get: |v| wide(v.$($field).+) / $unit,
            set: |v, n| v.$($field).+ = narrow(n.saturating_mul($unit)),
        },)*];
    };
}

// Limits are such that nothing breaks, whatever the others are: a program may be slow, but it works.
settings! {
    c"unscheduled_bytes" 1400 ..= 1_000_000, 1, config.unscheduled;
    c"grant_window_bytes" 10_000 ..= 100_000_000, 1, config.grant_window;
    c"resend_first_us" 1_000 ..= 1_000_000, US, config.resend_first;
    c"resend_max_us" 1_000 ..= 10_000_000, US, config.resend_max;
    c"need_ack_us" 1_000 ..= 10_000_000, US, config.need_ack_first;
    c"timeout_ms" 100 ..= 600_000, MS, config.timeout;
    c"max_rpcs" 16 ..= 1_000_000, 1, max_rpcs;
    c"max_peers" 16 ..= 1_000_000, 1, max_peers;
    c"sndbuf_default" 4_096 ..= 1_000_000_000, 1, sndbuf;
    c"rcvbuf_default" 4_096 ..= 1_000_000_000, 1, rcvbuf;
    c"link_mbps" 0 ..= 10_000_000, 1, link_mbps;
    c"test_key_blocks" 0 ..= 1_000_000_000, 1, test_key_blocks;
    c"test_key_failures" 0 ..= 1_000_000_000, 1, test_key_failures;
}

/// So many different sets of values a namespace can have had (ENOSPC): each is kept, see [`Versions`].
const MAX_VERSIONS: usize = 4096;

impl HasSettings for Net {
    const PATH: &'static CStr = c"net/homa";
    const SETTINGS: &'static [Setting] = SETTINGS;

    fn get(&self, i: usize) -> i32 {
        let value = ACCESS.get(i).map_or(0, |access| (access.get)(self.config.limits()));
        value.try_into().unwrap_or(i32::MAX)
    }

    fn set(&self, i: usize, value: i32) -> Result {
        let access = ACCESS.get(i).ok_or(EINVAL)?;
        let value = u64::try_from(value)?;
        let change = |old: &Values| {
            let mut new = *old;
            (access.set)(&mut new, value);
            // Never less than was asked for, unless bytes are lost, however near the peer is: what the device gets in one piece
            // costs the same however much it is, but waiting for a grant costs as much as a packet each way.
            new.config.unscheduled_min = new.config.unscheduled;
            new
        };
        // What cannot be set is the same in all of them.
        let same =
            |a: &Values, b: &Values| ACCESS.iter().all(|access| (access.get)(a) == (access.get)(b));
        self.config.values.update(MAX_VERSIONS, change, same)
    }
}
