// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Ends a blocking system call when nothing has happened for too long.
//!
//! A timeout on the socket would set a timer at every call, and be part of what is measured. Here, a
//! signal comes at long intervals and interrupts the call; only then does anybody look whether
//! there was progress since the last one.

use crate::sys;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

static DONE: AtomicU64 = AtomicU64::new(0);
static DONE_AT_LAST_TICK: AtomicU64 = AtomicU64::new(u64::MAX);
static STALLED: AtomicBool = AtomicBool::new(false);

/// Start it: from now on, the calls of [`retry`] fail when there is no progress for `seconds` to twice as
/// long.
pub fn start(seconds: f64) -> io::Result<()> {
    sys::on_alarm(tick)?;
    sys::set_alarm(seconds)
}

/// There are no deadlines during what follows.
pub fn stop() {
    // Cannot fail with a valid interval.
    let _ = sys::set_alarm(0.0);
    DONE_AT_LAST_TICK.store(u64::MAX, Relaxed);
    STALLED.store(false, Relaxed);
}

/// So many round trips are complete.
#[inline]
pub fn progress(done: u64) {
    DONE.store(done, Relaxed);
}

/// Repeat what a signal interrupted, until the watchdog barks.
#[inline]
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                if STALLED.load(Relaxed) {
                    let text = "no response for too long (--timeout)";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
            }
            result => return result,
        }
    }
}

/// The signal handler: nothing but atomics.
extern "C" fn tick(_signal: i32) {
    let done = DONE.load(Relaxed);
    if DONE_AT_LAST_TICK.swap(done, Relaxed) == done {
        STALLED.store(true, Relaxed);
    }
}
