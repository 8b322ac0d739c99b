// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The receiver's grant scheduler: who of all that would like to send to this host may.
//!
//! Messages longer than what their senders send unasked wait here for grants. At any time up to
//! [`Limits::overcommit`] of them are *active*, those with the fewest bytes left (SRPT; of equals the oldest), and
//! at most one of each peer: a sender serves its shortest message first anyway, so granting a second one would
//! only promise bytes that do not come. More than one is active because a sender that has a grant
//! may be busy with another receiver; its share of the link is then used by the others.
//!
//! An active message is granted its window beyond what arrived. All granted bytes that have not arrived,
//! of all messages together, stay below [`Limits::max_incoming`]: that is what can pile up in the network's last
//! queue. A small fraction of all grants goes to the oldest message that is not active, so that a long one
//! makes progress whatever else comes.
//!
//! A message whose sender is silent is [`stalled`](Grants::stalled): it gives its place and its share of the bound
//! to others, until something of it arrives.
//!
//! Cost: a message comes here once, when its first packet arrives, and each time a step (a third of its
//! window) arrived, not for each packet: O(log n) for n waiting messages.

use super::mem::{shift_out, AllocError};
use super::slab::{Ages, Heap, Linked, Placed, Slab, Token, NONE};

/// Messages that can be active at a time, at most.
pub const MAX_ACTIVE: usize = 16;

/// What the scheduler keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Active messages, 1 to [`MAX_ACTIVE`].
    pub overcommit: u8,
    /// Bytes that are granted and have not arrived, at most; the oldest message may add `oldest_grant`.
    pub max_incoming: u32,
    /// Of a thousand granted bytes, so many go to the oldest message.
    pub oldest_permille: u16,
    /// The oldest message gets so many bytes at a time.
    pub oldest_grant: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Limits {
    /// What [`Default`] gives.
    pub const DEFAULT: Self =
        Self { overcommit: 8, max_incoming: 1_000_000, oldest_permille: 50, oldest_grant: 10_000 };
}

/// What is known of a message when it comes, and each time a step arrived.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes that are here.
    pub received: u32,
    /// Its sender may send everything below (by grants, or as it said itself).
    pub granted: u32,
    /// How far grants are to run ahead of what is here.
    pub window: u32,
}

/// A grant to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant<H> {
    /// The message that it is for.
    pub handle: H,
    /// Everything below this offset.
    pub offset: u32,
    /// The priority that its bytes are to have.
    pub priority: u8,
}

/// SRPT: bytes left; then age.
type Key = (u32, u64);

#[derive(Debug)]
struct Message<H> {
    handle: H,
    peer: u32,
    length: u32,
    progress: Progress,
    birth: u64,
    /// In the heap of its peer: it could be granted more.
    place: u32,
    links: [u32; 2],
    /// Its sender is silent, and so many bytes of it do not count.
    stalled: bool,
    excused: u64,
}

impl<H> Message<H> {
    /// Bytes that are granted and have not arrived.
    fn outstanding(&self) -> u32 {
        if self.stalled {
            return 0;
        }
        self.progress.granted.saturating_sub(self.progress.received)
    }

    /// Bytes that do not count because its sender is silent.
    fn silent(&self) -> u64 {
        if self.stalled {
            self.excused
        } else {
            0
        }
    }

    fn is_waiting(&self) -> bool {
        self.place != NONE
    }

    /// Grants come in steps of this size, and arrivals are reported in such.
    fn step(&self) -> u32 {
        (self.progress.window / 3).max(1)
    }
}

impl<H> Placed for Message<H> {
    type Key = Key;

    fn key(&self) -> Key {
        (self.length.saturating_sub(self.progress.received), self.birth)
    }

    fn place(&mut self) -> &mut u32 {
        &mut self.place
    }
}

impl<H> Linked for Message<H> {
    fn links(&mut self) -> &mut [u32; 2] {
        &mut self.links
    }
}

