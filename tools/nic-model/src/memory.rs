// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The guest's memory, as the device reaches it by DMA.
//!
//! QEMU tells each piece of RAM with the file that backs it. Every access is checked against these pieces; what lies
//! outside fails and touches nothing there.

use std::fs::File;
use std::sync::atomic::Ordering;

use vm_memory::mmap::{GuestRegionMmap, MmapRegion};
use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};

/// A DMA that the guest's memory does not cover.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("DMA outside the guest's memory: {len} bytes at {addr:#x}")]
pub struct DmaError {
    pub addr: u64,
    pub len: usize,
}

#[derive(Clone, Default)]
pub struct GuestMemory {
    map: GuestMemoryMmap<()>,
}

impl GuestMemory {
    /// Maps a piece of RAM. Pieces with other users of the address (the BIOS's shadows) replace what was there.
    pub fn map(&mut self, file: File, offset: u64, addr: u64, size: u64) -> std::io::Result<()> {
        let invalid = |e: &dyn std::fmt::Display| {
            std::io::Error::new(std::io::ErrorKind::InvalidInput, e.to_string())
        };
        let len = usize::try_from(size).map_err(|e| invalid(&e))?;
        // An access behind the end of a file is a SIGBUS.
        if offset.checked_add(size).is_none_or(|end| file.metadata().is_ok_and(|m| m.len() < end)) {
            return Err(invalid(&"the file ends before the region"));
        }
        let region =
            MmapRegion::from_file(FileOffset::new(file, offset), len).map_err(|e| invalid(&e))?;
        let region = GuestRegionMmap::new(region, GuestAddress(addr))
            .ok_or_else(|| invalid(&"the region wraps around"))?;
        self.map = self.map.insert_region(std::sync::Arc::new(region)).map_err(|e| invalid(&e))?;
        Ok(())
    }

    /// Forgets all pieces inside of the range; true if there was one.
    pub fn unmap(&mut self, addr: u64, size: u64) -> bool {
        let end = addr.saturating_add(size);
        let inside: Vec<_> = self
            .map
            .iter()
            .map(|r| (r.start_addr(), r.len()))
            .filter(|(start, len)| start.0 >= addr && start.0.saturating_add(*len) <= end)
            .collect();
        for (start, len) in &inside {
            if let Ok((rest, _)) = self.map.remove_region(*start, *len) {
                self.map = rest;
            }
        }
        !inside.is_empty()
    }

    pub fn read(&self, addr: u64, data: &mut [u8]) -> Result<(), DmaError> {
        let len = data.len();
        self.map.read_slice(data, GuestAddress(addr)).map_err(|_| DmaError { addr, len })
    }

    pub fn read_vec(&self, addr: u64, len: usize) -> Result<Vec<u8>, DmaError> {
        // The length may be the guest's: look before a buffer is made.
        if !self.map.check_range(GuestAddress(addr), len) {
            return Err(DmaError { addr, len });
        }
        let mut data = vec![0; len];
        self.read(addr, &mut data)?;
        Ok(data)
    }

    pub fn write(&self, addr: u64, data: &[u8]) -> Result<(), DmaError> {
        let len = data.len();
        self.map.write_slice(data, GuestAddress(addr)).map_err(|_| DmaError { addr, len })
    }

    /// A big-endian word that the guest may be writing, with all that it wrote before.
    pub fn load_be32(&self, addr: u64) -> Result<u32, DmaError> {
        self.map
            .load::<u32>(GuestAddress(addr), Ordering::Acquire)
            .map(u32::from_be)
            .map_err(|_| DmaError { addr, len: 4 })
    }

    /// The last byte of something that the guest polls: it sees all that was written before.
    pub fn store_release(&self, addr: u64, byte: u8) -> Result<(), DmaError> {
        self.map
            .store(byte, GuestAddress(addr), Ordering::Release)
            .map_err(|_| DmaError { addr, len: 1 })
    }

    /// An entry of a queue, whose last byte says who owns it: that one last.
    pub fn write_entry(&self, addr: u64, entry: &[u8]) -> Result<(), DmaError> {
        let Some((owner, body)) = entry.split_last() else { return Ok(()) };
        self.write(addr, body)?;
        self.store_release(addr.wrapping_add(body.len() as u64), *owner)
    }

    /// Memory of a test's own.
    #[cfg(any(test, feature = "bench"))]
    pub fn for_test(ranges: &[(u64, usize)]) -> GuestMemory {
        let ranges: Vec<_> = ranges.iter().map(|(addr, len)| (GuestAddress(*addr), *len)).collect();
        GuestMemory { map: GuestMemoryMmap::from_ranges(&ranges).unwrap() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn across_neighbours_but_not_beyond() {
        let mem = GuestMemory::for_test(&[(0x1000, 0x1000), (0x2000, 0x1000), (0x8000, 0x1000)]);
        mem.write(0x1ffc, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(mem.read_vec(0x1ffe, 4).unwrap(), [3, 4, 5, 6]);
        for (addr, len) in
            [(0xfff, 2), (0x2fff, 2), (0x3000, 1), (u64::MAX, 2), (0x1000, usize::MAX)]
        {
            assert_eq!(mem.read_vec(addr, len), Err(DmaError { addr, len }));
        }
        assert!(mem.write(0x8fff, &[0; 2]).is_err());
    }

    #[test]
    fn words_are_big_endian() {
        let mem = GuestMemory::for_test(&[(0, 0x1000)]);
        mem.write(8, &[0x12, 0x34, 0x56, 0x78]).unwrap();
        assert_eq!(mem.load_be32(8), Ok(0x1234_5678));
        assert!(mem.load_be32(0xffe).is_err());
    }

    #[test]
    fn files_come_and_go() {
        let mut mem = GuestMemory::default();
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x3000).unwrap();
        mem.map(file.try_clone().unwrap(), 0x1000, 0x10_0000, 0x1000).unwrap();
        mem.map(file.try_clone().unwrap(), 0, 0x20_0000, 0x1000).unwrap();
        mem.write_entry(0x10_0000, &[1, 2, 3]).unwrap();
        let mut seen = [0; 3];
        std::os::unix::fs::FileExt::read_at(&file, &mut seen, 0x1000).unwrap();
        assert_eq!(seen, [1, 2, 3]);
        assert!(
            mem.map(file.try_clone().unwrap(), 0x3000, 0x30_0000, 0x1000).is_err(),
            "behind the file's end"
        );
        assert!(mem.unmap(0, 0x18_0000));
        assert!(!mem.unmap(0, 0x18_0000));
        assert!(mem.read_vec(0x10_0000, 1).is_err());
        assert!(mem.read_vec(0x20_0000, 1).is_ok());
    }
}
