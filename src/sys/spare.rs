// SPDX-License-Identifier: GPL-2.0

//! The memory of a reference-counted object that went, for the next one.

use super::arccell::ArcCell;
use ::core::{mem::MaybeUninit, pin::Pin, ptr};
use kernel::{
    alloc::{AllocError, Flags},
    prelude::*,
    sync::{Arc, UniqueArc},
};

/// Makes objects `Arc<T>` that come and go all the time, mostly one at a time, in the memory of the last one that went: half of the cost
/// of a large, short-lived object is its allocation (and the clearing of its memory, which the kernel does by default).
///
/// # Invariants
///
/// What is in the cell is the only reference, and its object was dropped.
pub struct Spare<T>(ArcCell<MaybeUninit<T>>);

impl<T> Spare<T> {
    /// Nothing is kept yet.
    pub const fn new() -> Self {
        Self(ArcCell::empty())
    }

    /// Makes an object where it stays, in the memory that is kept if there is some.
    #[inline]
    pub fn pin_init<E>(&self, init: impl PinInit<T, E>, flags: Flags) -> Result<Arc<T>, E>
    where
        E: From<AllocError>,
    {
        let memory = match self.0.take().and_then(Arc::into_unique_or_drop) {
            // SAFETY: nothing is in it that could be pinned.
            Some(memory) => unsafe { Pin::into_inner_unchecked(memory) },
            None => UniqueArc::new_uninit(flags)?,
        };
        memory.pin_init_with(init).map(Arc::from)
    }

    /// Gives up a reference. If it is the last one the object is dropped, and its memory kept (instead of what was kept before).
    #[inline]
    pub fn put(&self, object: Arc<T>) {
        // KASAN could not tell who uses it after it went.
        if cfg!(CONFIG_KASAN) {
            return;
        }
        let Some(last) = Arc::into_unique_or_drop(object) else {
            return;
        };
        // SAFETY: it is not moved out.
        let object = Arc::into_raw(Arc::from(unsafe { Pin::into_inner_unchecked(last) }));
        // SAFETY: nobody else refers to it, or will; it is dropped here, once, where it is. `Arc<MaybeUninit<T>>` and `Arc<T>` have one
        // layout (`UniqueArc::assume_init` relies on it, too).
        let memory = unsafe {
            ptr::drop_in_place(object.cast_mut());
            Arc::from_raw(object.cast::<MaybeUninit<T>>())
        };
        // INVARIANT: the only reference, and its object was dropped.
        drop(self.0.replace(memory));
    }
}
