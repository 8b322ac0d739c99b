// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Things that are referred to by number: a slab, and heaps of its entries.
//!
//! The schedulers keep what they order in a [`Slab`] and hand out [`Token`]s, which stay harmless when what
//! they stood for is gone. A [`Heap`] orders some of a slab's entries by keys that the entries have
//! themselves, and can take any of them out again, as each knows its place in it.
//!
//! Memory comes in pieces of a few KiB, and goes when the slab is empty.

use super::mem::{AllocError, Vec};

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// Entries that are allocated together.
const CHUNK: usize = 64;

/// Stands for one entry of a slab, for as long as that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    value: Option<T>,
    generation: u32,
    /// The next free entry, if this one is free.
    next: u32,
}

/// Values by number.
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Vec<Entry<T>>>,
    free: u32,
    len: u32,
    /// Entries ever made get other generations, also after all memory was given back.
    generation: u32,
}

impl<T> Slab<T> {
    /// An empty one, without memory.
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0, generation: 0 }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)
    }

    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<T>> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }

    /// The value with this number.
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.entry(index)?.value.as_ref()
    }

    /// The value with this number, to be changed.
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entry_mut(index)?.value.as_mut()
    }

    /// The number of what `token` stands for, if that still exists.
    pub(super) fn find(&self, token: Token) -> Option<u32> {
        let entry = self.entry(token.index)?;
        (entry.value.is_some() && entry.generation == token.generation).then_some(token.index)
    }

    /// The token of a number that is in use.
    pub(super) fn token(&self, index: u32) -> Option<Token> {
        let entry = self.entry(index)?;
        entry.value.as_ref()?;
        Some(Token { index, generation: entry.generation })
    }

    /// Keeps `value`. Returns its number.
    pub(super) fn insert(&mut self, value: T) -> Result<u32, AllocError> {
        if self.free == NONE {
            self.grow()?;
        }
        let index = self.free;
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let entry = self.entry_mut(index).ok_or(AllocError)?;
        let next = entry.next;
        *entry = Entry { value: Some(value), generation, next: NONE };
        self.free = next;
        self.len = self.len.saturating_add(1);
        Ok(index)
    }

    fn grow(&mut self) -> Result<(), AllocError> {
        let first = self.chunks.len().checked_mul(CHUNK).ok_or(AllocError)?;
        let end = u32::try_from(first.saturating_add(CHUNK)).map_err(|_| AllocError)?;
        let mut chunk = Vec::with_capacity(CHUNK)?;
        for index in first as u32..end {
            let next = index.wrapping_add(1);
            let next = if next == end { NONE } else { next };
            chunk.push(Entry { value: None, generation: 0, next })?;
        }
        self.chunks.push(chunk)?;
        self.free = first as u32;
        Ok(())
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let free = self.free;
        let entry = self.entry_mut(index)?;
        let value = entry.value.take()?;
        entry.next = free;
        self.free = index;
        self.len = self.len.saturating_sub(1);
        if self.len == 0 {
            self.chunks = Vec::new();
            self.free = NONE;
        }
        Some(value)
    }
}

/// What can be in a [`Heap`].
pub(super) trait Placed {
    /// What it is ordered by, least first.
    type Key: Ord;
    /// What it is ordered by now.
    fn key(&self) -> Self::Key;
    /// Its place in the heap; [`NONE`] outside.
    fn place(&mut self) -> &mut u32;
}

/// Some of a slab's entries, the least first.
#[derive(Debug)]
pub(super) struct Heap {
    slots: Vec<u32>,
}