/// A host that has messages here.
#[derive(Debug)]
struct Peer {
    key: u64,
    /// The next with the same hash.
    next: u32,
    /// Its messages, waiting or not.
    count: u32,
    /// Those that wait.
    heap: Heap,
    /// The key of the best of them.
    best: Key,
    active: bool,
    /// Among the peers that wait.
    place: u32,
}

impl Placed for Peer {
    type Key = Key;

    fn key(&self) -> Key {
        self.best
    }

    fn place(&mut self) -> &mut u32 {
        &mut self.place
    }
}

const BUCKETS: usize = 256;

fn bucket(key: u64) -> usize {
    // Fibonacci hashing: the keys may be addresses of objects.
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

/// The scheduler of a host. `H` is what its owner knows a message by.
///
/// # Invariants
///
/// A peer with waiting messages is either active (and in `active`) or in `waiting`; one without is in neither.
/// `incoming` is the sum of all messages' outstanding bytes. `ages` has the waiting messages.
#[derive(Debug)]
pub struct Grants<H> {
    limits: Limits,
    messages: Slab<Message<H>>,
    peers: Slab<Peer>,
    buckets: [u32; BUCKETS],
    waiting: Heap,
    active: [u32; MAX_ACTIVE],
    active_len: usize,
    ages: Ages,
    births: u64,
    incoming: u64,
    excused: u64,
    /// Bytes that the oldest message has earned, times a thousand.
    credit: u64,
}

impl<H: Clone> Grants<H> {
    /// No messages.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            messages: Slab::new(),
            peers: Slab::new(),
            buckets: [NONE; BUCKETS],
            waiting: Heap::new(),
            active: [NONE; MAX_ACTIVE],
            active_len: 0,
            ages: Ages::new(),
            births: 0,
            incoming: 0,
            excused: 0,
            credit: 0,
        }
    }

    /// What it keeps to from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        while self.active_len > self.overcommit() {
            self.deactivate_last();
        }
    }

    /// Messages that are here, whether they wait or not.
    pub fn len(&self) -> u32 {
        self.messages.len()
    }

    /// Is there no message?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that are granted and have not arrived.
    pub fn incoming(&self) -> u64 {
        self.incoming
    }

    /// Bytes that were granted to senders that are silent: they do not count, but may come.
    pub fn excused(&self) -> u64 {
        self.excused
    }

    /// Messages that are granted bytes now.
    pub fn active(&self) -> usize {
        self.active_len
    }

    fn overcommit(&self) -> usize {
        usize::from(self.limits.overcommit).clamp(1, MAX_ACTIVE)
    }

    /// A message of `length` bytes from the host `peer` (any number that is the host's own) needs grants.
    /// Its owner keeps the token, calls [`poll`](Self::poll) afterwards, and [`remove`](Self::remove) once.
    ///
    /// Without memory, what brought the message is to be treated as lost: it comes again.
    pub fn add(
        &mut self,
        handle: H,
        peer: u64,
        length: u32,
        progress: Progress,
    ) -> Result<Token, AllocError> {
        let of = self.find_or_add_peer(peer)?;
        let birth = self.births;
        let added = self.insert(handle, of, length, progress, birth);
        match added {
            Ok(index) => {
                self.births = birth.wrapping_add(1);
                self.incoming = self.incoming.saturating_add(self.outstanding(index));
                if let Some(peer) = self.peers.get_mut(of) {
                    peer.count = peer.count.saturating_add(1);
                }
                self.wait(index);
                self.messages.token(index).ok_or(AllocError)
            }
            Err(e) => {
                self.drop_unused_peer(of);
                Err(e)
            }
        }
    }

    fn insert(
        &mut self,
        handle: H,
        of: u32,
        length: u32,
        progress: Progress,
        birth: u64,
    ) -> Result<u32, AllocError> {
        // Room for every message and peer to wait at a time, so that no later step needs memory.
        self.waiting.reserve(self.peers.len() as usize)?;
        let peer = self.peers.get_mut(of).ok_or(AllocError)?;
        peer.heap.reserve((peer.count as usize).saturating_add(1))?;
        self.messages.insert(Message {
            handle,
            peer: of,
            length,
            progress,
            birth,
            place: NONE,
            links: [NONE; 2],
            stalled: false,
            excused: 0,
        })
    }

    fn outstanding(&self, index: u32) -> u64 {
        self.messages.get(index).map_or(0, |m| u64::from(m.outstanding()))
    }

    /// More of a message is here: all that its owner knows now. Returns how many bytes must be here before this
    /// is worth calling again; `None` if never, as nothing is left to grant or the token is an old one.
    ///
    /// The owner calls [`poll`](Self::poll) afterwards.
    pub fn progress(&mut self, token: Token, progress: Progress) -> Option<u32> {
        let index = self.messages.find(token)?;
        let before = self.outstanding(index);
        let message = self.messages.get_mut(index)?;
        let granted = message.progress.granted.max(progress.granted).min(message.length);
        let news = progress.received > message.progress.received;
        message.progress = Progress { granted, ..progress };
        let revived = news && message.stalled;
        let mut back = 0;
        if revived {
            back = message.silent();
            message.stalled = false;
        }
        let after = u64::from(message.outstanding());
        let (of, waiting, finished) =
            (message.peer, message.is_waiting(), granted == message.length);
        let next = message.progress.received.saturating_add(message.step());
        self.excused = self.excused.saturating_sub(back);
        self.incoming = self.incoming.saturating_sub(before).saturating_add(after);
        if waiting && finished {
            self.stop_waiting(index);
        } else if revived {
            self.wait(index);
        } else if waiting {
            if let Some(peer) = self.peers.get_mut(of) {
                peer.heap.changed(&mut self.messages, index);
            }
            self.refresh(of);
        }
        // The last bytes are reported too: they make room for others.
        Some(next)
    }

    /// The sender of this message has been silent for long although it may send: its place goes to others until
    /// [`progress`](Self::progress) tells that something arrived. The owner calls [`poll`](Self::poll) afterwards.
    pub fn stalled(&mut self, token: Token) {
        let Some(index) = self.messages.find(token) else {
            return;
        };
        let before = self.outstanding(index);
        if before == 0 {
            // It waits for us, not we for it.
            return;
        }
        self.incoming = self.incoming.saturating_sub(before);
        self.excused = self.excused.saturating_add(before);
        if let Some(message) = self.messages.get_mut(index) {
            message.stalled = true;
            message.excused = before;
        }
        self.stop_waiting(index);
    }

    /// The message is complete or given up. The owner calls [`poll`](Self::poll) afterwards.
    pub fn remove(&mut self, token: Token) {
        let Some(index) = self.messages.find(token) else {
            return;
        };
        self.incoming = self.incoming.saturating_sub(self.outstanding(index));
        let silent = self.messages.get(index).map_or(0, Message::silent);
        self.excused = self.excused.saturating_sub(silent);
        self.stop_waiting(index);
        let Some(message) = self.messages.remove(index) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(message.peer) {
            peer.count = peer.count.saturating_sub(1);
        }
        self.drop_unused_peer(message.peer);
        if self.is_empty() {
            self.credit = 0;
            self.waiting.shrink();
        }
    }

    /// The next grant to send; to be called until there is none, after each of the calls above. `levels` is
    /// the number of priorities for granted bytes (the lowest ones).
    pub fn poll(&mut self, levels: u8) -> Option<Grant<H>> {
        self.choose();
        let mut room = u64::from(self.limits.max_incoming).saturating_sub(self.incoming);
        for rank in 0..self.active_len {
            let Some(index) = self.first_of(rank) else {
                continue;
            };
            let message = self.messages.get(index)?;
            let Progress { received, granted, window } = message.progress;
            let want = received.saturating_add(window).min(message.length);
            let wants = want.saturating_sub(granted);
            if wants == 0 || (wants < message.step() && want < message.length) {
                continue;
            }
            if u64::from(wants) > room {
                // Those behind must not use up what this one waits for; a whole step may go now.
                if room < u64::from(message.step()) {
                    break;
                }
                room = room.min(u64::from(wants));
            } else {
                room = u64::from(wants);
            }
            let offset = granted.saturating_add(room as u32);
            // A few active messages use the lowest levels, so that a shorter one that comes has a level above.
            let used = self.active_len.min(usize::from(levels.max(1)));
            let priority = used.saturating_sub(1).saturating_sub(rank) as u8;
            self.credit = self
                .credit
                .saturating_add(room.saturating_mul(u64::from(self.limits.oldest_permille)));
            return self.grant(index, offset, priority);
        }
        self.poll_oldest(levels)
    }

    fn poll_oldest(&mut self, levels: u8) -> Option<Grant<H>> {
        let due = u64::from(self.limits.oldest_grant).saturating_mul(1000);
        if self.credit < due || due == 0 || self.incoming > u64::from(self.limits.max_incoming) {
            return None;
        }
        let index = self.ages.oldest()?;
        let message = self.messages.get(index)?;
        let best = self.peers.get(message.peer)?;
        if (best.active && best.heap.first() == Some(index)) || message.outstanding() > 0 {
            // It has its share already. (Or what it got last time is still under way.)
            self.credit = self.credit.min(due);
            return None;
        }
        let offset = message.progress.granted.saturating_add(self.limits.oldest_grant);
        let offset = offset.min(message.length);
        self.credit = self.credit.saturating_sub(due);
        // At the highest of these levels, or it would wait in the network.
        self.grant(index, offset, levels.max(1).saturating_sub(1))
    }

    fn grant(&mut self, index: u32, offset: u32, priority: u8) -> Option<Grant<H>> {
        let before = self.outstanding(index);
        let message = self.messages.get_mut(index)?;
        message.progress.granted = offset;
        let handle = message.handle.clone();
        let (finished, of) = (offset >= message.length, message.peer);
        self.incoming =
            self.incoming.saturating_sub(before).saturating_add(self.outstanding(index));
        if finished {
            self.stop_waiting(index);
        } else {
            self.refresh(of);
        }
        Some(Grant { handle, offset, priority })
    }

    /// The message to grant of the active peer with this rank.
    fn first_of(&self, rank: usize) -> Option<u32> {
        self.peers.get(*self.active.get(rank)?)?.heap.first()
    }

    /// The message could be granted more.
    fn wait(&mut self, index: u32) {
        let Some(message) = self.messages.get(index) else {
            return;
        };
        let of = message.peer;
        if message.progress.granted >= message.length || message.is_waiting() {
            return;
        }
        if let Some(peer) = self.peers.get_mut(of) {
            // There is room: see `insert`.
            if peer.heap.push(&mut self.messages, index).is_ok() {
                self.ages.push(&mut self.messages, index);
            }
        }
        self.refresh(of);
    }

    /// Nothing more can be granted to the message, for now or for ever.
    fn stop_waiting(&mut self, index: u32) {
        let Some(message) = self.messages.get(index) else {
            return;
        };
        let of = message.peer;
        if !message.is_waiting() {
            return;
        }
        if let Some(peer) = self.peers.get_mut(of) {
            peer.heap.remove(&mut self.messages, index);
        }
        self.ages.remove(&mut self.messages, index);
        self.refresh(of);
    }

    /// The messages of a peer changed: it may belong elsewhere now.
    fn refresh(&mut self, of: u32) {
        let Some(peer) = self.peers.get(of) else {
            return;
        };
        let active = peer.active;
        let best = peer.heap.first().and_then(|index| Some(self.messages.get(index)?.key()));
        let Some(best) = best else {
            if active {
                self.deactivate(of);
            } else {
                self.waiting.remove(&mut self.peers, of);
            }
            return;
        };
        let Some(peer) = self.peers.get_mut(of) else {
            return;
        };
        peer.best = best;
        match (active, peer.place != NONE) {
            (true, _) => {}
            (false, true) => self.waiting.changed(&mut self.peers, of),
            // There is room: see `insert`.
            (false, false) => drop(self.waiting.push(&mut self.peers, of)),
        }
    }

    fn deactivate(&mut self, of: u32) {
        if let Some(peer) = self.peers.get_mut(of) {
            peer.active = false;
        }
        let used = self.active.get_mut(..self.active_len).unwrap_or(&mut []);
        if let Some(at) = used.iter().position(|slot| *slot == of) {
            if let Some(tail) = used.get_mut(at..) {
                shift_out(tail, NONE);
            }
            self.active_len = self.active_len.saturating_sub(1);
        }
    }

    fn deactivate_last(&mut self) {
        let last = self.active_len.checked_sub(1).and_then(|at| self.active.get(at).copied());
        if let Some(of) = last {
            self.deactivate(of);
            self.refresh(of);
        }
    }

    fn activate(&mut self, of: u32) {
        self.waiting.remove(&mut self.peers, of);
        if let (Some(peer), Some(slot)) =
            (self.peers.get_mut(of), self.active.get_mut(self.active_len))
        {
            peer.active = true;
            *slot = of;
            self.active_len = self.active_len.saturating_add(1);
        }
    }

    /// Sorts the active peers and brings in those that wait with less.
    fn choose(&mut self) {
        loop {
            let peers = &self.peers;
            let best = |of: u32| peers.get(of).map(|peer| peer.best);
            let used = self.active.get_mut(..self.active_len).unwrap_or(&mut []);
            // Nearly sorted, and short.
            for end in 1..used.len() {
                for at in (1..=end).rev() {
                    let less = match (used.get(at), used.get(at.saturating_sub(1))) {
                        (Some(a), Some(b)) => best(*a) < best(*b),
                        _ => false,
                    };
                    if !less {
                        break;
                    }
                    used.swap(at, at.saturating_sub(1));
                }
            }
            let Some(next) = self.waiting.first() else {
                return;
            };
            if self.active_len >= self.overcommit() {
                let last = self.active.get(self.active_len.saturating_sub(1)).copied();
                if last.and_then(best) <= best(next) {
                    return;
                }
                self.deactivate_last();
            }
            self.activate(next);
        }
    }

    fn find_or_add_peer(&mut self, key: u64) -> Result<u32, AllocError> {
        let first = self.buckets.get(bucket(key)).copied().unwrap_or(NONE);
        let mut at = first;
        while let Some(peer) = self.peers.get(at) {
            if peer.key == key {
                return Ok(at);
            }
            at = peer.next;
        }
        let index = self.peers.insert(Peer {
            key,
            next: first,
            count: 0,
            heap: Heap::new(),
            best: (0, 0),
            active: false,
            place: NONE,
        })?;
        if let Some(head) = self.buckets.get_mut(bucket(key)) {
            *head = index;
        }
        Ok(index)
    }

    fn drop_unused_peer(&mut self, of: u32) {
        let Some(peer) = self.peers.get(of).filter(|peer| peer.count == 0) else {
            return;
        };
        let (key, next) = (peer.key, peer.next);
        let head = self.buckets.get(bucket(key)).copied().unwrap_or(NONE);
        if head == of {
            if let Some(head) = self.buckets.get_mut(bucket(key)) {
                *head = next;
            }
        } else {
            let mut at = head;
            while let Some(peer) = self.peers.get_mut(at) {
                if peer.next == of {
                    peer.next = next;
                    break;
                }
                at = peer.next;
            }
        }
        self.peers.remove(of);
    }
}
