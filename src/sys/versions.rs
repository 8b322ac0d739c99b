// SPDX-License-Identifier: GPL-2.0

//! A value that is read all the time and replaced now and then.

use ::core::{
    ptr::NonNull,
    sync::atomic::{AtomicPtr, Ordering},
};
use kernel::{new_mutex, prelude::*, sync::Mutex};

/// A value of which readers get a plain reference, at the price of one load; it may be replaced meanwhile.
///
/// As readers may keep the reference for as long as they can see the container, values that were replaced stay until it is dropped. So it
/// is for what an administrator changes; and a value that was there before is used again instead of being kept twice.
///
/// # Invariants
///
/// `current` is one of `all`, which are boxes by `into_raw` that nobody frees or writes before `self` is dropped.
#[pin_data(PinnedDrop)]
pub struct Versions<T> {
    current: AtomicPtr<T>,
    #[pin]
    all: Mutex<KVec<NonNull<T>>>,
}

// SAFETY: it owns its values, as a vector of boxes would.
unsafe impl<T: Send + Sync> Send for Versions<T> {}
// SAFETY: it gives out shared references, and takes values from any thread.
unsafe impl<T: Send + Sync> Sync for Versions<T> {}

impl<T> Versions<T> {
    /// With a first value.
    pub fn new(value: T) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let mut all = KVec::with_capacity(1, GFP_KERNEL)?;
            let first = keep(&mut all, value)?;
            Ok(try_pin_init!(Self {
                // INVARIANT: just kept.
                current: AtomicPtr::new(first.as_ptr()),
                all <- new_mutex!(all, "versions"),
            }? Error))
        })
    }

    /// The value.
    #[inline]
    pub fn get(&self) -> &T {
        // SAFETY: by the invariants it is valid for as long as `self` is, and never written.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    /// Replaces the value by what `change` makes of it. `same` says whether two values are equal. ENOMEM; ENOSPC when there were `limit`
    /// different ones. Sleeps.
    pub fn update(
        &self,
        limit: usize,
        change: impl FnOnce(&T) -> T,
        same: impl Fn(&T, &T) -> bool,
    ) -> Result {
        let mut all = self.all.lock();
        let value = change(self.get());
        // SAFETY: they are valid, and never written.
        let known = all.iter().copied().find(|old| same(unsafe { old.as_ref() }, &value));
        let new = match known {
            Some(old) => old,
            None if all.len() >= limit => return Err(ENOSPC),
            None => keep(&mut all, value)?,
        };
        // INVARIANT: it is one of `all`.
        self.current.store(new.as_ptr(), Ordering::Release);
        Ok(())
    }
}

/// Adds a value to those that are kept.
fn keep<T>(all: &mut KVec<NonNull<T>>, value: T) -> Result<NonNull<T>> {
    all.reserve(1, GFP_KERNEL)?;
    let new = NonNull::from(KBox::leak(KBox::new(value, GFP_KERNEL_ACCOUNT)?));
    all.push(new, GFP_KERNEL)?;
    Ok(new)
}

#[pinned_drop]
impl<T> PinnedDrop for Versions<T> {
    fn drop(self: Pin<&mut Self>) {
        for old in self.all.lock().drain_all() {
            // SAFETY: a box by `leak`; nobody can see `self`, and so the value, any more.
            drop(unsafe { KBox::from_raw(old.as_ptr()) });
        }
    }
}
