// SPDX-License-Identifier: GPL-2.0

//! One-shot high-resolution timers whose callback runs in softirq.

use super::lock::{new_spinlock_bh, SpinLockBh};
use ::core::{
    mem::offset_of,
    ptr::NonNull,
    sync::atomic::{fence, AtomicBool, Ordering},
};
use homa_bindings as bindings;
use kernel::{prelude::*, sync::Arc, types::Opaque};
use pin_init::{pin_data, pin_init, pinned_drop, PinInit};

/// What happens when a [`Timer`] of `Self` expires. `ID` tells several timers of one owner apart.
pub trait OnTimer<const ID: u64 = 0>: Send + Sync + Sized + 'static {
    /// Runs in softirq. `Some(ns)` starts the timer again, `ns` from now (unless it was started meanwhile).
    fn on_timer(this: &Arc<Self>) -> Option<u64>;
}

/// A timer, to be embedded in the object (an `Arc<T>`) that it works for.
///
/// While it is armed it owns a reference to its object, and a running callback owns one, so nothing runs after the
/// object is gone. (An object that is to go soon cancels its timers.)
///
/// # Invariants
///
/// `armed` holds a reference, as a raw `Arc`, whenever the hrtimer is queued.
#[pin_data(PinnedDrop)]
pub struct Timer<T: OnTimer<ID>, const ID: u64 = 0> {
    #[pin]
    hrtimer: Opaque<bindings::hrtimer>,
    #[pin]
    armed: SpinLockBh<Option<Owner<T>>>,
    /// `armed` has something; for whoever need not be sure. Written under the lock.
    seems_armed: AtomicBool,
}

/// A counted reference to the owner, as a raw pointer.
struct Owner<T>(NonNull<T>);

// SAFETY: it stands for an `Arc<T>`.
unsafe impl<T: Send + Sync> Send for Owner<T> {}

impl<T> Owner<T> {
    fn new(owner: &Arc<T>) -> Self {
        // SAFETY: an `Arc` is never null.
        Self(unsafe { NonNull::new_unchecked(Arc::into_raw(owner.clone()).cast_mut()) })
    }

    fn into_arc(self) -> Arc<T> {
        // SAFETY: the pointer came from `Arc::into_raw` in `new`, and is given up here.
        unsafe { Arc::from_raw(self.0.as_ptr()) }
    }
}

// SAFETY: the hrtimer is only touched by functions that are made for concurrent callers, and in `start_if_idle`,
// which is serialised by `armed`.
unsafe impl<T: OnTimer<ID>, const ID: u64> Send for Timer<T, ID> {}
// SAFETY: as above.
unsafe impl<T: OnTimer<ID>, const ID: u64> Sync for Timer<T, ID> {}

