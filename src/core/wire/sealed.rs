// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Packets of a session: sealed DATA, and control packets with a tag.
//!
//! Sealed DATA has plain DATA's header and four bytes more, 60 in all:
//!
//! ```text
//!   4  sequence 4: the payload's place in its segment, as sent
//!  14  window 2: payload bytes per packet
//!  20  sender id 8: message id, below 2^47
//!  28  message length 4: plaintext, with preamble and padding
//!  32  incoming 4: a stream offset
//!  36  zero 10   cutoff version 2   retransmit 1   zero 1
//!  50  first record 2   segment offset 4: plaintext before the segment
//!  56  record size 2   seal flags 1   format version 1
//! ```
//!
//! A sealed control packet is the plain one with another type, the seal flags and the format
//! version in the sequence's place, and then the control counter (8 bytes) and a tag (16 bytes).
//!
//! Parsing believes nothing: it checks that the fields agree with each other and are within
//! bounds. Whether they are true is seen when a record, or the tag, authenticates.

use super::super::layout::Layout;
use super::super::session::epoch::Epoch;
use super::super::session::seq::MessageId;
use super::super::session::TlsVersion;
use super::bytes::{put, u16_at, u32_at, u64_at, u8_at};
use super::common::{at, Common, COMMON_LEN};
use super::control::{Control, Header};
use super::{
    Malformed, PacketType, FORMAT, MAX_HEADER, MAX_RECORD, MAX_SEALED_MESSAGE, MAX_SEGMENT,
    MIN_RECORD, MIN_SEALED_MESSAGE,
};

/// Length of the sealed DATA header.
pub const SEALED_DATA_LEN: usize = 60;

/// Length of the authentication tag of a control packet (and of a record): AES-GCM's.
pub const TAG_LEN: usize = 16;

/// What a sealed control packet adds to the plain one: counter and tag.
pub const SEALED_CONTROL_EXTRA: usize = 8 + TAG_LEN;

/// The byte that says how a packet was sealed.
///
/// Bits 0 and 1: key epoch; bit 2: TLS 1.3 (else 1.2); bit 3, DATA only: the place comes from
/// the IPv4 identification; bits 4 to 7: zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealFlags {
    /// Which of the session's keys.
    pub epoch: Epoch,
    /// Which kind of record and nonce.
    pub version: TlsVersion,
}

impl SealFlags {
    const TLS13: u8 = 1 << 2;
    const PLACE_FROM_IP_ID: u8 = 1 << 3;

    fn to_wire(self) -> u8 {
        self.epoch.number()
            | match self.version {
                TlsVersion::Tls12 => 0,
                TlsVersion::Tls13 => Self::TLS13,
            }
    }

    /// The flags in `byte`, of which only the bits of `allowed` may be set beyond them.
    fn from_wire(byte: u8, allowed: u8) -> Result<Self, Malformed> {
        if byte & !(Epoch::MASK | Self::TLS13 | allowed) != 0 {
            return Err(Malformed::Reserved);
        }
        Ok(Self {
            epoch: Epoch::new(byte),
            version: if byte & Self::TLS13 != 0 { TlsVersion::Tls13 } else { TlsVersion::Tls12 },
        })
    }
}

/// A sealed DATA packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedData {
    /// Bytes of plaintext in the whole message: [`MIN_SEALED_MESSAGE`] to
    /// [`MAX_SEALED_MESSAGE`]. Not authenticated; the preamble tells the truth.
    pub message_length: u32,
    /// The sender sends everything below this stream offset without further grants; at most the
    /// length of the stream.
    pub incoming: u32,
    /// Version of the newest CUTOFFS that the sender has from the receiver; 0 for none.
    pub cutoff_version: u16,
    /// Was it sent before?
    pub retransmit: bool,
    /// How it was sealed.
    pub flags: SealFlags,
    /// Bytes of plaintext in every record but the last: [`MIN_RECORD`] to [`MAX_RECORD`].
    pub record_size: u16,
    /// Index of the first record of the segment that this packet belongs to. (The segment offset,
    /// which the packet also carries, is this times `record_size`.)
    pub first_record: u16,
    /// The payload's place in its segment, unless `place_from_ip_id`.
    pub sequence: u32,
    /// Bytes of payload in each packet of the segment but the last; may be 0 if nobody needs it.
    pub window: u16,
    /// The payload's place in its segment is the IPv4 identification times `window`.
    pub place_from_ip_id: bool,
    /// Bytes of payload, at least 1: what follows the header.
    pub payload: u32,
}

