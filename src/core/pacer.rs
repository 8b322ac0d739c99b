// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The sender's side of a network device: what is sent next, and when.
//!
//! If all that may be sent were handed to the device at once, a short message would wait behind the long ones in its
//! queue, whatever the receivers decided. So the queue is kept short: the pacer knows the link's speed and what it let
//! through, hence when the device will be done with that ([`Pacer::idle_at`]), and lets more through only if that is less
//! than [`Limits::queue`] away. Who may not send now is *throttled*: it waits here, and when there is room again, that with the
//! fewest bytes left goes first (SRPT); a small fraction goes to the one that has waited longest.
//!
//! Short messages ([`Limits::bypass`]) pass as long as the queue is less than twice that: throttling them would cost more
//! than it saves. But not without bound: the shortest would wait behind the short ones. Nothing here runs by itself: when somebody is throttled, [`Pacer::next_at`] says when
//! to come again, and if nobody is, nothing happens.

use super::mem::AllocError;
use super::slab::{Ages, Heap, Linked, Placed, Slab, Token, NONE};

/// What the pacer keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The link's speed in bits per second; 0: unknown, nothing is throttled.
    pub speed: u64,
    /// How much time's worth of bytes may wait at the device, in nanoseconds.
    pub queue: u64,
    /// Messages with at most so many bytes left are throttled later than others.
    pub bypass: u32,
    /// Of a thousand bytes let through, so many are of the message that has waited longest.
    pub oldest_permille: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Limits {
    /// What [`Default`] gives.
    pub const DEFAULT: Self = Self { speed: 0, queue: 20_000, bypass: 1500, oldest_permille: 50 };
}

/// SRPT: bytes left; then age.
type Key = (u32, u64);

#[derive(Debug)]
struct Waiting<H> {
    handle: H,
    key: Key,
    place: u32,
    links: [u32; 2],
}

impl<H> Placed for Waiting<H> {
    type Key = Key;

    fn key(&self) -> Key {
        self.key
    }

    fn place(&mut self) -> &mut u32 {
        &mut self.place
    }
}

impl<H> Linked for Waiting<H> {
    fn links(&mut self) -> &mut [u32; 2] {
        &mut self.links
    }
}

/// Who is to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn<H> {
    /// What its owner knows it by.
    pub handle: H,
    /// Its place in the queue, which it keeps until it is [removed](Pacer::remove).
    pub token: Token,
}

/// The pacer of a device. `H` is what its owner knows an outgoing message by.
#[derive(Debug)]
pub struct Pacer<H> {
    limits: Limits,
    /// When the device will have sent all that was let through, in nanoseconds and 2^-20 of them.
    idle_at: u64,
    idle_fraction: u32,
    /// Time of a byte on the link, in 2^-20 ns.
    byte: u64,
    waiting: Slab<Waiting<H>>,
    heap: Heap,
    ages: Ages,
    births: u64,
    /// What is owed to the oldest, in thousandths of bytes; less than nothing while it has had too much.
    credit: i64,
}

const FRACTION: u32 = 20;

fn byte_time(speed: u64) -> u64 {
    (8_000_000_000u64 << FRACTION).checked_div(speed).unwrap_or(0)
}

