// SPDX-License-Identifier: GPL-2.0

//! Routes of packets that arrive, remembered.
//!
//! For each packet IP looks up whether it is for this host, unless the packet has a route already. For TCP and UDP it asks the socket for the
//! route of the last packet ("early demux"); other protocols it does not know how to ask. So a hook at the end of PREROUTING, the last to see a
//! packet before that, gives those of a flow that IP delivered here the route that they had then, under TCP's conditions: same addresses, ports
//! and device, and the route still counts. What filters, NAT, VRFs and tunnels have to say of a packet was said by then.
//!
//! The hook is there as long as the namespace has a socket of ours: packets of other protocols pay a look at their header.

use super::{
    netns::Net,
    proto::DatagramProtocol,
    rcuslot::{Fresh, Slot},
    skb::Skb,
};
use ::core::{
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use homa_bindings as bindings;
use kernel::{
    prelude::*,
    sync::{new_mutex, rcu, Mutex},
};

/// Flows that are remembered at most; a power of two.
const FLOWS: usize = 256;

/// What tells a flow from others; ports as they are in packets.
struct Flow {
    addresses: [u64; 4],
    ports: u32,
    device: u32,
}

impl Flow {
    /// The flow of a packet that IP has.
    #[inline(always)]
    fn of(skb: &Skb, ports: [u8; 4]) -> Self {
        let addresses = skb.both_addresses();
        Self { addresses, ports: u32::from_ne_bytes(ports), device: skb.ifindex() }
    }

    /// Are they one? (`==` of an array is a call.)
    #[inline(always)]
    fn is(&self, other: &Self) -> bool {
        let [a, b, c, d] = self.addresses;
        let [e, f, g, h] = other.addresses;
        let same = (self.ports, self.device) == (other.ports, other.device);
        same && (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
    }

    /// Where it is remembered. (Who finds flows that share a place only slows those down.)
    #[inline]
    fn place(&self) -> usize {
        let [a, b, ..] = self.addresses;
        let mixed = a ^ b.rotate_left(32) ^ u64::from(self.ports);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & (FLOWS - 1)
    }
}

/// A flow that IP delivered here.
///
/// # Invariants
///
/// Holds a reference to `dst`, a route for local delivery.
struct Entry {
    flow: Flow,
    dst: NonNull<bindings::dst_entry>,
    /// With which IPv6 sees whether it still counts.
    cookie: u32,
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

/// Who needs the hook.
struct Users {
    sockets: usize,
    /// It is there.
    hooked: bool,
}

/// The routes of a namespace's flows.
#[pin_data]
pub struct EarlyRoutes {
    slots: KVec<Slot<Entry>>,
    /// When (jiffies) a flow was learned last.
    learned: AtomicU64,
    #[pin]
    users: Mutex<Users>,
}

impl EarlyRoutes {
    /// Nothing is known yet. Process context.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            slots: {
                let mut slots = KVec::with_capacity(FLOWS, GFP_KERNEL)?;
                for _ in 0..FLOWS {
                    slots.push(Slot::empty(), GFP_KERNEL)?;
                }
                slots
            },
            learned: AtomicU64::new(0),
            users <- new_mutex!(Users { sockets: 0, hooked: false }, "homa_early"),
        })
    }

    /// A socket of `P` was made in `net`, whose routes these are. Without memory for the hook all goes the long way. Process context.
    pub fn enter<P: DatagramProtocol>(&self, net: &Net) {
        let mut users = self.users.lock();
        if users.sockets == 0 {
            users.hooked = hooks::add::<P>(net);
        }
        users.sockets = users.sockets.saturating_add(1);
    }

    /// It goes.
    pub fn leave<P: DatagramProtocol>(&self, net: &Net) {
        let mut users = self.users.lock();
        users.sockets = users.sockets.saturating_sub(1);
        if users.sockets == 0 && ::core::mem::take(&mut users.hooked) {
            hooks::remove::<P>(net);
        }
    }

    /// Gives a packet its route, if that is known: true.
    ///
    /// # Safety
    ///
    /// `skb` must be a packet in PREROUTING, as `shim_early_ports` allows it, in an RCU section of the softirq in which IP goes on with it (or takes a
    /// reference to the route).
    #[cfg(CONFIG_NETFILTER)]
    unsafe fn attach(&self, skb: *mut bindings::sk_buff, ports: [u8; 4]) -> bool {
        // SAFETY: by the caller's promise the packet is valid.
        let flow = Flow::of(unsafe { Skb::from_raw(skb) }, ports);
        let guard = rcu::read_lock();
        let Some(entry) = self.slots.get(flow.place()).and_then(|slot| slot.get(&guard)) else {
            return false;
        };
        // SAFETY: the entry keeps the route alive, and outlives the RCU section that the packet is in.
        unsafe {
            let good =
                entry.flow.is(&flow) && bindings::shim_dst_check(entry.dst.as_ptr(), entry.cookie);
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
        let Some(ports) = skb.head().first_chunk() else {
            return;
        };
        let flow = Flow::of(skb, *ports);
        let Some(slot) = self.slots.get(flow.place()) else {
            return;
        };
        let guard = rcu::read_lock();
        let entry = slot.get(&guard);
        // SAFETY: the packet is valid, in an RCU section.
        let dst = unsafe { bindings::shim_skb_dst(skb.as_raw()) };
        if entry.is_none_or(|entry| !entry.flow.is(&flow) || entry.dst.as_ptr() != dst) {
            self.learn_new(skb, slot, entry, flow);
        }
    }

    #[cold]
    fn learn_new(&self, skb: &Skb, slot: &Slot<Entry>, entry: Option<&Entry>, flow: Flow) {
        // Who is in use stays, the first time.
        let others = entry.filter(|entry| !entry.flow.is(&flow));
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
        let mut cookie = 0;
        // SAFETY: the packet is valid, in an RCU section.
        let dst = unsafe { bindings::shim_hold_local_route(skb.as_raw(), &mut cookie) };
        let Some(dst) = NonNull::new(dst) else {
            return;
        };
        // INVARIANT: that is what it returned.
        let entry = Entry { flow, dst, cookie, used: AtomicBool::new(false) };
        if let Ok(entry) = Fresh::new(entry, GFP_ATOMIC) {
            slot.put(entry);
        }
    }
}