impl SealedData {
    /// Reads the header of a packet of `len` bytes, whose sender id is `sender_id`.
    ///
    /// # Errors
    ///
    /// - [`Malformed::Short`]: there is no payload;
    /// - [`Malformed::Format`]: another version of the format;
    /// - [`Malformed::Reserved`]: a reserved bit is set;
    /// - [`Malformed::Id`]: the sender id is not a message id;
    /// - [`Malformed::Length`]: the message's length is none that a message can have;
    /// - [`Malformed::Record`]: record size, first record and segment offset do not fit together
    ///   or into the message;
    /// - [`Malformed::Place`]: the payload is not inside the segment and the message.
    #[inline]
    pub fn parse(
        head: &[u8; SEALED_DATA_LEN],
        sender_id: u64,
        len: usize,
    ) -> Result<Self, Malformed> {
        const N: usize = SEALED_DATA_LEN;
        let payload = len.checked_sub(SEALED_DATA_LEN).filter(|payload| *payload != 0);
        let payload = payload.ok_or(Malformed::Short)?;
        let payload = u32::try_from(payload).map_err(|_| Malformed::Place)?;

        if u8_at::<{ at::FORMAT }, N>(head) != FORMAT {
            return Err(Malformed::Format);
        }
        let flags = u8_at::<{ at::SEAL_FLAGS }, N>(head);
        let place_from_ip_id = flags & SealFlags::PLACE_FROM_IP_ID != 0;
        let flags = SealFlags::from_wire(flags, SealFlags::PLACE_FROM_IP_ID)?;
        if u8_at::<{ at::PAD }, N>(head) != 0 {
            return Err(Malformed::Reserved);
        }
        if MessageId::new(sender_id).is_none() {
            return Err(Malformed::Id);
        }
        let message_length = u32_at::<{ at::MESSAGE_LENGTH }, N>(head);
        if !(MIN_SEALED_MESSAGE..=MAX_SEALED_MESSAGE).contains(&message_length) {
            return Err(Malformed::Length);
        }
        let mut data = Self {
            message_length,
            incoming: u32_at::<{ at::INCOMING }, N>(head),
            cutoff_version: u16_at::<{ at::CUTOFF_VERSION }, N>(head),
            retransmit: u8_at::<{ at::RETRANSMIT }, N>(head) != 0,
            flags,
            record_size: u16_at::<{ at::RECORD_SIZE }, N>(head),
            first_record: u16_at::<{ at::FIRST_RECORD }, N>(head),
            sequence: u32_at::<{ at::SEQUENCE }, N>(head),
            window: u16_at::<{ at::WINDOW }, N>(head),
            place_from_ip_id,
            payload,
        };
        if !(MIN_RECORD..=MAX_RECORD).contains(&data.record_size)
            || u32_at::<{ at::SEGMENT_OFFSET }, N>(head) != data.segment_offset()
            || data.segment_offset() >= message_length
        {
            return Err(Malformed::Record);
        }
        let layout = data.layout().ok_or(Malformed::Record)?;
        data.incoming = data.incoming.min(layout.stream_length());
        if !place_from_ip_id {
            data.offset_of(data.sequence, &layout)?;
        }
        Ok(data)
    }

