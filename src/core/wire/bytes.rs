// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Big-endian fields at fixed places of a fixed-size header.
//!
//! The place is a constant and checked when compiling, so none of these can fail, and each is one
//! load or store. (Put together byte by byte they would not be: the compiler sees through that only
//! in simple surroundings.)

/// The `L` bytes at `AT`.
#[inline(always)]
fn bytes_at<const AT: usize, const L: usize, const N: usize>(b: &[u8; N]) -> [u8; L] {
    const { assert!(AT + L <= N) };
    match b.split_at(AT).1.first_chunk() {
        Some(bytes) => *bytes,
        // Not reached, by the assertion.
        None => [0; L],
    }
}

/// The byte at `AT`.
#[inline(always)]
pub(super) fn u8_at<const AT: usize, const N: usize>(b: &[u8; N]) -> u8 {
    u8::from_be_bytes(bytes_at::<AT, 1, N>(b))
}

/// The two bytes at `AT`.
#[inline(always)]
pub(super) fn u16_at<const AT: usize, const N: usize>(b: &[u8; N]) -> u16 {
    u16::from_be_bytes(bytes_at::<AT, 2, N>(b))
}

/// The four bytes at `AT`.
#[inline(always)]
pub(super) fn u32_at<const AT: usize, const N: usize>(b: &[u8; N]) -> u32 {
    u32::from_be_bytes(bytes_at::<AT, 4, N>(b))
}

/// The eight bytes at `AT`.
#[inline(always)]
pub(super) fn u64_at<const AT: usize, const N: usize>(b: &[u8; N]) -> u64 {
    u64::from_be_bytes(bytes_at::<AT, 8, N>(b))
}

/// Writes `bytes` at `AT`.
#[inline(always)]
pub(super) fn put<const AT: usize, const L: usize, const N: usize>(
    b: &mut [u8; N],
    bytes: [u8; L],
) {
    const { assert!(AT + L <= N) };
    if let Some(place) = b.split_at_mut(AT).1.first_chunk_mut() {
        *place = bytes;
    }
}
