// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The first 8 bytes of a sealed message's plaintext.
//!
//! ```text
//! 0  length 4   floor distance 2   padding 1   zero 1
//! ```
//!
//! They are in record 0, so they are authenticated before any byte of the message is delivered.
//! The length and the padding together determine how long the whole message is, so that the length
//! that its headers say in clear can be checked exactly: a receiver that believed a longer one would
//! wait for ever for bytes that there are not.

use super::super::wire::{MAX_MESSAGE, MAX_SEALED_MESSAGE, PREAMBLE_LEN};

/// The message's true length, and how far its client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// Bytes of the application's message: 1 to [`MAX_MESSAGE`].
    pub length: u32,
    /// Requests: how many ids lie between the client's floor and this message's.
    /// Responses: 0, and not looked at.
    pub floor_distance: u16,
    /// Zeros follow the application's bytes until the whole message, preamble included, is a
    /// multiple of 2 to the power of this; 0 for no padding, [`MAX_PADDING`] at most.
    pub padding: u8,
}

/// The most that a message is padded to is a multiple of 2 to the power of this: then all
/// messages have the same length, [`MAX_SEALED_MESSAGE`].
pub const MAX_PADDING: u8 = MAX_SEALED_MESSAGE.trailing_zeros() as u8;

/// Why record 0 authenticated and its preamble still cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreambleError {
    /// There is no whole preamble.
    Short,
    /// A reserved byte is set, or the padding is out of bounds: a newer peer.
    Reserved,
    /// The length is none that a message can have.
    Length,
}

/// How messages are padded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding(u8);

impl Padding {
    /// To a multiple of `bytes`, a power of two up to [`MAX_SEALED_MESSAGE`]; not at all for 0 or 1. Else `None`.
    pub fn to_multiple_of(bytes: u32) -> Option<Self> {
        match bytes {
            0 => Some(Self(0)),
            1..=MAX_SEALED_MESSAGE if bytes.is_power_of_two() => {
                Some(Self(bytes.trailing_zeros() as u8))
            }
            _ => None,
        }
    }

    /// What it is a multiple of; 0 if they are not padded.
    pub fn multiple(self) -> u32 {
        match self.0 {
            0 => 0,
            power => 1u32.checked_shl(u32::from(power)).unwrap_or(0),
        }
    }

    /// The preamble of a message of `length` application's bytes.
    #[inline]
    pub fn preamble(self, length: u32, floor_distance: u16) -> Preamble {
        Preamble { length, floor_distance, padding: self.0 }
    }

    /// What others see of a message's `length`: the whole with preamble, if it is padded.
    #[inline]
    pub fn visible(self, length: u32) -> u32 {
        match self.0 {
            0 => length,
            _ => self.preamble(length, 0).message_length(),
        }
    }
}

impl Preamble {
    /// Its length.
    pub const LEN: usize = PREAMBLE_LEN as usize;

    /// Reads the preamble that `plaintext`, that of record 0, begins with.
    pub fn parse(plaintext: &[u8]) -> Result<Self, PreambleError> {
        let head: &[u8; 8] = plaintext.first_chunk().ok_or(PreambleError::Short)?;
        let [a, b, c, d, e, f, padding, reserved] = *head;
        if padding > MAX_PADDING || reserved != 0 {
            return Err(PreambleError::Reserved);
        }
        let length = u32::from_be_bytes([a, b, c, d]);
        if !(1..=MAX_MESSAGE).contains(&length) {
            return Err(PreambleError::Length);
        }
        Ok(Self { length, floor_distance: u16::from_be_bytes([e, f]), padding })
    }

    /// Writes it.
    #[inline]
    pub fn emit(&self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.length.to_be_bytes();
        let [e, f] = self.floor_distance.to_be_bytes();
        [a, b, c, d, e, f, self.padding, 0]
    }

    /// Bytes of plaintext in the whole message: preamble, application's bytes and padding.
    #[inline]
    pub fn message_length(&self) -> u32 {
        let length = self.length.saturating_add(PREAMBLE_LEN);
        let mask = 1u32.checked_shl(u32::from(self.padding)).unwrap_or(1).wrapping_sub(1);
        length.saturating_add(mask) & !mask
    }

    /// Does a message with this preamble have `message_length` bytes, as its headers say in clear?
    ///
    /// If not, somebody changed the headers, and the packets are to be dropped.
    #[inline]
    pub fn agrees_with(&self, message_length: u32) -> bool {
        self.message_length() == message_length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        let preamble = Preamble { length: 0x0102, floor_distance: 0x0304, padding: 9 };
        assert_eq!(preamble.emit(), [0, 0, 1, 2, 3, 4, 9, 0]);
        assert_eq!(Preamble::parse(&[0, 0, 1, 2, 3, 4, 9, 0, 99]), Ok(preamble));
    }

    #[test]
    fn refuses() {
        assert_eq!(Preamble::parse(&[0, 0, 0, 1, 0, 0, 0]), Err(PreambleError::Short));
        assert_eq!(Preamble::parse(&[0, 0, 0, 1, 0, 0, 0, 1]), Err(PreambleError::Reserved));
        assert_eq!(Preamble::parse(&[0, 0, 0, 1, 0, 0, 21, 0]), Err(PreambleError::Reserved));
        assert_eq!(Preamble::parse(&[0; 8]), Err(PreambleError::Length));
        assert_eq!(Preamble::parse(&[0, 0x0f, 0x42, 0x41, 0, 0, 0, 0]), Err(PreambleError::Length));
        assert!(Preamble::parse(&[0, 0x0f, 0x42, 0x40, 0, 0, 0, 0]).is_ok());
    }

    #[test]
    fn paddings() {
        for bytes in [0, 2, 4, 1024, MAX_SEALED_MESSAGE] {
            assert_eq!(Padding::to_multiple_of(bytes).map(Padding::multiple), Some(bytes));
        }
        assert_eq!(Padding::to_multiple_of(1), Some(Padding::default()));
        for bytes in [3, 6, 1025, MAX_SEALED_MESSAGE + 1, 2 * MAX_SEALED_MESSAGE, u32::MAX] {
            assert_eq!(Padding::to_multiple_of(bytes), None);
        }
    }

    #[test]
    fn clear_and_authenticated_length_agree() {
        let preamble = Preamble { length: 100, floor_distance: 0, padding: 0 };
        assert!(preamble.agrees_with(108));
        assert!(!preamble.agrees_with(107) && !preamble.agrees_with(109));
        for (padding, length) in [(1, 108), (3, 112), (7, 128), (10, 1024), (20, 1 << 20)] {
            assert_eq!(Preamble { padding, ..preamble }.message_length(), length);
        }
        let full = Preamble { length: 120, padding: 7, ..preamble };
        assert_eq!(full.message_length(), 128);
        assert_eq!(Padding::default().visible(100), 100);
        let padding = Padding::to_multiple_of(128).unwrap();
        assert_eq!(padding.preamble(120, 3), Preamble { floor_distance: 3, ..full });
        assert_eq!((padding.visible(120), padding.visible(121)), (128, 256));
        let longest = Preamble { length: MAX_MESSAGE, padding: MAX_PADDING, ..preamble };
        assert_eq!(longest.message_length(), MAX_SEALED_MESSAGE);
    }
}
