// SPDX-License-Identifier: GPL-2.0

//! Memory that a socket is charged for, and its limits.

use super::{atomic, Sock, SockRef};
use ::core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use homa_bindings as bindings;

impl Sock {
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
        usize::try_from(n.saturating_sub(1)).unwrap_or(0)
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

    /// Charges without asking. (Whoever does so must bound it otherwise: the count is an i32.)
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
        // Far beyond any limit nothing is charged: the counter, which the socket's life depends on, must not overflow.
        let bytes = if bytes as usize | sk.wmem() > 1 << 30 { 0 } else { bytes };
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
