// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The first 8 bytes of a sealed message's plaintext.
//!
//! ```text
//! 0  length 4   floor distance 2   flags 1   zero 1
//! ```
//!
//! They are in record 0, so they are authenticated before any byte of the message is delivered.

use super::super::wire::{MAX_MESSAGE, PREAMBLE_LEN};

/// The message's true length, and how far its client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// Bytes of the application's message: 1 to [`MAX_MESSAGE`].
    pub length: u32,
    /// Requests: how many ids lie between the client's floor and this message's.
    /// Responses: 0, and not looked at.
    pub floor_distance: u16,
    /// Padding follows the application's bytes.
    pub padded: bool,
}

/// Why record 0 authenticated and its preamble still cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreambleError {
    /// There is no whole preamble.
    Short,
    /// A reserved bit is set: a newer peer.
    Reserved,
    /// The length is none that a message can have.
    Length,
}

impl Preamble {
    /// Its length.
    pub const LEN: usize = PREAMBLE_LEN as usize;

    const PADDED: u8 = 1;

    /// Reads the preamble that `plaintext`, that of record 0, begins with.
    pub fn parse(plaintext: &[u8]) -> Result<Self, PreambleError> {
        let head: &[u8; 8] = plaintext.first_chunk().ok_or(PreambleError::Short)?;
        let [a, b, c, d, e, f, flags, reserved] = *head;
        if flags & !Self::PADDED != 0 || reserved != 0 {
            return Err(PreambleError::Reserved);
        }
        let length = u32::from_be_bytes([a, b, c, d]);
        if !(1..=MAX_MESSAGE).contains(&length) {
            return Err(PreambleError::Length);
        }
        Ok(Self {
            length,
            floor_distance: u16::from_be_bytes([e, f]),
            padded: flags & Self::PADDED != 0,
        })
    }

    /// Writes it.
    #[inline]
    pub fn emit(&self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.length.to_be_bytes();
        let [e, f] = self.floor_distance.to_be_bytes();
        [a, b, c, d, e, f, u8::from(self.padded), 0]
    }

    /// Does a message with this preamble have `message_length` bytes, as its headers say in clear?
    ///
    /// If not, somebody changed the headers, and the message is to be dropped. With padding the
    /// headers may say more than the preamble (how much padding there is decides nothing).
    #[inline]
    pub fn agrees_with(&self, message_length: u32) -> bool {
        let least = self.length.saturating_add(PREAMBLE_LEN);
        if self.padded {
            message_length > least
        } else {
            message_length == least
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        let preamble = Preamble { length: 0x0102, floor_distance: 0x0304, padded: true };
        assert_eq!(preamble.emit(), [0, 0, 1, 2, 3, 4, 1, 0]);
        assert_eq!(Preamble::parse(&[0, 0, 1, 2, 3, 4, 1, 0, 99]), Ok(preamble));
    }

    #[test]
    fn refuses() {
        assert_eq!(Preamble::parse(&[0, 0, 0, 1, 0, 0, 0]), Err(PreambleError::Short));
        assert_eq!(Preamble::parse(&[0, 0, 0, 1, 0, 0, 0, 1]), Err(PreambleError::Reserved));
        assert_eq!(Preamble::parse(&[0, 0, 0, 1, 0, 0, 2, 0]), Err(PreambleError::Reserved));
        assert_eq!(Preamble::parse(&[0; 8]), Err(PreambleError::Length));
        assert_eq!(Preamble::parse(&[0, 0x0f, 0x42, 0x41, 0, 0, 0, 0]), Err(PreambleError::Length));
        assert!(Preamble::parse(&[0, 0x0f, 0x42, 0x40, 0, 0, 0, 0]).is_ok());
    }

    #[test]
    fn clear_and_authenticated_length_agree() {
        let preamble = Preamble { length: 100, floor_distance: 0, padded: false };
        assert!(preamble.agrees_with(108));
        assert!(!preamble.agrees_with(107) && !preamble.agrees_with(109));
        let padded = Preamble { padded: true, ..preamble };
        assert!(padded.agrees_with(109) && padded.agrees_with(1024));
        assert!(!padded.agrees_with(108) && !padded.agrees_with(107));
    }
}
