// SPDX-License-Identifier: GPL-2.0

//! One network namespace: its sockets by port, its counters, its settings.

use kernel::prelude::*;
use kernel::seq_file::{seq_print, SeqFile};
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::{new_mutex, rcu, Arc, ArcBorrow, Mutex};

use super::endpoint::Endpoint;
use crate::observe::counters::{is_tls, Stats, NAMES};
use crate::protocol::config::Config;
use crate::protocol::wire::FIRST_CLIENT_PORT;
use crate::sys::netns::{self, PerNet, PerNetSlot};
use crate::sys::procfs::{ProcFile, ProcNet};
use crate::sys::rand::{self, HashKey};
use crate::sys::table::Table;

/// Buckets of the table of ports.
const PORT_BUCKETS: usize = 1024;

/// The state of one namespace.
#[pin_data]
pub(crate) struct Net {
    /// The protocol's parameters.
    pub(crate) config: Config,
    /// The counters.
    pub(crate) stats: Stats,
    /// Keys the hashes of what peers choose.
    pub(crate) hash: HashKey,
    /// Open sockets by port. A port belongs to one socket, whatever its family or address.
    ports: Table<Endpoint>,
    /// The next plain RPC id. Plain ids are unique among all sockets of the namespace.
    next_id: Atomic<u64>,
    /// Gone when the namespace is, even if a socket's last packet still refers to us.
    #[pin]
    files: Mutex<KVec<ProcFile>>,
}

static SLOT: PerNetSlot<Net> = PerNetSlot::new();

impl PerNet for Net {
    fn slot() -> &'static PerNetSlot<Self> {
        &SLOT
    }

    fn init(net: &netns::Net) -> Result<Arc<Self>> {
        let mut files = KVec::with_capacity(2, GFP_KERNEL)?;
        files.push(ProcFile::new::<Self, COUNTERS>(net)?, GFP_KERNEL)?;
        files.push(ProcFile::new::<Self, TLS_STAT>(net)?, GFP_KERNEL)?;
        Arc::pin_init(
            try_pin_init!(Self {
                config: Config::default(),
                stats: Stats::new()?,
                hash: HashKey::new(),
                ports: Table::new(PORT_BUCKETS, GFP_KERNEL)?,
                // Ids of an earlier life of this host may still be known to its peers: begin
                // anywhere. Even, and below what session tags use.
                next_id: Atomic::new((rand::u64() >> 24) & !1 | 256),
                files <- new_mutex!(files, "homa_proc"),
            }),
            GFP_KERNEL,
        )
    }

    fn exit(this: &Arc<Self>, _net: &netns::Net) {
        this.files.lock().clear();
    }
}

/// `/proc/net/homa`.
const COUNTERS: u64 = 0;
/// `/proc/net/homa_tls_stat`.
const TLS_STAT: u64 = 1;

impl ProcNet<COUNTERS> for Net {
    const NAME: &'static CStr = c"homa";

    fn show(this: &Self, m: &SeqFile) {
        this.show_counters(m, false);
    }
}

impl ProcNet<TLS_STAT> for Net {
    const NAME: &'static CStr = c"homa_tls_stat";

    fn show(this: &Self, m: &SeqFile) {
        this.show_counters(m, true);
    }
}

impl Net {
    /// The state of `net`.
    pub(crate) fn of(net: &netns::Net) -> Option<Arc<Self>> {
        SLOT.get_arc(net)
    }

    /// The state of `net` for as long as `guard` lives: costs no reference.
    pub(crate) fn of_borrow<'g>(
        net: &netns::Net,
        guard: &'g rcu::Guard,
    ) -> Option<ArcBorrow<'g, Self>> {
        SLOT.get(net, guard)
    }

    fn show_counters(&self, m: &SeqFile, tls: bool) {
        for (i, name) in NAMES.iter().enumerate() {
            if is_tls(name) == tls {
                seq_print!(m, "{:<24} {}\n", name, self.stats.sum(i) as i64);
            }
        }
        if !tls {
            seq_print!(m, "{:<24} {}\n", "segments_sent", self.stats.segments_sent());
        }
    }

    /// A fresh id for a plain request.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(2u64, Relaxed)
    }

    /// The socket that has `port`.
    pub(crate) fn find_port(&self, port: u16) -> Option<Arc<Endpoint>> {
        self.ports.find(u64::from(port), |e| e.port() == port)
    }

    /// Gives `port` to `endpoint`; EADDRINUSE.
    pub(crate) fn claim_port(&self, endpoint: &Arc<Endpoint>, port: u16) -> Result {
        let entry = endpoint.clone();
        match self.ports.insert_unique(u64::from(port), entry, |e| e.port() == port)? {
            None => Ok(()),
            Some(_) => Err(EADDRINUSE),
        }
    }

    /// Gives `endpoint` some client port; EADDRNOTAVAIL if all are taken.
    ///
    /// `set` records the candidate before it becomes visible in the table.
    pub(crate) fn claim_client_port(
        &self,
        endpoint: &Arc<Endpoint>,
        mut set: impl FnMut(u16),
    ) -> Result<u16> {
        let span = u32::from(u16::MAX - FIRST_CLIENT_PORT) + 1;
        let start = rand::below(span);
        for step in 0..span {
            let port = FIRST_CLIENT_PORT | ((start + step) % span) as u16;
            set(port);
            match self.claim_port(endpoint, port) {
                Ok(()) => return Ok(port),
                Err(e) if e == EADDRINUSE => {}
                Err(e) => return Err(e),
            }
        }
        set(0);
        Err(EADDRNOTAVAIL)
    }

    /// Takes `port` back.
    pub(crate) fn release_port(&self, endpoint: &Arc<Endpoint>, port: u16) {
        self.ports.remove(u64::from(port), endpoint);
    }
}
