// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Event queues and the interrupts they raise.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use crate::memory::GuestMemory;
use crate::ring::Ring;
use crate::strict::Strict;

pub const EQE_SIZE: usize = 64;

/// Types of events, as in the driver's `enum mlx5_event`.
pub mod event {
    pub const COMPLETION: u8 = 0x00;
    pub const CQ_ERROR: u8 = 0x04;
    pub const PORT_CHANGE: u8 = 0x09;
    pub const CMD: u8 = 0x0a;
    pub const PAGE_REQUEST: u8 = 0x0b;
}

#[derive(Debug)]
pub struct Eq {
    pub ring: Ring,
    pub uar: u32,
    pub vector: u32,
    /// Bit n: events of type n come here.
    pub mask: u64,
    producer: u32,
    consumer: u32,
    armed: bool,
}

impl Eq {
    pub fn new(ring: Ring, uar: u32, vector: u32, mask: u64) -> Eq {
        Eq { ring, uar, vector, mask, producer: 0, consumer: 0, armed: false }
    }

    fn pending(&self) -> u32 {
        self.producer.wrapping_sub(self.consumer) & 0x00ff_ffff
    }
}

/// The MSI-X vectors: QEMU waits on an eventfd for each.
#[derive(Debug, Default)]
pub struct Irqs {
    vectors: BTreeMap<u32, File>,
}

impl Irqs {
    /// The events of vectors from `start` on; a missing file removes one.
    pub fn set(&mut self, start: u32, count: u32, files: Vec<File>) {
        let mut files = files.into_iter();
        for vector in start..start.saturating_add(count.min(crate::pci::MSIX_VECTORS)) {
            match files.next() {
                Some(file) => self.vectors.insert(vector, file),
                None => self.vectors.remove(&vector),
            };
        }
    }

    pub fn clear(&mut self) {
        self.vectors.clear();
    }

    pub fn raise(&mut self, vector: u32) {
        if let Some(file) = self.vectors.get_mut(&vector) {
            // An eventfd takes this unless its counter is full, and then it is signalled anyway.
            let _ = file.write_all(&1u64.to_ne_bytes());
        }
    }
}

/// All event queues.
#[derive(Debug, Default)]
pub struct Eqs {
    queues: BTreeMap<u32, Eq>,
    pub irqs: Irqs,
}

impl Eqs {
    pub fn insert(&mut self, eqn: u32, eq: Eq) {
        self.queues.insert(eqn, eq);
    }

    pub fn remove(&mut self, eqn: u32) {
        self.queues.remove(&eqn);
    }

    pub fn clear(&mut self) {
        self.queues.clear();
    }

    pub fn get(&self, eqn: u32) -> Option<&Eq> {
        self.queues.get(&eqn)
    }

    /// The queue that takes events of a type.
    pub fn for_event(&self, kind: u8) -> Option<u32> {
        self.queues.iter().find(|(_, eq)| (eq.mask >> (kind & 63)) & 1 == 1).map(|(eqn, _)| *eqn)
    }

    /// Writes an event and raises the interrupt if the driver waits for it. `data` goes to bytes 32 and following.
    pub fn post(
        &mut self,
        mem: &GuestMemory,
        strict: &mut Strict,
        eqn: u32,
        kind: u8,
        subtype: u8,
        data: &[u8],
    ) {
        let Some(eq) = self.queues.get_mut(&eqn) else { return };
        if eq.pending() >= eq.ring.entries() {
            strict.violation(format_args!(
                "EQ {eqn:#x} overruns: the driver does not tell what it has taken"
            ));
            return;
        }
        let mut eqe = [0u8; EQE_SIZE];
        eqe[1] = kind;
        eqe[3] = subtype;
        for (to, from) in eqe[0x20..0x3f].iter_mut().zip(data) {
            *to = *from;
        }
        eqe[0x3f] = ((eq.producer >> eq.ring.log_entries) & 1) as u8;
        if let Err(error) = mem.write_entry(eq.ring.address(eq.producer), &eqe) {
            strict.violation(format_args!("EQ {eqn:#x}: {error}"));
            return;
        }
        eq.producer = eq.producer.wrapping_add(1) & 0x00ff_ffff;
        if std::mem::take(&mut eq.armed) {
            self.irqs.raise(eq.vector);
        }
    }

