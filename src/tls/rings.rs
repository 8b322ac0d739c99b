// SPDX-License-Identifier: GPL-2.0

//! A direction's keys, of which a rekey adds one.
//!
//! Which there are, and when one must go, is said by the core (`protocol::session::epoch`). Whoever
//! seals or opens gets a key without a lock.
//!
//! Locks: `history` is taken first, by whoever installs a key, and `epochs` under it; the latter is a leaf.

use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Relaxed};
use kernel::sync::{new_mutex, rcu, Arc, Mutex};

use super::keys::{Fingerprint, Keys};
use crate::protocol::session::epoch::{Epoch, Epochs, ReceiveEpochs};
use crate::protocol::session::TlsVersion;
use crate::sys::lock::{new_spinlock_bh, SpinLockBh};
use crate::sys::rcuslot::{Fresh, Held, Slot};
use crate::sys::secret;

/// A key that is not wiped as long as this is there.
pub(crate) type HeldKeys = Held<KBox<Keys>>;

/// What is known of a direction's keys when they are gone.
#[derive(Clone, Copy)]
struct History {
    kind: (TlsVersion, bool),
    current: Fingerprint,
    previous: Option<Fingerprint>,
}

impl History {
    /// Of the first key.
    fn new(keys: &Keys) -> Self {
        Self { kind: keys.kind(), current: keys.fingerprint(), previous: None }
    }

    /// Is it the current key, or the one before?
    fn has(&self, key: &Fingerprint) -> bool {
        let same = |old: &Fingerprint| secret::equal(old, key);
        same(&self.current) || self.previous.as_ref().is_some_and(same)
    }

    /// With `keys` as the next ones. EINVAL if they are of another kind, as under kTLS; ENOTUNIQ if they are not new.
    fn followed_by(&self, keys: &Keys) -> Result<Self> {
        if keys.kind() != self.kind {
            return Err(EINVAL);
        }
        let current = keys.fingerprint();
        if self.has(&current) {
            return Err(ENOTUNIQ);
        }
        Ok(Self { kind: self.kind, current, previous: Some(self.current) })
    }
}

/// The keys to send with: one that seals, and the one before it while messages sealed with it are under way.
///
/// Sealed bytes are kept, so that nothing is sealed again; but each message holds its key. When the last one is done, or
/// was given up, that key is wiped.
#[pin_data]
pub(super) struct SendKeys {
    current: Slot<KBox<Keys>>,
    /// Keys that are not wiped.
    alive: Arc<Atomic<u32>>,
    #[pin]
    history: Mutex<Option<(History, Epochs)>>,
}

impl SendKeys {
    /// None.
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            current: Slot::empty(),
            alive: Arc::new(Atomic::new(0), GFP_KERNEL)?,
            history <- new_mutex!(None, "homa_send_keys"),
        })
    }

    /// The key that seals.
    #[inline]
    pub(super) fn get<'a>(&'a self, guard: &'a rcu::Guard) -> Option<&'a Keys> {
        self.current.get(guard).map(|keys| &**keys)
    }

    /// The same, for a message, which is to keep it until it is done.
    #[inline]
    pub(super) fn hold(&self) -> Option<HeldKeys> {
        self.current.hold()
    }

    /// Is there one?
    #[inline]
    pub(super) fn is_there(&self) -> bool {
        !self.current.is_empty()
    }

    /// Seals with `keys` from now on. True if there was another one before. Sleeps.
    ///
    /// EBUSY while messages of the key before the current one are under way: the receiver may have lost them, and has no
    /// room for a third key of which it must expect messages. EINVAL, ENOTUNIQ, ENOMEM.
    pub(super) fn install(&self, mut keys: KBox<Keys>) -> Result<bool> {
        let mut history = self.history.lock();
        let (known, mut epochs) = match &*history {
            None => (History::new(&keys), Epochs::new()),
            Some((known, epochs)) => (known.followed_by(&keys)?, *epochs),
        };
        let rekey = history.is_some();
        if rekey {
            if self.has_previous() {
                // Messages that are done may wait for RCU.
                rcu::rcu_barrier();
            }
            if !self.has_previous() {
                epochs.drop_previous();
            }
            if !epochs.advance() {
                return Err(EBUSY);
            }
        }
        keys.begin(epochs.current());
        keys.count_in(&self.alive);
        self.current.put(Fresh::new(keys, GFP_KERNEL)?);
        *history = Some((known, epochs));
        Ok(rekey)
    }

    /// Is this one of the last two keys?
    pub(super) fn has(&self, key: &Fingerprint) -> bool {
        self.history.lock().as_ref().is_some_and(|(known, _)| known.has(key))
    }

    /// Is there a key besides the current one?
    fn has_previous(&self) -> bool {
        self.alive.load(Acquire) > 1
    }
}

