// SPDX-License-Identifier: GPL-2.0

//! Routes, and sending on them.

use super::{
    addr::{Addr, Family},
    skb::SkBuff,
    sock::Sock,
};
use ::core::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicI16, Ordering},
};
use homa_bindings as bindings;
use kernel::{
    error::{from_err_ptr, to_result},
    ffi::c_int,
    prelude::*,
    sync::rcu,
    types::Opaque,
};

/// What determines a route.
#[derive(Clone, Copy)]
pub struct Flow {
    /// The source; ANY to have it chosen.
    pub source: Addr,
    /// The destination.
    pub dest: Addr,
    /// Our port.
    pub sport: u16,
    /// The peer's.
    pub dport: u16,
    /// The device of a link-local destination, or 0.
    pub scope: u32,
    /// TOS or traffic class.
    pub tos: u8,
}

/// A route to one destination, for one socket. Keep it, and ask [`Self::is_valid`] before each use.
///
/// # Invariants
///
/// Holds a reference to `dst`, an rtable or rt6_info by `family`. `flow` is complete, and never changes.
pub struct Dst {
    dst: NonNull<bindings::dst_entry>,
    /// What IPv6 needs to know whether the route changed since.
    cookie: u32,
    family: Family,
    source: Addr,
    /// Output functions ask for a mutable one, but only read it when the packet has a route.
    flow: Opaque<bindings::flowi>,
}

// SAFETY: a route belongs to no thread; its reference counts are atomic. `flow` is only read.
unsafe impl Send for Dst {}
// SAFETY: as above.
unsafe impl Sync for Dst {}

impl Dst {
    /// Looks up a route for `sk`: its device, mark, user and (if `flow.source` is ANY) address count, and LSMs have a say. Any context but hard
    /// interrupts. ENETUNREACH, EHOSTUNREACH, EINVAL...; EACCES for broadcast (which we do not do).
    pub fn lookup(sk: &Sock, flow: &Flow) -> Result<Dst> {
        if flow.dest.is_v4() {
            Self::lookup4(sk, flow)
        } else {
            Self::lookup6(sk, flow)
        }
    }

    fn common(sk: &Sock, flow: &Flow) -> bindings::flowi_common {
        let mut common: bindings::flowi_common = pin_init::zeroed();
        common.flowic_oif = match flow.scope {
            0 => sk.bound_dev_if(),
            scope => scope,
        } as c_int;
        common.flowic_mark = sk.mark();
        common.flowic_uid.val = sk.uid();
        // SAFETY: set once, when the socket was made. (Protocol numbers of IP have 8 bits.)
        common.flowic_proto = unsafe { (*sk.as_raw()).sk_protocol } as u8;
        common.flowic_dscp = flow.tos & 0xfc;
        common
    }

    fn lookup4(sk: &Sock, flow: &Flow) -> Result<Dst> {
        let mut fl: bindings::flowi = pin_init::zeroed();
        // SAFETY: the union was zeroed; `ip4` begins with `__fl_common`.
        let fl4 = unsafe { &mut fl.u.ip4 };
        fl4.__fl_common = Self::common(sk, flow);
        fl4.__fl_common.flowic_scope = bindings::rt_scope_t_RT_SCOPE_UNIVERSE as u8;
        fl4.saddr = match flow.source.is_any() {
            true => {
                let local = sk.local_addr();
                if local.is_v4() {
                    local.to_be32()
                } else {
                    0
                }
            }
            false => flow.source.to_be32(),
        };
        fl4.daddr = flow.dest.to_be32();
        fl4.uli.ports.dport = flow.dport.to_be();
        fl4.uli.ports.sport = flow.sport.to_be();
        // SAFETY: socket and namespace are alive; `fl4` is valid.
        let rt = unsafe {
            bindings::shim_sk_classify_flow(sk.as_raw(), &mut fl4.__fl_common);
            from_err_ptr(bindings::ip_route_output_flow(sk.net().as_raw(), fl4, sk.as_raw()))?
        };
        let source = Addr::from_be32(fl4.saddr);
        // SAFETY: `rt` is a route that we got a reference to; the entry is its first member.
        let (dst, rt_flags) =
            unsafe { (NonNull::new_unchecked(&raw mut (*rt).dst), (*rt).rt_flags) };
        // INVARIANT: as above.
        let dst = Dst { dst, cookie: 0, family: Family::V4, source, flow: Opaque::new(fl) };
        if rt_flags & bindings::RTCF_BROADCAST != 0 {
            return Err(EACCES);
        }
        Ok(dst)
    }

