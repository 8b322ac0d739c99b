// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How a message is cut: into records, segments and packets.
//!
//! ```text
//! plaintext   |-- record 0 --|-- record 1 --|- 2 -|            a plain message has no records
//! stream      |h-- record 0 --t|h-- record 1 --t|h- 2 -t|      what is sent, header and tag added
//! segments    |---------------------------------|-------|      whole records, handed to the NIC at once
//! packets     |-------|-------|-------|-------|-|-------|      cut anew in each segment
//! ```
//!
//! Positions in the stream, *stream offsets*, are what grants, resends and packets speak of. For a
//! plain message stream and plaintext are the same. A [`Layout`] is three numbers, from which all
//! the rest is computed; nothing is stored, so both ends agree as soon as they know the three.

use super::msgin::Range;
use super::wire::{MAX_RECORD, MAX_SEGMENT};

/// A message's length and its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of plaintext.
    length: u32,
    /// Bytes of plaintext per record but the last; `length` in a plain message.
    record_size: u32,
    /// What a record is longer in the stream; 0 in a plain message.
    overhead: u32,
    records: u32,
    stream_length: u32,
}

/// One record of a sealed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number in the message.
    pub index: u16,
    /// Where it is in the stream, header and tag included.
    pub stream: Range,
    /// Where its plaintext is in the message.
    pub plaintext: Range,
}

/// Bytes that are handed down together, to be cut into packets below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where its bytes are in the stream.
    pub stream: Range,
    /// Where that plaintext is in the message; sealed: that of its records.
    pub plaintext: Range,
    /// Number of the first record; 0 in a plain message.
    pub first_record: u16,
    /// Number of records; 0 in a plain message.
    pub records: u16,
}

/// How the path wants a stream to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Bytes of payload in a packet.
    packet: u32,
    /// Bytes of payload in a segment, at most.
    segment: u32,
}

impl Cut {
    /// Packets of `packet` bytes, in segments of at most `segment` bytes (headers not counted).
    ///
    /// `segment` is made no less than `packet` and no more than [`MAX_SEGMENT`]. `None` if
    /// `packet` is 0 or more than that.
    pub fn new(packet: u32, segment: u32) -> Option<Self> {
        if !(1..=MAX_SEGMENT).contains(&packet) {
            return None;
        }
        Some(Self { packet, segment: segment.clamp(packet, MAX_SEGMENT) })
    }

    /// Bytes of payload in a packet.
    pub fn packet(&self) -> u32 {
        self.packet
    }

    /// How many packets `bytes` of payload make.
    pub fn packets_for(&self, bytes: u32) -> u32 {
        div_up(bytes, self.packet)
    }

    /// Bytes of payload in a segment, at most.
    pub fn segment(&self) -> u32 {
        self.segment
    }
}

/// `a / b` rounded up; `b` is not 0. (`u32::div_ceil` panics if it is.)
#[inline]
pub(crate) fn div_up(a: u32, b: u32) -> u32 {
    // Most often so: and divisions are slow.
    if a.wrapping_sub(1) < b {
        return 1;
    }
    let whole = a.checked_div(b).unwrap_or(0);
    if whole.wrapping_mul(b) == a {
        whole
    } else {
        whole.wrapping_add(1)
    }
}

impl Layout {
    /// A plain message of `length` bytes; `None` if that is 0.
    pub fn plain(length: u32) -> Option<Self> {
        if length == 0 {
            return None;
        }
        Some(Self { length, record_size: length, overhead: 0, records: 0, stream_length: length })
    }

    /// A message of `length` bytes of plaintext (preamble and padding included), in records of
    /// `record_size` bytes that are `overhead` bytes longer in the stream.
    ///
    /// `None` if a number is 0, or out of bounds: records are at most [`MAX_RECORD`] long and
    /// 65,536 in number, and the stream fits 32 bits.
    #[inline]
    pub fn sealed(length: u32, record_size: u32, overhead: u32) -> Option<Self> {
        if length == 0 || overhead == 0 || !(1..=u32::from(MAX_RECORD)).contains(&record_size) {
            return None;
        }
        if length <= record_size && overhead <= 1 << 16 {
            // Most are one record.
            let stream_length = length.wrapping_add(overhead);
            return Some(Self { length, record_size, overhead, records: 1, stream_length });
        }
        let records = div_up(length, record_size);
        if records > 1 << 16 {
            return None;
        }
        let stream_length = records.checked_mul(overhead)?.checked_add(length)?;
        // Room for one record more, so that no sum below overflows.
        stream_length.checked_add(record_size)?.checked_add(overhead)?;
        Some(Self { length, record_size, overhead, records, stream_length })
    }

