// SPDX-License-Identifier: GPL-2.0

//! A concurrent hash table of reference-counted objects, with one lock per bucket.

use super::lock::{new_spinlock_bh, SpinLockBh, SpinLockBhBackend};
use ::core::{
    mem,
    sync::atomic::{fence, AtomicUsize, Ordering},
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{lock::Guard, Arc},
};
use pin_init::{pin_data, pin_init};

/// Entries of a bucket, next to their hashes. Its memory is kept once it was needed.
type Entries<T> = KVec<(u64, Arc<T>)>;

/// A bucket.
#[pin_data]
struct Bucket<T> {
    #[pin]
    entries: SpinLockBh<Entries<T>>,
    /// How many there are. Written under the lock.
    len: AtomicUsize,
}

impl<T> Bucket<T> {
    #[inline]
    fn lock(&self) -> Locked<'_, T> {
        Locked { entries: self.entries.lock(), len: &self.len }
    }
}

/// A bucket under its lock.
struct Locked<'a, T> {
    entries: Guard<'a, Entries<T>, SpinLockBhBackend>,
    len: &'a AtomicUsize,
}

impl<T> Locked<'_, T> {
    /// Entries came or went.
    #[inline]
    fn tell_len(&self) {
        self.len.store(self.entries.len(), Ordering::Relaxed);
    }
}

/// A hash table of `Arc<T>`, keyed by a 64-bit hash that the caller computes (see [`super::rand`]) and an
/// equality test that the caller passes.
///
/// The number of buckets is fixed. Entries with equal hashes may coexist. Any context but hard interrupts.
/// Tests and visits run under the lock of a bucket: they must not come back to the table.
pub struct Table<T> {
    /// Never grows after `new`: its elements do not move.
    buckets: KVVec<Bucket<T>>,
    mask: usize,
    count: AtomicUsize,
}

impl<T: Send + Sync> Table<T> {
    /// Makes a table of `buckets` (rounded up to a power of two).
    pub fn new(buckets: usize, flags: Flags) -> Result<Self> {
        let n = buckets.checked_next_power_of_two().ok_or(EINVAL)?;
        let mut vec = KVVec::with_capacity(n, flags)?;
        for _ in 0..n {
            let slot = vec.spare_capacity_mut().first_mut().ok_or(ENOMEM)?;
            let init = pin_init!(Bucket {
                entries <- new_spinlock_bh!(Entries::new(), "table bucket"),
                len: AtomicUsize::new(0),
            });
            // SAFETY: the slot is valid for writes, and never moves because the vector never grows.
            unsafe { pin_init::raw_init(slot.as_mut_ptr(), init) };
            // SAFETY: the slot is within the capacity, and initialised by now.
            unsafe { vec.inc_len(1) };
        }
        Ok(Self { buckets: vec, mask: n - 1, count: AtomicUsize::new(0) })
    }

    /// The bucket of a hash: the mask keeps it in bounds, so there always is one. (Truncation is wanted.)
    fn bucket(&self, hash: u64) -> Option<&Bucket<T>> {
        self.buckets.get(hash as usize & self.mask)
    }