    fn lookup6(sk: &Sock, flow: &Flow) -> Result<Dst> {
        if sk.family() != Family::V6 {
            return Err(EAFNOSUPPORT);
        }
        let mut fl: bindings::flowi = pin_init::zeroed();
        // SAFETY: the union was zeroed; `ip6` begins with `__fl_common`.
        let fl6 = unsafe { &mut fl.u.ip6 };
        fl6.__fl_common = Self::common(sk, flow);
        let source = match flow.source.is_any() {
            true => sk.local_addr(),
            false => flow.source,
        };
        if source.is_v4() && !source.is_any() {
            return Err(ENETUNREACH);
        }
        if !source.is_any() {
            fl6.saddr = source.to_in6();
        }
        fl6.daddr = flow.dest.to_in6();
        fl6.flowlabel = (u32::from(flow.tos) << 20).to_be();
        fl6.uli.ports.dport = flow.dport.to_be();
        fl6.uli.ports.sport = flow.sport.to_be();
        // SAFETY: socket and namespace are alive; `fl6` is valid.
        let (dst, cookie) = unsafe {
            bindings::shim_sk_classify_flow(sk.as_raw(), &mut fl6.__fl_common);
            let dst =
                bindings::ip6_dst_lookup_flow(sk.net().as_raw(), sk.as_raw(), fl6, ptr::null());
            let dst = from_err_ptr(dst)?;
            (NonNull::new_unchecked(dst), bindings::shim_rt6_cookie(dst))
        };
        let source = Addr::from_in6(&fl6.saddr);
        // INVARIANT: as above.
        Ok(Dst { dst, cookie, family: Family::V6, source, flow: Opaque::new(fl) })
    }

    /// Whether it is still the route to take.
    #[inline]
    pub fn is_valid(&self) -> bool {
        // SAFETY: the reference keeps it alive; C writes the halfword in one piece.
        let obsolete = unsafe { AtomicI16::from_ptr(&raw mut (*self.dst.as_ptr()).obsolete) };
        if obsolete.load(Ordering::Relaxed) == 0 {
            return true;
        }
        // SAFETY: the reference keeps it alive.
        unsafe { bindings::shim_dst_check(self.dst.as_ptr(), self.cookie) }
    }

    /// The source address of packets.
    #[inline]
    pub fn source(&self) -> Addr {
        self.source
    }

    /// The largest IP packet, headers included.
    #[inline]
    pub fn mtu(&self) -> usize {
        // SAFETY: the reference keeps it alive.
        unsafe { bindings::shim_dst_mtu(self.dst.as_ptr()) as usize }
    }

    /// What IP puts in front: 20 or 40 bytes, and what IPsec adds.
    #[inline]
    pub fn ip_header_len(&self) -> usize {
        let ip = match self.family {
            Family::V4 => 20,
            Family::V6 => 40,
        };
        // SAFETY: the reference keeps it alive; set once.
        ip + usize::from(unsafe { (*self.dst.as_ptr()).header_len })
    }

    /// Room that IP and the device want in front of the transport header.
    #[inline]
    pub fn headroom(&self) -> usize {
        // SAFETY: the reference keeps it alive.
        self.ip_header_len() + unsafe { bindings::shim_dst_ll_space(self.dst.as_ptr()) as usize }
    }

    fn with_dev<R>(&self, f: impl FnOnce(&bindings::net_device) -> R) -> R {
        let _rcu = rcu::read_lock();
        // SAFETY: the reference keeps the route alive, and RCU its device.
        f(unsafe { &*bindings::shim_dst_dev(self.dst.as_ptr()) })
    }