    /// Is it cut into records?
    #[inline]
    pub fn is_sealed(&self) -> bool {
        self.overhead != 0
    }

    /// Bytes of plaintext.
    #[inline]
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Bytes of the message as it is sent.
    #[inline]
    pub fn stream_length(&self) -> u32 {
        self.stream_length
    }

    /// Number of records; 0 for a plain message.
    #[inline]
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Bytes of plaintext per record but the last; for a plain message its length.
    #[inline]
    pub fn record_size(&self) -> u32 {
        self.record_size
    }

    /// Bytes of a whole record in the stream.
    #[inline]
    fn step(&self) -> u32 {
        self.record_size.wrapping_add(self.overhead)
    }

    /// Record `index`; `None` if there is none, as in a plain message.
    #[inline]
    pub fn record(&self, index: u32) -> Option<Record> {
        if index >= self.records {
            return None;
        }
        let plaintext = index.wrapping_mul(self.record_size);
        let stream = index.wrapping_mul(self.step());
        Some(Record {
            // There are at most 65,536.
            index: index as u16,
            stream: Range {
                start: stream,
                end: stream.wrapping_add(self.step()).min(self.stream_length),
            },
            plaintext: Range {
                start: plaintext,
                end: plaintext.wrapping_add(self.record_size).min(self.length),
            },
        })
    }

    /// The record that byte `offset` of the stream is in; `None` past the end, or if plain.
    ///
    /// Any packet that begins in this record can be sent as part of a segment that begins with it:
    /// with its index as first record, and the distance from its start as place. That is how
    /// single packets are sent again, however they were cut the first time.
    #[inline]
    pub fn record_at(&self, offset: u32) -> Option<Record> {
        if offset >= self.stream_length {
            return None;
        }
        if self.records == 1 {
            return self.record(0);
        }
        self.record(offset.checked_div(self.step())?)
    }

    /// The records that have bytes in `range`, in order.
    #[inline]
    pub fn records_in(&self, range: Range) -> Records {
        let end = range.end.min(self.stream_length);
        if range.start >= end || !self.is_sealed() {
            return Records { layout: *self, next: 0, end: 0 };
        }
        if self.records == 1 {
            return Records { layout: *self, next: 0, end: 1 };
        }
        Records {
            layout: *self,
            next: range.start.checked_div(self.step()).unwrap_or(0),
            end: div_up(end, self.step()).min(self.records),
        }
    }

    /// The segment to send from stream offset `from` on, if everything below `limit` may be sent.
    ///
    /// A segment of a sealed message begins with the record that `from` is in and holds whole
    /// records; one of a plain message begins at `from` and holds whole packets (but for the
    /// message's end). So it may reach beyond `limit`, by less than a record or a packet, and
    /// the sender says so in `incoming`.
    ///
    /// `None` if `from` is not below `limit` and the end of the stream, or if a record is longer
    /// than a segment.
    #[inline]
    pub fn segment(&self, cut: &Cut, from: u32, limit: u32) -> Option<Segment> {
        let limit = limit.min(self.stream_length);
        if from >= limit {
            return None;
        }
        if from == 0 && self.records <= 1 && self.stream_length <= cut.packet {
            // A short message.
            return Some(Segment {
                stream: self.stream(),
                plaintext: Range { start: 0, end: self.length },
                first_record: 0,
                records: self.records as u16,
            });
        }
        self.segment_of_many(cut, from, limit)
    }

