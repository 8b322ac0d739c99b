// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The network between the two hosts: it loses, delays, repeats and changes packets, and somebody
//! sits on it who recorded everything and sends it again, as it was or changed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::random::Random;

/// An IP packet: what Homa sees of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpPacket {
    pub ip_id: u16,
    pub bytes: Vec<u8>,
}

/// How bad it is; chances in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub loss: u32,
    pub duplicate: u32,
    /// One bit or byte changed. Only for sessions: plain Homa trusts the Ethernet's checksum.
    pub corrupt: u32,
    /// For each packet, an old one comes again, perhaps much later.
    pub replay: u32,
    /// For each packet, one made from an old one is sent by somebody who has no key.
    pub forge: u32,
    /// Longest extra delay, in nanoseconds: what reorders.
    pub jitter: u64,
}

pub struct Link {
    weather: Weather,
    random: Random,
    /// (when, order, to which host, what)
    flying: BinaryHeap<Reverse<(u64, u64, usize, IpPacket)>>,
    order: u64,
    past: Vec<(usize, IpPacket)>,
    pub cut: bool,
    pub sent: u64,
}

/// Time on the wire.
const DELAY: u64 = 5_000;

impl Link {
    pub fn new(weather: Weather, random: Random) -> Self {
        let flying = BinaryHeap::new();
        Self { weather, random, flying, order: 0, past: vec![], cut: false, sent: 0 }
    }

    pub fn send(&mut self, now: u64, to: usize, packet: IpPacket) {
        self.sent += 1;
        if self.cut {
            return;
        }
        let weather = self.weather;
        if self.random.chance(weather.replay) && !self.past.is_empty() {
            let (to, old) = self.recorded();
            let later = self.random.below(2_000_000_000);
            self.fly(now + later, to, old);
        }
        if self.random.chance(weather.forge) && !self.past.is_empty() {
            let (to, mut old) = self.recorded();
            for _ in 0..=self.random.below(3) {
                self.damage(&mut old.bytes);
            }
            self.fly(now, to, old);
        }
        if weather.replay + weather.forge > 0 && self.past.len() < 5000 {
            self.past.push((to, packet.clone()));
        }
        if self.random.chance(weather.duplicate) {
            self.fly(now, to, packet.clone());
        }
        if self.random.chance(weather.loss) {
            return;
        }
        let mut packet = packet;
        if self.random.chance(weather.corrupt) {
            self.damage(&mut packet.bytes);
        }
        self.fly(now, to, packet);
    }

    fn recorded(&mut self) -> (usize, IpPacket) {
        // Half of the time something recent, which has a chance to do harm.
        let len = self.past.len() as u64;
        let reach = if self.random.chance(500) { len.min(20) } else { len };
        let at = len - 1 - self.random.below(reach);
        self.past[at as usize].clone()
    }

    /// Changes a bit, a byte or the length; the header, mostly.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len() as u64;
        let reach = if self.random.chance(700) { len.min(60) } else { len };
        let at = self.random.below(reach);
        match self.random.below(8) {
            0 => bytes.truncate(at as usize),
            1 => bytes[at as usize] = self.random.next() as u8,
            2 => bytes[at as usize] = bytes[at as usize].wrapping_add(1),
            _ => bytes[at as usize] ^= 1 << self.random.below(8),
        }
    }

    fn fly(&mut self, now: u64, to: usize, packet: IpPacket) {
        let jitter = if self.random.chance(300) { self.weather.jitter } else { 1000 };
        let at = now + DELAY + self.random.below(jitter + 1);
        self.order += 1;
        self.flying.push(Reverse((at, self.order, to, packet)));
    }

    pub fn next_at(&self) -> Option<u64> {
        self.flying.peek().map(|Reverse((at, ..))| *at)
    }

    pub fn arrive(&mut self) -> Option<(usize, IpPacket)> {
        self.flying.pop().map(|Reverse((_, _, to, packet))| (to, packet))
    }
}