impl<T: OnTimer<ID>, const ID: u64> Timer<T, ID> {
    /// `#[pin] timer: Timer<Self>` and `timer <- Timer::new()`.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            hrtimer <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes, and stays where it is.
                unsafe {
                    bindings::hrtimer_setup(
                        slot,
                        Some(Self::expired),
                        bindings::CLOCK_MONOTONIC as i32,
                        bindings::hrtimer_mode_HRTIMER_MODE_REL_SOFT,
                    )
                }
            }),
            // INVARIANT: not queued.
            armed <- new_spinlock_bh!(None, "timer"),
            seems_armed: AtomicBool::new(false),
        })
    }

    /// Arms it if it is not armed; true if this call did. If it is, then a callback that begins later sees all that the caller
    /// wrote before.
    #[inline]
    pub fn start_if_idle(&self, owner: &Arc<T>, delay_ns: u64) -> bool {
        // Pairs with the fence in `expired`: either we see that it expired, or the callback sees what the caller wrote.
        fence(Ordering::SeqCst);
        !self.seems_armed.load(Ordering::Relaxed) && self.start(owner, delay_ns)
    }

    fn start(&self, owner: &Arc<T>, delay_ns: u64) -> bool {
        let mut armed = self.armed.lock();
        let idle = armed.is_none();
        if idle {
            // INVARIANT: the reference is there before the timer is queued.
            *armed = Some(Owner::new(owner));
            self.seems_armed.store(true, Ordering::Relaxed);
            // SAFETY: the hrtimer was set up in `new`.
            unsafe {
                bindings::hrtimer_start_range_ns(
                    self.hrtimer.get(),
                    delay_ns.min(i64::MAX as u64) as i64,
                    0,
                    bindings::hrtimer_mode_HRTIMER_MODE_REL_SOFT,
                )
            };
        }
        idle
    }

    /// Disarms it; true if it was armed. A callback that is running already goes on.
    pub fn cancel(&self) -> bool {
        let mut armed = self.armed.lock();
        // SAFETY: the hrtimer was set up in `new`.
        unsafe { bindings::hrtimer_try_to_cancel(self.hrtimer.get()) };
        // INVARIANT: not queued: it was taken off, or it had expired. If its callback waits for the lock, then it
        // will find no reference, and return.
        let owner = armed.take();
        self.seems_armed.store(false, Ordering::Relaxed);
        drop(armed);
        match owner {
            Some(owner) => {
                drop(owner.into_arc());
                true
            }
            None => false,
        }
    }

    /// Disarms it and waits for a running callback. Not from the callback itself, nor with a lock that it takes.
    pub fn cancel_sync(&self) {
        loop {
            self.cancel();
            // SAFETY: the hrtimer was set up in `new`. (The caller is not its callback.)
            unsafe { bindings::hrtimer_cancel(self.hrtimer.get()) };
            // The callback may have started it again before it ended; then the reference is still there.
            if self.armed.lock().is_none() {
                return;
            }
        }
    }

    /// hrtimer's callback.
    ///
    /// # Safety
    ///
    /// `hrtimer` must be the field of a timer that is not dropped before the callback returns.
    unsafe extern "C" fn expired(hrtimer: *mut bindings::hrtimer) -> bindings::hrtimer_restart {
        let this = hrtimer.wrapping_byte_sub(offset_of!(Self, hrtimer)).cast::<Self>();
        // SAFETY: `hrtimer` is the field of a timer. It is alive: either a reference is in `armed`, or somebody just
        // cancelled, and then `drop` waits for this callback.
        let this = unsafe { &*this };
        let owner = {
            let mut armed = this.armed.lock();
            // SAFETY: the field is a byte that C, too, reads without a lock.
            let queued = unsafe { (&raw const (*hrtimer).is_queued).read_volatile() };
            if queued {
                // Started again since it expired: the reference is for that expiry.
                None
            } else {
                this.seems_armed.store(false, Ordering::Relaxed);
                armed.take()
            }
        };
        fence(Ordering::SeqCst);
        if let Some(owner) = owner {
            let owner = owner.into_arc();
            if let Some(delay_ns) = T::on_timer(&owner) {
                this.start_if_idle(&owner, delay_ns);
            }
            // May free the object, and `this` with it: hrtimer is content with that, as TCP shows.
            drop(owner);
        }
        bindings::hrtimer_restart::HRTIMER_NORESTART
    }
}

#[pinned_drop]
impl<T: OnTimer<ID>, const ID: u64> PinnedDrop for Timer<T, ID> {
    fn drop(self: Pin<&mut Self>) {
        // By the invariant it is not queued: the object would not be dropped. But a callback that lost its
        // reference to `cancel` may be in front of the lock: wait for it. Unless it is the callback that dropped
        // the last reference, on this CPU, and called us: callbacks of one timer never run side by side.
        // SAFETY: the hrtimer was set up in `new`.
        unsafe {
            if !bindings::shim_hrtimer_runs_here(self.hrtimer.get()) {
                bindings::hrtimer_cancel(self.hrtimer.get());
            }
        }
    }
}