    fn segment_of_many(&self, cut: &Cut, from: u32, limit: u32) -> Option<Segment> {
        if !self.is_sealed() {
            let packets = cut.segment.checked_div(cut.packet)?;
            let wanted = div_up(limit.wrapping_sub(from), cut.packet);
            // At most MAX_SEGMENT.
            let len = packets.min(wanted).wrapping_mul(cut.packet);
            let stream = Range { start: from, end: from.saturating_add(len).min(self.length) };
            return Some(Segment { stream, plaintext: stream, first_record: 0, records: 0 });
        }
        let first = self.record_at(from)?;
        let start = first.stream.start;
        // Records below `last` fit, and all those that `limit` asks for are below it.
        let last = match self.record_at(start.saturating_add(cut.segment)) {
            Some(record) => u32::from(record.index),
            None => self.records,
        };
        let last = last.min(div_up(limit, self.step()));
        let end = self.record(last.checked_sub(1)?)?;
        if end.stream.end <= start {
            return None;
        }
        Some(Segment {
            stream: Range { start, end: end.stream.end },
            plaintext: Range { start: first.plaintext.start, end: end.plaintext.end },
            first_record: first.index,
            records: end.index.wrapping_sub(first.index).wrapping_add(1),
        })
    }

    /// The segments that have the bytes of `range` of the stream: all of them, and no more than
    /// whole records or packets need.
    #[inline]
    pub fn segments(&self, cut: &Cut, range: Range) -> Segments {
        Segments { layout: *self, cut: *cut, rest: range }
    }

    /// The whole stream.
    #[inline]
    pub fn stream(&self) -> Range {
        Range { start: 0, end: self.stream_length }
    }
}

/// Records, in order: see [`Layout::records_in`].
#[derive(Clone, Debug)]
pub struct Records {
    layout: Layout,
    next: u32,
    end: u32,
}

impl Iterator for Records {
    type Item = Record;

    #[inline]
    fn next(&mut self) -> Option<Record> {
        if self.next >= self.end {
            return None;
        }
        let record = self.layout.record(self.next)?;
        self.next = self.next.wrapping_add(1);
        Some(record)
    }
}

/// Segments, in order: see [`Layout::segments`].
#[derive(Clone, Debug)]
pub struct Segments {
    layout: Layout,
    cut: Cut,
    rest: Range,
}

impl Iterator for Segments {
    type Item = Segment;

    #[inline]
    fn next(&mut self) -> Option<Segment> {
        let segment = self.layout.segment(&self.cut, self.rest.start, self.rest.end)?;
        self.rest.start = segment.stream.end;
        Some(segment)
    }
}

impl Segment {
    /// The packets that the segment is cut into: ranges of the stream, in order.
    ///
    /// A sealed packet's place in its segment is the difference of its start and the segment's.
    pub fn packets(&self, cut: &Cut) -> Packets {
        Packets { rest: self.stream, packet: cut.packet }
    }
}

/// Packets, in order: see [`Segment::packets`].
#[derive(Clone, Debug)]
pub struct Packets {
    rest: Range,
    packet: u32,
}

