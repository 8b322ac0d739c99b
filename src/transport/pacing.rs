// SPDX-License-Identifier: GPL-2.0

//! Long messages wait here for their turn, not in the queue of a device that is slower than we are.
//!
//! One [`Device`] for each whose speed is known and that has a queue; the core's [`Pacer`] decides. Messages of one packet do not ask,
//! and neither do control packets and what is sent again: they are counted, on each CPU by itself, so that only long messages
//! meet at the lock. The timer runs while somebody waits.
//!
//! The lock is a leaf, taken under an RPC's or none.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::endpoint::Endpoint;
use super::rpc::Rpc;
use crate::observe::counters::Counter;
use crate::protocol::pacer::{Limits, Pacer};
use crate::protocol::slab::Token;
use crate::protocol::wire::DATA_LEN;
use crate::sys::lock::{new_spinlock_bh, SpinLockBh};
use crate::sys::percpu;
use crate::sys::route::Dst;
use crate::sys::time::now_ns;
use crate::sys::timer::{OnTimer, Timer};

/// Segments that are sent in one go when room comes; others have to wait for the next tick, a moment later.
const MAX_TURNS: usize = 64;

/// No two ticks come sooner after each other, in nanoseconds.
const MIN_TICK: u64 = 1_000;

/// So many devices a namespace remembers; what goes over others is not paced.
const MAX_DEVICES: usize = 64;

/// One that was idle for so many nanoseconds may be forgotten for another.
const FORGET: u64 = 60_000_000_000;

/// What Ethernet adds to an IP packet: header, checksum, preamble and gap.
const FRAME: u32 = 38;

/// Who waits. It keeps both alive: whoever ends an RPC drops its [`Turn`].
#[derive(Clone)]
struct Paced {
    endpoint: Arc<Endpoint>,
    rpc: Arc<Rpc>,
}

/// What a device lets pass, and who waits for it.
#[pin_data]
pub(crate) struct Device {
    index: u32,
    #[pin]
    queue: SpinLockBh<Queue>,
    /// Bytes that passed without asking.
    unasked: percpu::Counters<1>,
    #[pin]
    timer: Timer<Self>,
}

struct Queue {
    pacer: Pacer<Paced>,
    /// Of those bytes, so many are counted.
    counted: u64,
    /// When that was done.
    counted_at: u64,
}

/// Before they are counted again, in nanoseconds: the counters of other CPUs are in their caches.
const COUNT_PAUSE: u64 = 20_000;

/// A place among those that wait; given up when it is dropped.
pub(super) struct Turn {
    device: Arc<Device>,
    token: Token,
}

impl Turn {
    /// Is it this one?
    fn is(&self, device: &Arc<Device>, token: Token) -> bool {
        Arc::ptr_eq(&self.device, device) && self.token == token
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.device.queue.lock().pacer.remove(self.token);
    }
}

