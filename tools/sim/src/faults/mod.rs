// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What goes wrong: with packets on their way, and with hosts.

pub mod plan;

use crate::host::Time;
use crate::packet::{mix, Packet, Payload};
use crate::random::Random;

/// How bad it is. Probabilities are per packet that arrives at a host, if nothing else is said.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// A packet is lost.
    pub loss: f64,
    /// A burst of losses begins.
    pub burst: f64,
    /// So many packets to that host in a row are lost, at most, but none later than [`BURST`] after it began.
    pub burst_length: u64,
    /// A packet comes twice, the second time up to a second later.
    pub duplicate: f64,
    /// A packet comes later than those after it.
    pub reorder: f64,
    /// By so much, at most.
    pub jitter: Time,
    /// A packet is changed. Ethernet's checksum finds that, and it is lost; in a session it may also
    /// have been done by somebody who corrects the checksum.
    pub corrupt: f64,
    /// Sealed only: somebody without keys makes a packet from one that he saw.
    pub forge: f64,
    /// Somebody sends a packet that he saw again.
    pub replay: f64,
    /// What happens to hosts, in order of time.
    pub happens: Vec<(Time, Mishap)>,
}

/// Something that happens to a host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mishap {
    /// It crashes.
    Crash(u16),
    /// It has booted again.
    Boot(u16),
    /// Its clock jumps ahead.
    Clock(u16, Time),
    /// Its link delivers nothing for so long, and then all at once.
    Stall(u16, Time),
    /// Its link is dead, for so long: what is sent to it is lost.
    Cut(u16, Time),
    /// Allocations fail with this probability, for so long.
    Memory(u16, f64, Time),
}

/// No burst of losses is longer.
const BURST: Time = 10_000_000;

impl Weather {
    /// Is it so bad that RPCs may fail?
    ///
    /// Loss alone never makes them: what is lost is asked for again, again and again.
    pub fn may_fail(&self) -> bool {
        let breaks = |mishap: &Mishap| match mishap {
            Mishap::Crash(_) | Mishap::Clock(..) | Mishap::Memory(..) | Mishap::Boot(_) => true,
            // Time-outs are seconds.
            Mishap::Stall(_, long) | Mishap::Cut(_, long) => *long > 1_000_000_000,
        };
        self.loss > 0.35 || self.happens.iter().any(|(_, mishap)| breaks(mishap))
    }

    /// Does a fault of hosts make the server's memory of an RPC vanish, or messages arrive in vain?
    pub fn is_calm(&self) -> bool {
        self.loss
            + self.burst
            + self.duplicate
            + self.reorder
            + self.corrupt
            + self.forge
            + self.replay
            == 0.0
            && self.happens.is_empty()
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives.
    Arrives,
    /// It arrives later.
    Late(Time),
    /// It does not.
    Lost(&'static str),
}

/// Decides what becomes of packets.
#[derive(Debug)]
pub struct Judge {
    weather: Weather,
    sealed: bool,
    random: Random,
    /// By host: packets that are still lost, and until when.
    bursts: Vec<(u64, Time)>,
    /// By host: nothing arrives before.
    stalled: Vec<Time>,
    /// By host: all is lost before.
    cut: Vec<Time>,
    /// What was seen on the wire.
    seen: Vec<Packet>,
}

/// Packets that an eavesdropper remembers.
const MEMORY: usize = 2000;

impl Judge {
    /// For `hosts` hosts.
    pub fn new(weather: Weather, sealed: bool, hosts: usize, random: Random) -> Self {
        let (bursts, stalled, cut) = (vec![(0, 0); hosts], vec![0; hosts], vec![0; hosts]);
        Self { weather, sealed, random, bursts, stalled, cut, seen: Vec::new() }
    }

    /// What happens to hosts.
    pub fn happens(&self) -> &[(Time, Mishap)] {
        &self.weather.happens
    }

    /// The link of `host` stalls until then.
    pub fn stall(&mut self, host: u16, until: Time) {
        self.stalled[usize::from(host)] = until;
    }

    /// The link of `host` is dead until then.
    pub fn cut(&mut self, host: u16, until: Time) {
        self.cut[usize::from(host)] = until;
    }

    /// What becomes of a packet that is about to arrive; it may be changed. What arrives beside it is added
    /// to `more`, with a delay.
    pub fn judge(
        &mut self,
        now: Time,
        packet: &mut Packet,
        more: &mut Vec<(Time, Packet)>,
    ) -> Verdict {
        let host = usize::from(packet.destination);
        let weather = &self.weather;
        if weather.replay + weather.forge > 0.0 {
            self.eavesdrop(packet, more);
        }
        let weather = &self.weather;
        let random = &mut self.random;
        if self.cut[host] > now {
            return Verdict::Lost("dead link");
        }
        let (left, until) = &mut self.bursts[host];
        if *left > 0 && now < *until {
            *left -= 1;
            return Verdict::Lost("burst");
        }
        if random.chance(weather.burst) {
            self.bursts[host] = (random.below(weather.burst_length), now + BURST);
            return Verdict::Lost("burst");
        }
        if random.chance(weather.loss) {
            return Verdict::Lost("loss");
        }
        if random.chance(weather.duplicate) {
            // Mostly soon, sometimes when all is over.
            let reach = if random.chance(0.8) { 200_000 } else { 1_000_000_000 };
            more.push((random.below(reach), *packet));
        }
        if random.chance(weather.corrupt) {
            if !self.sealed || random.chance(0.2) {
                return Verdict::Lost("checksum");
            }
            damage(random, packet);
        }
        let mut late = self.stalled[host].saturating_sub(now);
        if random.chance(weather.reorder) {
            late += random.below(weather.jitter);
        }
        if late > 0 {
            Verdict::Late(late)
        } else {
            Verdict::Arrives
        }
    }

    fn eavesdrop(&mut self, packet: &Packet, more: &mut Vec<(Time, Packet)>) {
        let random = &mut self.random;
        if self.seen.len() < MEMORY {
            self.seen.push(*packet);
        } else {
            let at = random.below(MEMORY as u64) as usize;
            self.seen[at] = *packet;
        }
        let known = self.seen.len() as u64;
        let recorded = |random: &mut Random| {
            // Half of the time something recent, which has a chance to do harm.
            let reach = if random.chance(0.5) { known.min(20) } else { known };
            self.seen[(known - 1 - random.below(reach)) as usize]
        };
        if random.chance(self.weather.replay) {
            let old = recorded(random);
            more.push((random.below(2_000_000_000), old));
        }
        if self.sealed && random.chance(self.weather.forge) {
            let mut forged = recorded(random);
            for _ in 0..=random.below(3) {
                damage(random, &mut forged);
            }
            more.push((random.below(1000), forged));
        }
    }
}

/// Changes a bit or a byte of the header, the payload, or the length.
fn damage(random: &mut Random, packet: &mut Packet) {
    let at = random.below(u64::from(packet.header_len)) as usize;
    match random.below(8) {
        0 if packet.payload.len > 0 => {
            packet.payload.len = random.below(u64::from(packet.payload.len)) as u32
        }
        0 => {
            packet.header_len = random.below(u64::from(packet.header_len)) as u8;
            packet.payload = Payload::NONE;
        }
        1 if packet.payload.len > 0 => packet.payload.noise = mix(random.bits() | 1),
        2 => packet.header[at] = random.bits() as u8,
        3 => packet.header[at] = packet.header[at].wrapping_add(1),
        _ => packet.header[at] ^= 1 << random.below(8),
    }
}