    /// An event of the device itself, to whichever queue wants it.
    pub fn async_event(
        &mut self,
        mem: &GuestMemory,
        strict: &mut Strict,
        kind: u8,
        subtype: u8,
        data: &[u8],
    ) {
        if let Some(eqn) = self.for_event(kind) {
            self.post(mem, strict, eqn, kind, subtype, data);
        }
    }

    /// A doorbell: the driver has taken all events before `consumer`, and waits for more if `arm`.
    pub fn doorbell(&mut self, strict: &mut Strict, uar: u32, eqn: u32, consumer: u32, arm: bool) {
        let Some(eq) = self.queues.get_mut(&eqn) else {
            strict.violation(format_args!("a doorbell of EQ {eqn:#x}, which does not exist"));
            return;
        };
        if eq.uar != uar {
            strict.violation(format_args!(
                "EQ {eqn:#x} has UAR {:#x}, its doorbell was rung in {uar:#x}",
                eq.uar
            ));
        }
        let taken = consumer.wrapping_sub(eq.consumer) & 0x00ff_ffff;
        if taken > eq.pending() {
            strict.violation(format_args!(
                "EQ {eqn:#x}: consumer index {consumer:#x} is beyond the producer's {:#x}",
                eq.producer
            ));
            return;
        }
        eq.consumer = consumer & 0x00ff_ffff;
        if arm {
            if eq.pending() > 0 {
                self.irqs.raise(eq.vector);
            } else {
                eq.armed = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> (GuestMemory, Strict, Eqs) {
        let mut eqs = Eqs::default();
        eqs.insert(
            3,
            Eq::new(Ring::for_test(&[0x1000], 12, 2, 6), 0x10, 1, 1 << event::PORT_CHANGE),
        );
        (GuestMemory::for_test(&[(0x1000, 0x1000)]), Strict::default(), eqs)
    }

    #[test]
    fn owner_bit_turns_each_round() {
        let (mem, mut strict, mut eqs) = one();
        for round in 0..3u8 {
            for n in 0..4u32 {
                eqs.async_event(&mem, &mut strict, event::PORT_CHANGE, 4, &[round, n as u8]);
                let eqe = mem.read_vec(0x1000 + u64::from(n) * 64, 64).unwrap();
                assert_eq!((eqe[1], eqe[3], eqe[0x20], eqe[0x21]), (9, 4, round, n as u8));
                assert_eq!(eqe[0x3f], round & 1);
                eqs.doorbell(&mut strict, 0x10, 3, u32::from(round) * 4 + n + 1, false);
            }
        }
        assert_eq!(strict.count(), 0);
    }

    #[test]
    fn interrupts_come_once_and_only_when_armed() {
        let (mem, mut strict, mut eqs) = one();
        let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        eqs.irqs.set(1, 1, vec![File::from(eventfd.try_clone().unwrap())]);
        let raised = |n: u64| {
            let mut count = [0; 8];
            let got =
                rustix::io::read(&eventfd, &mut count).map_or(0, |_| u64::from_ne_bytes(count));
            assert_eq!(got, n);
        };
        eqs.async_event(&mem, &mut strict, event::PORT_CHANGE, 4, &[]);
        raised(0);
        eqs.doorbell(&mut strict, 0x10, 3, 0, true);
        raised(1);
        eqs.doorbell(&mut strict, 0x10, 3, 1, true);
        raised(0);
        eqs.async_event(&mem, &mut strict, event::PORT_CHANGE, 4, &[]);
        eqs.async_event(&mem, &mut strict, event::PORT_CHANGE, 4, &[]);
        raised(1);
        assert_eq!(strict.count(), 0);
    }

    #[test]
    fn overruns_and_wrong_doorbells_are_seen() {
        let (mem, mut strict, mut eqs) = one();
        for _ in 0..5 {
            eqs.async_event(&mem, &mut strict, event::PORT_CHANGE, 4, &[]);
        }
        assert_eq!(strict.count(), 1);
        eqs.doorbell(&mut strict, 0x10, 3, 5, true);
        eqs.doorbell(&mut strict, 0x10, 4, 0, true);
        eqs.doorbell(&mut strict, 0x11, 3, 1, true);
        assert_eq!(strict.count(), 4);
    }
}
