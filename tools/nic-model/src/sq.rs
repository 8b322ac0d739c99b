// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Send queues: a ring of basic blocks, of which WQEs take some each.

use crate::memory::{DmaError, GuestMemory};
use crate::ring::Ring;
use crate::tls::FenceRules;
use crate::wq::WqState;
use crate::wqe::{Control, BB};

#[derive(Debug)]
pub struct Sq {
    pub ring: Ring,
    pub cqn: u32,
    pub uar: u32,
    dbr: u64,
    pub flush_in_error: bool,
    pub state: WqState,
    /// In basic blocks, like all indices here.
    consumer: u16,
    producer: u16,
    pub fences: FenceRules,
}

/// What is wrong with how a queue is filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqError {
    #[error("the WQE at {at:#x} says it is number {index:#x}")]
    Index { at: u16, index: u16 },
    #[error("the WQE at {at:#x} says it is SQ {sqn:#x}'s")]
    Sqn { at: u16, sqn: u32 },
    #[error("the WQE at {at:#x} has {blocks} basic blocks, but {posted} are posted")]
    Posted { at: u16, blocks: u32, posted: u16 },
    #[error("the WQE at {at:#x} has {blocks} basic blocks and wraps around")]
    Wraps { at: u16, blocks: u32 },
    #[error("{posted} basic blocks are posted to a ring of {size}")]
    Overrun { posted: u16, size: u32 },
    #[error(transparent)]
    Dma(#[from] DmaError),
}

impl Sq {
    pub fn new(ring: Ring, cqn: u32, uar: u32, dbr: u64, flush_in_error: bool) -> Sq {
        let fences = FenceRules::default();
        Sq {
            ring,
            cqn,
            uar,
            dbr,
            flush_in_error,
            state: WqState::Reset,
            consumer: 0,
            producer: 0,
            fences,
        }
    }

    pub fn restart(&mut self) {
        (self.consumer, self.producer, self.fences) = (0, 0, FenceRules::default());
    }

    /// A doorbell was rung: the doorbell record says how far the queue is filled.
    pub fn update(&mut self, mem: &GuestMemory) -> Result<(), SqError> {
        self.producer = mem.load_be32(self.dbr.wrapping_add(4))? as u16;
        if u32::from(self.posted()) > self.ring.entries() {
            return Err(SqError::Overrun { posted: self.posted(), size: self.ring.entries() });
        }
        Ok(())
    }

    fn posted(&self) -> u16 {
        self.producer.wrapping_sub(self.consumer)
    }

    pub fn has_work(&self) -> bool {
        self.posted() > 0 && self.state != WqState::Reset
    }

    /// The index of the next WQE.
    pub fn next(&self) -> u16 {
        self.consumer
    }

    /// Reads the next WQE, and checks that it is what it should be.
    pub fn fetch(&self, mem: &GuestMemory, sqn: u32) -> Result<(Control, Vec<u8>), SqError> {
        let at = self.consumer;
        let mut first = self.ring.read(mem, at.into(), 1)?;
        let mut raw = [0; 16];
        raw.copy_from_slice(&first[..16]);
        let control = Control::parse(&raw);
        let blocks = control.blocks();
        if control.index != at {
            return Err(SqError::Index { at, index: control.index });
        }
        if control.sqn != sqn {
            return Err(SqError::Sqn { at, sqn: control.sqn });
        }
        if blocks > self.posted().into() {
            return Err(SqError::Posted { at, blocks, posted: self.posted() });
        }
        if (u32::from(at) & self.ring.mask()) + blocks > self.ring.entries() {
            return Err(SqError::Wraps { at, blocks });
        }
        first.extend(self.ring.read(mem, u32::from(at) + 1, blocks - 1)?);
        debug_assert_eq!(first.len(), blocks as usize * BB);
        Ok((control, first))
    }

    /// The next WQE is done, and took so many blocks.
    pub fn advance(&mut self, blocks: u32) {
        self.consumer = self.consumer.wrapping_add((blocks as u16).min(self.posted()));
    }

    /// Nothing can be made of what is posted.
    pub fn skip_all(&mut self) {
        self.consumer = self.producer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of eight blocks at 0x1000, its doorbell record at 0x2000.
    fn bench() -> (GuestMemory, Sq) {
        let mut sq = Sq::new(Ring::for_test(&[0x1000], 12, 3, 6), 1, 0x10, 0x2000, true);
        sq.state = WqState::Ready;
        (GuestMemory::for_test(&[(0x1000, 0x2000)]), sq)
    }

    fn put(mem: &GuestMemory, index: u16, sqn: u32, ds: u8) {
        let at = 0x1000 + u64::from(index & 7) * 64;
        mem.write(at + 1, &index.to_be_bytes()).unwrap();
        mem.write(at + 4, &((sqn << 8) | u32::from(ds)).to_be_bytes()).unwrap();
    }

    fn ring(mem: &GuestMemory, sq: &mut Sq, producer: u32) -> Result<(), SqError> {
        mem.write(0x2004, &producer.to_be_bytes()).unwrap();
        sq.update(mem)
    }

    #[test]
    fn wqes_one_after_the_other() {
        let (mem, mut sq) = bench();
        put(&mem, 0, 9, 1);
        put(&mem, 1, 9, 12);
        assert!(!sq.has_work());
        ring(&mem, &mut sq, 4).unwrap();
        let (control, bytes) = sq.fetch(&mem, 9).unwrap();
        assert_eq!((control.blocks(), bytes.len()), (1, 64));
        sq.advance(1);
        let (control, bytes) = sq.fetch(&mem, 9).unwrap();
        assert_eq!((control.blocks(), bytes.len()), (3, 192));
        sq.advance(3);
        assert!(!sq.has_work());
        assert_eq!(sq.next(), 4);
    }

    #[test]
    fn what_is_not_right_is_refused() {
        let (mem, mut sq) = bench();
        put(&mem, 0, 9, 12);
        ring(&mem, &mut sq, 2).unwrap();
        assert!(matches!(sq.fetch(&mem, 8), Err(SqError::Sqn { .. })));
        assert_eq!(sq.fetch(&mem, 9), Err(SqError::Posted { at: 0, blocks: 3, posted: 2 }));
        sq.advance(1);
        assert!(matches!(sq.fetch(&mem, 9), Err(SqError::Index { at: 1, .. })));
        sq.advance(9);
        put(&mem, 7, 9, 8);
        ring(&mem, &mut sq, 7).unwrap();
        sq.advance(5);
        ring(&mem, &mut sq, 9).unwrap();
        assert_eq!(sq.fetch(&mem, 9), Err(SqError::Wraps { at: 7, blocks: 2 }));
        assert!(matches!(ring(&mem, &mut sq, 16), Err(SqError::Overrun { posted: 9, size: 8 })));
        sq.skip_all();
        assert!(!sq.has_work());
    }
}
