// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Completion queues.

use std::collections::BTreeMap;

use crate::eq::{event, Eqs};
use crate::memory::GuestMemory;
use crate::ring::Ring;
use crate::strict::Strict;

/// Opcodes of CQEs, in the high nibble of their last byte.
pub mod opcode {
    pub const REQ: u8 = 0;
    pub const RESP_SEND: u8 = 2;
    pub const REQ_ERR: u8 = 13;
    pub const RESP_ERR: u8 = 14;
}

/// Syndromes of error CQEs.
pub mod syndrome {
    pub const LOCAL_LENGTH_ERR: u8 = 0x01;
    pub const LOCAL_QP_OP_ERR: u8 = 0x02;
    pub const LOCAL_PROT_ERR: u8 = 0x04;
    pub const WR_FLUSH_ERR: u8 = 0x05;
}

pub type Cqe = [u8; 64];

#[derive(Debug)]
pub struct Cq {
    /// Entries of 64 or 128 bytes; of the latter, the second half is the CQE.
    pub ring: Ring,
    pub eqn: u32,
    pub uar: u32,
    /// Doorbell record: consumer index, and the last arm command.
    pub dbr: u64,
    /// `cc` and `oi`: the driver does not care for overruns.
    pub ignore_overrun: bool,
    producer: u32,
    armed: bool,
    failed: bool,
}

impl Cq {
    pub fn new(ring: Ring, eqn: u32, uar: u32, dbr: u64, ignore_overrun: bool) -> Cq {
        Cq { ring, eqn, uar, dbr, ignore_overrun, producer: 0, armed: false, failed: false }
    }
}

#[derive(Debug, Default)]
pub struct Cqs {
    queues: BTreeMap<u32, Cq>,
}

impl Cqs {
    pub fn insert(&mut self, cqn: u32, cq: Cq) {
        self.queues.insert(cqn, cq);
    }

    pub fn remove(&mut self, cqn: u32) {
        self.queues.remove(&cqn);
    }

    pub fn clear(&mut self) {
        self.queues.clear();
    }

    pub fn get(&self, cqn: u32) -> Option<&Cq> {
        self.queues.get(&cqn)
    }

    /// How many CQEs the queue has room for.
    pub fn room(&self, mem: &GuestMemory, cqn: u32) -> u32 {
        let Some(cq) = self.queues.get(&cqn) else { return 0 };
        match mem.load_be32(cq.dbr) {
            Ok(consumer) => {
                let pending = cq.producer.wrapping_sub(consumer) & 0x00ff_ffff;
                cq.ring.entries().saturating_sub(pending)
            }
            Err(_) => 0,
        }
    }

    /// Writes a CQE whose last byte has the opcode but not yet the owner, and tells the EQ if the driver waits for it.
    pub fn post(
        &mut self,
        mem: &GuestMemory,
        eqs: &mut Eqs,
        strict: &mut Strict,
        cqn: u32,
        mut cqe: Cqe,
    ) {
        let room = self.room(mem, cqn);
        let Some(cq) = self.queues.get_mut(&cqn) else {
            strict.violation(format_args!("a completion for CQ {cqn:#x}, which does not exist"));
            return;
        };
        if cq.failed {
            return;
        }
        if room == 0 && !cq.ignore_overrun {
            strict.violation(format_args!("CQ {cqn:#x} overruns"));
            cq.failed = true;
            // cqn, then the syndrome: overrun.
            let mut data = [0u8; 12];
            data[..4].copy_from_slice(&cqn.to_be_bytes());
            data[11] = 1;
            eqs.async_event(mem, strict, event::CQ_ERROR, 0, &data);
            return;
        }
        cqe[63] |= ((cq.producer >> cq.ring.log_entries) & 1) as u8;
        let second_half = (1u64 << cq.ring.log_entry) - cqe.len() as u64;
        if let Err(error) =
            mem.write_entry(cq.ring.address(cq.producer).wrapping_add(second_half), &cqe)
        {
            strict.violation(format_args!("CQ {cqn:#x}: {error}"));
            return;
        }
        cq.producer = cq.producer.wrapping_add(1) & 0x00ff_ffff;
        if std::mem::take(&mut cq.armed) {
            Self::tell(mem, eqs, strict, cq.eqn, cqn);
        }
    }

    fn tell(mem: &GuestMemory, eqs: &mut Eqs, strict: &mut Strict, eqn: u32, cqn: u32) {
        let mut data = [0u8; 28];
        data[24..].copy_from_slice(&cqn.to_be_bytes());
        eqs.post(mem, strict, eqn, event::COMPLETION, 0, &data);
    }

