// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A queue's buffer in guest memory: a list of pages that is used round and round.

use crate::cmd::{CmdError, Input, Status};
use crate::ifc::FieldError;
use crate::memory::{DmaError, GuestMemory};

/// A power of two of entries, each of a power of two of bytes.
#[derive(Debug, Clone)]
pub struct Ring {
    pages: Vec<u64>,
    log_page: u32,
    offset: u64,
    pub log_entries: u32,
    pub log_entry: u32,
}

/// Where in a context a queue's geometry is.
pub struct RingFields<'a> {
    pub log_page_size: &'a str,
    pub page_offset: &'a str,
    pub pas: &'a str,
}

impl Ring {
    /// Reads a buffer's geometry from a command, and the list of its pages.
    pub fn from_command(
        input: &Input<'_>,
        fields: &RingFields<'_>,
        log_entries: u32,
        log_entry: u32,
    ) -> Result<Ring, CmdError> {
        let bad = |what: &str| CmdError::new(Status::BadParameter, what);
        let log_page = input.get(fields.log_page_size)? as u32 + 12;
        // In 64ths of a page.
        let offset = (input.get(fields.page_offset)? << log_page) / 64;
        if log_page > 30 || log_entries > 24 {
            return Err(bad("a queue too large"));
        }
        let bytes = offset + (1u64 << (log_entries + log_entry));
        let pages = (0..bytes.div_ceil(1 << log_page))
            .map(|n| input.get_nth(fields.pas, n).map(|pa| pa & !0xfff))
            .collect::<Result<Vec<_>, FieldError>>()?;
        if pages.iter().any(|pa| pa & ((1 << log_page) - 1) != 0) {
            return Err(bad("a page that is not aligned to its size"));
        }
        Ok(Ring { pages, log_page, offset, log_entries, log_entry })
    }

    pub fn entries(&self) -> u32 {
        1 << self.log_entries
    }

    pub fn mask(&self) -> u32 {
        self.entries() - 1
    }

    /// The address of an entry, whose index may run on beyond the ring's size.
    pub fn address(&self, index: u32) -> u64 {
        let at = self.offset + (u64::from(index & self.mask()) << self.log_entry);
        let page = usize::try_from(at >> self.log_page).ok().and_then(|n| self.pages.get(n));
        // There are pages for all entries: from_command has seen to it.
        page.copied().unwrap_or(u64::MAX).wrapping_add(at & ((1 << self.log_page) - 1))
    }

    /// Some consecutive entries, which may lie in several pages and must not wrap around.
    pub fn read(&self, mem: &GuestMemory, index: u32, count: u32) -> Result<Vec<u8>, DmaError> {
        let mut out = Vec::with_capacity((count as usize) << self.log_entry);
        for n in 0..count {
            out.extend(mem.read_vec(self.address(index.wrapping_add(n)), 1 << self.log_entry)?);
        }
        Ok(out)
    }

    #[cfg(test)]
    pub fn for_test(pages: &[u64], log_page: u32, log_entries: u32, log_entry: u32) -> Ring {
        Ring { pages: pages.to_vec(), log_page, offset: 0, log_entries, log_entry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_through_the_pages_and_round() {
        let ring = Ring::for_test(&[0x10000, 0x40000], 12, 7, 6);
        assert_eq!(ring.address(0), 0x10000);
        assert_eq!(ring.address(63), 0x10fc0);
        assert_eq!(ring.address(64), 0x40000);
        assert_eq!(ring.address(128), 0x10000);
        assert_eq!(ring.address(u32::MAX), 0x40fc0);
    }
}
