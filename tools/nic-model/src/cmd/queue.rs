// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The queue of commands in guest memory: its entries, and the mailboxes that hold what does not fit into them.

use crate::memory::{DmaError, GuestMemory};

/// 32 entries of 64 bytes, as the init segment says.
pub const LOG_ENTRIES: u32 = 5;
pub const LOG_STRIDE: u32 = 6;
const ENTRIES: u32 = 1 << LOG_ENTRIES;

const ENTRY_SIZE: usize = 64;
const INLINE: usize = 16;
const BLOCK_DATA: usize = 512;
const BLOCK_SIZE: usize = 0x240;
/// The longest command that the driver has needs some 10 KiB.
const MAX_LENGTH: usize = 1 << 20;

/// Delivery status: the command could not even be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Delivery {
    Ok = 0x0,
    Token = 0x2,
    BlockNumber = 0x3,
    OutputPointer = 0x4,
    InputPointer = 0x5,
    InputLength = 0x7,
    OutputLength = 0x8,
    Descriptor = 0x10,
}

/// A command that was read from its entry.
#[derive(Debug)]
pub struct Posted {
    pub entry: u32,
    pub input: Vec<u8>,
    pub outlen: usize,
    out_pointer: u64,
    token: u8,
}

/// An entry that cannot be read, and why.
#[derive(Debug)]
pub struct Undeliverable {
    pub entry: u32,
    pub status: Delivery,
    pub why: String,
}

#[derive(Debug, Default)]
pub struct CommandQueue {
    address: u64,
}

impl CommandQueue {
    pub fn set_address_high(&mut self, high: u32) {
        self.address = (u64::from(high) << 32) | self.address & 0xffff_f000;
    }

    pub fn set_address_low(&mut self, low: u32) {
        self.address = self.address & !0xffff_ffff | u64::from(low & 0xffff_f000);
    }

    fn entry_address(&self, entry: u32) -> u64 {
        self.address.wrapping_add(u64::from(entry % ENTRIES) << LOG_STRIDE)
    }

    /// Reads an entry and its mailboxes.
    pub fn fetch(&self, mem: &GuestMemory, entry: u32) -> Result<Posted, Undeliverable> {
        let fail = |status, why: String| Undeliverable { entry, status, why };
        let dma = |status| move |e: DmaError| Undeliverable { entry, status, why: e.to_string() };
        let mut raw = [0u8; ENTRY_SIZE];
        mem.read(self.entry_address(entry), &mut raw).map_err(dma(Delivery::Descriptor))?;
        if raw[0] != 7 {
            return Err(fail(Delivery::Descriptor, format!("a command of type {}", raw[0])));
        }
        if raw[63] & 1 == 0 {
            return Err(fail(
                Delivery::Descriptor,
                "a command that is not owned by the device".into(),
            ));
        }
        let inlen = be32(&raw, 0x04) as usize;
        let outlen = be32(&raw, 0x38) as usize;
        let token = raw[0x3c];
        if !(8..=MAX_LENGTH).contains(&inlen) {
            return Err(fail(Delivery::InputLength, format!("an input of {inlen} bytes")));
        }
        if !(8..=MAX_LENGTH).contains(&outlen) {
            return Err(fail(Delivery::OutputLength, format!("an output of {outlen} bytes")));
        }
        let mut input = raw[0x10..0x20].to_vec();
        let mut pointer = be64(&raw, 0x08);
        let mut number = 0;
        while input.len() < inlen {
            let block =
                read_block(mem, pointer).map_err(|why| fail(Delivery::InputPointer, why))?;
            check_block(&block, number, token).map_err(|(status, why)| fail(status, why))?;
            input.extend_from_slice(&block[..BLOCK_DATA]);
            pointer = be64(&block, 0x230);
            number += 1;
        }
        input.truncate(inlen);
        Ok(Posted { entry, input, outlen, out_pointer: be64(&raw, 0x30), token })
    }

    /// Writes a command's output and gives its entry back to the driver.
    pub fn complete(
        &self,
        mem: &GuestMemory,
        posted: &Posted,
        output: &[u8],
    ) -> Result<(), Undeliverable> {
        let fail = |status, why: String| Undeliverable { entry: posted.entry, status, why };
        let output = &output[..output.len().min(posted.outlen)];
        let (head, mut rest) = output.split_at(output.len().min(INLINE));
        let mut pointer = posted.out_pointer;
        let mut number = 0;
        while !rest.is_empty() {
            let block =
                read_block(mem, pointer).map_err(|why| fail(Delivery::OutputPointer, why))?;
            check_block(&block, number, posted.token).map_err(|(status, why)| fail(status, why))?;
            let (now, later) = rest.split_at(rest.len().min(BLOCK_DATA));
            mem.write(pointer, now).map_err(|e| fail(Delivery::OutputPointer, e.to_string()))?;
            rest = later;
            pointer = be64(&block, 0x230);
            number += 1;
        }
        let at = self.entry_address(posted.entry);
        mem.write(at.wrapping_add(0x20), head)
            .map_err(|e| fail(Delivery::Descriptor, e.to_string()))?;
        self.give_back(mem, posted.entry, Delivery::Ok);
        Ok(())
    }

    /// Last of all: the delivery status, and that the entry is the driver's again.
    pub fn give_back(&self, mem: &GuestMemory, entry: u32, status: Delivery) {
        // If the entry itself is not there, nobody can be told.
        let _ =
            mem.store_release(self.entry_address(entry).wrapping_add(0x3f), (status as u8) << 1);
    }
}