    /// An arm command: tell the EQ of the next CQE at or behind `consumer`.
    pub fn arm(
        &mut self,
        mem: &GuestMemory,
        eqs: &mut Eqs,
        strict: &mut Strict,
        uar: u32,
        cqn: u32,
        command: u32,
    ) {
        let Some(cq) = self.queues.get_mut(&cqn) else {
            strict.violation(format_args!("CQ {cqn:#x} is armed, which does not exist"));
            return;
        };
        if cq.uar != uar {
            strict.violation(format_args!(
                "CQ {cqn:#x} has UAR {:#x}, but is armed in {uar:#x}",
                cq.uar
            ));
        }
        match mem.load_be32(cq.dbr.wrapping_add(4)) {
            // It is written first. By now the driver may have armed the CQ again, for a consumer index further on.
            Ok(record) if record.wrapping_sub(command) & 0x00ff_ffff < 0x0080_0000 => {}
            Ok(record) => strict.violation(format_args!(
                "CQ {cqn:#x}: armed with {command:#x}, but the doorbell record says {record:#x}"
            )),
            Err(error) => strict.violation(format_args!("CQ {cqn:#x}: {error}")),
        }
        let consumer = command & 0x00ff_ffff;
        let pending = cq.producer.wrapping_sub(consumer) & 0x00ff_ffff;
        if pending > cq.ring.entries() && !cq.ignore_overrun {
            strict.violation(format_args!(
                "CQ {cqn:#x}: armed at {consumer:#x}, the producer index is {:#x}",
                cq.producer
            ));
            return;
        }
        if pending > 0 {
            cq.armed = false;
            Self::tell(mem, eqs, strict, cq.eqn, cqn);
        } else {
            cq.armed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eq::Eq;

    struct Bench {
        mem: GuestMemory,
        eqs: Eqs,
        cqs: Cqs,
        strict: Strict,
    }

    /// An EQ at 0x1000, a CQ of four entries at 0x2000, its doorbell record at 0x3000.
    fn bench() -> Bench {
        let mut b = Bench {
            mem: GuestMemory::for_test(&[(0x1000, 0x3000)]),
            eqs: Eqs::default(),
            cqs: Cqs::default(),
            strict: Strict::default(),
        };
        b.eqs.insert(1, Eq::new(Ring::for_test(&[0x1000], 12, 4, 6), 0x10, 0, 0));
        b.cqs.insert(5, Cq::new(Ring::for_test(&[0x2000], 12, 2, 6), 1, 0x10, 0x3000, false));
        b
    }

    impl Bench {
        fn post(&mut self, tag: u8) {
            let mut cqe = [0; 64];
            cqe[0] = tag;
            cqe[63] = opcode::RESP_SEND << 4;
            self.cqs.post(&self.mem, &mut self.eqs, &mut self.strict, 5, cqe);
        }

        fn arm(&mut self, consumer: u32) {
            self.mem.write(0x3004, &consumer.to_be_bytes()).unwrap();
            self.cqs.arm(&self.mem, &mut self.eqs, &mut self.strict, 0x10, 5, consumer);
        }

        /// How many events were posted: cqn is in the last of their data.
        fn events(&self) -> usize {
            (0..16)
                .take_while(|n| {
                    self.mem.read_vec(0x1000 + n * 64 + 0x38, 4).unwrap() == [0, 0, 0, 5]
                })
                .count()
        }
    }

    #[test]
    fn an_event_for_each_arming() {
        let mut b = bench();
        b.post(1);
        assert_eq!(b.events(), 0);
        b.arm(0);
        assert_eq!(b.events(), 1);
        b.arm(1);
        assert_eq!(b.events(), 1);
        b.post(2);
        b.post(3);
        assert_eq!(b.events(), 2);
        assert_eq!(b.strict.count(), 0);
    }

    #[test]
    fn overrun_is_an_error() {
        let mut b = bench();
        for tag in 0..4 {
            b.post(tag);
        }
        b.mem.write(0x3000, &[0, 0, 0, 1]).unwrap();
        b.post(4);
        assert_eq!(b.mem.read_vec(0x2000, 1).unwrap(), [4]);
        assert_eq!(b.mem.read_vec(0x203f, 1).unwrap(), [(opcode::RESP_SEND << 4) | 1]);
        assert_eq!(b.strict.count(), 0);
        b.post(5);
        assert_eq!(b.strict.count(), 1);
    }

    #[test]
    fn a_doorbell_that_contradicts_its_record() {
        let mut b = bench();
        for (record, wrong) in
            [([0x20, 0, 0, 1], 0), ([0x10, 0, 0, 0], 0), ([0x10, 0xff, 0xff, 0xff], 1)]
        {
            b.mem.write(0x3004, &record).unwrap();
            b.cqs.arm(&b.mem, &mut b.eqs, &mut b.strict, 0x10, 5, 0x1000_0000);
            assert_eq!(b.strict.count(), wrong);
        }
    }
}
