// SPDX-License-Identifier: GPL-2.0

//! Waking those who wait at a socket, and waiting.

use super::Sock;
use ::core::sync::atomic::{fence, AtomicUsize, Ordering};
use homa_bindings as bindings;
use kernel::{ffi::c_long, prelude::*, sync::rcu};

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

    /// Somebody waits, or is going to poll, for room to send: the next packet that makes some wakes them. To be said after entering the
    /// queue, and before looking whether there is room after all.
    ///
    /// # Safety
    ///
    /// Only within a system call on this socket.
    #[cold]
    pub(in crate::sys) unsafe fn want_space(&self) {
        // SAFETY: the call keeps the socket's file; C changes the flags as atomics.
        let flags = unsafe { flags_of((*self.as_raw()).sk_socket) };
        flags.fetch_or(NOSPACE, Ordering::Relaxed);
        // Pairs with the one in `write_space`: either that sees the flag, or the caller sees the room.
        fence(Ordering::SeqCst);
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

/// SOCK_NOSPACE, as a mask.
const NOSPACE: usize = 1 << bindings::socket_flags_SOCK_NOSPACE;

/// # Safety
///
/// `socket` must be valid during `'a`.
unsafe fn flags_of<'a>(socket: *mut bindings::socket) -> &'a AtomicUsize {
    // SAFETY: by the caller's promise; C changes the flags as atomics of this size.
    unsafe { AtomicUsize::from_ptr((&raw mut (*socket).flags).cast()) }
}

/// `sk_write_space`: memory that was charged for sending is free. That is so after each packet, and mostly nobody waits: the kernel's own
/// callback would wake whoever waits to receive.
///
/// # Safety
///
/// `sk` must be a valid socket.
pub(in crate::sys) unsafe extern "C" fn write_space(sk: *mut bindings::sock) {
    // Pairs with the one in `want_space`.
    fence(Ordering::SeqCst);
    let _rcu = rcu::read_lock();
    // SAFETY: the sock is alive. Its socket may go at any time; RCU keeps the memory, and nobody waits at one that is gone.
    unsafe {
        let socket = (&raw const (*sk).sk_socket).read_volatile();
        if socket.is_null() || flags_of(socket).load(Ordering::Relaxed) & NOSPACE == 0 {
            return;
        }
        let sock = Sock::from_raw(sk);
        // As sock_writeable(): not for every few bytes.
        if sock.wmem() < sock.sndbuf() / 2 {
            flags_of(socket).fetch_and(!NOSPACE, Ordering::Relaxed);
            bindings::shim_sk_wake_writers(sk);
        }
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
