// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Receive queues: cyclic, one packet in each WQE.

use crate::memory::{DmaError, GuestMemory};
use crate::ring::Ring;
use crate::wq::WqState;

#[derive(Debug)]
pub struct Rq {
    pub ring: Ring,
    pub cqn: u32,
    dbr: u64,
    /// Whose `out_of_buffer` counts what finds no buffer here.
    pub counter_set: u32,
    pub strip_vlan: bool,
    pub scatter_fcs: bool,
    pub state: WqState,
    consumer: u16,
}

impl Rq {
    pub fn new(
        ring: Ring,
        cqn: u32,
        dbr: u64,
        counter_set: u32,
        strip_vlan: bool,
        scatter_fcs: bool,
    ) -> Rq {
        Rq {
            ring,
            cqn,
            dbr,
            counter_set,
            strip_vlan,
            scatter_fcs,
            state: WqState::Reset,
            consumer: 0,
        }
    }

    pub fn restart(&mut self) {
        self.consumer = 0;
    }

    /// Buffers that the driver has posted and that are still free; more than the ring has is an error of the driver's.
    pub fn available(&self, mem: &GuestMemory) -> Result<u32, DmaError> {
        Ok(u32::from((mem.load_be32(self.dbr)? as u16).wrapping_sub(self.consumer)))
    }

    /// The next WQE, with its counter.
    pub fn take(&mut self, mem: &GuestMemory) -> Result<(u16, Vec<u8>), DmaError> {
        let counter = self.consumer;
        let wqe = self.ring.read(mem, counter.into(), 1)?;
        self.consumer = counter.wrapping_add(1);
        Ok((counter, wqe))
    }
}
