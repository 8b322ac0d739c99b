// SPDX-License-Identifier: GPL-2.0

//! `struct sock`, as a datagram protocol over IP sees it.

use super::{
    addr::Family,
    netns::Net,
    skb::{DropReason, Skb},
};
use ::core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull,
    sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicU8, Ordering},
};
use homa_bindings as bindings;
use kernel::{
    prelude::*,
    types::{NotThreadSafe, Opaque},
};

mod charge;
mod names;
mod wait;

pub use charge::WmemCharge;
pub(super) use wait::write_space;
pub use wait::Timeout;

/// A field of the C struct as an atomic: C writes it with WRITE_ONCE or atomic_*() while we look.
macro_rules! atomic {
    ($ty:ident, $sk:expr, $($field:tt)+) => {{
        let raw = $sk.as_raw();
        // SAFETY: the sock is alive, the field aligned and of this size, and nobody accesses it but in one piece.
        unsafe { $ty::from_ptr((&raw mut (*raw).$($field)+).cast()) }
    }};
}
use atomic;

/// recv half: RCV_SHUTDOWN.
pub const SHUT_RCV: u8 = 1;
/// send half: SEND_SHUTDOWN.
pub const SHUT_SEND: u8 = 2;

/// A socket that somebody else keeps alive.
#[repr(transparent)]
pub struct Sock(Opaque<bindings::sock>);

// SAFETY: a sock belongs to no thread; all methods may be called concurrently.
unsafe impl Send for Sock {}
// SAFETY: as above.
unsafe impl Sync for Sock {}

