// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The Ethernet port: its link, and what has passed.

/// Frames and bytes of one direction, as the counters of the port and of the vport have them. Bytes are without the
/// frame check sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub unicast: Count,
    pub multicast: Count,
    pub broadcast: Count,
    /// By length, with the frame check sequence, as RFC 2819's `etherStatsPkts64Octets` and following.
    pub sizes: [u64; SIZES.len()],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub packets: u64,
    pub octets: u64,
}

/// The longest frame of each class.
pub const SIZES: [usize; 10] = [64, 127, 255, 511, 1023, 1518, 2047, 4095, 8191, usize::MAX];

const FCS: usize = 4;

impl Traffic {
    pub fn count(&mut self, frame: &[u8]) {
        let count = match frame.first_chunk() {
            Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => &mut self.broadcast,
            Some([first, ..]) if first & 1 == 1 => &mut self.multicast,
            _ => &mut self.unicast,
        };
        count.packets += 1;
        count.octets += frame.len() as u64;
        if let Some(class) = SIZES.iter().position(|most| frame.len() + FCS <= *most) {
            self.sizes[class] += 1;
        }
    }

    pub fn packets(&self) -> u64 {
        self.unicast.packets + self.multicast.packets + self.broadcast.packets
    }

    pub fn octets(&self) -> u64 {
        self.unicast.octets + self.multicast.octets + self.broadcast.octets
    }

    /// On the wire each frame has four bytes more.
    pub fn wire_octets(&self) -> u64 {
        self.octets() + self.packets() * FCS as u64
    }
}

#[derive(Debug)]
pub struct Port {
    /// What the driver wants (PAOS).
    pub admin_up: bool,
    /// Is there somebody at the other end?
    pub carrier: bool,
    /// A test keeps the link down.
    pub forced_down: bool,
    /// The fault plan has it down.
    pub faulted_down: bool,
    /// With the Ethernet header, a VLAN tag and the frame check sequence (PMTU).
    pub mtu: u16,
    pub sent: Traffic,
    pub received: Traffic,
    /// Received frames longer than the MTU.
    pub oversize: u64,
    /// How often the link went down.
    pub link_downs: u64,
    was_up: bool,
}

pub const MAX_MTU: u16 = 10218;

impl Port {
    pub fn new() -> Port {
        Port {
            // As a card does: the link is up before a driver comes.
            admin_up: true,
            carrier: false,
            forced_down: false,
            faulted_down: false,
            mtu: 1522,
            sent: Traffic::default(),
            received: Traffic::default(),
            oversize: 0,
            link_downs: 0,
            was_up: false,
        }
    }

    pub fn is_up(&self) -> bool {
        self.admin_up && self.carrier && !self.forced_down && !self.faulted_down
    }

    /// The link's new state, once for each change.
    pub fn changed(&mut self) -> Option<bool> {
        let up = self.is_up();
        let changed = up != self.was_up;
        self.was_up = up;
        self.link_downs += u64::from(changed && !up);
        changed.then_some(up)
    }

    pub fn fits(&self, frame: &[u8]) -> bool {
        frame.len() + FCS <= usize::from(self.mtu)
    }
}

impl Default for Port {
    fn default() -> Self {
        Port::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_by_address_and_size() {
        let mut traffic = Traffic::default();
        let mut frame = vec![0; 60];
        traffic.count(&frame);
        frame[0] = 1;
        frame.resize(61, 0);
        traffic.count(&frame);
        frame[..6].fill(0xff);
        frame.resize(1514, 0);
        traffic.count(&frame);
        assert_eq!(traffic.unicast, Count { packets: 1, octets: 60 });
        assert_eq!(traffic.multicast, Count { packets: 1, octets: 61 });
        assert_eq!(traffic.broadcast, Count { packets: 1, octets: 1514 });
        assert_eq!(traffic.sizes, [1, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!((traffic.packets(), traffic.wire_octets()), (3, 60 + 61 + 1514 + 12));
    }

    #[test]
    fn link_changes_are_told_once() {
        let mut port = Port::new();
        assert_eq!(port.changed(), None);
        port.carrier = true;
        assert_eq!((port.changed(), port.changed()), (Some(true), None));
        port.admin_up = false;
        assert_eq!(port.changed(), Some(false));
        port.forced_down = true;
        port.admin_up = true;
        assert_eq!((port.changed(), port.link_downs), (None, 1));
        assert!(port.fits(&[0; 1518]) && !port.fits(&[0; 1519]));
    }
}
