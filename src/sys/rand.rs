// SPDX-License-Identifier: GPL-2.0

//! Random numbers and keyed hashes.

pub fn u32() -> u32;
pub fn u64() -> u64;
pub fn below(n: u32) -> u32;
pub fn fill(out: &mut [u8]);
/// A secret key for hashing what a peer chooses (hsiphash-like strength for tables).
pub struct HashKey;   // Copy; new() random
impl HashKey { pub fn hash1(&self, a: u64) -> u64; pub fn hash2(&self, a: u64, b: u64) -> u64; pub fn hash3(&self, a: u64, b: u64, c: u64) -> u64; }
