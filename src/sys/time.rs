// SPDX-License-Identifier: GPL-2.0

//! The monotonic clock.

/// Nanoseconds since boot, not counting suspend (CLOCK_MONOTONIC).
pub fn now_ns() -> u64;
