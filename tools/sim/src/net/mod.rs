// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The network: racks of hosts at leaf switches, spine switches between them.
//!
//! A link has an output [`port`] at either end. Switches store and forward; each packet between racks
//! takes any of the spines, at random (packet spraying). A link's `delay` holds what comes after the last
//! bit left the port: propagation, and the fixed delays of the switch and of the hosts' software.

pub mod port;

use crate::host::Time;
use crate::packet::{HostId, ETHERNET, IP};
use crate::random::Random;
use port::Port;

/// How a network is built.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    /// Leaf switches.
    pub racks: u16,
    /// Hosts at each.
    pub hosts_per_rack: u16,
    /// Spine switches; there must be one if there are several racks.
    pub spines: u16,
    /// Bits per second between a host and its leaf switch.
    pub host_bps: u64,
    /// Bits per second between leaf and spine switches.
    pub fabric_bps: u64,
    /// A switch's own delay.
    pub switch_delay: Time,
    /// From a packet leaving the protocol to its first bit leaving the card, not counting queueing.
    pub send_delay: Time,
    /// From the last bit's arrival to the protocol.
    pub receive_delay: Time,
    /// Bytes that each output port of a switch can hold; `u64::MAX`: any number.
    pub buffer: u64,
    /// Longest IP packet.
    pub mtu: u32,
}

impl Topology {
    /// The network of the Homa paper's simulations (SIGCOMM'18, section 5.2; the delays as in its simulator,
    /// PlatformLab/HomaSimulation, dcntopo/omnetpp.ini): 144 hosts in 9 racks, 4 spines, 10 and 40 Gbit/s,
    /// 250 ns in each switch, 1.5 us in the hosts' software and cards.
    pub const SIGCOMM18: Self = Self {
        racks: 9,
        hosts_per_rack: 16,
        spines: 4,
        host_bps: 10_000_000_000,
        fabric_bps: 40_000_000_000,
        switch_delay: 250,
        send_delay: 1000,
        receive_delay: 500,
        buffer: u64::MAX,
        mtu: 1500,
    };

    /// Number of hosts.
    pub fn hosts(&self) -> u16 {
        self.racks * self.hosts_per_rack
    }

    /// The rack that a host is in.
    pub fn rack(&self, host: HostId) -> u16 {
        host / self.hosts_per_rack
    }

    /// Longest payload of a packet whose header has `header` bytes.
    pub fn payload(&self, header: u32) -> u32 {
        self.mtu - IP - header
    }

    /// How long a message of `length` bytes takes from one host to another if nobody else sends: from the
    /// moment it is handed in until its last byte is with the receiver's protocol.
    ///
    /// It is cut into packets of `payload` bytes (but the last) that all have `header` bytes of header.
    pub fn ideal(&self, from: HostId, to: HostId, length: u32, payload: u32, header: u32) -> Time {
        let wire = |bytes: u32| u64::from((bytes + header + IP).max(46) + ETHERNET);
        let edge = |bytes: u32| transmission(wire(bytes), self.host_bps);
        let fabric = |bytes: u32| transmission(wire(bytes), self.fabric_bps);
        let before = length.div_ceil(payload) - 1;
        let last = length - before * payload;
        let local = self.rack(from) == self.rack(to);
        // To the port that leads to the receiver, from leaving the card.
        let across = |bytes: u32| {
            self.send_delay + if local { 0 } else { 2 * (self.switch_delay + fabric(bytes)) }
        };
        let full = u64::from(before) * edge(payload);
        let there = full + edge(last) + across(last);
        // The packet before may still be on the last link: it is longer and took longer to get there.
        let free = if before > 0 { full + across(payload) + edge(payload) } else { 0 };
        there.max(free) + edge(last) + self.switch_delay + self.receive_delay
    }
}

/// Nanoseconds that `bytes` take at this speed, rounded up.
pub fn transmission(bytes: u64, bps: u64) -> Time {
    (bytes * 8 * 1_000_000_000).div_ceil(bps)
}

/// Where a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// A host.
    Host(HostId),
    /// A leaf switch.
    Leaf(u16),
    /// A spine switch.
    Spine(u16),
}

/// All output ports of hosts and switches.
#[derive(Debug)]
pub struct Network {
    /// How it is built.
    pub topology: Topology,
    ports: Vec<Port>,
}

impl Network {
    /// An idle network.
    pub fn new(topology: Topology) -> Self {
        let t = &topology;
        let edge = |to, delay, buffer| Port::new(to, t.host_bps, delay, buffer);
        let fabric = |to| Port::new(to, t.fabric_bps, t.switch_delay, t.buffer);
        let hosts = 0..t.hosts();
        let mut ports = Vec::new();
        // The order is that of the functions below.
        ports.extend(hosts.clone().map(|h| edge(Node::Leaf(t.rack(h)), t.send_delay, u64::MAX)));
        ports
            .extend(hosts.map(|h| edge(Node::Host(h), t.switch_delay + t.receive_delay, t.buffer)));
        for _ in 0..t.racks {
            ports.extend((0..t.spines).map(|s| fabric(Node::Spine(s))));
        }
        for _ in 0..t.spines {
            ports.extend((0..t.racks).map(|r| fabric(Node::Leaf(r))));
        }
        Self { topology, ports }
    }

    /// The port of a host's network card.
    pub fn card(&self, host: HostId) -> usize {
        usize::from(host)
    }

    /// The port through which a packet for `to` leaves `node`, which must be a switch.
    pub fn route(&self, node: Node, to: HostId, random: &mut Random) -> usize {
        let t = &self.topology;
        let hosts = usize::from(t.hosts());
        let rack = t.rack(to);
        match node {
            Node::Leaf(leaf) if leaf != rack => {
                let spine = random.below(u64::from(t.spines)) as usize;
                2 * hosts + usize::from(leaf) * usize::from(t.spines) + spine
            }
            Node::Spine(spine) => {
                let up = usize::from(t.racks) * usize::from(t.spines);
                2 * hosts + up + usize::from(spine) * usize::from(t.racks) + usize::from(rack)
            }
            Node::Leaf(_) | Node::Host(_) => hosts + usize::from(to),
        }
    }

    /// A port.
    pub fn port(&mut self, port: usize) -> &mut Port {
        &mut self.ports[port]
    }

    /// All ports.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_gets_where_it_should() {
        let mut random = Random::new(1, 0);
        let mut net = Network::new(Topology::SIGCOMM18);
        for from in 0..144 {
            for to in (0..144).filter(|to| *to != from) {
                let mut node = net.port(usize::from(from)).to;
                let mut hops = 0;
                while node != Node::Host(to) {
                    let port = net.route(node, to, &mut random);
                    node = net.port(port).to;
                    hops += 1;
                }
                assert_eq!(hops, if from / 16 == to / 16 { 1 } else { 3 });
            }
        }
    }

    #[test]
    fn ideal_times() {
        let t = Topology::SIGCOMM18;
        // A whole packet has 1538 bytes on the wire: 1231 ns, and 308 at 40 Gbit/s.
        let (header, payload) = (56, 1424);
        let one = t.ideal(0, 1, 1424, payload, header);
        assert_eq!(one, 1231 + 1000 + 1231 + 750);
        let far = t.ideal(0, 143, 1424, payload, header);
        assert_eq!(far, one + 2 * (250 + 308));
        // The last link is busy for all of it.
        assert_eq!(t.ideal(0, 143, 10 * 1424, payload, header), far + 9 * 1231);
        assert_eq!(t.ideal(0, 1, 1425, payload, header), one + transmission(115, t.host_bps));
    }
}
