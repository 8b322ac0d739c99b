// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A packet: the header's real bytes, and a model of the payload.
//!
//! A message's bytes are a function of what it says ([`Message::content`]) and of the place, so nobody
//! stores them. A payload knows which bytes of which message it has; whoever keeps a part of it adds that
//! part's [`Digest`] to the message's. Digests of neighbouring parts add up to that of the whole, and
//! only if every byte is there exactly once, at its place, of the right message, and unharmed.

use homa_core::layout::{Layout, Record};
use homa_core::msgin::Range;
use homa_core::wire::MAX_HEADER;

use crate::net::port::Wait;

/// Bytes on the wire beside the IP packet: Ethernet's header, checksum, preamble and the least gap.
pub const ETHERNET: u32 = 14 + 4 + 8 + 12;
/// An IPv4 header.
pub const IP: u32 = 20;

/// A host: its number, from 0.
pub type HostId = u16;

/// Mixes 64 bits well (the finalizer of SplitMix64).
pub const fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What a program sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Bytes; at least 1.
    pub length: u32,
    /// What they say: equal numbers mean equal bytes.
    pub content: u64,
}

/// A sum over bytes of a message, of all parts that were kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    /// The digest of the bytes `range` of the stream whose bytes follow from `content`.
    pub fn of(content: u64, range: Range) -> Self {
        let at = |place: u32| mix(content ^ ((u64::from(place) << 32) | 0x5bd1));
        Self(at(range.end).wrapping_sub(at(range.start)))
    }

    /// Adds a part.
    pub fn add(&mut self, part: Self) {
        self.0 = self.0.wrapping_add(part.0);
    }
}

/// The bytes that follow the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Of the message that they are of.
    pub content: u64,
    /// Where they stand in that message's stream, whatever the header says.
    pub start: u32,
    /// How many.
    pub len: u32,
    /// Sealed: what the seal depends on ([`seal`]); 0 if plain. As the model goes, a record opens
    /// if all its bytes have the seal that is expected, and stand where they should, in a record that
    /// was sealed from here to there.
    pub seal: u64,
    /// Sealed: how the message was cut into records.
    pub layout: Option<Layout>,
    /// Sealed: the first bytes of the message's plaintext. (Records of a message all carry them, for
    /// simplicity; it is part of record 0.)
    pub preamble: [u8; 8],
    /// Not 0: damaged on its way.
    pub noise: u64,
}

/// The seal of message `id`, by a key.
pub fn seal(key: u64, id: u64) -> u64 {
    mix(key ^ mix(id)) | 1
}

impl Payload {
    /// No bytes.
    pub const NONE: Self =
        Self { content: 0, start: 0, len: 0, seal: 0, layout: None, preamble: [0; 8], noise: 0 };

    /// The digest of what is told in the bytes `kept` of the stream, if the payload begins at `place` of it,
    /// as the header says.
    pub fn digest(&self, place: u32, kept: Range) -> Digest {
        self.digest_of(self.content, place, kept)
    }

    /// The digest of their seal, as part of `record`: equal to `Digest::of(seal, kept)` where each byte is as it
    /// was sealed.
    pub fn seal_digest(&self, place: u32, kept: Range, record: &Record) -> Digest {
        let mut digest = self.digest_of(self.seal, place, kept);
        let sealed_as = self.layout.and_then(|layout| layout.record(u32::from(record.index)));
        if sealed_as != Some(*record) {
            digest.add(Digest(mix(u64::from(kept.start) | (1 << 40))));
        }
        digest
    }

    fn digest_of(&self, content: u64, place: u32, kept: Range) -> Digest {
        let displaced = if place == self.start {
            0
        } else {
            mix((u64::from(place) << 32) | u64::from(self.start))
        };
        let mut digest = Digest::of(content, kept);
        digest.0 = digest.0.wrapping_add(self.noise).wrapping_add(displaced);
        digest
    }
}

/// A packet as IP sees it.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Whose it is; a forger may lie.
    pub source: HostId,
    /// For whom.
    pub destination: HostId,
    /// Switches serve the highest first: 0 to 7.
    pub priority: u8,
    /// IPv4's identification.
    pub ip_id: u16,
    /// Bytes of `header` that count.
    pub header_len: u8,
    /// Homa's header.
    pub header: [u8; MAX_HEADER],
    /// What follows it.
    pub payload: Payload,
    /// How long it has waited in switches so far.
    pub waited: Wait,
}

impl Packet {
    /// A packet with this header; too long a header is cut off.
    pub fn new(
        source: HostId,
        destination: HostId,
        priority: u8,
        head: &[u8],
        payload: Payload,
    ) -> Self {
        let mut header = [0; MAX_HEADER];
        let len = head.len().min(MAX_HEADER);
        header[..len].copy_from_slice(&head[..len]);
        let waited = Wait::default();
        let header_len = len as u8;
        Self { source, destination, priority, ip_id: 0, header_len, header, payload, waited }
    }

    /// Homa's header.
    pub fn head(&self) -> &[u8] {
        &self.header[..usize::from(self.header_len)]
    }

    /// Bytes that IP carries: header and payload.
    pub fn len(&self) -> u32 {
        u32::from(self.header_len) + self.payload.len
    }

    /// There is always a header.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes of time that it takes on an Ethernet link.
    pub fn wire_len(&self) -> u32 {
        (self.len() + IP).max(46) + ETHERNET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u32, end: u32) -> Range {
        Range { start, end }
    }

    #[test]
    fn parts_add_up_only_to_the_right_whole() {
        let part = |start, len| Payload { content: 7, start, len, ..Payload::NONE };
        let kept =
            |part: Payload| part.digest(part.start, range(part.start, part.start + part.len));
        let whole = Digest::of(7, range(0, 3000));
        let sum = |parts: &[Digest]| {
            let mut sum = Digest::default();
            parts.iter().for_each(|p| sum.add(*p));
            sum
        };
        let [a, b, c] = [part(0, 1000), part(1000, 1000), part(2000, 1000)];
        assert_eq!(sum(&[kept(c), kept(a), kept(b)]), whole);
        // Overlap, cut away by the receiver.
        assert_eq!(sum(&[kept(a), part(500, 2500).digest(500, range(1000, 3000))]), whole);
        // Twice, missing, places exchanged, of another message, damaged.
        assert_ne!(sum(&[kept(a), kept(b), kept(b), kept(c)]), whole);
        assert_ne!(sum(&[kept(a), kept(c)]), whole);
        let exchanged = [a.digest(1000, range(1000, 2000)), b.digest(0, range(0, 1000)), kept(c)];
        assert_ne!(sum(&exchanged), whole);
        let other = Payload { content: 8, ..b };
        assert_ne!(sum(&[kept(a), kept(other), kept(c)]), whole);
        let damaged = Payload { noise: 1, ..b };
        assert_ne!(sum(&[kept(a), kept(damaged), kept(c)]), whole);
    }
}
