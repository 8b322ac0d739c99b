// SPDX-License-Identifier: GPL-2.0

//! `struct sock`, as a datagram protocol over IP sees it.

/// A socket that somebody else keeps alive: `&Sock`.
#[repr(transparent)]
pub struct Sock(Opaque<bindings::sock>);

/// An owned reference (sock_hold, sock_put). Derefs to [`Sock`]. May be dropped in softirq.
pub struct SockRef;   // Clone

impl Sock {
    pub fn get_ref(&self) -> SockRef;
    pub fn family(&self) -> Family;
    pub fn net(&self) -> &Net;
    pub fn is_v6only(&self) -> bool;
    pub fn bound_dev_if(&self) -> u32;
    pub fn mark(&self) -> u32;
    pub fn priority(&self) -> u32;
    pub fn tos(&self) -> u8;                 // IP_TOS or IPV6_TCLASS
    pub fn uid(&self) -> u32;

    // Names (the fields that getsockname and getpeername show).
    pub fn local_addr(&self) -> Addr;         // bound address, ANY if none
    pub fn local_port(&self) -> u16;
    pub fn peer(&self) -> Option<SockAddr>;   // of a connected socket
    /// Records address and port; checks that the address is local (EADDRNOTAVAIL), that a link-local one has a device
    /// (EINVAL). A scope binds the socket to that device. Call with the socket locked ([`Sock::lock`]).
    pub fn set_local(&self, guard: &SockGuard<'_>, local: &SockAddr) -> Result;
    pub fn set_local_port(&self, port: u16);
    /// Records the peer, makes the socket "connected" (or not).
    pub fn set_peer(&self, guard: &SockGuard<'_>, peer: Option<&SockAddr>);

    // Limits and accounting.
    pub fn sndbuf(&self) -> usize;
    pub fn rcvbuf(&self) -> usize;
    /// Bytes of truesize that skbs owned by this socket (set_owner_w) occupy in flight.
    pub fn wmem(&self) -> usize;
    pub fn rmem(&self) -> usize;
    /// Adds to sk_rmem_alloc if that stays within rcvbuf; false if not. (Always admits something into an empty buffer.)
    pub fn charge_rmem(&self, bytes: usize) -> bool;
    /// Adds without asking.
    pub fn force_charge_rmem(&self, bytes: usize);
    pub fn uncharge_rmem(&self, bytes: usize);
    pub fn count_drop(&self);                 // sk_drops

    // Errors and shutdown.
    pub fn set_err(&self, err: Error);        // and reports it (sk_error_report)
    pub fn take_err(&self) -> Result;         // Err(sk_err) and clears it
    pub fn is_shutdown_rcv(&self) -> bool;
    pub fn is_shutdown_send(&self) -> bool;
    pub fn set_shutdown(&self, how: u8);      // RCV_SHUTDOWN 1 | SEND_SHUTDOWN 2; wakes everyone
    pub fn is_dead(&self) -> bool;

    // Waking.
    /// sk_data_ready: wakes one exclusive reader, and pollers.
    pub fn data_ready(&self);
    /// Wakes writers and pollers for writing.
    pub fn write_space(&self);

    // Waiting. Process context, no spin lock held.
    pub fn recv_timeout(&self, dont_wait: bool) -> Timeout;
    pub fn send_timeout(&self, dont_wait: bool) -> Timeout;
    /// Sleeps until `cond()` returns `Some`, woken by [`Sock::data_ready`], one exclusive waiter at a time. EAGAIN when the timeout
    /// is over (or zero), EINTR / ERESTARTSYS on a signal. `timeout` is what remains, for another call. `cond` runs
    /// without locks and may sleep; it is tried once before anything else.
    pub fn wait_readable<R>(&self, timeout: &mut Timeout, cond: impl FnMut() -> Option<R>) -> Result<R>;
    /// The same for [`Sock::write_space`] (not exclusive).
    pub fn wait_writable<R>(&self, timeout: &mut Timeout, cond: impl FnMut() -> Option<R>) -> Result<R>;
    /// True if the thread has waiters to wake (cheap test before data_ready).
    pub fn has_waiters(&self) -> bool;

    /// lock_sock: process context, sleeps.
    pub fn lock(&self) -> SockGuard<'_>;
}

/// A number of jiffies left to wait (0: do not wait at all).
pub struct Timeout;
