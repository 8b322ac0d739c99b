// SPDX-License-Identifier: GPL-2.0

//! Keeping bottom halves out, alone and with a spin lock.

use homa_bindings as bindings;
use kernel::{
    bindings as kb, ffi,
    sync::lock::{Backend, Lock},
    types::NotThreadSafe,
};

/// No bottom half runs on this CPU while it lives, and nobody else's process: those that are raised do afterwards.
pub struct NoBottomHalves(NotThreadSafe);

impl NoBottomHalves {
    /// From now on.
    #[inline]
    pub fn begin() -> Self {
        // SAFETY: allowed in any context but hard interrupts; `drop` undoes it, on the same CPU, as the type cannot be sent.
        unsafe { bindings::shim_local_bh_disable() };
        Self(NotThreadSafe)
    }
}

impl Drop for NoBottomHalves {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `begin` disabled them.
        unsafe { bindings::shim_local_bh_enable() }
    }
}

/// A spin lock that disables bottom halves while it is held: for data that process context and softirq
/// share. Not to be taken in hard interrupts.
///
/// Pinned, and initialised in place: `#[pin] x: SpinLockBh<T>` and `x <- new_spinlock_bh!(value, "name")`.
/// `lock()` and `try_lock()` return guards. Each use of the macro is a lockdep class of its own.
pub type SpinLockBh<T> = Lock<T, SpinLockBhBackend>;

/// The initialiser of a [`SpinLockBh`]: `new_spinlock_bh!(value)` or `new_spinlock_bh!(value, "name")`.
macro_rules! new_spinlock_bh {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sys::lock::SpinLockBh::new(
            $inner,
            ::kernel::optional_name!($($name)?),
            ::kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_spinlock_bh;

/// `spinlock_t` with `spin_lock_bh` and `spin_unlock_bh`; where bottom halves are off anyway (in softirq, under [`NoBottomHalves`], under
/// another such lock) with `spin_lock` and `spin_unlock`, at less than half of the cost. So whoever turned them off must not turn them
/// on before the guard is gone: guards and [`NoBottomHalves`] end in the opposite order of their beginning. (Lockdep tells.)
pub struct SpinLockBhBackend;

#[cfg(CONFIG_PREEMPT_RT)]
compile_error!(
    "on PREEMPT_RT bottom halves that are off do not keep other threads of this CPU out"
);

// SAFETY: a spinlock_t excludes all other CPUs, and with bottom halves off nothing on this CPU that is
// allowed to take the lock can interrupt its owner. `relock` is the default.
unsafe impl Backend for SpinLockBhBackend {
    type State = kb::spinlock_t;
    /// Whether bottom halves are off for this guard.
    type GuardState = bool;

    #[inline]
    unsafe fn init(ptr: *mut Self::State, name: *const ffi::c_char, key: *mut kb::lock_class_key) {
        // SAFETY: the caller's promises are those that `__spin_lock_init` asks for.
        unsafe { kb::__spin_lock_init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) -> bool {
        // SAFETY: `ptr` was initialised.
        unsafe { bindings::shim_spin_lock_bh(ptr.cast()) }
    }

    #[inline]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<bool> {
        // SAFETY: as in `lock`.
        (unsafe { bindings::shim_spin_trylock_bh(ptr.cast()) }).then_some(true)
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, bh_off: &bool) {
        // SAFETY: as in `lock`; the caller owns the lock, and `lock` returned this.
        unsafe { bindings::shim_spin_unlock_bh(ptr.cast(), *bh_off) }
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        if cfg!(CONFIG_LOCKDEP) {
            // SAFETY: `ptr` was initialised.
            unsafe { kb::spin_assert_is_held(ptr) }
        }
    }
}