    /// The index of the device that it leaves by.
    pub fn ifindex(&self) -> u32 {
        self.with_dev(|dev| dev.ifindex as u32)
    }

    /// Does the device have a queue?
    pub fn has_queue(&self) -> bool {
        let _rcu = rcu::read_lock();
        // SAFETY: the reference keeps the route alive, and RCU its device.
        unsafe { bindings::shim_dst_has_queue(self.dst.as_ptr()) }
    }

    /// Bytes that the device takes in one packet to be cut (at most 65536: longer ones need IP options that we do not write).
    pub fn gso_max_size(&self) -> usize {
        self.with_dev(|dev| match self.family {
            Family::V4 => dev.gso_ipv4_max_size,
            Family::V6 => dev.gso_max_size,
        } as usize)
            .min(65536)
    }

    /// What the device says its speed is: Mbit/s. Process context; takes a lock of the whole network stack: ask rarely.
    pub fn link_speed(&self) -> Option<u32> {
        // SAFETY: the reference keeps it alive; process context.
        let speed = unsafe { bindings::shim_dst_link_speed(self.dst.as_ptr()) };
        (speed != 0).then_some(speed)
    }

    /// Sends a packet whose `data` is at its transport header. Whatever happens, it is gone. `tos`: DSCP and ECN, or the traffic class.
    /// (Without headroom, or with headers that others see, the linear part is copied first.)
    ///
    /// An error is what the stack said (such as ENOBUFS when the device's queue is full).
    #[inline]
    pub fn xmit(&self, sk: &Sock, skb: SkBuff, tos: u8) -> Result {
        let mut skb = skb;
        let room = match self.family {
            // We cannot know how many bytes of options the socket will have then; 40 at most.
            Family::V4 if !sk.has_ip_options() => 20,
            Family::V4 => 60,
            // IPv6 looks itself.
            Family::V6 => 0,
        };
        if skb.headroom() < room || skb.is_header_cloned() {
            skb.make_headroom(room, GFP_ATOMIC)?;
        }
        skb.set_transport_header_here();
        // IP's own scratch space starts clean.
        skb.raw_mut().cb = [0; 48];
        let raw = skb.into_raw();
        let _rcu = rcu::read_lock();
        // SAFETY: the packet is ours to give away; it borrows the route under RCU (as skb_dst_set_noref() does: whoever queues it takes a reference).
        // Socket and route are alive. `flow` is only read.
        let ret = unsafe {
            bindings::shim_skb_dst_set_noref(raw, self.dst.as_ptr());
            match self.family {
                Family::V4 => bindings::__ip_queue_xmit(sk.as_raw(), raw, self.flow.get(), tos),
                Family::V6 => bindings::ip6_xmit(
                    sk.as_raw(),
                    raw,
                    self.flow.get().cast(),
                    sk.mark(),
                    // No extension headers: the route was chosen without them.
                    ptr::null_mut(),
                    c_int::from(tos),
                    sk.priority(),
                ),
            }
        };
        // Positive: what a queue says that dropped it, or is about to (NET_XMIT_*); net_xmit_errno().
        match ret {
            0 => Ok(()),
            e if e < 0 => to_result(e),
            e if e == bindings::NET_XMIT_CN as c_int => Ok(()),
            _ => Err(ENOBUFS),
        }
    }
}

impl Clone for Dst {
    fn clone(&self) -> Self {
        // SAFETY: the reference keeps it alive.
        unsafe { bindings::shim_dst_hold(self.dst.as_ptr()) };
        // INVARIANT: a reference was taken; the flow is plain data that never changes.
        Dst {
            dst: self.dst,
            cookie: self.cookie,
            family: self.family,
            source: self.source,
            // SAFETY: as above.
            flow: Opaque::new(unsafe { *self.flow.get() }),
        }
    }
}

impl Drop for Dst {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { bindings::dst_release(self.dst.as_ptr()) }
    }
}