    /// How many entries there are; exact when nobody writes.
    #[inline]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Adds an entry to a bucket. ENOMEM.
    fn push(&self, bucket: &mut Locked<'_, T>, hash: u64, item: Arc<T>) -> Result {
        bucket.entries.push((hash, item), GFP_ATOMIC)?;
        bucket.tell_len();
        self.count.fetch_add(1, Ordering::Relaxed);
        // Pairs with the one in `scan`.
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Takes element `at` out of a bucket, filling the hole with the last one.
    fn swap_remove(&self, bucket: &mut Locked<'_, T>, at: usize) -> Option<(u64, Arc<T>)> {
        let last = bucket.entries.pop()?;
        bucket.tell_len();
        self.count.fetch_sub(1, Ordering::Relaxed);
        match bucket.entries.get_mut(at) {
            Some(hole) => Some(mem::replace(hole, last)),
            None => Some(last),
        }
    }

    /// The first entry with this hash for which `is` holds.
    #[inline]
    pub fn find(&self, hash: u64, is: impl FnMut(&T) -> bool) -> Option<Arc<T>> {
        self.with(hash, is, Arc::clone)
    }

    /// Runs `f` on the entry, under the bucket's lock, without touching the reference count.
    #[inline]
    pub fn with<R>(
        &self,
        hash: u64,
        mut is: impl FnMut(&T) -> bool,
        f: impl FnOnce(&Arc<T>) -> R,
    ) -> Option<R> {
        let bucket = self.bucket(hash)?.lock();
        bucket.entries.iter().find(|(h, item)| *h == hash && is(item)).map(|(_, item)| f(item))
    }

    /// Adds an entry. ENOMEM.
    pub fn insert(&self, hash: u64, item: Arc<T>) -> Result {
        self.push(&mut self.bucket(hash).ok_or(EINVAL)?.lock(), hash, item)
    }

    /// Adds an entry, unless one with this hash and `same(entry)` is there: then returns that one.
    pub fn insert_unique(
        &self,
        hash: u64,
        item: Arc<T>,
        mut same: impl FnMut(&T) -> bool,
    ) -> Result<Option<Arc<T>>> {
        let mut bucket = self.bucket(hash).ok_or(EINVAL)?.lock();
        if let Some((_, there)) = bucket.entries.iter().find(|(h, i)| *h == hash && same(i)) {
            return Ok(Some(there.clone()));
        }
        self.push(&mut bucket, hash, item)?;
        Ok(None)
    }

    /// Finds an entry or makes it, as one step. `make` runs under the bucket's lock.
    pub fn find_or_insert_with(
        &self,
        hash: u64,
        mut is: impl FnMut(&T) -> bool,
        make: impl FnOnce() -> Result<Arc<T>>,
    ) -> Result<Arc<T>> {
        let mut bucket = self.bucket(hash).ok_or(EINVAL)?.lock();
        if let Some((_, there)) = bucket.entries.iter().find(|(h, i)| *h == hash && is(i)) {
            return Ok(there.clone());
        }
        bucket.entries.reserve(1, GFP_ATOMIC)?;
        let item = make()?;
        self.push(&mut bucket, hash, item.clone())?;
        Ok(item)
    }

    /// Takes this very object out; false if it was not there.
    pub fn remove(&self, hash: u64, item: &Arc<T>) -> bool {
        let Some(bucket) = self.bucket(hash) else {
            return false;
        };
        let mut bucket = bucket.lock();
        let Some(at) = bucket.entries.iter().position(|(_, i)| Arc::ptr_eq(i, item)) else {
            return false;
        };
        let gone = self.swap_remove(&mut bucket, at);
        drop(bucket);
        // The last reference may go here: not under the lock.
        drop(gone);
        true
    }

    /// Visits at most `max_buckets` buckets, from `*cursor` on. `f` returns false to take the entry out. An entry that is added
    /// meanwhile may be missed, but then whoever adds it sees, afterwards, what the caller wrote before.
    /// True once the last bucket was visited; the cursor is then 0 again.
    pub fn scan(
        &self,
        cursor: &mut usize,
        max_buckets: usize,
        mut f: impl FnMut(&Arc<T>) -> bool,
    ) -> bool {
        // Most of a large table is empty: the locks of empty buckets are left alone.
        fence(Ordering::SeqCst);
        let from = (*cursor).min(self.buckets.len());
        let to = from.saturating_add(max_buckets).min(self.buckets.len());
        for bucket in &self.buckets[from..to] {
            if bucket.len.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut locked = bucket.lock();
            let mut at = 0;
            while let Some((_, item)) = locked.entries.get(at) {
                if f(item) {
                    at = at.wrapping_add(1);
                    continue;
                }
                let gone = self.swap_remove(&mut locked, at);
                drop(locked);
                drop(gone);
                locked = bucket.lock();
            }
        }
        let done = to == self.buckets.len();
        *cursor = if done { 0 } else { to };
        done
    }

    /// Takes everything out, a bucket at a time, and hands it to `f` outside of any lock.
    pub fn drain(&self, mut f: impl FnMut(Arc<T>)) {
        for bucket in &self.buckets[..] {
            let mut locked = bucket.lock();
            let all = mem::take(&mut *locked.entries);
            locked.tell_len();
            drop(locked);
            self.count.fetch_sub(all.len(), Ordering::Relaxed);
            for (_, item) in all {
                f(item);
            }
        }
    }
}
