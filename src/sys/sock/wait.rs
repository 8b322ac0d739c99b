// SPDX-License-Identifier: GPL-2.0

//! Waking those who wait at a socket, and waiting.

use super::Sock;
use ::core::sync::atomic::{fence, Ordering};
use homa_bindings as bindings;
use kernel::{ffi::c_long, prelude::*};

impl Sock {
    /// There is something to receive: wakes one of those who wait to, and all who poll.
    #[inline]
    pub fn data_ready(&self) {
        // SAFETY: the sock is alive, and sk_data_ready was set by sock_init_data.
        unsafe {
            if let Some(data_ready) = (*self.as_raw()).sk_data_ready {
                data_ready(self.as_raw());
            }
        }
    }

    /// Wakes all who wait to receive, or for whatever else [`Self::data_ready`] might tell one of them, and all who poll.
    pub fn wake_all_readers(&self) {
        // SAFETY: the sock is alive.
        unsafe { bindings::shim_sk_wake_readers(self.as_raw()) }
    }

    /// SO_RCVTIMEO; zero if the call is not to wait.
    pub fn recv_timeout(&self, dont_wait: bool) -> Timeout {
        if dont_wait {
            return Timeout(0);
        }
        // SAFETY: the sock is alive; aligned words are read in one piece.
        Timeout(unsafe { (&raw const (*self.as_raw()).sk_rcvtimeo).read_volatile() })
    }

    /// SO_SNDTIMEO; zero if the call is not to wait.
    pub fn send_timeout(&self, dont_wait: bool) -> Timeout {
        if dont_wait {
            return Timeout(0);
        }
        // SAFETY: the sock is alive; aligned words are read in one piece.
        Timeout(unsafe { (&raw const (*self.as_raw()).sk_sndtimeo).read_volatile() })
    }

    /// Sleeps until `cond` returns something. See [`MsgHdr::wait_readable`](super::uio::MsgHdr::wait_readable).
    ///
    /// # Safety
    ///
    /// Only within a system call on this socket: its file keeps the wait queue alive.
    #[cold]
    #[inline(never)]
    pub(in crate::sys) unsafe fn wait<R>(
        &self,
        timeout: &mut Timeout,
        exclusive: bool,
        cond: &mut impl FnMut() -> Option<R>,
    ) -> Result<R> {
        if timeout.is_zero() {
            return Err(EAGAIN);
        }
        let current = kernel::current!();
        let mut wait: bindings::wait_queue_entry = pin_init::zeroed();
        wait.private = current.as_ptr().cast();
        wait.func = Some(bindings::woken_wake_function);
        let wait = &raw mut wait;
        // SAFETY: the wait queue lives as long as the file that the call is on, and the entry until it is removed below.
        let queue = unsafe {
            let queue = &raw mut (*(*self.as_raw()).__bindgen_anon_1.sk_wq).wait;
            match exclusive {
                true => bindings::add_wait_queue_exclusive(queue, wait),
                false => bindings::add_wait_queue(queue, wait),
            }
            queue
        };
        // Pairs with wq_has_sleeper(): either whoever makes `cond` true sees us in the queue, or `cond` sees what it did.
        fence(Ordering::SeqCst);
        // `cond` comes first each time: who was woken (perhaps alone) takes what there is, even if a signal came, too.
        let ret = loop {
            if let Some(r) = cond() {
                break Ok(r);
            }
            if timeout.is_zero() {
                break Err(EAGAIN);
            }
            if current.signal_pending() {
                // As sock_intr_errno().
                break Err(if timeout.0 == c_long::MAX { ERESTARTSYS } else { EINTR });
            }
            let left = timeout.0;
            // SAFETY: process context; the entry is on the queue.
            timeout.0 = unsafe { bindings::wait_woken(wait, bindings::TASK_INTERRUPTIBLE, left) };
        };
        // SAFETY: added above.
        unsafe { bindings::remove_wait_queue(queue, wait) };
        ret
    }
}

/// How long a call may still wait: jiffies.
pub struct Timeout(c_long);

impl Timeout {
    /// Whether it may not (any more).
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
}
