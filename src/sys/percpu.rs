// SPDX-License-Identifier: GPL-2.0

//! Counters that are cheap to bump on any CPU.

/// `N` counters of 64 bits, one copy per CPU.
pub struct Counters<const N: usize>;
impl<const N: usize> Counters<N> {
    pub fn new() -> Result<Self>;                 // process context
    #[inline] pub fn inc(&self, i: usize);
    #[inline] pub fn add(&self, i: usize, n: u64);
    pub fn sum(&self, i: usize) -> u64;
}