impl Heap {
    /// An empty one, without memory.
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new() }
    }

    /// The least.
    pub(super) fn first(&self) -> Option<u32> {
        self.slots.first().copied()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Makes room for `total` entries: until there are so many, `push` succeeds.
    pub(super) fn reserve(&mut self, total: usize) -> Result<(), AllocError> {
        self.slots.reserve(total.saturating_sub(self.slots.len()))
    }

    /// Gives the memory of an empty heap back.
    pub(super) fn shrink(&mut self) {
        if self.slots.is_empty() {
            self.slots = Vec::new();
        }
    }

    /// Adds an entry that is not in it.
    pub(super) fn push<T: Placed>(
        &mut self,
        slab: &mut Slab<T>,
        index: u32,
    ) -> Result<(), AllocError> {
        self.slots.push(index)?;
        let at = self.slots.len().saturating_sub(1);
        self.set(slab, at, index);
        self.up(slab, at);
        Ok(())
    }

    /// Takes an entry out; false if it was not in.
    pub(super) fn remove<T: Placed>(&mut self, slab: &mut Slab<T>, index: u32) -> bool {
        let Some(at) = self.place(slab, index) else {
            return false;
        };
        if let Some(value) = slab.get_mut(index) {
            *value.place() = NONE;
        }
        let Some(last) = self.slots.pop() else {
            return false;
        };
        if last != index {
            self.set(slab, at, last);
            self.settle(slab, at);
        }
        true
    }

    /// Puts an entry whose key changed to its new place.
    pub(super) fn changed<T: Placed>(&mut self, slab: &mut Slab<T>, index: u32) {
        if let Some(at) = self.place(slab, index) {
            self.settle(slab, at);
        }
    }

    fn place<T: Placed>(&self, slab: &mut Slab<T>, index: u32) -> Option<usize> {
        let at = *slab.get_mut(index)?.place() as usize;
        (self.slots.get(at) == Some(&index)).then_some(at)
    }

    fn set<T: Placed>(&mut self, slab: &mut Slab<T>, at: usize, index: u32) {
        if let (Some(slot), Some(value)) = (self.slots.get_mut(at), slab.get_mut(index)) {
            *slot = index;
            *value.place() = at as u32;
        }
    }

    fn settle<T: Placed>(&mut self, slab: &mut Slab<T>, at: usize) {
        if self.up(slab, at) == at {
            self.down(slab, at);
        }
    }

    fn less<T: Placed>(&self, slab: &Slab<T>, a: usize, b: usize) -> bool {
        let key = |at| slab.get(*self.slots.get(at)?).map(Placed::key);
        match (key(a), key(b)) {
            (Some(a), Some(b)) => a < b,
            _ => false,
        }
    }

    fn swap<T: Placed>(&mut self, slab: &mut Slab<T>, a: usize, b: usize) {
        if let (Some(&x), Some(&y)) = (self.slots.get(a), self.slots.get(b)) {
            self.set(slab, a, y);
            self.set(slab, b, x);
        }
    }

    fn up<T: Placed>(&mut self, slab: &mut Slab<T>, mut at: usize) -> usize {
        while let Some(parent) = at.checked_sub(1).map(|n| n / 2) {
            if !self.less(slab, at, parent) {
                break;
            }
            self.swap(slab, at, parent);
            at = parent;
        }
        at
    }

    fn down<T: Placed>(&mut self, slab: &mut Slab<T>, mut at: usize) {
        loop {
            let left = at.saturating_mul(2).saturating_add(1);
            let right = left.saturating_add(1);
            let child = if self.less(slab, right, left) { right } else { left };
            if !self.less(slab, child, at) {
                return;
            }
            self.swap(slab, at, child);
            at = child;
        }
    }
}

/// A list through a slab, in the order in which entries were added: each has links to its neighbours.
#[derive(Debug)]
pub(super) struct Ages {
    oldest: u32,
    newest: u32,
}

/// What can be in [`Ages`].
pub(super) trait Linked {
    /// The neighbours: the next older and the next newer.
    fn links(&mut self) -> &mut [u32; 2];
}

impl Ages {
    /// An empty list.
    pub(super) const fn new() -> Self {
        Self { oldest: NONE, newest: NONE }
    }

    /// The oldest.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Adds an entry, as the newest.
    pub(super) fn push<T: Linked>(&mut self, slab: &mut Slab<T>, index: u32) {
        let older = self.newest;
        if let Some(value) = slab.get_mut(index) {
            *value.links() = [older, NONE];
        }
        match slab.get_mut(older) {
            Some(value) => {
                let [_, newer] = value.links();
                *newer = index;
            }
            None => self.oldest = index,
        }
        self.newest = index;
    }

