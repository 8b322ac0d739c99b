// SPDX-License-Identifier: GPL-2.0

//! `struct sock`, as a datagram protocol over IP sees it.

use super::{
    addr::{Addr, Family, SockAddr},
    netns::Net,
    skb::{DropReason, Skb},
};
use ::core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull,
    sync::atomic::{AtomicI32, AtomicU32, AtomicU8, Ordering},
};
use homa_bindings as bindings;
use kernel::{
    ffi::{c_int, c_long},
    prelude::*,
    sync::rcu,
    types::{NotThreadSafe, Opaque},
};

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

/// A field of the C struct as an atomic: C writes it with WRITE_ONCE or atomic_*() while we look.
macro_rules! atomic {
    ($ty:ident, $sk:expr, $($field:tt)+) => {{
        let raw = $sk.as_raw();
        // SAFETY: the sock is alive, the field aligned and of this size, and nobody accesses it but in one piece.
        unsafe { $ty::from_ptr((&raw mut (*raw).$($field)+).cast()) }
    }};
}

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

    // Limits and accounting.

    /// SO_SNDBUF, as the kernel counts (twice what was asked for).
    #[inline]
    pub fn sndbuf(&self) -> usize {
        atomic!(AtomicU32, self, sk_sndbuf).load(Ordering::Relaxed) as usize
    }

    /// SO_RCVBUF, likewise.
    #[inline]
    pub fn rcvbuf(&self) -> usize {
        atomic!(AtomicU32, self, sk_rcvbuf).load(Ordering::Relaxed) as usize
    }

    /// Sets both, as a protocol's defaults. (SO_SNDBUF and SO_RCVBUF change them later.)
    pub fn set_buffers(&self, sndbuf: u32, rcvbuf: u32) {
        atomic!(AtomicU32, self, sk_sndbuf).store(sndbuf, Ordering::Relaxed);
        atomic!(AtomicU32, self, sk_rcvbuf).store(rcvbuf, Ordering::Relaxed);
    }

    /// Bytes (truesize) of the packets that are the socket's: [`Skb::set_owner_w`](super::skb::Skb::set_owner_w).
    #[inline]
    pub fn wmem(&self) -> usize {
        let n = atomic!(AtomicI32, self, sk_wmem_alloc).load(Ordering::Relaxed);
        // The sock itself counts as one.
        usize::try_from(n - 1).unwrap_or(0)
    }

    /// Bytes charged for receiving.
    #[inline]
    pub fn rmem(&self) -> usize {
        usize::try_from(atomic!(AtomicI32, self, sk_backlog.rmem_alloc).load(Ordering::Relaxed))
            .unwrap_or(0)
    }

    /// Charges `bytes` if that stays within SO_RCVBUF (or nothing was charged yet); false if it does not.
    #[inline]
    pub fn charge_rmem(&self, bytes: usize) -> bool {
        if bytes > i32::MAX as usize / 2 {
            return false;
        }
        let rmem = atomic!(AtomicI32, self, sk_backlog.rmem_alloc);
        let before = rmem.fetch_add(bytes as i32, Ordering::Relaxed);
        let fits = before == 0 || i64::from(before) + bytes as i64 <= self.rcvbuf() as i64;
        if !fits {
            rmem.fetch_sub(bytes as i32, Ordering::Relaxed);
        }
        fits
    }

    /// Charges without asking.
    #[inline]
    pub fn force_charge_rmem(&self, bytes: usize) {
        atomic!(AtomicI32, self, sk_backlog.rmem_alloc).fetch_add(bytes as i32, Ordering::Relaxed);
    }

    /// Takes back what was charged. All of it must be, before the last reference goes.
    #[inline]
    pub fn uncharge_rmem(&self, bytes: usize) {
        atomic!(AtomicI32, self, sk_backlog.rmem_alloc).fetch_sub(bytes as i32, Ordering::Relaxed);
    }

    /// Counts a packet that was dropped for this socket (ss -m, SO_RXQ_OVFL).
    pub fn count_drop(&self) {
        // SAFETY: the sock is alive.
        unsafe { bindings::shim_sk_drops_inc(self.as_raw()) }
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

    // Errors and shutdown.

    /// Sets SO_ERROR, and wakes everyone to see it.
    pub fn set_err(&self, err: Error) {
        atomic!(AtomicI32, self, sk_err).store(-err.to_errno(), Ordering::Relaxed);
        // SAFETY: the sock is alive.
        unsafe { bindings::sk_error_report(self.as_raw()) }
    }

    /// SO_ERROR, if there is one; it is cleared.
    #[inline]
    pub fn take_err(&self) -> Result {
        let err = atomic!(AtomicI32, self, sk_err);
        if err.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        kernel::error::to_result(-err.swap(0, Ordering::Relaxed))
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

    // Waking and waiting.

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

    /// There is room to send: wakes all who wait for it, or poll.
    pub fn write_space(&self) {
        // SAFETY: the sock is alive.
        unsafe { bindings::shim_sk_wake_writers(self.as_raw()) }
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
    pub(super) unsafe fn wait<R>(
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

    /// lock_sock: one thread at a time, among those that ask. Process context, sleeps.
    pub fn lock(&self) -> SockGuard<'_> {
        // SAFETY: the sock is alive; process context.
        unsafe { bindings::lock_sock_nested(self.as_raw(), 0) };
        SockGuard { sk: self, _here: PhantomData }
    }

    // Names: what getsockname and getpeername show.

    /// The address it is bound to, or ANY.
    pub fn local_addr(&self) -> Addr {
        // SAFETY: the sock is alive. (Who must not see a half-written address locks.)
        unsafe {
            let common = &raw const (*self.as_raw()).__sk_common;
            match self.family() {
                Family::V4 => {
                    Addr::from_be32((*common).__bindgen_anon_1.__bindgen_anon_1.skc_rcv_saddr)
                }
                Family::V6 => Addr::from_in6(&(*common).skc_v6_rcv_saddr),
            }
        }
    }

    /// Its port, or 0.
    #[inline]
    pub fn local_port(&self) -> u16 {
        // SAFETY: the sock is alive.
        unsafe { (*self.as_raw()).__sk_common.__bindgen_anon_3.__bindgen_anon_1.skc_num }
    }

    /// The peer of a connected socket.
    pub fn peer(&self) -> Option<SockAddr> {
        // SAFETY: the sock is alive. (Who must not see a half-written address locks.)
        unsafe {
            let common = &raw const (*self.as_raw()).__sk_common;
            if u32::from((*common).skc_state) != bindings::TCP_ESTABLISHED {
                return None;
            }
            let addr = match self.family() {
                Family::V4 => {
                    Addr::from_be32((*common).__bindgen_anon_1.__bindgen_anon_1.skc_daddr)
                }
                Family::V6 => Addr::from_in6(&(*common).skc_v6_daddr),
            };
            let port = u16::from_be((*common).__bindgen_anon_3.__bindgen_anon_1.skc_dport);
            let scope = if addr.is_link_local() { self.bound_dev_if() } else { 0 };
            Some(SockAddr { addr, port, scope })
        }
    }

    /// Binds: checks the address, and records it and the port (not whether somebody else has it).
    ///
    /// EAFNOSUPPORT or EINVAL if it is of the wrong kind, EADDRNOTAVAIL if it is not this host's (IP_FREEBIND and
    /// net.ipv4.ip_nonlocal_bind count), EINVAL if a link-local address has no device or not the one that the socket is bound to.
    pub fn set_local(&self, _locked: &SockGuard<'_>, local: &SockAddr) -> Result {
        let addr = local.addr;
        let v6 = self.family() == Family::V6;
        if addr.is_multicast() || addr.is_broadcast() {
            return Err(EADDRNOTAVAIL);
        }
        if !v6 && !addr.is_v4() {
            return Err(EAFNOSUPPORT);
        }
        if v6 && addr.is_v4() && self.is_v6only() {
            return Err(EINVAL);
        }
        let mut dev = self.bound_dev_if();
        if addr.is_link_local() {
            dev = self.link_local_device(local.scope)?;
        }
        // SAFETY: the sock is alive.
        let anything_goes =
            unsafe { bindings::shim_can_nonlocal_bind(self.as_raw(), addr.is_v4()) };
        if !addr.is_any() && !anything_goes && !self.net().is_local(&addr, dev) {
            return Err(EADDRNOTAVAIL);
        }
        // SAFETY: the sock is alive, and we hold its lock, which is what writers of names need.
        unsafe {
            let sk = self.as_raw();
            let v4 = match (v6, addr.as_v4()) {
                (_, Some(b)) => u32::from_ne_bytes(b),
                // Not an address of anybody: what IPv6 puts there (LOOPBACK4_IPV6).
                (true, None) if !addr.is_any() => 0x7f00_0006u32.to_be(),
                _ => 0,
            };
            (*sk).__sk_common.__bindgen_anon_1.__bindgen_anon_1.skc_rcv_saddr = v4;
            (*self.inet()).inet_saddr = v4;
            if v6 {
                (*sk).__sk_common.skc_v6_rcv_saddr = addr.to_in6();
                (*self.pinet6()).saddr = addr.to_in6();
            }
        }
        atomic!(AtomicU32, self, __sk_common.skc_bound_dev_if).store(dev, Ordering::Relaxed);
        self.set_local_port(local.port);
        Ok(())
    }

    /// The device of a link-local address: as given, or the socket's. EINVAL if there is none, or they differ.
    fn link_local_device(&self, scope: u32) -> Result<u32> {
        match (scope, self.bound_dev_if()) {
            (0, 0) => Err(EINVAL),
            (0, dev) | (dev, 0) => Ok(dev),
            (a, b) if a == b => Ok(a),
            _ => Err(EINVAL),
        }
    }

    /// Records the port.
    pub fn set_local_port(&self, port: u16) {
        // SAFETY: the sock is alive; C reads these aligned halfwords in one piece.
        unsafe {
            (*self.as_raw()).__sk_common.__bindgen_anon_3.__bindgen_anon_1.skc_num = port;
            (*self.inet()).inet_sport = port.to_be();
        }
    }

    /// Connects (or disconnects): records the peer, and the source address that the route to it has, which
    /// getsockname then shows if the socket is not bound to one.
    pub fn set_peer(&self, _locked: &SockGuard<'_>, peer: Option<(&SockAddr, Addr)>) -> Result {
        let unbound = self.local_addr().is_any();
        let v6 = self.family() == Family::V6;
        let (peer, source, state) = match peer {
            Some((peer, source)) => {
                if peer.addr.is_link_local() {
                    let dev = self.link_local_device(peer.scope)?;
                    atomic!(AtomicU32, self, __sk_common.skc_bound_dev_if)
                        .store(dev, Ordering::Relaxed);
                }
                (*peer, source, bindings::TCP_ESTABLISHED)
            }
            None => {
                let any = if v6 { Addr::ANY } else { Addr::ANY_V4 };
                (SockAddr { addr: any, port: 0, scope: 0 }, any, bindings::TCP_CLOSE)
            }
        };
        // SAFETY: the sock is alive, and we hold its lock, which is what writers of names need.
        unsafe {
            let common = &raw mut (*self.as_raw()).__sk_common;
            (*common).__bindgen_anon_1.__bindgen_anon_1.skc_daddr = peer.addr.to_be32();
            if v6 {
                (*common).skc_v6_daddr = peer.addr.to_in6();
            }
            if unbound {
                (*self.inet()).inet_saddr = source.to_be32();
                if v6 {
                    (*self.pinet6()).saddr = source.to_in6();
                }
            }
            (*common).__bindgen_anon_3.__bindgen_anon_1.skc_dport = peer.port.to_be();
            AtomicU8::from_ptr(&raw mut (*common).skc_state).store(state as u8, Ordering::Release);
        }
        Ok(())
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

/// Memory that a socket is charged for as for packets on their way (wmem), but which is in no packet. Dropping it ends the charge,
/// and wakes writers.
pub struct WmemCharge {
    sk: SockRef,
    bytes: u32,
}

impl WmemCharge {
    /// Charges the socket, whatever its limit: ask [`Sock::wmem`] before.
    #[inline]
    pub fn new(sk: &Sock, bytes: u32) -> Self {
        atomic!(AtomicI32, sk, sk_wmem_alloc).fetch_add(bytes as i32, Ordering::Relaxed);
        Self { sk: sk.get_ref(), bytes }
    }
}

impl Drop for WmemCharge {
    #[inline]
    fn drop(&mut self) {
        // Never the last: the reference to the sock stands for one more.
        atomic!(AtomicI32, self.sk, sk_wmem_alloc).fetch_sub(self.bytes as i32, Ordering::Release);
        // SAFETY: the sock is alive, and sk_write_space was set by sock_init_data.
        unsafe {
            if let Some(write_space) = (*self.sk.as_raw()).sk_write_space {
                write_space(self.sk.as_raw());
            }
        }
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

/// How long a call may still wait: jiffies.
pub struct Timeout(c_long);

impl Timeout {
    /// Whether it may not (any more).
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

/// Whether RCU keeps what we look at alive: a reminder in types that `poll` and the like run under it.
pub(super) fn rcu_guard() -> rcu::Guard {
    rcu::read_lock()
}

/// The number of an error, as `c_int` callbacks return it.
pub(super) fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}
