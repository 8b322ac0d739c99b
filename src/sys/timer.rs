// SPDX-License-Identifier: GPL-2.0

//! One-shot high-resolution timers whose callback runs in softirq.

/// What happens when a [`Timer`] of `Self` expires. `ID` tells several timers of one owner apart.
pub trait OnTimer<const ID: u64 = 0>: Send + Sync + Sized + 'static {
    /// Runs in softirq. `Some(ns)` starts the timer again, `ns` from now (unless somebody else did already).
    fn on_timer(this: &Arc<Self>) -> Option<u64>;
}

/// A timer, to be embedded in the object (an `Arc<T>`) that it works for.
///
/// While it is armed it owns a reference to its object, so that nothing can run after the object is
/// gone. (An object that must go at once cancels its timers first.)
#[pin_data]
pub struct Timer<T: OnTimer<ID>, const ID: u64 = 0>;

impl<T: OnTimer<ID>, const ID: u64> Timer<T, ID> {
    /// `#[pin] timer: Timer<Self>`, `timer <- Timer::new()`.
    pub fn new() -> impl PinInit<Self>;
    /// Arms it to expire `delay_ns` from now, whatever it was set to before. Any context but hard interrupts.
    pub fn start(&self, owner: &Arc<T>, delay_ns: u64);
    /// Arms it only if it is not armed; true if this call did.
    pub fn start_if_idle(&self, owner: &Arc<T>, delay_ns: u64) -> bool;
    /// True while it will expire in the future (not while only its callback is running).
    pub fn is_armed(&self) -> bool;
    /// Disarms it; true if it was armed. A callback that already runs goes on.
    pub fn cancel(&self) -> bool;
    /// Disarms it and waits for a running callback. Not from the callback itself, nor with a lock that it takes.
    pub fn cancel_sync(&self);
}
