// SPDX-License-Identifier: GPL-2.0

//! Random numbers and keyed hashes. Any context.

use homa_bindings as bindings;

/// A random number.
pub fn u32() -> u32 {
    // SAFETY: callable from anywhere.
    unsafe { bindings::get_random_u32() }
}

/// A random number.
pub fn u64() -> u64 {
    // SAFETY: callable from anywhere.
    unsafe { bindings::get_random_u64() }
}

/// A random number below `n` (0 if `n` is).
pub fn below(n: u32) -> u32 {
    ((u64::from(u32()) * u64::from(n)) >> 32) as u32
}

/// A secret key for hash tables whose keys a peer chooses.
///
/// The hash multiplies to 128 bits and folds, twice: some ten instructions, a good spread in all bits. Somebody
/// who does not know the key cannot aim at a bucket. It is no message authentication code.
#[derive(Clone, Copy)]
pub struct HashKey([u64; 3]);

impl HashKey {
    /// A new random key.
    pub fn new() -> Self {
        // Odd, so that no factor is ever zero by itself.
        Self([u64() | 1, u64() | 1, u64() | 1])
    }

    #[inline]
    fn fold(a: u64, b: u64) -> u64 {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ (product >> 64) as u64
    }

    /// The hash of three words.
    #[inline]
    pub fn hash3(&self, a: u64, b: u64, c: u64) -> u64 {
        let ab = Self::fold(a ^ self.0[0], b ^ self.0[1]) ^ a;
        Self::fold(ab ^ self.0[1], c ^ self.0[2]) ^ ab
    }
}
