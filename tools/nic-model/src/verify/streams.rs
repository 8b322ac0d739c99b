// SPDX-License-Identifier: GPL-2.0 OR MIT

//! TCP streams, put together from a capture.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::IpAddr;

use pcap_file::pcapng::{Block, PcapNgReader};

use crate::packet::{self, protocol};

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The sequence number of the first byte, if the SYN was there.
    start: Option<u32>,
    data: Vec<u8>,
    /// What of `data` is known: beginning and end of each piece.
    known: BTreeMap<usize, usize>,
    /// Bytes that came more than once.
    pub resent: u64,
    /// Bytes that were not the same the second time.
    pub changed: u64,
    /// Segments that lie nowhere near the stream.
    pub strays: u64,
}

/// Address and port of both ends, the sender's first.
pub type Flow = (IpAddr, u16, IpAddr, u16);

/// All streams of a capture.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// In the order of the flows.
    pub streams: BTreeMap<Flow, Vec<Stream>>,
    /// Packets in the file.
    pub packets: u64,
}

impl Capture {
    /// Reads a pcapng file of Ethernet frames.
    pub fn read(file: impl Read) -> io::Result<Self> {
        let mut reader = PcapNgReader::new(file).map_err(io::Error::other)?;
        let mut capture = Capture::default();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.map_err(io::Error::other)? {
                capture.add(&packet.data);
            }
        }
        Ok(capture)
    }

    /// Adds a frame. What is not TCP is no matter.
    pub fn add(&mut self, frame: &[u8]) {
        const SYN: u8 = 0x02;

        self.packets += 1;
        let Some(headers) = packet::parse(frame) else { return };
        let (Some(ip), Some(l4)) = (&headers.ip, &headers.l4) else { return };
        let (Some(tcp), Some(payload)) = (frame.get(ip.l4..), frame.get(l4.payload..ip.end)) else {
            return;
        };
        let (Some(seq), Some(flags)) = (tcp.get(4..).and_then(|t| t.first_chunk()), tcp.get(13))
        else {
            return;
        };
        if ip.protocol != protocol::TCP {
            return;
        }
        let seq = u32::from_be_bytes(*seq);
        let streams = self.streams.entry((ip.src, l4.src_port, ip.dst, l4.dst_port)).or_default();
        if flags & SYN != 0 {
            // The same SYN again, or the next connection with the same ports.
            let start = Some(seq.wrapping_add(1));
            if streams.last().is_none_or(|s| s.start != start) {
                streams.push(Stream { start, ..Stream::default() });
            }
        } else if let Some(stream) = streams.last_mut() {
            stream.add(seq, payload);
        }
    }
}

impl Stream {
    fn add(&mut self, seq: u32, payload: &[u8]) {
        // More than a window of these programs, and little enough that a stray segment fills no memory.
        const NEAR: i32 = 1 << 24;

        if payload.is_empty() {
            return;
        }
        let Some(start) = self.start else { return };
        let here = start.wrapping_add(self.data.len() as u32);
        let distance = seq.wrapping_sub(here) as i32;
        let at = self.data.len() as i64 + i64::from(distance);
        if !(-NEAR..NEAR).contains(&distance) || at < 0 {
            self.strays += 1;
            return;
        }
        self.put(at as usize, payload);
    }

    fn put(&mut self, at: usize, payload: &[u8]) {
        let end = at + payload.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        // What overlaps must agree.
        let (mut from, mut to) = (at, end);
        let before =
            self.known.range(..=at).next_back().map(|(a, b)| (*a, *b)).filter(|(_, b)| *b >= at);
        let inside: Vec<_> = self
            .known
            .range(at..=end)
            .map(|(a, b)| (*a, *b))
            .filter(|p| Some(*p) != before)
            .collect();
        for (a, b) in before.into_iter().chain(inside) {
            let both = a.max(at)..b.min(end);
            if let (Some(old), Some(new)) =
                (self.data.get(both.clone()), payload.get(both.start - at..both.end - at))
            {
                self.resent += old.len() as u64;
                self.changed += old.iter().zip(new).filter(|(o, n)| o != n).count() as u64;
            }
            self.known.remove(&a);
            (from, to) = (from.min(a), to.max(b));
        }
        if let Some(place) = self.data.get_mut(at..end) {
            place.copy_from_slice(payload);
        }
        self.known.insert(from, to);
    }

    /// The bytes from the stream's beginning to the first gap.
    pub fn bytes(&self) -> &[u8] {
        let end =
            self.known.first_key_value().filter(|(from, _)| **from == 0).map_or(0, |(_, to)| *to);
        self.data.get(..end).unwrap_or_default()
    }

    /// How many bytes lie after the first gap.
    pub fn after_gap(&self) -> usize {
        self.data.len() - self.bytes().len()
    }
}
