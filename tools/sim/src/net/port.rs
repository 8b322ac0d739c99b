// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An output port: eight queues, of which the highest that has a packet is served, and the link.

use std::collections::VecDeque;

use super::{transmission, Node};
use crate::host::Time;
use crate::pool::Handle;

/// Number of priorities.
pub const PRIORITIES: usize = 8;

/// A packet that waits, and its bytes on the wire.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    packet: Handle,
    bytes: u32,
}

/// What becomes of a packet that is handed to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is sent at once and will be at the link's other end then.
    Sent(Time),
    /// It waits. If there is a time, the port must be served then: nobody has planned that so far.
    Queued(Option<Time>),
    /// There is no room.
    Full,
}

/// An output port and the link that it feeds.
#[derive(Debug)]
pub struct Port {
    /// Where the link ends.
    pub to: Node,
    bps: u64,
    delay: Time,
    buffer: u64,
    queues: [VecDeque<Waiting>; PRIORITIES],
    /// A bit for each queue that has a packet.
    waiting: u8,
    queued: u64,
    busy_until: Time,
    serving: bool,
    /// Most bytes that ever waited.
    pub peak: u64,
    /// Bytes sent.
    pub sent: u64,
}

impl Port {
    /// An idle port with a link of this speed and delay, and so many bytes of buffer.
    pub fn new(to: Node, bps: u64, delay: Time, buffer: u64) -> Self {
        Self {
            to,
            bps,
            delay,
            buffer,
            queues: Default::default(),
            waiting: 0,
            queued: 0,
            busy_until: 0,
            serving: false,
            peak: 0,
            sent: 0,
        }
    }

    /// When the link has sent what it is sending.
    pub fn busy_until(&self) -> Time {
        self.busy_until
    }

    /// Bytes that wait.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Takes a packet of `bytes` bytes on the wire.
    pub fn offer(&mut self, now: Time, packet: Handle, priority: u8, bytes: u32) -> Offer {
        if self.busy_until <= now && self.waiting == 0 {
            return Offer::Sent(self.send(now, bytes));
        }
        if self.queued + u64::from(bytes) > self.buffer {
            return Offer::Full;
        }
        let queue = usize::from(priority).min(PRIORITIES - 1);
        self.queues[queue].push_back(Waiting { packet, bytes });
        self.waiting |= 1 << queue;
        self.queued += u64::from(bytes);
        self.peak = self.peak.max(self.queued);
        let plan = !std::mem::replace(&mut self.serving, true);
        Offer::Queued(plan.then_some(self.busy_until))
    }

    /// The link is free: sends the next packet that waits. Returns it, when it arrives, and when the port
    /// must be served again, if more wait.
    pub fn serve(&mut self, now: Time) -> Option<(Handle, Time, Option<Time>)> {
        let queue = 7u32.checked_sub(self.waiting.leading_zeros());
        let Some(next) = queue.and_then(|queue| self.queues[queue as usize].pop_front()) else {
            self.serving = false;
            return None;
        };
        let queue = queue.unwrap_or(0) as usize;
        if self.queues[queue].is_empty() {
            self.waiting &= !(1 << queue);
        }
        self.queued -= u64::from(next.bytes);
        let arrives = self.send(now, next.bytes);
        self.serving = self.waiting != 0;
        Some((next.packet, arrives, self.serving.then_some(self.busy_until)))
    }

    /// Occupies the link. Returns when the last bit is at its end.
    fn send(&mut self, now: Time, bytes: u32) -> Time {
        self.sent += u64::from(bytes);
        self.busy_until = now + transmission(u64::from(bytes), self.bps);
        self.busy_until + self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_priorities_first_and_in_order() {
        let mut port = Port::new(Node::Host(0), 8_000_000_000, 10, 450);
        assert_eq!(port.offer(0, 1, 0, 100), Offer::Sent(110));
        assert_eq!(port.offer(50, 2, 0, 100), Offer::Queued(Some(100)));
        assert_eq!(port.offer(50, 3, 7, 100), Offer::Queued(None));
        assert_eq!(port.offer(50, 4, 7, 100), Offer::Queued(None));
        assert_eq!(port.offer(50, 5, 3, 100), Offer::Queued(None));
        assert_eq!(port.offer(50, 6, 7, 51), Offer::Full);
        assert_eq!(port.serve(100), Some((3, 210, Some(200))));
        assert_eq!(port.serve(200), Some((4, 310, Some(300))));
        assert_eq!(port.serve(300), Some((5, 410, Some(400))));
        assert_eq!(port.offer(350, 7, 7, 100), Offer::Queued(None));
        assert_eq!(port.serve(400), Some((7, 510, Some(500))));
        assert_eq!(port.serve(500), Some((2, 610, None)));
        // Nobody serves it now: who comes next while it is busy must plan that.
        assert_eq!(port.offer(550, 8, 0, 100), Offer::Queued(Some(600)));
        assert_eq!(port.serve(600), Some((8, 710, None)));
        assert_eq!(port.offer(700, 9, 0, 100), Offer::Sent(810));
    }
}
