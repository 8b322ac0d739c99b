// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory for the core: one growable array, every growth of which can fail.
//!
//! On the host [`Vec`] stands on the standard library's, in the module on the kernel crate's `KVec`
//! with `GFP_ATOMIC`, as the core runs under spinlocks and in softirq. Removing never allocates and
//! never fails.

use ::core::fmt;
use ::core::mem;
use ::core::ops::{Deref, DerefMut};

/// There was no memory. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

#[cfg(not(MODULE))]
mod backend {
    //! The standard library's vector, by its fallible functions.

    use super::AllocError;

    pub(super) type Raw<T> = std::vec::Vec<T>;

    pub(super) const fn new<T>() -> Raw<T> {
        Raw::new()
    }

    pub(super) fn reserve<T>(raw: &mut Raw<T>, additional: usize) -> Result<(), AllocError> {
        if raw.capacity() - raw.len() < additional && super::fault::strikes() {
            return Err(AllocError);
        }
        raw.try_reserve(additional).map_err(|_| AllocError)
    }

    pub(super) fn push<T>(raw: &mut Raw<T>, value: T) -> Result<(), AllocError> {
        reserve(raw, 1)?;
        raw.push(value);
        Ok(())
    }
}

#[cfg(not(MODULE))]
pub mod fault {
    //! Allocations that fail because a test or the simulator wants it, in its own thread.

    use std::cell::Cell;

    std::thread_local! {
        /// Of 2^32 allocations so many fail; and the state of what decides which.
        static STATE: Cell<(u32, u64)> = const { Cell::new((0, 0)) };
    }

    /// Runs `what`, in which an allocation fails with this probability (0 to 1); which ones follows from `seed`.
    pub fn with<R>(seed: u64, probability: f64, what: impl FnOnce() -> R) -> R {
        let before = STATE.replace(((probability * f64::from(u32::MAX)) as u32, seed | 1));
        let result = what();
        STATE.set(before);
        result
    }

    /// Does the next allocation fail?
    pub(super) fn strikes() -> bool {
        let (odds, state) = STATE.get();
        if odds == 0 {
            return false;
        }
        let state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        STATE.set((odds, state));
        (state >> 32) as u32 <= odds
    }
}

#[cfg(MODULE)]
mod backend {
    //! The kernel crate's vector on kmalloc.

    use super::AllocError;
    use ::kernel::alloc::{flags::GFP_ATOMIC, KVec};

    pub(super) type Raw<T> = KVec<T>;

    pub(super) const fn new<T>() -> Raw<T> {
        KVec::new()
    }

    pub(super) fn reserve<T>(raw: &mut Raw<T>, additional: usize) -> Result<(), AllocError> {
        raw.reserve(additional, GFP_ATOMIC).map_err(|_| AllocError)
    }

    pub(super) fn push<T>(raw: &mut Raw<T>, value: T) -> Result<(), AllocError> {
        raw.push(value, GFP_ATOMIC).map_err(|_| AllocError)
    }
}

/// A growable array of `T`; dereferences to a slice.
pub struct Vec<T> {
    /// None before there is memory: most stay without, and the kernel's vector calls the allocator even to free none.
    raw: Option<backend::Raw<T>>,
}

impl<T> Vec<T> {
    /// An empty array, without memory.
    #[inline]
    pub const fn new() -> Self {
        Self { raw: None }
    }

    /// An empty array with room for `capacity` elements.
    pub fn with_capacity(capacity: usize) -> Result<Self, AllocError> {
        let mut vec = Self::new();
        vec.reserve(capacity)?;
        Ok(vec)
    }