impl<H: Clone> Pacer<H> {
    /// Nothing is waiting.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            idle_at: 0,
            idle_fraction: 0,
            byte: byte_time(limits.speed),
            waiting: Slab::new(),
            heap: Heap::new(),
            ages: Ages::new(),
            births: 0,
            credit: 0,
        }
    }

    /// What it keeps to from now on: the link's speed may change.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.byte = byte_time(limits.speed);
    }

    /// When the device will have sent all that was let through.
    pub fn idle_at(&self) -> u64 {
        self.idle_at
    }

    /// Bytes that take as long as the queue may: what is handed down in one piece should not be longer. `u32::MAX` if the speed is unknown.
    pub fn burst(&self) -> u32 {
        let bytes = self.limits.queue.saturating_mul(1 << FRACTION).checked_div(self.byte);
        bytes.map_or(u32::MAX, |bytes| bytes.try_into().unwrap_or(u32::MAX))
    }

    /// Messages that wait.
    pub fn len(&self) -> u32 {
        self.waiting.len()
    }

    /// Does nobody wait?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Is there room at the device?
    fn has_room(&self, now: u64) -> bool {
        self.idle_at.saturating_sub(now) < self.limits.queue.max(1)
    }

    /// A message of which `left` bytes are not sent would like to send. May it, at once?
    ///
    /// If so the caller sends something and calls [`sent`](Self::sent); if not, it [waits](Self::wait).
    #[inline]
    pub fn may_send(&self, now: u64, left: u32) -> bool {
        if self.byte == 0 {
            return true;
        }
        if !self.has_room(now) {
            let queue = self.limits.queue.max(1).saturating_mul(2);
            return left <= self.limits.bypass
                && self.idle_at.saturating_sub(now) < queue
                && self.is_empty();
        }
        // Not before those that wait, but for longer ones.
        match self.heap.first().and_then(|index| self.waiting.get(index)) {
            Some(first) => left < first.key.0,
            None => true,
        }
    }

    /// `bytes` (of frames, as they are on the wire) were handed to the device, throttled or not, DATA or control.
    #[inline]
    pub fn sent(&mut self, now: u64, bytes: u32) {
        if self.idle_at < now {
            self.idle_at = now;
            self.idle_fraction = 0;
        }
        let time = u64::from(bytes)
            .saturating_mul(self.byte)
            .saturating_add(u64::from(self.idle_fraction));
        self.idle_fraction = (time & ((1 << FRACTION) - 1)) as u32;
        self.idle_at = self.idle_at.saturating_add(time >> FRACTION);
    }

    /// A message waits for its turn. The caller sees to it that [`poll`](Self::poll) is called at
    /// [`next_at`](Self::next_at).
    ///
    /// Without memory, the caller sends at once: a queue that is too long is better than a message that hangs.
    pub fn wait(&mut self, handle: H, left: u32) -> Result<Token, AllocError> {
        self.heap.reserve((self.len() as usize).saturating_add(1))?;
        let birth = self.births;
        let index = self.waiting.insert(Waiting {
            handle,
            key: (left, birth),
            place: NONE,
            links: [NONE; 2],
        })?;
        self.births = birth.wrapping_add(1);
        self.heap.push(&mut self.waiting, index)?;
        self.ages.push(&mut self.waiting, index);
        self.waiting.token(index).ok_or(AllocError)
    }

    /// When [`poll`](Self::poll) will have somebody; `None` if nobody waits.
    pub fn next_at(&self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let queue = self.limits.queue.max(1);
        Some(self.idle_at.saturating_add(1).saturating_sub(queue))
    }

    /// Who sends next, if there is room. The caller has it send one segment at most, and calls
    /// [`sent`](Self::sent) and then [`left`](Self::left).
    pub fn poll(&mut self, now: u64) -> Option<Turn<H>> {
        if self.byte != 0 && !self.has_room(now) {
            return None;
        }
        let oldest = self.ages.oldest()?;
        let shortest = self.heap.first()?;
        let index = if self.credit > 0 { oldest } else { shortest };
        let handle = self.waiting.get(index)?.handle.clone();
        Some(Turn { handle, token: self.waiting.token(index)? })
    }

    /// Of a waiting message, `bytes` more were sent and `left` are left to send now; 0 ends its wait.
    pub fn left(&mut self, token: Token, bytes: u32, left: u32) {
        let Some(index) = self.waiting.find(token) else {
            return;
        };
        let bytes = i64::from(bytes);
        let earned = bytes.saturating_mul(i64::from(self.limits.oldest_permille));
        self.credit = self.credit.saturating_add(earned);
        if self.ages.oldest() == Some(index) {
            self.credit = self.credit.saturating_sub(bytes.saturating_mul(1000));
        }
        // Neither a debt nor a claim of more than a long message.
        self.credit = self.credit.clamp(-(1 << 30), 1 << 30);
        if left == 0 {
            self.remove(token);
            return;
        }
        if let Some(waiting) = self.waiting.get_mut(index) {
            waiting.key.0 = left;
        }
        self.heap.changed(&mut self.waiting, index);
    }

    /// A message that waits is given up.
    pub fn remove(&mut self, token: Token) {
        let Some(index) = self.waiting.find(token) else {
            return;
        };
        self.heap.remove(&mut self.waiting, index);
        self.ages.remove(&mut self.waiting, index);
        self.waiting.remove(index);
        if self.is_empty() {
            self.heap.shrink();
            self.credit = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte takes a nanosecond.
    const LIMITS: Limits =
        Limits { speed: 8_000_000_000, queue: 3000, bypass: 500, oldest_permille: 50 };

    #[test]
    fn the_queue_is_bounded_and_short_messages_pass() {
        let mut pacer: Pacer<u32> = Pacer::new(LIMITS);
        for _ in 0..3 {
            assert!(pacer.may_send(100, 100_000));
            pacer.sent(100, 1000);
        }
        assert_eq!(pacer.idle_at(), 3100);
        assert!(!pacer.may_send(100, 100_000) && pacer.may_send(100, 500));
        pacer.sent(100, 2999);
        assert!(pacer.may_send(100, 500));
        pacer.sent(100, 1);
        assert!(!pacer.may_send(100, 500));
        let mut pacer: Pacer<u32> = Pacer::new(LIMITS);
        pacer.sent(100, 3000);
        assert!(pacer.may_send(101, 100_000));
        // Nobody waits: nothing has to happen.
        assert_eq!(pacer.next_at(), None);
        pacer.wait(1, 100_000).unwrap();
        assert_eq!(pacer.next_at(), Some(101));
        assert_eq!((pacer.poll(100), pacer.poll(101).map(|turn| turn.handle)), (None, Some(1)));
        // There is room, but somebody shorter waits.
        assert!(!pacer.may_send(101, 100_000) && pacer.may_send(101, 99_999));
        // An idle link does not save time up.
        pacer.sent(1_000_000, 1000);
        assert_eq!(pacer.idle_at(), 1_001_000);
    }

    #[test]
    fn odd_speeds_do_not_drift() {
        // 333 ps for a byte.
        let mut pacer: Pacer<u32> = Pacer::new(Limits { speed: 24_024_024_024, ..LIMITS });
        for _ in 0..1_000_000 {
            pacer.sent(0, 1);
        }
        assert!(pacer.idle_at().abs_diff(333_000) <= 1, "{}", pacer.idle_at());
        assert_eq!(pacer.burst(), 9009);
        let unknown: Pacer<u32> = Pacer::new(Limits { speed: 0, ..LIMITS });
        assert!(unknown.may_send(0, u32::MAX));
        assert_eq!(unknown.burst(), u32::MAX);
    }

    #[test]
    fn the_shortest_first_and_a_fraction_to_the_oldest() {
        let mut pacer = Pacer::new(LIMITS);
        let mut left = std::collections::BTreeMap::from([(0u32, 1_000_000u32)]);
        pacer.wait(0, 1_000_000).unwrap();
        let mut sent = std::collections::BTreeMap::<u32, u32>::new();
        let mut now = 0;
        for n in 1..2000u32 {
            // Shorter ones all the time, more than the link can carry.
            left.insert(n, 5000);
            pacer.wait(n, 5000).unwrap();
            for _ in 0..4 {
                let Some(turn) = pacer.poll(now) else {
                    now = pacer.next_at().unwrap();
                    continue;
                };
                let rest = left.get_mut(&turn.handle).unwrap();
                *rest -= 1000;
                *sent.entry(turn.handle).or_default() += 1000;
                pacer.sent(now, 1000);
                pacer.left(turn.token, 1000, *rest);
            }
            assert!(pacer.idle_at() <= now + LIMITS.queue + 1000);
        }
        let all: u32 = sent.values().sum();
        let permille = sent[&0] * 1000 / all;
        assert!((35..=55).contains(&permille), "{permille}");
        // Of the others, those that began are finished, all but one.
        let begun = sent.iter().filter(|(n, bytes)| **n != 0 && **bytes < 5000).count();
        assert!(begun <= 1, "{begun}");
    }

    #[test]
    fn who_left_is_not_called() {
        let mut pacer = Pacer::new(LIMITS);
        let one = pacer.wait(1, 1000).unwrap();
        let two = pacer.wait(2, 2000).unwrap();
        pacer.remove(one);
        pacer.remove(one);
        assert_eq!(pacer.poll(0), Some(Turn { handle: 2, token: two }));
        pacer.left(two, 1000, 1000);
        pacer.remove(two);
        assert_eq!((pacer.poll(0), pacer.next_at(), pacer.len()), (None, None, 0));
    }
}
