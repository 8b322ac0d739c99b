// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An output port: eight queues, of which the highest that has a packet is served, and the link.

use std::collections::VecDeque;

use super::Node;
use crate::host::Time;
use crate::pool::Handle;
use crate::scenario::SECOND;

/// Number of priorities.
pub const PRIORITIES: usize = 8;

/// A packet that waits, and its bytes on the wire.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    packet: Handle,
    bytes: u32,
    since: Time,
    lag: u32,
}

/// How long a packet waited, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// For the end of a packet of a lower priority, which was being sent when it came: no switch stops in the middle
    /// of one.
    pub lag: u32,
    /// For packets of its own and of higher priorities.
    pub queue: u32,
}

impl Wait {
    /// This one, and then another.
    pub fn add(&mut self, other: Self) {
        self.lag = self.lag.saturating_add(other.lag);
        self.queue = self.queue.saturating_add(other.queue);
    }
}

/// A packet that waited, and is being sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Which.
    pub packet: Handle,
    /// When it is at the link's other end.
    pub arrives: Time,
    /// When the port must be served again, if more wait.
    pub again: Option<Time>,
    /// How long it waited.
    pub wait: Wait,
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
    /// What was rounded off then: parts of a nanosecond, of which `bps` are a whole one. If it were lost, a port that is
    /// busy for long would fall behind what its host reckons, and a queue would grow that nobody knows of.
    fraction: u64,
    /// The priority of what is being sent.
    sending: usize,
    serving: bool,
    /// Most bytes that ever waited.
    pub peak: u64,
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
            fraction: bps - 1,
            sending: 0,
            serving: false,
            peak: 0,
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
        let queue = usize::from(priority).min(PRIORITIES - 1);
        if self.busy_until <= now && self.waiting == 0 {
            self.sending = queue;
            return Offer::Sent(self.send(now, bytes));
        }
        if self.queued + u64::from(bytes) > self.buffer {
            return Offer::Full;
        }
        let lag = if self.sending < queue { self.busy_until.saturating_sub(now) as u32 } else { 0 };
        self.queues[queue].push_back(Waiting { packet, bytes, since: now, lag });
        self.waiting |= 1 << queue;
        self.queued += u64::from(bytes);
        self.peak = self.peak.max(self.queued);
        let plan = !std::mem::replace(&mut self.serving, true);
        Offer::Queued(plan.then_some(self.busy_until))
    }

    /// The link is free: sends the next packet that waits.
    pub fn serve(&mut self, now: Time) -> Option<Served> {
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
        self.sending = queue;
        self.serving = self.waiting != 0;
        let again = self.serving.then_some(self.busy_until);
        let wait = Wait { lag: next.lag, queue: (now - next.since) as u32 - next.lag };
        Some(Served { packet: next.packet, arrives, again, wait })
    }

    /// Occupies the link. Returns when the last bit is at its end.
    fn send(&mut self, now: Time, bytes: u32) -> Time {
        if self.busy_until != now {
            // Rounded up, if nothing went before.
            self.fraction = self.bps - 1;
        }
        let parts = u64::from(bytes) * 8 * SECOND + self.fraction;
        self.fraction = parts % self.bps;
        self.busy_until = now + parts / self.bps;
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
        let served = |packet, arrives, again, lag, queue| {
            Some(Served { packet, arrives, again, wait: Wait { lag, queue } })
        };
        assert_eq!(port.serve(100), served(3, 210, Some(200), 50, 0));
        assert_eq!(port.serve(200), served(4, 310, Some(300), 50, 100));
        assert_eq!(port.serve(300), served(5, 410, Some(400), 50, 200));
        assert_eq!(port.offer(350, 7, 7, 100), Offer::Queued(None));
        assert_eq!(port.serve(400), served(7, 510, Some(500), 50, 0));
        assert_eq!(port.serve(500), served(2, 610, None, 0, 450));
        // Nobody serves it now: who comes next while it is busy must plan that.
        assert_eq!(port.offer(550, 8, 0, 100), Offer::Queued(Some(600)));
        assert_eq!(port.serve(600), served(8, 710, None, 0, 50));
        assert_eq!(port.offer(700, 9, 0, 100), Offer::Sent(810));
    }

    #[test]
    fn fractions_of_time_are_not_lost() {
        // 307.6 ns each, so 1538 for five.
        let mut port = Port::new(Node::Host(1), 40_000_000_000, 0, u64::MAX);
        let mut now = 1000;
        for end in [1308, 1616, 1923, 2231, 2538] {
            assert_eq!(port.offer(now, 0, 0, 1538), Offer::Sent(end));
            now = end;
        }
        // After a pause it is rounded up again.
        assert_eq!(port.offer(5000, 0, 0, 1538), Offer::Sent(5308));
    }
}