/// The hook, for IPv4 and IPv6.
#[cfg(CONFIG_NETFILTER)]
mod hooks {
    use super::{bindings, DatagramProtocol, Net};
    use kernel::{error::to_result, ffi::c_void};

    /// What is the same for all namespaces.
    struct Ops<P>(::core::marker::PhantomData<P>);

    impl<P: DatagramProtocol> Ops<P> {
        const ALL: &'static [bindings::nf_hook_ops; 2] =
            &[Self::of(bindings::NFPROTO_IPV4), Self::of(bindings::NFPROTO_IPV6)];

        const fn of(family: u32) -> bindings::nf_hook_ops {
            let mut ops: bindings::nf_hook_ops = pin_init::zeroed();
            ops.hook = Some(prerouting::<P>);
            ops.pf = family as u8;
            ops.hooknum = bindings::nf_inet_hooks_NF_INET_PRE_ROUTING;
            ops.priority = i32::MAX;
            ops
        }
    }

    /// False without memory.
    pub(super) fn add<P: DatagramProtocol>(net: &Net) -> bool {
        let ops = Ops::<P>::ALL;
        // SAFETY: the table is constant; the namespace is alive.
        let added = unsafe { bindings::nf_register_net_hooks(net.as_raw(), ops.as_ptr(), 2) };
        to_result(added).is_ok()
    }

    /// Once it was added. (A packet may still be in the hook: whoever unloads the module waits for those, see `Registration::unregister`.)
    pub(super) fn remove<P: DatagramProtocol>(net: &Net) {
        // SAFETY: as above.
        unsafe { bindings::nf_unregister_net_hooks(net.as_raw(), Ops::<P>::ALL.as_ptr(), 2) }
    }

    /// nf_hookfn.
    ///
    /// # Safety
    ///
    /// `skb` must be a packet in PREROUTING, in an RCU section, as netfilter calls it.
    unsafe extern "C" fn prerouting<P: DatagramProtocol>(
        _: *mut c_void,
        skb: *mut bindings::sk_buff,
        state: *const bindings::nf_hook_state,
    ) -> u32 {
        // SAFETY: by the caller's promise; what is not NULL points at the ports.
        unsafe {
            let ports = bindings::shim_early_ports(skb, P::PROTOCOL).cast::<[u8; 4]>();
            if !ports.is_null() {
                let ports = ports.read_unaligned();
                P::with_early_routes(Net::from_raw((*state).net), |routes| {
                    routes.attach(skb, ports)
                });
            }
        }
        bindings::NF_ACCEPT
    }
}

/// A kernel without netfilter has no place for it.
#[cfg(not(CONFIG_NETFILTER))]
mod hooks {
    use super::{DatagramProtocol, Net};

    pub(super) fn add<P: DatagramProtocol>(_: &Net) -> bool {
        false
    }

    pub(super) fn remove<P: DatagramProtocol>(_: &Net) {}
}