    /// Bytes of plaintext before the segment.
    #[inline]
    pub fn segment_offset(&self) -> u32 {
        u32::from(self.first_record).wrapping_mul(u32::from(self.record_size))
    }

    /// How the message is cut into records; always `Some` for a parsed packet.
    #[inline]
    pub fn layout(&self) -> Option<Layout> {
        Layout::sealed(
            self.message_length,
            u32::from(self.record_size),
            self.flags.version.record_overhead(),
        )
    }

    /// Where the payload begins in the stream: the message's sealed bytes as they are sent.
    ///
    /// `ip_id` is the IPv4 identification, of which packets with `place_from_ip_id` have need;
    /// `None` for IPv6.
    ///
    /// # Errors
    ///
    /// [`Malformed::Place`]: the payload is not inside the segment and the message, or its place
    /// is told by an identification that there is not.
    #[inline]
    pub fn stream_offset(&self, ip_id: Option<u16>) -> Result<u32, Malformed> {
        let place = if self.place_from_ip_id {
            let packet = ip_id.filter(|_| self.window != 0).ok_or(Malformed::Place)?;
            u32::from(packet).wrapping_mul(u32::from(self.window))
        } else {
            self.sequence
        };
        self.offset_of(place, &self.layout().ok_or(Malformed::Record)?)
    }

    /// The stream offset of `place` in the segment.
    #[inline]
    fn offset_of(&self, place: u32, layout: &Layout) -> Result<u32, Malformed> {
        match place.checked_add(self.payload) {
            Some(end) if end <= MAX_SEGMENT => {}
            _ => return Err(Malformed::Place),
        }
        let record = layout.record(u32::from(self.first_record)).ok_or(Malformed::Record)?;
        // No overflow: a stream and a segment are short.
        let offset = record.stream.start.wrapping_add(place);
        if offset.wrapping_add(self.payload) > layout.stream_length() {
            return Err(Malformed::Place);
        }
        Ok(offset)
    }

    /// Writes the header; `payload` is not part of it.
    #[inline]
    pub fn emit(&self, common: &Common) -> [u8; SEALED_DATA_LEN] {
        const N: usize = SEALED_DATA_LEN;
        let mut head = [0; N];
        common.write(&mut head, PacketType::SealedData, (SEALED_DATA_LEN / 4) as u8);
        put::<{ at::SEQUENCE }, 4, N>(&mut head, self.sequence.to_be_bytes());
        put::<{ at::WINDOW }, 2, N>(&mut head, self.window.to_be_bytes());
        put::<{ at::MESSAGE_LENGTH }, 4, N>(&mut head, self.message_length.to_be_bytes());
        put::<{ at::INCOMING }, 4, N>(&mut head, self.incoming.to_be_bytes());
        put::<{ at::CUTOFF_VERSION }, 2, N>(&mut head, self.cutoff_version.to_be_bytes());
        put::<{ at::RETRANSMIT }, 1, N>(&mut head, [u8::from(self.retransmit)]);
        put::<{ at::FIRST_RECORD }, 2, N>(&mut head, self.first_record.to_be_bytes());
        put::<{ at::SEGMENT_OFFSET }, 4, N>(&mut head, self.segment_offset().to_be_bytes());
        put::<{ at::RECORD_SIZE }, 2, N>(&mut head, self.record_size.to_be_bytes());
        let place = if self.place_from_ip_id { SealFlags::PLACE_FROM_IP_ID } else { 0 };
        put::<{ at::SEAL_FLAGS }, 1, N>(&mut head, [self.flags.to_wire() | place]);
        put::<{ at::FORMAT }, 1, N>(&mut head, [FORMAT]);
        head
    }
}

/// A sealed control packet, not yet authenticated: nothing in it may be acted upon before its
/// tag was found right and its counter new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedControl {
    /// The plain packet's fields.
    pub inner: Control,
    /// How it was sealed.
    pub flags: SealFlags,
    /// The control counter, below 2^63.
    pub counter: u64,
    /// The tag.
    pub tag: [u8; TAG_LEN],
    /// The packet's first bytes that the tag is over: header and counter.
    pub aad_len: usize,
}

