// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Ids as programs see them: unique on their socket, whatever session they belong to.
//!
//! Sessions count their ids from 0, so two sessions of a socket have the same ids. A program sees
//! them with a tag in the top 16 bits, which the socket gives to each of its sessions and which
//! never goes on the wire. Tag 0 is for plain RPCs, whose ids are host-wide and below 2^48.

use super::seq::MessageId;

/// A session's number on its socket: 1 to 65,535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionTag(u16);

impl SessionTag {
    /// The tag `number`; `None` for 0.
    pub const fn new(number: u16) -> Option<Self> {
        if number == 0 {
            None
        } else {
            Some(Self(number))
        }
    }

    /// The tag as an integer.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// What a program sees for the message `id` of this session.
    #[inline]
    pub const fn program_id(self, id: MessageId) -> u64 {
        ((self.0 as u64) << 48) | id.get()
    }
}

/// An id that came from a program: the session's tag, if it is of a session, and the id in it.
///
/// `None` if it is no id that a program was ever given.
#[inline]
pub const fn split(program_id: u64) -> Option<(Option<SessionTag>, u64)> {
    let id = program_id & ((1 << 48) - 1);
    match SessionTag::new((program_id >> 48) as u16) {
        Some(tag) if id < MessageId::END => Some((Some(tag), id)),
        Some(_) => None,
        None => Some((None, id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let tag = SessionTag::new(0xfffe).unwrap();
        let id = MessageId::new(0x7fff_ffff_ffff).unwrap();
        assert_eq!(tag.program_id(id), 0xfffe_7fff_ffff_ffff);
        assert_eq!(split(0xfffe_7fff_ffff_ffff), Some((Some(tag), id.get())));
        assert_eq!(split(0xfffe_8000_0000_0000), None);
        assert_eq!(split(0x8000_0000_0002), Some((None, 0x8000_0000_0002)));
        assert_eq!(SessionTag::new(0), None);
    }
}
