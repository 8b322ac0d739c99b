// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Big-endian fields at fixed places of a fixed-size header.
//!
//! The place is a constant and checked when compiling, so none of these can fail, and each is a
//! load or a store.

#![allow(clippy::indexing_slicing)] // Every index is below N: asserted at compile time.

/// The byte at `AT`.
#[inline(always)]
pub(super) fn u8_at<const AT: usize, const N: usize>(b: &[u8; N]) -> u8 {
    const { assert!(AT < N) };
    b[AT]
}

/// The two bytes at `AT`.
#[inline(always)]
pub(super) fn u16_at<const AT: usize, const N: usize>(b: &[u8; N]) -> u16 {
    const { assert!(AT + 2 <= N) };
    u16::from_be_bytes([b[AT], b[AT + 1]])
}

/// The four bytes at `AT`.
#[inline(always)]
pub(super) fn u32_at<const AT: usize, const N: usize>(b: &[u8; N]) -> u32 {
    const { assert!(AT + 4 <= N) };
    u32::from_be_bytes([b[AT], b[AT + 1], b[AT + 2], b[AT + 3]])
}

/// The eight bytes at `AT`.
#[inline(always)]
pub(super) fn u64_at<const AT: usize, const N: usize>(b: &[u8; N]) -> u64 {
    const { assert!(AT + 8 <= N) };
    u64::from_be_bytes([
        b[AT],
        b[AT + 1],
        b[AT + 2],
        b[AT + 3],
        b[AT + 4],
        b[AT + 5],
        b[AT + 6],
        b[AT + 7],
    ])
}

/// Writes `bytes` at `AT`.
#[inline(always)]
pub(super) fn put<const AT: usize, const L: usize, const N: usize>(
    b: &mut [u8; N],
    bytes: [u8; L],
) {
    const { assert!(AT + L <= N) };
    let mut i = 0;
    while i < L {
        b[AT + i] = bytes[i];
        i += 1;
    }
}
