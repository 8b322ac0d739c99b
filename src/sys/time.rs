// SPDX-License-Identifier: GPL-2.0

//! Clocks.

use homa_bindings as bindings;

/// Nanoseconds since boot, not counting suspend (CLOCK_MONOTONIC).
#[inline]
pub fn now_ns() -> u64 {
    // SAFETY: callable from anywhere.
    let ns = unsafe { bindings::ktime_get() };
    // The monotonic clock is never negative.
    ns as u64
}

/// Nanoseconds since 1970, as far as this machine knows (CLOCK_REALTIME): it can be set.
pub fn real_ns() -> u64 {
    // SAFETY: callable from anywhere.
    let ns = unsafe { bindings::ktime_get_with_offset(bindings::tk_offsets_TK_OFFS_REAL) };
    u64::try_from(ns).unwrap_or(0)
}
