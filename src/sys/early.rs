// SPDX-License-Identifier: GPL-2.0

//! Routes of packets that arrive, remembered.
//!
//! For each packet IP looks up whether it is for this host, unless the packet has a route already. For TCP and UDP it asks the socket for the
//! route of the last packet ("early demux"); other protocols it cannot ask. So packets of a flow that IP delivered here get that route in
//! GRO, if they are not held there, and under the same conditions as TCP's: same addresses, ports and device, and the route still counts.
//!
//! Only of packets whose first header is IP's, with ours right behind it: in a tunnel's packet IP first sees other addresses. And nothing must change a packet's way, nor keep it beyond this softirq, between GRO and IP: see `shim_gro_goes_to_ip`.
//! Filters of IP (PREROUTING) see the packet as ever, and NAT takes the route away if it changes the destination.

use super::{
    rcuslot::{Fresh, Slot},
    skb::Skb,
};
use ::core::{
    mem::size_of,
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use homa_bindings as bindings;
use kernel::{prelude::*, sync::rcu};

/// Flows that are remembered at most; a power of two.
const FLOWS: usize = 256;

/// What tells a flow from others; addresses and ports as they are in packets.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Flow {
    source: u32,
    dest: u32,
    ports: u32,
    device: u32,
}

impl Flow {
    /// Where it is remembered. (Who finds flows that share a place only slows those down.)
    #[inline]
    fn place(&self) -> usize {
        let mixed = (self.source ^ self.ports.rotate_left(16)).wrapping_mul(0x9e37_79b1);
        (mixed >> 16) as usize & (FLOWS - 1)
    }
}

/// A flow that IP delivered here.
///
/// # Invariants
///
/// Holds a reference to `dst`, an rtable for local delivery.
struct Entry {
    flow: Flow,
    dst: NonNull<bindings::dst_entry>,
    /// Since another flow wanted its place.
    used: AtomicBool,
}

// SAFETY: a route belongs to no thread; its reference counts are atomic.
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { bindings::dst_release(self.dst.as_ptr()) }
    }
}

/// The routes of a namespace's flows: IPv4.
pub struct EarlyRoutes {
    slots: KVec<Slot<Entry>>,
    /// When (jiffies) a flow was learned last.
    learned: AtomicU64,
}

impl EarlyRoutes {
    /// Nothing is known yet. Process context.
    pub fn new() -> Result<Self> {
        let mut slots = KVec::with_capacity(FLOWS, GFP_KERNEL)?;
        for _ in 0..FLOWS {
            slots.push(Slot::empty(), GFP_KERNEL)?;
        }
        Ok(Self { slots, learned: AtomicU64::new(0) })
    }

    /// Gives a packet its route, if that is known: true. Its transport header is `offset` bytes behind `data`, and begins with `ports`.
    ///
    /// # Safety
    ///
    /// `skb` must be a packet in GRO, used by nobody else, that GRO is not going to hold.
    pub(super) unsafe fn attach(
        &self,
        skb: *mut bindings::sk_buff,
        offset: usize,
        ports: [u8; 4],
    ) -> bool {
        // GRO begins at the first header behind the link layer's.
        if offset != size_of::<bindings::iphdr>() {
            return false;
        }
        // SAFETY: by the caller's promise; the IP header is not changed, and its device is valid in this softirq.
        let flow = unsafe {
            let ip = bindings::shim_gro_ipv4(skb);
            if ip.is_null() {
                return false;
            }
            let addresses = (*ip).__bindgen_anon_1.__bindgen_anon_1;
            let (source, dest) = (addresses.saddr, addresses.daddr);
            let dev = (*skb).__bindgen_anon_1.__bindgen_anon_1.__bindgen_anon_1.dev;
            Flow { source, dest, ports: u32::from_ne_bytes(ports), device: (*dev).ifindex as u32 }
        };
        let guard = rcu::read_lock();
        let Some(entry) = self.slots.get(flow.place()).and_then(|slot| slot.get(&guard)) else {
            return false;
        };
        // SAFETY: the entry keeps the route alive. Whoever gets the packet next is IP, in this softirq, which is an RCU section; the entry, and
        // with it the reference, outlives that.
        unsafe {
            let good = entry.flow == flow
                && bindings::shim_dst_check(entry.dst.as_ptr(), 0)
                && bindings::shim_gro_goes_to_ip(skb);
            if good {
                if !entry.used.load(Ordering::Relaxed) {
                    entry.used.store(true, Ordering::Relaxed);
                }
                bindings::shim_skb_dst_set_noref(skb, entry.dst.as_ptr());
            }
            good
        }
    }

    /// IP delivered `skb`, whose `data` is at its transport header. Softirq.
    #[inline]
    pub fn learn(&self, skb: &Skb) {
        let Some((source, dest)) = skb.ipv4_addresses() else {
            return;
        };
        let Some(ports) = skb.head().first_chunk() else {
            return;
        };
        let device = skb.ifindex();
        let flow = Flow { source, dest, ports: u32::from_ne_bytes(*ports), device };
        let Some(slot) = self.slots.get(flow.place()) else {
            return;
        };
        let guard = rcu::read_lock();
        let entry = slot.get(&guard);
        // SAFETY: the packet is valid, in an RCU section.
        let dst = unsafe { bindings::shim_skb_dst(skb.as_raw()) };
        if entry.is_none_or(|entry| entry.flow != flow || entry.dst.as_ptr() != dst) {
            self.learn_new(skb, slot, entry, flow);
        }
    }

    #[cold]
    fn learn_new(&self, skb: &Skb, slot: &Slot<Entry>, entry: Option<&Entry>, flow: Flow) {
        // Who is in use stays, the first time.
        let others = entry.filter(|entry| entry.flow != flow);
        if others.is_some_and(|entry| entry.used.swap(false, Ordering::Relaxed)) {
            return;
        }
        // One per tick: anybody can send from many ports.
        // SAFETY: on 64-bit machines the timer writes the word in one piece.
        let jiffies = unsafe { AtomicU64::from_ptr(&raw mut bindings::jiffies_64) };
        let now = jiffies.load(Ordering::Relaxed);
        if self.learned.swap(now, Ordering::Relaxed) == now {
            return;
        }
        // SAFETY: the packet is valid, in an RCU section.
        let Some(dst) = NonNull::new(unsafe { bindings::shim_hold_local_route(skb.as_raw()) })
        else {
            return;
        };
        // INVARIANT: that is what it returned.
        let entry = Entry { flow, dst, used: AtomicBool::new(false) };
        if let Ok(entry) = Fresh::new(entry, GFP_ATOMIC) {
            slot.put(entry);
        }
    }
}