/// No epoch.
const NONE: u32 = u32::MAX;

/// The keys to receive with: those of which messages may be under way, and one that the peer gets later.
#[pin_data]
pub(super) struct ReceiveKeys {
    /// By epoch.
    slots: [Slot<KBox<Keys>>; Epoch::COUNT],
    /// Something of this epoch, once authenticated, ends the oldest one; or [`NONE`].
    ends_oldest: Atomic<u32>,
    #[pin]
    epochs: SpinLockBh<ReceiveEpochs>,
    #[pin]
    history: Mutex<Option<History>>,
}

impl ReceiveKeys {
    /// None.
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            slots: [const { Slot::empty() }; Epoch::COUNT],
            ends_oldest: Atomic::new(NONE),
            epochs <- new_spinlock_bh!(ReceiveEpochs::new(), "homa_epochs"),
            history <- new_mutex!(None, "homa_receive_keys"),
        })
    }

    fn slot(&self, epoch: Epoch) -> Option<&Slot<KBox<Keys>>> {
        self.slots.get(usize::from(epoch.number()))
    }

    /// The key of `epoch`.
    #[inline]
    pub(super) fn get<'a>(&'a self, epoch: Epoch, guard: &'a rcu::Guard) -> Option<&'a Keys> {
        self.slot(epoch)?.get(guard).map(|keys| &**keys)
    }

    /// All keys that there are.
    pub(super) fn for_each(&self, guard: &rcu::Guard, mut each: impl FnMut(&Keys)) {
        for slot in &self.slots {
            if let Some(keys) = slot.get(guard) {
                each(keys);
            }
        }
    }

    /// Something of `epoch` authenticated: there may be a key that is not needed any more.
    #[inline]
    pub(super) fn used(&self, epoch: Epoch) {
        if self.ends_oldest.load(Relaxed) == u32::from(epoch.number()) {
            self.end_oldest(epoch);
        }
    }

    #[cold]
    fn end_oldest(&self, epoch: Epoch) {
        let mut epochs = self.epochs.lock();
        if let Some(slot) = epochs.used(epoch).and_then(|gone| self.slot(gone)) {
            slot.clear();
        }
        self.publish(&epochs);
    }

    /// Says which epoch ends the oldest one.
    fn publish(&self, epochs: &ReceiveEpochs) {
        let ends = epochs.oldest().map_or(NONE, |_| u32::from(epochs.newest().number()));
        self.ends_oldest.store(ends, Relaxed);
    }

    /// Is this one of the last two keys?
    pub(super) fn has(&self, key: &Fingerprint) -> bool {
        self.history.lock().as_ref().is_some_and(|known| known.has(key))
    }

    /// Calls `then` if `epoch` is the newest, and no other one begins meanwhile.
    pub(super) fn if_newest(&self, epoch: Epoch, then: impl FnOnce()) {
        let epochs = self.epochs.lock();
        if epochs.newest() == epoch {
            then();
        }
    }

    /// Opens with `keys` too, from now on; calls `then` when they are the newest. True if there were others before.
    /// Sleeps. EINVAL, ENOTUNIQ, ENOMEM.
    pub(super) fn install(&self, mut keys: KBox<Keys>, then: impl FnOnce()) -> Result<bool> {
        let mut history = self.history.lock();
        let known = match &*history {
            None => History::new(&keys),
            Some(known) => known.followed_by(&keys)?,
        };
        let rekey = history.is_some();
        // Nobody else makes it advance.
        let newest = self.epochs.lock().newest();
        keys.begin(if rekey { newest.next() } else { newest });
        let fresh = Fresh::new(keys, GFP_KERNEL)?;
        let mut epochs = self.epochs.lock();
        if rekey {
            if let Some(slot) = epochs.advance().and_then(|gone| self.slot(gone)) {
                slot.clear();
            }
        }
        if let Some(slot) = self.slot(epochs.newest()) {
            slot.put(fresh);
        }
        self.publish(&epochs);
        then();
        drop(epochs);
        *history = Some(known);
        Ok(rekey)
    }
}
