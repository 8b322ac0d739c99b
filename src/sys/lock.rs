// SPDX-License-Identifier: GPL-2.0

//! Spin locks that keep bottom halves out.

use kernel::{bindings as kb, sync::lock::{Backend, Guard, Lock}};

/// A spin lock that disables bottom halves while it is held: for data that process context and
/// softirq share. Not to be taken in hard interrupts.
///
/// Pinned and initialised in place: `#[pin] x: SpinLockBh<T>`, `x <- new_spinlock_bh!(value, "name")`.
/// `lock()` and `try_lock()` return guards; each use of the macro is a lockdep class of its own.
pub type SpinLockBh<T> = Lock<T, SpinLockBhBackend>;

/// What [`SpinLockBh::lock`] returns; dropping it unlocks.
pub type SpinLockBhGuard<'a, T> = Guard<'a, T, SpinLockBhBackend>;

/// Makes the initialiser of a [`SpinLockBh`]: `new_spinlock_bh!(value)` or `new_spinlock_bh!(value, "name")`.
#[macro_export]
macro_rules! new_spinlock_bh {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sys::lock::SpinLockBh::new($inner, ::kernel::optional_name!($($name)?), ::kernel::static_lock_class!())
    };
}