impl Sock {
    /// # Safety
    ///
    /// `sk` must be a valid (and full) IPv4 or IPv6 socket during `'a`.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(sk: *mut bindings::sock) -> &'a Self {
        // SAFETY: by the caller's promise; the types have one layout.
        unsafe { &*sk.cast() }
    }

    /// The C struct.
    #[inline]
    pub(super) fn as_raw(&self) -> *mut bindings::sock {
        self.0.get()
    }

    #[inline]
    pub(super) fn inet(&self) -> *mut bindings::inet_sock {
        // The sock is its first member.
        self.as_raw().cast()
    }

    /// The IPv6 half; for IPv6 sockets only (else NULL or rubbish).
    #[inline]
    pub(super) fn pinet6(&self) -> *mut bindings::ipv6_pinfo {
        // SAFETY: set once, when the socket was made.
        unsafe { (*self.inet()).pinet6 }
    }

    /// A counted reference.
    pub fn get_ref(&self) -> SockRef {
        // SAFETY: the sock is alive.
        unsafe {
            bindings::shim_sock_hold(self.as_raw());
            SockRef(NonNull::new_unchecked(self.as_raw()))
        }
    }

    /// AF_INET or AF_INET6.
    #[inline]
    pub fn family(&self) -> Family {
        // SAFETY: set once, when the socket was made.
        match u32::from(unsafe { (*self.as_raw()).__sk_common.skc_family }) {
            bindings::AF_INET6 => Family::V6,
            _ => Family::V4,
        }
    }

    /// Its network namespace.
    #[inline]
    pub fn net(&self) -> &Net {
        // SAFETY: set once; a sock keeps its namespace alive.
        unsafe { Net::from_raw((*self.as_raw()).__sk_common.skc_net.net) }
    }

    /// IPV6_V6ONLY.
    pub fn is_v6only(&self) -> bool {
        // SAFETY: the sock is alive; a bit that is stale by a moment does no harm.
        self.family() == Family::V6 && unsafe { (*self.as_raw()).__sk_common.skc_ipv6only() } != 0
    }

    /// SO_BINDTODEVICE: the device's index, or 0.
    #[inline]
    pub fn bound_dev_if(&self) -> u32 {
        atomic!(AtomicU32, self, __sk_common.skc_bound_dev_if).load(Ordering::Relaxed)
    }

    /// SO_MARK.
    #[inline]
    pub fn mark(&self) -> u32 {
        atomic!(AtomicU32, self, sk_mark).load(Ordering::Relaxed)
    }

    /// SO_PRIORITY.
    #[inline]
    pub fn priority(&self) -> u32 {
        atomic!(AtomicU32, self, sk_priority).load(Ordering::Relaxed)
    }

    /// IP_TOS or IPV6_TCLASS.
    pub fn tos(&self) -> u8 {
        // SAFETY: the sock is alive, and so is its IPv6 half if it has one; C accesses the byte in one piece.
        unsafe {
            match self.family() {
                Family::V4 => AtomicU8::from_ptr(&raw mut (*self.inet()).tos),
                Family::V6 => AtomicU8::from_ptr(&raw mut (*self.pinet6()).tclass),
            }
        }
        .load(Ordering::Relaxed)
    }

    /// Whether IPv4 packets get options (IP_OPTIONS, or an LSM's).
    #[inline]
    pub(super) fn has_ip_options(&self) -> bool {
        // SAFETY: the sock is alive; only whether the pointer is NULL matters.
        let options = unsafe { (&raw const (*self.inet()).inet_opt).read_volatile() };
        !options.is_null()
    }

    /// Who opened it.
    #[inline]
    pub fn uid(&self) -> u32 {
        atomic!(AtomicU32, self, sk_uid).load(Ordering::Relaxed)
    }

    /// The number of its file's inode, as /proc/PID/fd shows it; 0 if it has none (any more).
    pub fn inode(&self) -> u64 {
        atomic!(AtomicU64, self, sk_ino).load(Ordering::Relaxed)
    }

    // Errors and shutdown.

    /// SO_ERROR, if there is one; it is cleared.
    #[inline]
    pub fn take_err(&self) -> Result {
        let err = atomic!(AtomicI32, self, sk_err);
        if err.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        kernel::error::to_result(err.swap(0, Ordering::Relaxed).wrapping_neg())
    }

    #[inline]
    fn shutdown_bits(&self) -> u8 {
        atomic!(AtomicU8, self, sk_shutdown).load(Ordering::Relaxed)
    }

    /// No more receiving.
    #[inline]
    pub fn is_shutdown_rcv(&self) -> bool {
        self.shutdown_bits() & SHUT_RCV != 0
    }

    /// No more sending.
    #[inline]
    pub fn is_shutdown_send(&self) -> bool {
        self.shutdown_bits() & SHUT_SEND != 0
    }

    /// Shuts down ([`SHUT_RCV`], [`SHUT_SEND`]) and wakes everyone.
    pub fn set_shutdown(&self, how: u8) {
        atomic!(AtomicU8, self, sk_shutdown)
            .fetch_or(how & (SHUT_RCV | SHUT_SEND), Ordering::Relaxed);
        // SAFETY: the sock is alive, and sk_state_change was set by sock_init_data.
        unsafe {
            if let Some(state_change) = (*self.as_raw()).sk_state_change {
                state_change(self.as_raw());
            }
        }
    }

    /// Whether the socket may have the packet: SO_ATTACH_FILTER (which may also cut it), BPF of its cgroup, and LSMs are asked.
    /// Softirq. The packet is intact, `data` at its transport header.
    #[inline]
    pub fn admits(&self, skb: &mut Skb) -> Result<(), DropReason> {
        // SAFETY: both are valid.
        match unsafe { bindings::sk_filter_trim_cap(self.as_raw(), skb.as_raw(), 1) } {
            bindings::skb_drop_reason_SKB_NOT_DROPPED_YET => Ok(()),
            reason => Err(DropReason(reason)),
        }
    }

    /// lock_sock: one thread at a time, among those that ask. Process context, sleeps.
    pub fn lock(&self) -> SockGuard<'_> {
        // SAFETY: the sock is alive; process context.
        unsafe { bindings::lock_sock_nested(self.as_raw(), 0) };
        SockGuard { sk: self, _here: PhantomData }
    }
}

/// An owned reference to a socket.
///
/// # Invariants
///
/// Holds one reference.
pub struct SockRef(NonNull<bindings::sock>);

// SAFETY: as for `Sock`.
unsafe impl Send for SockRef {}
// SAFETY: as for `Sock`.
unsafe impl Sync for SockRef {}

impl Deref for SockRef {
    type Target = Sock;

    #[inline]
    fn deref(&self) -> &Sock {
        // SAFETY: the reference keeps it alive.
        unsafe { Sock::from_raw(self.0.as_ptr()) }
    }
}

impl Clone for SockRef {
    fn clone(&self) -> Self {
        self.get_ref()
    }
}

impl Drop for SockRef {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { bindings::shim_sock_put(self.0.as_ptr()) }
    }
}

/// Holds the lock of a socket.
pub struct SockGuard<'a> {
    sk: &'a Sock,
    _here: PhantomData<NotThreadSafe>,
}

impl Drop for SockGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: locked when made.
        unsafe { bindings::release_sock(self.sk.as_raw()) }
    }
}