    /// Takes an entry out that is in it.
    pub(super) fn remove<T: Linked>(&mut self, slab: &mut Slab<T>, index: u32) {
        let Some([older, newer]) = slab.get_mut(index).map(|value| *value.links()) else {
            return;
        };
        match slab.get_mut(older) {
            Some(value) => {
                let [_, next] = value.links();
                *next = newer;
            }
            None => self.oldest = newer,
        }
        match slab.get_mut(newer) {
            Some(value) => {
                let [next, _] = value.links();
                *next = older;
            }
            None => self.newest = older,
        }
    }

    /// The entry after `index`.
    pub(super) fn newer<T: Linked>(&self, slab: &mut Slab<T>, index: u32) -> Option<u32> {
        let [_, newer] = *slab.get_mut(index)?.links();
        (newer != NONE).then_some(newer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec as StdVec;

    struct Value {
        key: u64,
        place: u32,
        links: [u32; 2],
    }

    impl Placed for Value {
        type Key = u64;
        fn key(&self) -> u64 {
            self.key
        }
        fn place(&mut self) -> &mut u32 {
            &mut self.place
        }
    }

    impl Linked for Value {
        fn links(&mut self) -> &mut [u32; 2] {
            &mut self.links
        }
    }

    fn value(key: u64) -> Value {
        Value { key, place: NONE, links: [NONE; 2] }
    }

    #[test]
    fn tokens_of_what_is_gone_find_nothing() {
        let mut slab = Slab::new();
        let index = slab.insert(value(1)).unwrap();
        let token = slab.token(index).unwrap();
        assert_eq!(slab.find(token), Some(index));
        assert!(slab.remove(index).is_some() && slab.remove(index).is_none());
        assert_eq!((slab.find(token), slab.len()), (None, 0));
        let again = slab.insert(value(2)).unwrap();
        assert_eq!((again, slab.find(token)), (index, None));
    }

    /// Everything a heap and a list can do, against a sorted and an unsorted vector.
    #[test]
    fn heap_and_list_agree_with_vectors() {
        let mut seed = 1u64;
        let mut random = move |end: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % end
        };
        let (mut slab, mut heap, mut ages) = (Slab::new(), Heap::new(), Ages::new());
        let mut model: StdVec<(u64, u32)> = std::vec![];
        for step in 0..20_000u64 {
            let grow = if step / 1000 % 2 == 0 { 3 } else { 1 };
            match random(4) {
                0..=2 if random(4) < grow => {
                    // Keys are made unique, so that the order is.
                    let key = (random(1000) << 32) | step;
                    let index = slab.insert(value(key)).unwrap();
                    heap.push(&mut slab, index).unwrap();
                    ages.push(&mut slab, index);
                    model.push((key, index));
                }
                3 if !model.is_empty() => {
                    let at = random(model.len() as u64) as usize;
                    let key = (random(1000) << 32) | step;
                    model[at].0 = key;
                    slab.get_mut(model[at].1).unwrap().key = key;
                    heap.changed(&mut slab, model[at].1);
                }
                _ if !model.is_empty() => {
                    let (_, index) = model.remove(random(model.len() as u64) as usize);
                    assert!(heap.remove(&mut slab, index));
                    assert!(!heap.remove(&mut slab, index));
                    ages.remove(&mut slab, index);
                    slab.remove(index).unwrap();
                }
                _ => {}
            }
            assert_eq!(heap.first(), model.iter().min().map(|(_, index)| *index));
            assert_eq!(ages.oldest(), model.first().map(|(_, index)| *index));
            assert_eq!((heap.len(), slab.len() as usize), (model.len(), model.len()));
        }
        let mut order = std::vec![];
        let mut next = ages.oldest();
        while let Some(index) = next {
            order.push(index);
            next = ages.newer(&mut slab, index);
        }
        assert_eq!(order, model.iter().map(|(_, index)| *index).collect::<StdVec<_>>());
    }
}
