// SPDX-License-Identifier: GPL-2.0

//! Sealed sessions: the keys that two sockets share, and what goes with them.
//!
//! A [`Session`] belongs to a peer of a socket. It has keys for each direction ([`rings`]), the
//! ids of the requests sent ([`Ids`]), the window of those received ([`ReplayWindow`]) and the
//! counters of control packets. What is sealed with which nonce is decided by the core
//! (`protocol::session`); the bytes are worked on here.
//!
//! Locks: `ids`, `replay` and `control` are leaves; no other lock is taken under them. Those of the keys are
//! in [`rings`], and taken under none of these, but under `installing`.

use crate::sys::relaxed::Relaxed;
use kernel::prelude::*;
use kernel::sync::{new_mutex, rcu, Arc, Mutex};

use crate::observe::counters::Counter;
use crate::protocol::layout::Layout;
use crate::protocol::session::control::{ControlSender, ControlWindow};
use crate::protocol::session::epoch::Epoch;
use crate::protocol::session::ids::{Ids, IdsError};
use crate::protocol::session::preamble::Preamble;
use crate::protocol::session::replay::{ReplayWindow, Verdict};
use crate::protocol::session::seq::MessageId;
use crate::protocol::session::tag::SessionTag;
use crate::protocol::session::TlsVersion;
use crate::protocol::wire::{Common, Control, Header, SealFlags, SealedControl, MIN_RECORD};
use crate::sys::lock::{new_spinlock_bh, SpinLockBh};
use crate::sys::secret::LONG_SIZE;

#[cfg(homa_audit)]
pub(crate) mod audit;
mod install;
mod keys;
mod rings;
mod usage;

pub(crate) use self::install::KeySetting;
pub(crate) use self::keys::{Keys, Opened as OpenedRecord};
pub(crate) use self::rings::HeldKeys;
use self::rings::{ReceiveKeys, SendKeys};
pub(crate) use self::usage::{Limits, Notice};

/// Requests of one peer of which no record has been authenticated: no more are kept at a time.
const MAX_UNPROVEN: u32 = 256;

/// Why a record gave no plaintext.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// It is not what the peer sealed.
    BadRecord,
    /// No memory for the plaintext.
    NoMemory,
}

impl OpenError {
    /// What counts it.
    pub(crate) fn counter(self) -> Counter {
        match self {
            Self::BadRecord => Counter::TlsDecryptError,
            Self::NoMemory => Counter::DropNoMemory,
        }
    }
}

/// Which way a key works.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// What we send.
    Tx,
    /// What we receive.
    Rx,
}

/// What a local socket shares with one peer.
#[pin_data]
pub(crate) struct Session {
    /// Tells the ids of its RPCs from those of other sessions of the socket.
    pub(crate) tag: SessionTag,
    #[pin]
    tx: SendKeys,
    #[pin]
    rx: ReceiveKeys,
    unproven: Relaxed<u32>,
    /// Whoever sets a key.
    #[pin]
    installing: Mutex<()>,
    /// Nothing may be sent any more, as too much did not open, until there is another key.
    worn: Relaxed<bool>,
    /// A key is half used up, of which the program was not told.
    due: Relaxed<bool>,
    #[pin]
    ids: SpinLockBh<Ids>,
    #[pin]
    replay: SpinLockBh<ReplayWindow>,
    #[pin]
    control: SpinLockBh<ControlState>,
}

struct ControlState {
    sender: ControlSender,
    window: ControlWindow,
}

impl Session {
    /// A session without keys: nothing can be sent or received yet, and nothing in clear.
    pub(crate) fn new(tag: SessionTag) -> Result<Arc<Self>> {
        let control = ControlState { sender: ControlSender::new(), window: ControlWindow::new() };
        Arc::pin_init(
            try_pin_init!(Self {
                tag,
                tx <- SendKeys::new(),
                rx <- ReceiveKeys::new(),
                unproven: Relaxed::new(0),
                installing <- new_mutex!((), "homa_installing"),
                worn: Relaxed::new(false),
                due: Relaxed::new(false),
                ids <- new_spinlock_bh!(Ids::new(), "homa_ids"),
                replay <- new_spinlock_bh!(ReplayWindow::new(), "homa_replay"),
                control <- new_spinlock_bh!(control, "homa_control"),
            }),
            GFP_KERNEL,
        )
    }

