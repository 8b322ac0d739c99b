// SPDX-License-Identifier: GPL-2.0

//! The monotonic clock.

use homa_bindings as bindings;

/// Nanoseconds since boot, not counting suspend (CLOCK_MONOTONIC).
#[inline]
pub fn now_ns() -> u64 {
    // SAFETY: callable from anywhere.
    let ns = unsafe { bindings::ktime_get() };
    // The monotonic clock is never negative.
    ns as u64
}