    /// The number of elements that fit without another allocation.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.raw.as_ref().map_or(0, |raw| raw.capacity())
    }

    /// Makes room for `additional` more elements; after that, so many `push` or `insert` succeed.
    pub fn reserve(&mut self, additional: usize) -> Result<(), AllocError> {
        backend::reserve(self.raw.get_or_insert_with(backend::new), additional)
    }

    /// Appends `value`.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), AllocError> {
        backend::push(self.raw.get_or_insert_with(backend::new), value)
    }

    /// Puts `value` at `index` and moves what follows; an `index` past the end appends.
    pub fn insert(&mut self, index: usize, value: T) -> Result<(), AllocError> {
        self.reserve(1)?;
        let tail = self.as_mut_slice().get_mut(index..).unwrap_or_default();
        let last = tail.iter_mut().fold(value, |moved, slot| mem::replace(slot, moved));
        self.push(last)
    }

    /// Takes the last element out.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        self.raw.as_mut()?.pop()
    }

    /// Takes the element at `index` out and moves what follows; `None` past the end.
    pub fn remove(&mut self, index: usize) -> Option<T> {
        if index >= self.len() {
            return None;
        }
        let last = self.pop()?;
        Some(shift_out(self.as_mut_slice().get_mut(index..)?, last))
    }

    /// Takes the element at `index` out and puts the last one there; `None` past the end.
    pub fn swap_remove(&mut self, index: usize) -> Option<T> {
        let last = self.len().checked_sub(1)?;
        if index > last {
            return None;
        }
        self.as_mut_slice().swap(index, last);
        self.pop()
    }

    /// Drops the elements from `len` on; does nothing if there are none.
    pub fn truncate(&mut self, len: usize) {
        if let Some(raw) = &mut self.raw {
            raw.truncate(len);
        }
    }

    /// Drops all elements and keeps the memory.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Keeps the elements for which `keep` says so, in order.
    pub fn retain(&mut self, keep: impl FnMut(&mut T) -> bool) {
        if let Some(raw) = &mut self.raw {
            retain(raw, keep);
        }
    }

    /// The elements.
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        self.raw.as_deref().unwrap_or_default()
    }

    /// The elements, to be changed.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self.raw.as_deref_mut().unwrap_or_default()
    }
}

impl<T: Clone> Vec<T> {
    /// Makes the array `len` elements long, with copies of `value` where it grows.
    pub fn resize(&mut self, len: usize, value: T) -> Result<(), AllocError> {
        let additional = len.saturating_sub(self.len());
        self.reserve(additional)?;
        self.truncate(len);
        for _ in 0..additional {
            self.push(value.clone())?;
        }
        Ok(())
    }

    /// An array of `len` copies of `value`.
    pub fn from_elem(value: T, len: usize) -> Result<Self, AllocError> {
        let mut vec = Self::new();
        vec.resize(len, value)?;
        Ok(vec)
    }
}

#[cfg(not(MODULE))]
fn retain<T>(raw: &mut backend::Raw<T>, keep: impl FnMut(&mut T) -> bool) {
    raw.retain_mut(keep);
}

#[cfg(MODULE)]
fn retain<T>(raw: &mut backend::Raw<T>, keep: impl FnMut(&mut T) -> bool) {
    raw.retain(keep);
}

/// Takes the first element of `slice` out, moves what follows, and puts `last` behind it. (Of no elements, `last` is the first.)
pub fn shift_out<T>(slice: &mut [T], last: T) -> T {
    slice.iter_mut().rev().fold(last, |moved, slot| mem::replace(slot, moved))
}

impl<T> Default for Vec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for Vec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T> DerefMut for Vec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.as_mut_slice()
    }
}

impl<T: fmt::Debug> fmt::Debug for Vec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T> IntoIterator for &'a Vec<T> {
    type Item = &'a T;
    type IntoIter = ::core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Vec;

    #[test]
    fn grows_and_shrinks_like_a_vector() {
        let mut vec = Vec::new();
        assert_eq!(vec.capacity(), 0);
        for value in [1, 2, 4] {
            vec.push(value).unwrap();
        }
        vec.insert(2, 3).unwrap();
        vec.insert(99, 5).unwrap();
        assert_eq!(vec.as_slice(), [1, 2, 3, 4, 5]);
        assert_eq!(vec.remove(0), Some(1));
        assert_eq!(vec.remove(4), None);
        assert_eq!(vec.swap_remove(0), Some(2));
        assert_eq!(vec.swap_remove(3), None);
        assert_eq!(vec.as_slice(), [5, 3, 4]);
        vec.retain(|value| *value != 3);
        assert_eq!(vec.as_slice(), [5, 4]);
        vec.resize(4, 9).unwrap();
        assert_eq!(vec.as_slice(), [5, 4, 9, 9]);
        vec.truncate(1);
        assert_eq!((vec.pop(), vec.pop()), (Some(5), None));
        assert_eq!(vec.remove(0), None);
    }

    #[test]
    fn refuses_what_cannot_be_had() {
        let mut vec: Vec<u64> = Vec::new();
        assert!(vec.reserve(usize::MAX).is_err());
        assert!(vec.is_empty());
    }
}
