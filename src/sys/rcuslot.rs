// SPDX-License-Identifier: GPL-2.0

//! A place for an object that is read all the time, without a lock, and replaced now and then.

use ::core::{
    ops::Deref,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};
use homa_bindings as bindings;
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{rcu, Arc, ArcBorrow},
    types::Opaque,
};

/// An object as slots keep it.
#[repr(C)]
struct Entry<T> {
    /// First, so that its address is the entry's.
    head: Opaque<bindings::callback_head>,
    value: T,
}

// SAFETY: nobody but RCU touches the head; for the rest it is a `T`.
unsafe impl<T: Send> Send for Entry<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Entry<T> {}

/// An object that was in no slot yet: so that it is put in one at most, and taken out once.
pub struct Fresh<T>(Arc<Entry<T>>);

impl<T> Fresh<T> {
    /// ENOMEM.
    pub fn new(value: T, flags: Flags) -> Result<Self> {
        Ok(Self(Arc::new(Entry { head: Opaque::uninit(), value }, flags)?))
    }
}

/// An object that is, or was, in a slot: it stays as long as this does.
pub struct Held<T>(Arc<Entry<T>>);

impl<T> Deref for Held<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0.value
    }
}

/// A place for a [`Fresh`] object. Empty at first.
///
/// An object that is replaced is dropped when no reader looks at it any more, a grace period later at the soonest, in softirq or wherever the last
/// [`Held`] goes.
///
/// # Invariants
///
/// The pointer is NULL, or an `Arc` by `into_raw` that belongs to the slot, of an entry that is in no other slot and never was.
pub struct Slot<T: Send + Sync + 'static>(AtomicPtr<Entry<T>>);

impl<T: Send + Sync + 'static> Slot<T> {
    /// Without an object.
    pub const fn empty() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// The object, for as long as `guard` lives. Costs a load.
    #[inline]
    pub fn get<'a>(&'a self, _guard: &'a rcu::Guard) -> Option<&'a T> {
        // SAFETY: by the invariant NULL or valid; if it is taken out, until a grace period later, which does not end before `guard`.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }.map(|entry| &entry.value)
    }

    /// The object, counted.
    #[inline]
    pub fn hold(&self) -> Option<Held<T>> {
        let _guard = rcu::read_lock();
        let entry = self.0.load(Ordering::Acquire);
        // SAFETY: as in `get`, and by the invariant it is an `Arc`'s.
        (!entry.is_null()).then(|| Held(unsafe { ArcBorrow::from_raw(entry) }.into()))
    }

    /// Is there none?
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// Puts an object in. What was there goes.
    pub fn put(&self, new: Fresh<T>) {
        // INVARIANT: a fresh one was in no slot.
        self.replace(Arc::into_raw(new.0).cast_mut());
    }

    /// Takes the object out.
    pub fn clear(&self) {
        self.replace(ptr::null_mut());
    }

    fn replace(&self, new: *mut Entry<T>) {
        let old = self.0.swap(new, Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: by the invariant the entry is valid, its reference ours now, and its head was never used: `release` has both.
            unsafe { bindings::call_rcu((*old).head.get(), Some(Self::release)) };
        }
    }

    /// RCU's callback: nobody looks at the entry through the slot any more.
    ///
    /// # Safety
    ///
    /// `head` must be of an entry that comes with a reference.
    unsafe extern "C" fn release(head: *mut bindings::callback_head) {
        // SAFETY: by the caller's promise; the head is at the entry's address.
        drop(unsafe { Arc::from_raw(head.cast::<Entry<T>>().cast_const()) });
    }
}

impl<T: Send + Sync + 'static> Drop for Slot<T> {
    fn drop(&mut self) {
        let old = *self.0.get_mut();
        if !old.is_null() {
            // SAFETY: by the invariant; nobody else can see the slot, and so get the entry from it.
            drop(unsafe { Arc::from_raw(old.cast_const()) });
        }
    }
}
