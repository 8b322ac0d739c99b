// SPDX-License-Identifier: GPL-2.0

//! Words that several CPUs read and write, in no order with others.

use ::core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What `kernel::sync::atomic::Atomic` is with `Relaxed`, inlined: there each access is a call of a function of C, and a packet
/// takes dozens of them.
#[repr(transparent)]
pub struct Relaxed<T: Word>(T::Atomic);

impl<T: Word> Relaxed<T> {
    /// With this value.
    #[inline(always)]
    pub fn new(value: T) -> Self {
        Self(value.into())
    }

    /// The value.
    #[inline(always)]
    pub fn load(&self) -> T {
        T::load(&self.0)
    }

    /// Sets it.
    #[inline(always)]
    pub fn store(&self, value: T) {
        value.store(&self.0)
    }

    /// Sets it; returns what it was.
    #[inline(always)]
    pub fn swap(&self, value: T) -> T {
        value.swap(&self.0)
    }
}

impl<T: Number> Relaxed<T> {
    /// Adds to it; returns what it was. It wraps.
    #[inline(always)]
    pub fn fetch_add(&self, n: T) -> T {
        n.add_to(&self.0)
    }

    /// Subtracts from it; returns what it was. It wraps.
    #[inline(always)]
    pub fn fetch_sub(&self, n: T) -> T {
        n.subtract_from(&self.0)
    }
}

/// What fits a word.
pub trait Word: Copy {
    /// The same, atomic.
    type Atomic: From<Self>;
    /// See [`Relaxed`].
    fn load(at: &Self::Atomic) -> Self;
    /// See [`Relaxed`].
    fn store(self, at: &Self::Atomic);
    /// See [`Relaxed`].
    fn swap(self, at: &Self::Atomic) -> Self;
}

/// What can be counted with.
pub trait Number: Word {
    /// See [`Relaxed`].
    fn add_to(self, at: &Self::Atomic) -> Self;
    /// See [`Relaxed`].
    fn subtract_from(self, at: &Self::Atomic) -> Self;
}

macro_rules! word {
    ($word:ty, $atomic:ty) => {
        impl Word for $word {
            type Atomic = $atomic;

            #[inline(always)]
            fn load(at: &$atomic) -> Self {
                at.load(Ordering::Relaxed)
            }

            #[inline(always)]
            fn store(self, at: &$atomic) {
                at.store(self, Ordering::Relaxed)
            }

            #[inline(always)]
            fn swap(self, at: &$atomic) -> Self {
                at.swap(self, Ordering::Relaxed)
            }
        }
    };
}

macro_rules! number {
    ($word:ty, $atomic:ty) => {
        word!($word, $atomic);

        impl Number for $word {
            #[inline(always)]
            fn add_to(self, at: &$atomic) -> Self {
                at.fetch_add(self, Ordering::Relaxed)
            }

            #[inline(always)]
            fn subtract_from(self, at: &$atomic) -> Self {
                at.fetch_sub(self, Ordering::Relaxed)
            }
        }
    };
}

word!(bool, AtomicBool);
number!(u32, AtomicU32);
number!(u64, AtomicU64);
number!(usize, AtomicUsize);
