// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The packets under way, in one array: queues and plans hold their numbers only.

use crate::packet::Packet;

/// A packet's number.
pub type Handle = u32;

/// Packets under way.
#[derive(Debug, Default)]
pub struct Pool {
    packets: Vec<Packet>,
    free: Vec<Handle>,
}

impl Pool {
    /// Keeps a packet.
    pub fn put(&mut self, packet: Packet) -> Handle {
        if let Some(handle) = self.free.pop() {
            self.packets[handle as usize] = packet;
            return handle;
        }
        self.packets.push(packet);
        (self.packets.len() - 1) as Handle
    }

    /// Looks at a packet.
    pub fn get(&self, handle: Handle) -> &Packet {
        &self.packets[handle as usize]
    }

    /// Changes a packet.
    pub fn get_mut(&mut self, handle: Handle) -> &mut Packet {
        &mut self.packets[handle as usize]
    }

    /// It has arrived, or is lost.
    pub fn free(&mut self, handle: Handle) {
        self.free.push(handle);
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.packets.len() - self.free.len()
    }

    /// None is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