/// A sealed control packet that still lacks its tag.
#[derive(Clone, Copy, Debug)]
pub struct UntaggedControl {
    header: Header,
}

impl UntaggedControl {
    /// The associated data that the tag is to be computed over (with no plaintext).
    pub fn aad(&self) -> &[u8] {
        self.header.as_slice()
    }

    /// The packet, with its tag.
    pub fn finish(self, tag: &[u8; TAG_LEN]) -> Header {
        let mut header = self.header;
        let len = usize::from(header.len);
        if let Some(place) = header.bytes.get_mut(len..).and_then(<[u8]>::first_chunk_mut) {
            *place = *tag;
            header.len = header.len.saturating_add(TAG_LEN as u8);
        }
        header
    }
}

impl SealedControl {
    /// Reads the sealed control packet with the (plain) type `kind`; `head` is all of it and it
    /// is `len` bytes long.
    ///
    /// # Errors
    ///
    /// As for plain control packets, and:
    /// - [`Malformed::Trailing`]: it goes on after the tag;
    /// - [`Malformed::Format`]: another version of the format;
    /// - [`Malformed::Reserved`]: a reserved bit is set;
    /// - [`Malformed::Id`]: the sender id is not a message id.
    pub(super) fn parse(
        head: &[u8],
        sender_id: u64,
        kind: PacketType,
        len: usize,
    ) -> Result<Self, Malformed> {
        const N: usize = COMMON_LEN;
        let common: &[u8; N] = head.first_chunk().ok_or(Malformed::Short)?;
        if u8_at::<{ at::CONTROL_FORMAT }, N>(common) != FORMAT {
            return Err(Malformed::Format);
        }
        if u16_at::<{ at::SEQUENCE }, N>(common) != 0 {
            return Err(Malformed::Reserved);
        }
        let flags = SealFlags::from_wire(u8_at::<{ at::CONTROL_SEAL_FLAGS }, N>(common), 0)?;
        if MessageId::new(sender_id).is_none() {
            return Err(Malformed::Id);
        }
        let inner = Control::parse(head, kind)?;
        let end = inner.header_len();
        let rest = head.get(end..).ok_or(Malformed::Short)?;
        const EXTRA: usize = SEALED_CONTROL_EXTRA;
        let extra: &[u8; EXTRA] = rest.first_chunk().ok_or(Malformed::Short)?;
        if len != end.saturating_add(EXTRA) {
            return Err(Malformed::Trailing);
        }
        let counter = u64_at::<0, EXTRA>(extra);
        if counter >> 63 != 0 {
            return Err(Malformed::Reserved);
        }
        let (_, tag) = extra.split_last_chunk().ok_or(Malformed::Short)?;
        Ok(Self { inner, flags, counter, tag: *tag, aad_len: end.saturating_add(8) })
    }

    /// Writes the packet up to where its tag goes.
    ///
    /// `counter` is from [`ControlSender`](super::super::session::control::ControlSender).
    pub fn emit(
        inner: &Control,
        common: &Common,
        flags: SealFlags,
        counter: u64,
    ) -> UntaggedControl {
        const N: usize = MAX_HEADER;
        let mut header = inner.emit_as(common, inner.packet_type().sealed());
        put::<{ at::CONTROL_SEAL_FLAGS }, 1, N>(&mut header.bytes, [flags.to_wire()]);
        put::<{ at::CONTROL_FORMAT }, 1, N>(&mut header.bytes, [FORMAT]);
        let len = usize::from(header.len);
        if let Some(place) = header.bytes.get_mut(len..).and_then(<[u8]>::first_chunk_mut) {
            *place = counter.to_be_bytes();
            header.len = header.len.saturating_add(8);
        }
        UntaggedControl { header }
    }
}
