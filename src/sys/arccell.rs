// SPDX-License-Identifier: GPL-2.0

//! A place for a reference, without a lock.

use ::core::{
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};
use kernel::sync::Arc;

/// A place for an `Arc`, or none: what is put in is taken out once, by whoever comes first.
///
/// # Invariants
///
/// The pointer is NULL, or an `Arc` by `into_raw` that belongs to the cell.
pub struct ArcCell<T>(AtomicPtr<T>);

// SAFETY: as an `Option<Arc<T>>`, which it is.
unsafe impl<T: Send + Sync> Send for ArcCell<T> {}
// SAFETY: the pointer is exchanged atomically; and there is no way to look at what stays in.
unsafe impl<T: Send + Sync> Sync for ArcCell<T> {}

impl<T> ArcCell<T> {
    /// Without a reference.
    pub const fn empty() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Takes the reference out, if there is one.
    #[inline]
    pub fn take(&self) -> Option<Arc<T>> {
        self.swap(ptr::null_mut())
    }

    /// Puts a reference in. Returns what was there.
    #[inline]
    pub fn replace(&self, new: Arc<T>) -> Option<Arc<T>> {
        // INVARIANT: by `into_raw`, and given up.
        self.swap(Arc::into_raw(new).cast_mut())
    }

    /// Puts a reference in, if there is none; else it goes.
    pub fn put_if_empty(&self, new: Arc<T>) {
        let new = Arc::into_raw(new);
        // INVARIANT: by `into_raw`, and given up.
        let put = self.0.compare_exchange(
            ptr::null_mut(),
            new.cast_mut(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if put.is_err() {
            // SAFETY: from `into_raw`, and nobody got it.
            drop(unsafe { Arc::from_raw(new) });
        }
    }

    #[inline]
    fn swap(&self, new: *mut T) -> Option<Arc<T>> {
        let old = self.0.swap(new, Ordering::AcqRel);
        // SAFETY: by the invariant; it is ours now.
        (!old.is_null()).then(|| unsafe { Arc::from_raw(old) })
    }
}

impl<T> Drop for ArcCell<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
