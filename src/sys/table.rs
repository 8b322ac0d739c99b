// SPDX-License-Identifier: GPL-2.0

//! A concurrent hash table of reference-counted objects, one lock per bucket.

/// A hash table of `Arc<T>`, keyed by a 64-bit hash that the caller computes (see [`super::rand`]) and
/// an equality test that the caller passes.
///
/// The number of buckets is fixed. Entries with equal hashes may coexist.
pub struct Table<T>;

impl<T: Send + Sync> Table<T> {
    /// Makes a table of `buckets` (rounded up to a power of two).
    pub fn new(buckets: usize, flags: Flags) -> Result<Self>;
    /// How many entries there are now; exact when nobody writes.
    pub fn len(&self) -> usize;
    pub fn is_empty(&self) -> bool;
    /// The first entry with this hash for which `is` holds. `is` runs under the bucket's lock.
    pub fn find(&self, hash: u64, is: impl FnMut(&T) -> bool) -> Option<Arc<T>>;
    /// Runs `f` on the entry under the bucket's lock, without touching its reference count.
    pub fn with<R>(&self, hash: u64, is: impl FnMut(&T) -> bool, f: impl FnOnce(&Arc<T>) -> R) -> Option<R>;
    /// Adds an entry. May be called in softirq. ENOMEM.
    pub fn insert(&self, hash: u64, item: Arc<T>) -> Result;
    /// Adds an entry unless one with this hash and `same(entry)` is there: then that one is returned as `Ok(Some(_))`.
    pub fn insert_unique(&self, hash: u64, item: Arc<T>, same: impl FnMut(&T) -> bool) -> Result<Option<Arc<T>>>;
    /// Finds or makes, atomically. `make` runs under the bucket's lock.
    pub fn find_or_insert_with(&self, hash: u64, is: impl FnMut(&T) -> bool, make: impl FnOnce() -> Result<Arc<T>>) -> Result<Arc<T>>;
    /// Takes this very object out; false if it was not there. (The reference is dropped outside the lock.)
    pub fn remove(&self, hash: u64, item: &Arc<T>) -> bool;
    /// Visits at most `max_buckets` buckets from `*cursor` on (wrapping), calling `f` under each bucket's lock; `f` returns
    /// false to take the entry out. Returns true once the last bucket was visited (cursor is then 0).
    pub fn scan(&self, cursor: &mut usize, max_buckets: usize, f: impl FnMut(&Arc<T>) -> bool) -> bool;
    /// Takes everything out, a bucket at a time, handing each to `f` outside any lock.
    pub fn drain(&self, f: impl FnMut(Arc<T>));
}
