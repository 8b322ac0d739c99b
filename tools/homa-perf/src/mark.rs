// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Marks in the instruction stream: where the measurement begins and ends, for `bench/profile`.
//!
//! An instruction that does nothing, but has a number in it that nobody else's has. The profiler, a
//! plugin of the emulator that runs all this, sees it go by; to everybody else it costs one cycle.

/// The measurement begins.
#[inline(always)]
pub fn begin() {
    // nopl 0x686f6d01(%rax)
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a no-op: its operand is an address that is not accessed.
    unsafe {
        std::arch::asm!(".byte 0x0f, 0x1f, 0x80, 0x01, 0x6d, 0x6f, 0x68", options(nomem, nostack));
    }
}

/// The measurement ends.
#[inline(always)]
pub fn end() {
    // nopl 0x686f6d02(%rax)
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(".byte 0x0f, 0x1f, 0x80, 0x02, 0x6d, 0x6f, 0x68", options(nomem, nostack));
    }
}
