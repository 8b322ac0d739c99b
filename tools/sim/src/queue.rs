// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What will happen, in order: a calendar of short slots for the near future, a heap for the rest.
//!
//! Things that happen at the same time happen in the order in which they were planned, so a run follows
//! from its seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::host::Time;

/// A slot is 2^6 ns long.
const SLOT_BITS: u32 = 6;
/// Number of slots: together they reach a millisecond ahead.
const SLOTS: u64 = 1 << 14;

/// When, and what was planned before it.
type Key = (Time, u64);

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    key: Key,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

/// A queue of what will happen.
///
/// # Invariants
///
/// `today` is sorted, the next last, and has all entries of slot `slot` and before; `calendar` those of the
/// `SLOTS - 1` slots after it, with a bit in `busy` for each slot that has any; `later` all others.
#[derive(Debug)]
pub struct Queue<T> {
    today: Vec<Entry<T>>,
    slot: u64,
    calendar: Vec<Vec<Entry<T>>>,
    busy: Vec<u64>,
    near: usize,
    later: BinaryHeap<Reverse<Entry<T>>>,
    planned: u64,
}

impl<T: Copy> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> Queue<T> {
    /// Nothing is planned.
    pub fn new() -> Self {
        Self {
            today: Vec::new(),
            slot: 0,
            calendar: (0..SLOTS).map(|_| Vec::new()).collect(),
            busy: vec![0; (SLOTS / 64) as usize],
            near: 0,
            later: BinaryHeap::new(),
            planned: 0,
        }
    }

    /// How much is planned.
    pub fn len(&self) -> usize {
        self.today.len() + self.near + self.later.len()
    }

    /// Nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Plans `what` for the time `at`.
    pub fn push(&mut self, at: Time, what: T) {
        self.planned += 1;
        let entry = Entry { key: (at, self.planned), what };
        let slot = at >> SLOT_BITS;
        if slot <= self.slot {
            let place = self.today.partition_point(|other| other.key > entry.key);
            self.today.insert(place, entry);
        } else if slot - self.slot < SLOTS {
            self.put(slot, entry);
        } else {
            self.later.push(Reverse(entry));
        }
    }

    fn put(&mut self, slot: u64, entry: Entry<T>) {
        let place = slot % SLOTS;
        self.calendar[place as usize].push(entry);
        self.busy[(place / 64) as usize] |= 1 << (place % 64);
        self.near += 1;
    }

    /// What happens next, and when.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        while self.today.is_empty() {
            self.turn_page()?;
        }
        self.today.pop().map(|entry| (entry.key.0, entry.what))
    }

    /// Goes on to the next slot that has something.
    fn turn_page(&mut self) -> Option<()> {
        self.slot = match self.next_busy() {
            Some(slot) => slot,
            None => self.later.peek()?.0.key.0 >> SLOT_BITS,
        };
        let place = self.slot % SLOTS;
        std::mem::swap(&mut self.today, &mut self.calendar[place as usize]);
        self.busy[(place / 64) as usize] &= !(1 << (place % 64));
        self.near -= self.today.len();
        // What has come into reach.
        while let Some(Reverse(entry)) = self.later.peek() {
            let slot = entry.key.0 >> SLOT_BITS;
            if slot >= self.slot + SLOTS {
                break;
            }
            let entry = *entry;
            self.later.pop();
            if slot <= self.slot {
                self.today.push(entry);
            } else {
                self.put(slot, entry);
            }
        }
        self.today.sort_unstable_by_key(|entry| Reverse(entry.key));
        Some(())
    }

    /// The first slot after this one that has something in the calendar.
    fn next_busy(&self) -> Option<u64> {
        if self.near == 0 {
            return None;
        }
        let first = self.slot + 1;
        let words = self.busy.len() as u64;
        let start = first % SLOTS;
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.busy[word as usize];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            }
            if bits != 0 {
                let place = word * 64 + u64::from(bits.trailing_zeros());
                return Some(first + (place + SLOTS - start) % SLOTS);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn agrees_with_a_heap() {
        let mut random = Random::new(1, 0);
        let mut queue = Queue::new();
        let mut heap = BinaryHeap::new();
        let mut now = 0;
        let mut popped = 0;
        for n in 0..200_000u64 {
            let reach = random.pick(&[1, 50, 5_000, 900_000, 1_100_000, 50_000_000]);
            let at = now + random.below(reach);
            queue.push(at, n);
            heap.push(Reverse((at, n)));
            for _ in 0..random.below(3) {
                let next = queue.pop();
                assert_eq!(next, heap.pop().map(|Reverse(next)| next));
                popped += usize::from(next.is_some());
                now = next.map_or(now, |(at, _)| at);
            }
            assert_eq!(queue.len(), heap.len());
        }
        while let Some(next) = queue.pop() {
            assert_eq!(Some(next), heap.pop().map(|Reverse(next)| next));
            popped += 1;
        }
        assert!(heap.is_empty() && popped == 200_000);
    }
}
