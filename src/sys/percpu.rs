// SPDX-License-Identifier: GPL-2.0

//! Counters that are cheap to bump on any CPU.

use super::gfp;
use ::core::{
    arch::asm,
    mem,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};
use homa_bindings as bindings;
use kernel::prelude::*;

#[cfg(not(CONFIG_X86_64))]
compile_error!("`Counters::add` is written for x86-64");

/// `N` counters of 64 bits, with one copy per CPU.
///
/// # Invariants
///
/// `0` is a per-CPU allocation of `[u64; N]`, ours alone.
pub struct Counters<const N: usize>(NonNull<u64>);

// SAFETY: each CPU writes its own copy, in one instruction; readers load whole words.
unsafe impl<const N: usize> Send for Counters<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Sync for Counters<N> {}

impl<const N: usize> Counters<N> {
    /// Allocates them, all zero. Process context.
    pub fn new() -> Result<Self> {
        // SAFETY: no preconditions; the result is zeroed, or NULL.
        let p = unsafe {
            bindings::pcpu_alloc_noprof(mem::size_of::<[u64; N]>(), 64, false, gfp(GFP_KERNEL))
        };
        // INVARIANT: just allocated.
        Ok(Self(NonNull::new(p.cast()).ok_or(ENOMEM)?))
    }

    /// Adds 1 to counter `i` (nothing if there is no such counter).
    #[inline]
    pub fn inc(&self, i: usize) {
        self.add(i, 1);
    }

    /// Adds `n` to counter `i`. Any context.
    #[inline]
    pub fn add(&self, i: usize, n: u64) {
        if i >= N {
            return;
        }
        // SAFETY: on x86-64 the GS base turns a per-CPU address into this CPU's copy, in the same
        // instruction that adds: neither migration nor an interrupt can come between. `i` is in bounds.
        unsafe {
            asm!("add qword ptr gs:[{p}], {n}", p = in(reg) self.0.as_ptr().wrapping_add(i), n = in(reg) n,
                options(nostack));
        }
    }

    /// The sum of counter `i` over all CPUs.
    pub fn sum(&self, i: usize) -> u64 {
        if i >= N {
            return 0;
        }
        let p = self.0.as_ptr().wrapping_add(i);
        let mut sum = 0u64;
        let mut cpu = -1;
        loop {
            // SAFETY: callable from anywhere, with -1 or a CPU number.
            cpu = unsafe { bindings::shim_next_possible_cpu(cpu) };
            if cpu < 0 {
                return sum;
            }
            // SAFETY: `p` is a per-CPU address of an element, and the CPU is a possible one: its copy is an
            // aligned word that lives as long as `self` and is written by single instructions.
            let copy =
                unsafe { AtomicU64::from_ptr(bindings::shim_per_cpu_ptr(p.cast(), cpu).cast()) };
            sum = sum.wrapping_add(copy.load(Ordering::Relaxed));
        }
    }
}

impl<const N: usize> Drop for Counters<N> {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, and ours.
        unsafe { bindings::free_percpu(self.0.as_ptr().cast()) }
    }
}