impl Iterator for Packets {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        let start = self.rest.start;
        let end = start.saturating_add(self.packet).min(self.rest.end);
        if start >= end {
            return None;
        }
        self.rest.start = end;
        Some(Range { start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn range(start: u32, end: u32) -> Range {
        Range { start, end }
    }

    /// 10,008 bytes of plaintext in records of 4096: 4118, 4118 and 1838 bytes of stream.
    fn sealed() -> Layout {
        Layout::sealed(10_008, 4096, 22).unwrap()
    }

    #[test]
    fn records_of_a_message() {
        let layout = sealed();
        assert_eq!((layout.records(), layout.stream_length()), (3, 10_074));
        let records: Vec<_> = layout.records_in(layout.stream()).collect();
        assert_eq!(
            records,
            [
                Record { index: 0, stream: range(0, 4118), plaintext: range(0, 4096) },
                Record { index: 1, stream: range(4118, 8236), plaintext: range(4096, 8192) },
                Record { index: 2, stream: range(8236, 10_074), plaintext: range(8192, 10_008) },
            ]
        );
        assert_eq!(layout.record(3), None);
        assert_eq!(layout.record_at(4117), Some(records[0]));
        assert_eq!(layout.record_at(4118), Some(records[1]));
        assert_eq!(layout.record_at(10_073), Some(records[2]));
        assert_eq!(layout.record_at(10_074), None);
        assert!(layout.records_in(range(4117, 4119)).eq([records[0], records[1]]));
        assert!(layout.records_in(range(4118, 4119)).eq([records[1]]));
        assert_eq!(layout.records_in(range(10_074, u32::MAX)).count(), 0);
        assert_eq!(layout.records_in(range(5, 5)).count(), 0);
    }

    #[test]
    fn no_last_record_of_nothing() {
        let layout = Layout::sealed(8192, 4096, 22).unwrap();
        assert_eq!((layout.records(), layout.stream_length()), (2, 8236));
    }

    #[test]
    fn impossible_layouts() {
        for (length, record, overhead) in
            [(0, 64, 22), (9, 0, 22), (9, 16_385, 22), (65_537, 1, 22), (9, 64, 0)]
        {
            assert_eq!(Layout::sealed(length, record, overhead), None);
        }
        assert_eq!(Layout::sealed(u32::MAX, 16_384, 22), None);
        assert_eq!(Layout::sealed(65_536, 1, u32::MAX), None);
        assert!(Layout::sealed(65_536, 1, 22).is_some());
        assert_eq!(Layout::plain(0), None);
        assert_eq!((Cut::new(0, 100), Cut::new(65_536, 65_536)), (None, None));
    }

    #[test]
    fn segments_hold_whole_records() {
        let cut = Cut::new(1440, 9000).unwrap();
        let segments: Vec<_> = sealed().segments(&cut, sealed().stream()).collect();
        assert_eq!(
            segments,
            [
                Segment {
                    stream: range(0, 8236),
                    plaintext: range(0, 8192),
                    first_record: 0,
                    records: 2
                },
                Segment {
                    stream: range(8236, 10_074),
                    plaintext: range(8192, 10_008),
                    first_record: 2,
                    records: 1
                },
            ]
        );
        let packets: Vec<_> = segments[0].packets(&cut).collect();
        assert_eq!(packets.len(), 6);
        assert_eq!((packets[0], packets[5]), (range(0, 1440), range(7200, 8236)));
    }

    #[test]
    fn a_short_last_record_still_fits() {
        let cut = Cut::new(1440, 8236 + 1838).unwrap();
        assert_eq!(sealed().segment(&cut, 0, u32::MAX).unwrap().records, 3);
        let cut = Cut::new(1440, 8236 + 1837).unwrap();
        assert_eq!(sealed().segment(&cut, 0, u32::MAX).unwrap().records, 2);
    }

    #[test]
    fn a_record_longer_than_a_segment_cannot_be_sent() {
        let cut = Cut::new(1440, 4117).unwrap();
        assert_eq!(sealed().segment(&cut, 0, u32::MAX), None);
        // But the last one fits.
        assert!(sealed().segment(&cut, 8236, u32::MAX).is_some());
    }

    #[test]
    fn a_limit_is_rounded_up_to_a_record() {
        let cut = Cut::new(1440, 65_535).unwrap();
        let end = |from, limit| sealed().segment(&cut, from, limit).map(|s| s.stream.end);
        assert_eq!(end(0, 1), Some(4118));
        assert_eq!(end(0, 4118), Some(4118));
        assert_eq!(end(0, 4119), Some(8236));
        assert_eq!(end(4118, 4118), None);
        assert_eq!(end(4118, 8237), Some(10_074));
        assert_eq!(end(0, 0), None);
        assert_eq!(end(10_074, u32::MAX), None);
    }

    #[test]
    fn plain_segments_are_whole_packets() {
        let layout = Layout::plain(10_000).unwrap();
        let cut = Cut::new(1440, 4000).unwrap();
        let segments: Vec<_> = layout
            .segments(&cut, layout.stream())
            .map(|s| (s.stream.start, s.stream.end))
            .collect();
        assert_eq!(segments, [(0, 2880), (2880, 5760), (5760, 8640), (8640, 10_000)]);
        // As much as a limit asks for, in whole packets.
        assert_eq!(layout.segment(&cut, 0, 1).unwrap().stream, range(0, 1440));
        assert_eq!(layout.segment(&cut, 100, 1541).unwrap().stream, range(100, 2980));
        assert_eq!(layout.records_in(layout.stream()).count(), 0);
        assert_eq!(layout.record(0), None);
    }
}