    /// The key that seals, for a message, which is to keep it until it is done; once it is set.
    pub(crate) fn hold_tx(&self) -> Option<HeldKeys> {
        self.tx.hold()
    }

    /// Is there a key that seals?
    pub(crate) fn has_tx(&self) -> bool {
        self.tx.is_there()
    }

    /// The key of what was sealed as `flags` say. Without one the packet is to be dropped and counted.
    #[inline]
    pub(crate) fn rx<'a>(
        &'a self,
        flags: SealFlags,
        guard: &'a rcu::Guard,
    ) -> Result<&'a Keys, Counter> {
        match self.rx.get(flags.epoch, guard) {
            Some(keys) if keys.usage().is_worn() => {
                self.wear_out(keys.epoch());
                Err(Counter::TlsDecryptError)
            }
            Some(keys) if keys.version() == flags.version => Ok(keys),
            Some(_) => Err(Counter::TlsDecryptError),
            None => Err(Counter::DropNoSession),
        }
    }

    /// Something of `epoch` authenticated.
    #[inline]
    pub(crate) fn used(&self, epoch: Epoch) {
        self.rx.used(epoch);
    }

    /// Installs a key, the direction's first or its next. True if it is not the first. Sleeps.
    ///
    /// EINVAL for another kind than the last, ENOTUNIQ for one that is not new or that the other direction has (both count
    /// their control packets from 0); EBUSY if messages that go out are still under way with the key before the current one.
    pub(crate) fn install(&self, direction: Direction, keys: KBox<Keys>) -> Result<bool> {
        let _one_at_a_time = self.installing.lock();
        let key = keys.fingerprint();
        let in_use = match direction {
            Direction::Tx => self.rx.has(&key),
            Direction::Rx => self.tx.has(&key),
        };
        if in_use {
            return Err(ENOTUNIQ);
        }
        match direction {
            Direction::Tx => self.tx.install(keys),
            Direction::Rx => self.rx.install(keys, || self.worn.store(false)),
        }
    }

    /// Takes what a message of these records needs of `keys`, before it is sealed. EKEYEXPIRED.
    pub(crate) fn take(&self, keys: &Keys, layout: &Layout) -> Result {
        if self.worn.load() {
            return Err(EKEYEXPIRED);
        }
        // The bytes, the content type, and one block for the tag: at most.
        let each = u64::from(layout.record_size() >> 4).saturating_add(2);
        keys.usage().take(each.saturating_mul(u64::from(layout.records())))?;
        self.note(keys);
        Ok(())
    }

    /// To be called after something may not have opened with `keys`.
    #[inline]
    pub(crate) fn look_at(&self, keys: &Keys) {
        if keys.usage().is_worn() {
            self.wear_out(keys.epoch());
        }
        self.note(keys);
    }

    #[inline]
    fn note(&self, keys: &Keys) {
        if keys.usage().is_due() {
            self.due.store(true);
        }
    }

    /// Is there something to [`tell`](Self::tell)?
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.due.load()
    }

    /// Hands `report` what the program should know about the keys; what it returns false for comes again.
    #[cold]
    pub(crate) fn tell(&self, mut report: impl FnMut(Notice) -> bool) {
        self.due.store(false);
        let guard = rcu::read_lock();
        let mut tell = |keys: &Keys, direction| {
            let notice = keys.usage().notice(direction);
            if notice.is_some_and(|notice| !report(notice)) {
                keys.usage().was_not_told();
                self.due.store(true);
            }
        };
        if let Some(keys) = self.tx.get(&guard) {
            tell(keys, Direction::Tx);
        }
        self.rx.for_each(&guard, |keys| tell(keys, Direction::Rx));
    }

    #[cold]
    fn wear_out(&self, epoch: Epoch) {
        self.rx.if_newest(epoch, || self.worn.store(true));
    }

    /// An id for a request, and its distance from the floor.
    ///
    /// EAGAIN while too many are unfinished, EKEYEXPIRED when there are no more.
    pub(crate) fn next_id(&self) -> Result<(MessageId, u16)> {
        let mut ids = self.ids.lock();
        let id = ids.next().map_err(|e| match e {
            IdsError::Full => EAGAIN,
            IdsError::Exhausted => EKEYEXPIRED,
            IdsError::Alloc => ENOMEM,
        })?;
        let distance = ids.floor_distance(id);
        Ok((id, distance))
    }

    /// The RPC of this request is over.
    pub(crate) fn finish_id(&self, id: MessageId) {
        self.ids.lock().finish(id);
    }

    /// May a request with this id be new?
    pub(crate) fn may_be_new(&self, id: MessageId) -> bool {
        matches!(self.replay.lock().check(id), Verdict::Fresh | Verdict::Ahead)
    }

    /// The request `id` authenticated: takes its floor over and marks it.
    ///
    /// Returns the ids that are acknowledged thereby; EEXIST if it is a replay, ENOMEM.
    pub(crate) fn mark(
        &self,
        id: MessageId,
        preamble: &Preamble,
    ) -> Result<Option<::core::ops::Range<u64>>> {
        let mut replay = self.replay.lock();
        let dead = replay.advance_floor(id, preamble.floor_distance);
        match replay.mark(id) {
            Ok(()) => Ok(dead),
            Err(crate::protocol::session::replay::MarkError::Alloc) => Err(ENOMEM),
            Err(_) => Err(EEXIST),
        }
    }

    /// One more request of which nothing is authenticated; none if there are too many.
    pub(crate) fn admit_unproven(self: &Arc<Self>) -> Option<Unproven> {
        let before = self.unproven.fetch_add(1u32);
        let request = Unproven(self.clone());
        (before < MAX_UNPROVEN).then_some(request)
    }

    /// Makes a sealed control packet; ENOKEY, EKEYEXPIRED.
    pub(crate) fn seal_control(&self, inner: &Control, common: &Common) -> Result<Header> {
        let guard = rcu::read_lock();
        let keys = self.tx.get(&guard).ok_or(ENOKEY)?;
        keys.usage().take_for_control()?;
        self.note(keys);
        let counter = self.control.lock().sender.next().ok_or(EKEYEXPIRED)?;
        let untagged = SealedControl::emit(inner, common, keys.flags(), counter);
        let tag = keys.tag_control(counter, untagged.aad()).ok_or(EKEYEXPIRED)?;
        Ok(untagged.finish(&tag))
    }

    /// Is this control packet, whose bytes are `packet`, from the peer and new?
    pub(crate) fn open_control(
        &self,
        control: &SealedControl,
        packet: &[u8],
    ) -> Result<(), Counter> {
        let guard = rcu::read_lock();
        let keys = self.rx(control.flags, &guard)?;
        if !self.control.lock().window.check(control.counter) {
            return Err(Counter::TlsReplay);
        }
        let aad = packet.get(..control.aad_len).ok_or(Counter::MalformedShort)?;
        if !keys.check_control(control.counter, aad, &control.tag) {
            self.look_at(keys);
            return Err(Counter::TlsDecryptError);
        }
        if !self.control.lock().window.mark(control.counter) {
            return Err(Counter::TlsReplay);
        }
        self.used(control.flags.epoch);
        Ok(())
    }
}

/// A request of which nothing has been authenticated: its session counts it until it is dropped.
pub(crate) struct Unproven(Arc<Session>);

impl Drop for Unproven {
    fn drop(&mut self) {
        self.0.unproven.fetch_sub(1u32);
    }
}

/// How a message of `plaintext` bytes (the preamble included) is cut into records, each of which fits a
/// segment of `segment` bytes.
///
/// As few and as long records as there can be: the CPU seals long runs best, a page at a time. But a record with header
/// and tag is so short that a long buffer takes it when it is opened.
#[inline]
pub(crate) fn layout(version: TlsVersion, plaintext: u32, segment: u32) -> Option<Layout> {
    let largest = (LONG_SIZE as u32).min(segment).checked_sub(version.record_overhead())?;
    let largest = largest.max(u32::from(MIN_RECORD));
    let size = plaintext.clamp(u32::from(MIN_RECORD), largest);
    Layout::sealed(plaintext, size, version.record_overhead())
}
