// SPDX-License-Identifier: GPL-2.0

//! Names of sockets: what getsockname and getpeername show.

use super::{atomic, Sock, SockGuard};
use crate::sys::addr::{Addr, Family, SockAddr};
use ::core::sync::atomic::{AtomicU32, AtomicU8, Ordering};
use homa_bindings as bindings;
use kernel::prelude::*;

impl Sock {
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

    /// Address and port, as getsockname shows them: of a connected socket, the address that it sends from.
    pub fn local_name(&self) -> SockAddr {
        let mut addr = self.local_addr();
        if addr.is_any() {
            // SAFETY: the sock is alive, and so is its IPv6 half if it has one. (Who must not see a half-written address locks.)
            addr = unsafe {
                match self.family() {
                    Family::V4 => Addr::from_be32((*self.inet()).inet_saddr),
                    Family::V6 => Addr::from_in6(&(*self.pinet6()).saddr),
                }
            };
        }
        SockAddr { addr, port: self.local_port(), scope: 0 }
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