fn read_block(mem: &GuestMemory, pointer: u64) -> Result<[u8; BLOCK_SIZE], String> {
    if pointer & 0x3ff != 0 {
        return Err(format!("a mailbox at {pointer:#x}, which is not aligned"));
    }
    let mut block = [0; BLOCK_SIZE];
    mem.read(pointer, &mut block).map_err(|e| e.to_string())?;
    Ok(block)
}

fn check_block(block: &[u8; BLOCK_SIZE], number: u32, token: u8) -> Result<(), (Delivery, String)> {
    let found = be32(block, 0x238);
    if found != number {
        return Err((Delivery::BlockNumber, format!("mailbox {number} has number {found}")));
    }
    if block[0x23d] != token {
        return Err((
            Delivery::Token,
            format!("mailbox {number} has token {:#x} instead of {token:#x}", block[0x23d]),
        ));
    }
    Ok(())
}

fn be32(data: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&data[at..at + 4]);
    u32::from_be_bytes(word)
}

fn be64(data: &[u8], at: usize) -> u64 {
    (u64::from(be32(data, at)) << 32) | u64::from(be32(data, at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: u64 = 0x1000;

    /// An entry with `inlen` bytes of input in mailboxes from 0x10000 on, and output from 0x20000 on.
    fn post(mem: &GuestMemory, inlen: usize, outlen: usize) -> Vec<u8> {
        let input: Vec<u8> = (0..inlen).map(|n| n as u8).collect();
        let mut raw = [0u8; 64];
        raw[0] = 7;
        raw[0x04..0x08].copy_from_slice(&(inlen as u32).to_be_bytes());
        raw[0x08..0x10].copy_from_slice(&0x10000u64.to_be_bytes());
        raw[0x10..0x20].copy_from_slice(&input[..16]);
        raw[0x30..0x38].copy_from_slice(&0x20000u64.to_be_bytes());
        raw[0x38..0x3c].copy_from_slice(&(outlen as u32).to_be_bytes());
        raw[0x3c] = 0x55;
        raw[0x3f] = 1;
        mem.write(QUEUE + 64, &raw).unwrap();
        for (start, len) in [(0x10000u64, inlen), (0x20000, outlen)] {
            for n in 0..len.saturating_sub(16).div_ceil(512) {
                let mut block = [0u8; 0x240];
                if start == 0x10000 {
                    let data = &input[16 + n * 512..inlen.min(16 + (n + 1) * 512)];
                    block[..data.len()].copy_from_slice(data);
                }
                block[0x230..0x238]
                    .copy_from_slice(&(start + (n as u64 + 1) * 0x400).to_be_bytes());
                block[0x238..0x23c].copy_from_slice(&(n as u32).to_be_bytes());
                block[0x23d] = 0x55;
                mem.write(start + n as u64 * 0x400, &block).unwrap();
            }
        }
        input
    }

    fn bench() -> (GuestMemory, CommandQueue) {
        let mut queue = CommandQueue::default();
        queue.set_address_high(0);
        queue.set_address_low(QUEUE as u32);
        (GuestMemory::for_test(&[(0x1000, 0x1000), (0x10000, 0x20000)]), queue)
    }

    #[test]
    fn short_and_long_commands() {
        let (mem, queue) = bench();
        for (inlen, outlen) in [(16, 16), (17, 528), (528, 529), (4112, 4112)] {
            let input = post(&mem, inlen, outlen);
            let posted = queue.fetch(&mem, 1).unwrap();
            assert_eq!((&posted.input, posted.outlen), (&input, outlen));
            let output: Vec<u8> = (0..outlen + 100).map(|n| (n * 3) as u8).collect();
            queue.complete(&mem, &posted, &output).unwrap();
            let mut got = mem.read_vec(QUEUE + 64 + 0x20, 16).unwrap();
            for n in 0..(outlen - 16).div_ceil(512) {
                got.extend(mem.read_vec(0x20000 + n as u64 * 0x400, 512).unwrap());
            }
            assert_eq!(got[..outlen], output[..outlen]);
            assert!(got[outlen..].iter().all(|b| *b == 0), "written beyond outlen");
            assert_eq!(mem.read_vec(QUEUE + 64 + 0x3f, 1).unwrap(), [0]);
        }
    }

    #[test]
    fn what_is_not_a_command_is_told_so() {
        let (mem, queue) = bench();
        let status = |change: &dyn Fn()| {
            post(&mem, 600, 600);
            change();
            match queue.fetch(&mem, 1) {
                Ok(posted) => queue.complete(&mem, &posted, &[0; 600]).unwrap_err().status,
                Err(error) => error.status,
            }
        };
        let poke = |at: u64, bytes: &[u8]| mem.write(at, bytes).unwrap();
        assert_eq!(status(&|| poke(QUEUE + 64, &[6])), Delivery::Descriptor);
        assert_eq!(status(&|| poke(QUEUE + 64 + 0x3f, &[0])), Delivery::Descriptor);
        assert_eq!(status(&|| poke(QUEUE + 64 + 4, &[0xff])), Delivery::InputLength);
        assert_eq!(status(&|| poke(QUEUE + 64 + 0x38, &[0, 0, 0, 4])), Delivery::OutputLength);
        assert_eq!(status(&|| poke(QUEUE + 64 + 0xf, &[1])), Delivery::InputPointer);
        assert_eq!(status(&|| poke(0x10230, &[0xff])), Delivery::InputPointer);
        assert_eq!(status(&|| poke(0x10400 + 0x23b, &[7])), Delivery::BlockNumber);
        assert_eq!(status(&|| poke(0x1023d, &[7])), Delivery::Token);
        assert_eq!(status(&|| poke(0x20230, &[0xff])), Delivery::OutputPointer);
    }
}
