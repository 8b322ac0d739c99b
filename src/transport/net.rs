// SPDX-License-Identifier: GPL-2.0

//! One network namespace: its sockets by port, its counters, its settings.

use crate::sys::relaxed::Relaxed;
use kernel::prelude::*;
use kernel::sync::{new_mutex, rcu, Arc, ArcBorrow, Mutex};

use super::endpoint::Endpoint;
use super::grants::Granted;
use super::pacing::{Device, Devices};
use crate::observe::counters::Stats;
use crate::observe::files::Files;
use crate::observe::settings::Settings;
use crate::protocol::config::MS;
use crate::protocol::grant::{Grants, Limits};
use crate::protocol::pacer;
use crate::protocol::priority::{Cutoffs, Learner};
use crate::protocol::wire::FIRST_CLIENT_PORT;
use crate::sys::early::EarlyRoutes;
use crate::sys::lock::{new_spinlock_bh, SpinLockBh};
use crate::sys::netns::{self, PerNet, PerNetSlot};
use crate::sys::rand::{self, HashKey};
use crate::sys::route::Dst;
use crate::sys::table::Table;
use crate::sys::time::{now_ns, real_ns};

/// Buckets of the table of ports.
const PORT_BUCKETS: usize = 1024;

/// How fast a device is.
#[derive(Default)]
struct Link {
    /// Its index; 0: nobody asked.
    device: u32,
    /// Mbit/s; 0 if it does not know.
    mbits: u32,
    asked_at: u64,
    known_until: u64,
}

/// Between two questions for a speed.
const ASK_PAUSE: u64 = 100 * MS;

/// How long an answer counts.
const SPEED_KNOWN: u64 = 30_000 * MS;

/// The state of one namespace.
#[pin_data]
pub(crate) struct Net {
    /// The protocol's parameters, and limits.
    #[pin]
    pub(crate) config: Settings,
    /// The counters.
    pub(crate) stats: Stats,
    /// Keys the hashes of what peers choose.
    pub(crate) hash: HashKey,
    /// Who of all that would like to send to this host may.
    #[pin]
    pub(super) grants: SpinLockBh<Grants<Granted>>,
    /// Learns which priorities senders are to use.
    #[pin]
    learner: SpinLockBh<Learner>,
    /// The version of the cutoffs that senders should have; 0: none.
    cutoff_version: Relaxed<u32>,
    /// Priorities for granted bytes.
    scheduled_levels: Relaxed<u32>,
    /// The speed of the device that was asked last.
    #[pin]
    link: SpinLockBh<Link>,
    /// Devices that long messages are paced for.
    #[pin]
    devices: Devices,
    /// Of packets that arrive.
    #[pin]
    pub(crate) early_routes: EarlyRoutes,
    /// Open sockets by port. A port belongs to one socket, whatever its family or address.
    ports: Table<Endpoint>,
    /// The next plain RPC id. Plain ids are unique among all sockets of the namespace.
    next_id: Relaxed<u64>,
    /// Gone when the namespace is, even if a socket's last packet still refers to us.
    #[pin]
    files: Mutex<Option<Files>>,
}

static SLOT: PerNetSlot<Net> = PerNetSlot::new();