impl Device {
    fn new(index: u32, limits: Limits) -> Result<Arc<Self>> {
        let queue = Queue { pacer: Pacer::new(limits), counted: 0, counted_at: 0 };
        Arc::pin_init(
            try_pin_init!(Self {
                index,
                queue <- new_spinlock_bh!(queue, "homa_pacer"),
                unasked: percpu::Counters::new()?,
                timer <- Timer::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Runs `f` on the pacer once it knows what passed without asking.
    fn with<R>(&self, now: u64, f: impl FnOnce(&mut Pacer<Paced>) -> R) -> R {
        let queue = &mut *self.queue.lock();
        if now.saturating_sub(queue.counted_at) >= COUNT_PAUSE {
            let unasked = self.unasked.sum(0);
            let bytes = unasked.wrapping_sub(queue.counted);
            queue.counted = unasked;
            queue.counted_at = now;
            queue.pacer.sent(now, bytes.try_into().unwrap_or(u32::MAX));
        }
        f(&mut queue.pacer)
    }

    /// Does nobody use it, for long already?
    fn is_idle(&self, now: u64) -> bool {
        self.with(now, |pacer| pacer.is_empty() && pacer.idle_at().saturating_add(FORGET) < now)
    }

    /// `rpc`, of whose message `left` bytes are not sent, waits for its turn. None without memory.
    pub(super) fn wait(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        rpc: &Arc<Rpc>,
        left: u32,
    ) -> Option<KBox<Turn>> {
        // First what is needed to give it up.
        let turn = KBox::<Turn>::new_uninit(GFP_ATOMIC).ok()?;
        let now = now_ns();
        let handle = Paced { endpoint: endpoint.clone(), rpc: rpc.clone() };
        let waits = |pacer: &mut Pacer<Paced>| {
            let token = pacer.wait(handle, left).ok()?;
            Some((token, pacer.next_at().unwrap_or(now)))
        };
        let (token, at) = self.with(now, waits)?;
        endpoint.ns.stats.inc(Counter::PacedMessages);
        self.timer.start_if_idle(self, at.saturating_sub(now).max(MIN_TICK));
        Some(turn.write(Turn { device: self.clone(), token }))
    }

    /// It is the turn of `rpc`: sends one segment.
    fn serve(self: &Arc<Self>, endpoint: &Arc<Endpoint>, rpc: &Arc<Rpc>, token: Token) {
        let way = rpc.peer.route(endpoint);
        let mut queue = crate::sys::skbq::SkbQueue::new();
        let mut guard = rpc.state.lock();
        let state = &mut *guard;
        if !state.turn.as_ref().is_some_and(|turn| turn.is(self, token)) {
            // It was just given up, or its owner has not got it yet: next time.
            return;
        }
        let mut left = 0;
        let mut level = 0;
        if let (Ok(way), Some(out), Some(progress)) = (&way, &mut state.out, state.core.out_mut()) {
            let mut sent = None;
            let mut once = |_, bytes, packets| {
                sent.is_none() && {
                    sent = Some((bytes, way.wire(bytes, packets)));
                    true
                }
            };
            out.transmit(&mut state.short, &endpoint.sk, way, progress, &mut queue, &mut once);
            if let Some((bytes, wire)) = sent {
                left = if progress.can_send() { progress.unsent() } else { 0 };
                let now = now_ns();
                self.with(now, |pacer| {
                    pacer.sent(now, wire);
                    pacer.left(token, bytes, left);
                });
            }
            level = out.level(progress);
        }
        let done = if left == 0 { state.turn.take() } else { None };
        drop(guard);
        drop(done);
        if let Ok(way) = way {
            endpoint.send_all(rpc, &way, level, queue);
        }
    }
}

impl OnTimer for Device {
    fn on_timer(this: &Arc<Self>) -> Option<u64> {
        for _ in 0..MAX_TURNS {
            let now = now_ns();
            let Some(turn) = this.with(now, |pacer| pacer.poll(now)) else { break };
            let Paced { endpoint, rpc } = turn.handle;
            this.serve(&endpoint, &rpc, turn.token);
        }
        let now = now_ns();
        let next = this.with(now, |pacer| pacer.next_at());
        next.map(|at| at.saturating_sub(now).max(MIN_TICK))
    }
}

/// The devices of a namespace.
#[pin_data]
pub(super) struct Devices {
    #[pin]
    list: SpinLockBh<KVec<Arc<Device>>>,
}

impl Devices {
    /// None yet.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self { list <- new_spinlock_bh!(KVec::new(), "homa_devices") })
    }

    /// The device `index`, which keeps to `limits` from now on. None without memory, or if there are too many. Sleeps.
    pub(super) fn get(&self, index: u32, limits: Limits) -> Option<Arc<Device>> {
        let find = |list: &KVec<Arc<Device>>| {
            let found = list.iter().find(|device| device.index == index).cloned();
            if let Some(device) = &found {
                device.queue.lock().pacer.set_limits(limits);
            }
            found
        };
        if let Some(device) = find(&self.list.lock()) {
            return Some(device);
        }
        let new = Device::new(index, limits).ok()?;
        let now = now_ns();
        let mut idle = None;
        let mut list = self.list.lock();
        if let Some(device) = find(&list) {
            return Some(device);
        }
        if list.len() >= MAX_DEVICES {
            let at = list.iter().position(|device| device.is_idle(now))?;
            idle = list.remove(at).ok();
        }
        let pushed = list.push(new.clone(), GFP_ATOMIC);
        drop(list);
        drop(idle);
        pushed.ok().map(|()| new)
    }

    /// The namespace goes, and all of its sockets are gone.
    pub(super) fn stop(&self) {
        let list = ::core::mem::take(&mut *self.list.lock());
        for device in list {
            device.timer.cancel_sync();
        }
    }
}

/// The way to a peer: a route, and the device if what goes over it is paced.
pub(crate) struct Way {
    pub(super) dst: Dst,
    pub(super) device: Option<Arc<Device>>,
}

impl Way {
    /// Bytes on the wire of `bytes` of a stream in so many packets.
    pub(super) fn wire(&self, bytes: u32, packets: u32) -> u32 {
        let headers = (self.dst.ip_header_len() + DATA_LEN) as u32;
        packets.saturating_mul(headers.saturating_add(FRAME)).saturating_add(bytes)
    }

    /// May a segment go, of a message of which `left` bytes are not sent? If so, it is counted.
    pub(super) fn may_send(&self, left: u32, bytes: u32, packets: u32) -> bool {
        let Some(device) = &self.device else { return true };
        let now = now_ns();
        device.with(now, |pacer| {
            let may = pacer.may_send(now, left);
            if may {
                pacer.sent(now, self.wire(bytes, packets));
            }
            may
        })
    }

    /// Something goes without asking.
    #[inline]
    pub(super) fn passes(&self, bytes: u32, packets: u32) {
        if let Some(device) = &self.device {
            device.unasked.add(0, u64::from(self.wire(bytes, packets)));
        }
    }

    /// The longest segment that does not keep others waiting for long.
    pub(super) fn longest_segment(&self) -> u32 {
        match &self.device {
            Some(device) => device.queue.lock().pacer.burst(),
            None => u32::MAX,
        }
    }
}

impl ::core::ops::Deref for Way {
    type Target = Dst;

    fn deref(&self) -> &Dst {
        &self.dst
    }
}