impl PerNet for Net {
    fn slot() -> &'static PerNetSlot<Self> {
        &SLOT
    }

    fn init(net: &netns::Net) -> Result<Arc<Self>> {
        let this = Arc::pin_init(
            try_pin_init!(Self {
                config <- Settings::new(),
                stats: Stats::new()?,
                hash: HashKey::new(),
                grants <- new_spinlock_bh!(Grants::new(Limits::DEFAULT), "homa_grants"),
                // The versions of an earlier life of this host may still be known to its peers: begin anywhere.
                learner <- new_spinlock_bh!(Learner::new(rand::u64() as u16 | 1), "homa_learner"),
                cutoff_version: Relaxed::new(0),
                link <- new_spinlock_bh!(Link::default(), "homa_link"),
                scheduled_levels: Relaxed::new(u32::from(Learner::new(1).scheduled_levels())),
                devices <- Devices::new(),
                early_routes <- EarlyRoutes::new(),
                ports: Table::new(PORT_BUCKETS, GFP_KERNEL)?,
                // Ids of an earlier life of this host may still be known to its peers: begin above them, as long as there were
                // fewer than a million a second. Even, and below what session tags use.
                next_id: Relaxed::new((real_ns() / 512) & ((1 << 47) - 1) & !1 | 256),
                files <- new_mutex!(None, "homa_files"),
            }),
            GFP_KERNEL,
        )?;
        let files = Files::new(net, &this)?;
        *this.files.lock() = Some(files);
        Ok(this)
    }

    fn exit(this: &Arc<Self>, _net: &netns::Net) {
        let files = this.files.lock().take();
        drop(files);
        this.devices.stop();
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

    /// The sockets in a bucket of the table of ports, or those of them that there is memory to list; None if there
    /// is no such bucket.
    pub(crate) fn sockets_in(&self, bucket: usize) -> Option<KVec<Arc<Endpoint>>> {
        if bucket >= PORT_BUCKETS {
            return None;
        }
        let (mut cursor, mut found) = (bucket, KVec::new());
        self.ports.scan(&mut cursor, 1, |endpoint| {
            let _ = found.push(endpoint.clone(), GFP_ATOMIC);
            true
        });
        Some(found)
    }

    /// The speed of the device that `dst` goes over, in Mbit/s; 0 if it does not know. None: ask again later, as asking takes
    /// a lock of all of networking. Sleeps.
    pub(super) fn link_speed(&self, dst: &Dst) -> Option<u32> {
        let set = self.config.limits().link_mbps;
        if set != 0 {
            return Some(set);
        }
        let now = now_ns();
        let device = dst.ifindex();
        let mut link = self.link.lock();
        if link.device == device && link.known_until > now {
            return Some(link.mbits);
        }
        if link.asked_at.saturating_add(ASK_PAUSE) > now {
            return None;
        }
        link.asked_at = now;
        drop(link);
        let mbits = dst.link_speed().unwrap_or(0);
        *self.link.lock() =
            Link { device, mbits, asked_at: now, known_until: now.saturating_add(SPEED_KNOWN) };
        Some(mbits)
    }

    /// What paces long messages over `dst`, whose device has so many Mbit/s (0: unknown). None if nothing does: what has no queue (a bridge, veth)
    /// hands on at once what it gets, whatever it says of its speed. Sleeps.
    pub(super) fn device(&self, dst: &Dst, mbits: u32) -> Option<Arc<Device>> {
        let set = self.config.limits().link_mbps != 0;
        if mbits == 0 || !(set || dst.has_queue()) {
            return None;
        }
        let speed = u64::from(mbits).saturating_mul(1_000_000);
        self.devices.get(dst.ifindex(), pacer::Limits { speed, ..self.config.pacer })
    }

    /// A message of `length` bytes begins to arrive; its sender sends `incoming` of them unasked.
    ///
    /// Of eight messages (`id` says which) one is enough to learn from: the learner is the whole namespace's.
    #[inline]
    pub(super) fn learn(&self, id: u64, length: u32, incoming: u32) {
        if (id >> 1) & 7 == 0 {
            self.learn_slow(length, incoming);
        }
    }

    fn learn_slow(&self, length: u32, incoming: u32) {
        let mut learner = self.learner.lock();
        if learner.message(length, incoming) {
            self.cutoff_version.store(u32::from(learner.cutoffs().version));
            self.scheduled_levels.store(u32::from(learner.scheduled_levels()));
        }
    }

    /// Are there cutoffs that whoever says to know `version` does not know?
    #[inline]
    pub(super) fn has_other_cutoffs(&self, version: u16) -> bool {
        let ours = self.cutoff_version.load();
        ours != 0 && ours != u32::from(version)
    }

    /// What senders are to use.
    pub(super) fn cutoffs(&self) -> Cutoffs {
        *self.learner.lock().cutoffs()
    }

    /// How many priorities there are for granted bytes: the lowest ones.
    pub(super) fn scheduled_levels(&self) -> u8 {
        self.scheduled_levels.load() as u8
    }

    /// A fresh id for a plain request.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(2u64)
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
