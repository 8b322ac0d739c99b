// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Control packets: the common header and a few fields, no payload.
//!
//! ```text
//! GRANT    28  offset 4   priority 1                                   33 bytes
//! RESEND   28  offset 4   length 4 (-1: all that was sent)  priority 1 37
//! UNKNOWN, BUSY, FREEZE, NEED_ACK                                      28
//! CUTOFFS  28  eight cutoffs of 4   version 2                          62
//! ACK      28  count 2   five times: client id 8, server port 2        80
//! ```
//!
//! A plain control packet may be longer than that (what follows is ignored), as a peer may pad.

use super::bytes::{put, u16_at, u32_at, u64_at, u8_at};
use super::common::{Common, COMMON_LEN};
use super::{Malformed, PacketType, MAX_HEADER, MAX_STREAM, PRIORITIES};

/// An ACK names at most so many RPCs.
pub const MAX_ACKS_PER_PACKET: usize = 5;

const GRANT_LEN: usize = 33;
const RESEND_LEN: usize = 37;
const CUTOFFS_LEN: usize = 62;
const ACK_LEN: usize = 80;
/// An ACK's ids begin here.
const ACKS: usize = 30;
/// Bytes of one of them.
const ACK_STEP: usize = 10;

/// Words of header that TCP segmentation would repeat: TCP's own, as network cards expect.
const CONTROL_DOFF: u8 = 5;

/// An RPC whose response arrived: its server may forget it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// The RPC's id as its client knows it.
    pub client_id: u64,
    /// The server's port.
    pub server_port: u16,
}

/// The RPCs that an ACK names: 0 to [`MAX_ACKS_PER_PACKET`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acks {
    /// How many of `acks` count; the others are zero.
    count: u8,
    acks: [Ack; MAX_ACKS_PER_PACKET],
}

impl Acks {
    /// None.
    pub const fn new() -> Self {
        Self { count: 0, acks: [Ack { client_id: 0, server_port: 0 }; MAX_ACKS_PER_PACKET] }
    }

    /// Adds one; false if it is full.
    pub fn push(&mut self, ack: Ack) -> bool {
        let Some(slot) = self.acks.get_mut(usize::from(self.count)) else {
            return false;
        };
        *slot = ack;
        self.count = self.count.saturating_add(1);
        true
    }

    /// Those that count.
    pub fn as_slice(&self) -> &[Ack] {
        self.acks.get(..usize::from(self.count)).unwrap_or(&[])
    }
}

/// A control packet's own fields. Offsets are stream offsets: positions in the message as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The receiver of this may send more of a message.
    Grant {
        /// Everything below; at most [`MAX_STREAM`].
        offset: u32,
        /// Priority of what is sent for it, below [`PRIORITIES`].
        priority: u8,
    },
    /// The receiver of this shall send bytes of a message again.
    Resend {
        /// The first of them; at most [`MAX_STREAM`].
        offset: u32,
        /// How many, at most [`MAX_STREAM`]; `None`: everything that was sent.
        length: Option<u32>,
        /// Priority to send them with, below [`PRIORITIES`].
        priority: u8,
    },
    /// The sender of this knows nothing of the RPC.
    Unknown,
    /// The sender of this is alive and holds data back.
    Busy,
    /// How to choose the priority of unscheduled bytes towards the sender of this.
    Cutoffs {
        /// By priority: the longest message that is sent with it.
        cutoffs: [u32; PRIORITIES],
        /// To be repeated in DATA packets.
        version: u16,
    },
    /// A debugging aid of the C implementation; ignored here.
    Freeze,
    /// The server would like to forget the RPC.
    NeedAck,
    /// The client is done with these RPCs.
    Ack(Acks),
}

/// A header as bytes, ready to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub(super) bytes: [u8; MAX_HEADER],
    pub(super) len: u8,
}

impl Header {
    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl Control {
    /// The type of the plain packet.
    pub fn packet_type(&self) -> PacketType {
        match self {
            Control::Grant { .. } => PacketType::Grant,
            Control::Resend { .. } => PacketType::Resend,
            Control::Unknown => PacketType::Unknown,
            Control::Busy => PacketType::Busy,
            Control::Cutoffs { .. } => PacketType::Cutoffs,
            Control::Freeze => PacketType::Freeze,
            Control::NeedAck => PacketType::NeedAck,
            Control::Ack(_) => PacketType::Ack,
        }
    }

    /// Length of the header, [`COMMON_LEN`] included.
    pub fn header_len(&self) -> usize {
        match self {
            Control::Grant { .. } => GRANT_LEN,
            Control::Resend { .. } => RESEND_LEN,
            Control::Cutoffs { .. } => CUTOFFS_LEN,
            Control::Ack(_) => ACK_LEN,
            Control::Unknown | Control::Busy | Control::Freeze | Control::NeedAck => COMMON_LEN,
        }
    }

    /// Reads the control packet of (plain) type `kind` that `head` begins with.
    ///
    /// # Errors
    ///
    /// - [`Malformed::Short`]: `head` ends before the header does;
    /// - [`Malformed::Place`]: an offset or a length that no message can have;
    /// - [`Malformed::Acks`]: more acks than fit;
    /// - [`Malformed::Type`]: `kind` is not a plain control type.
    pub(super) fn parse(head: &[u8], kind: PacketType) -> Result<Self, Malformed> {
        Ok(match kind {
            PacketType::Grant => {
                const N: usize = GRANT_LEN;
                let head: &[u8; N] = head.first_chunk().ok_or(Malformed::Short)?;
                Control::Grant {
                    offset: offset(u32_at::<28, N>(head))?,
                    priority: priority(u8_at::<32, N>(head)),
                }
            }
            PacketType::Resend => {
                const N: usize = RESEND_LEN;
                let head: &[u8; N] = head.first_chunk().ok_or(Malformed::Short)?;
                Control::Resend {
                    offset: offset(u32_at::<28, N>(head))?,
                    length: match u32_at::<32, N>(head) {
                        u32::MAX => None,
                        length => Some(offset(length)?),
                    },
                    priority: priority(u8_at::<36, N>(head)),
                }
            }
            PacketType::Cutoffs => {
                const N: usize = CUTOFFS_LEN;
                let head: &[u8; N] = head.first_chunk().ok_or(Malformed::Short)?;
                let mut cutoffs = [0; PRIORITIES];
                let (words, _) = head.split_at(60);
                for (cutoff, word) in cutoffs.iter_mut().zip(words.chunks_exact(4).skip(7)) {
                    *cutoff = word.first_chunk().map_or(0, |word| u32::from_be_bytes(*word));
                }
                Control::Cutoffs { cutoffs, version: u16_at::<60, N>(head) }
            }
            PacketType::Ack => {
                const N: usize = ACK_LEN;
                let head: &[u8; N] = head.first_chunk().ok_or(Malformed::Short)?;
                let count = usize::from(u16_at::<28, N>(head));
                if count > MAX_ACKS_PER_PACKET {
                    return Err(Malformed::Acks);
                }
                let (_, entries) = head.split_at(ACKS);
                let mut acks = Acks::new();
                for entry in entries.chunks_exact(ACK_STEP).take(count) {
                    let entry: &[u8; ACK_STEP] = entry.first_chunk().ok_or(Malformed::Short)?;
                    acks.push(Ack {
                        client_id: u64_at::<0, ACK_STEP>(entry),
                        server_port: u16_at::<8, ACK_STEP>(entry),
                    });
                }
                Control::Ack(acks)
            }
            PacketType::Unknown => Control::Unknown,
            PacketType::Busy => Control::Busy,
            PacketType::Freeze => Control::Freeze,
            PacketType::NeedAck => Control::NeedAck,
            _ => return Err(Malformed::Type),
        })
    }

    /// Writes the plain packet.
    pub fn emit(&self, common: &Common) -> Header {
        self.emit_as(common, self.packet_type())
    }

    /// Writes the header with the type `kind`: the plain one or the sealed one.
    pub(super) fn emit_as(&self, common: &Common, kind: PacketType) -> Header {
        const N: usize = MAX_HEADER;
        let mut bytes = [0; N];
        let head = &mut bytes;
        common.write(head, kind, CONTROL_DOFF);
        match self {
            Control::Grant { offset, priority } => {
                put::<28, 4, N>(head, offset.to_be_bytes());
                put::<32, 1, N>(head, [*priority]);
            }
            Control::Resend { offset, length, priority } => {
                put::<28, 4, N>(head, offset.to_be_bytes());
                put::<32, 4, N>(head, length.unwrap_or(u32::MAX).to_be_bytes());
                put::<36, 1, N>(head, [*priority]);
            }
            Control::Cutoffs { cutoffs, version } => {
                for (word, cutoff) in head.chunks_exact_mut(4).skip(7).zip(cutoffs) {
                    word.copy_from_slice(&cutoff.to_be_bytes());
                }
                put::<60, 2, N>(head, version.to_be_bytes());
            }
            Control::Ack(acks) => {
                put::<28, 2, N>(head, u16::from(acks.count).to_be_bytes());
                let (_, entries) = head.split_at_mut(ACKS);
                for (entry, ack) in entries.chunks_exact_mut(ACK_STEP).zip(acks.as_slice()) {
                    if let Some(entry) = entry.first_chunk_mut::<ACK_STEP>() {
                        put::<0, 8, ACK_STEP>(entry, ack.client_id.to_be_bytes());
                        put::<8, 2, ACK_STEP>(entry, ack.server_port.to_be_bytes());
                    }
                }
            }
            Control::Unknown | Control::Busy | Control::Freeze | Control::NeedAck => {}
        }
        Header { bytes, len: self.header_len() as u8 }
    }
}

/// An offset or a length in a message as sent.
fn offset(value: u32) -> Result<u32, Malformed> {
    if value > MAX_STREAM {
        return Err(Malformed::Place);
    }
    Ok(value)
}

/// A priority; what is above the highest counts as the highest.
fn priority(value: u8) -> u8 {
    value.min(PRIORITIES as u8 - 1)
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Packet};
    use super::*;
    use std::vec::Vec;

    const COMMON: Common =
        Common { source_port: 99, destination_port: 0x8001, sender_id: 0x0102_0304_0506_0709 };

    /// The bytes of a control packet of type `kind` whose own fields are `fields`.
    fn packet(kind: u8, fields: &[u8]) -> Vec<u8> {
        let mut bytes = std::vec![0, 99, 0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, kind, 0x50, 0];
        bytes.extend([0; 6]);
        bytes.extend([1, 2, 3, 4, 5, 6, 7, 9]);
        bytes.extend(fields);
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Control, Malformed> {
        let packet = Packet::parse(bytes, bytes.len())?;
        assert_eq!(packet.common, COMMON);
        match packet.body {
            Body::Control(control) => Ok(control),
            body => panic!("not a control packet: {body:?}"),
        }
    }

    fn acks(count: u64) -> Acks {
        let mut acks = Acks::new();
        for n in 0..count {
            assert!(acks.push(Ack { client_id: 2 * n, server_port: 99 }));
        }
        acks
    }

    #[test]
    fn headers_are_homa_modules() {
        let mut three = std::vec![0, 3];
        for id in [0u8, 2, 4] {
            three.extend([0, 0, 0, 0, 0, 0, 0, id, 0, 99]);
        }
        three.extend([0; 20]);
        let mut cutoffs = Vec::new();
        for n in 0..8 {
            cutoffs.extend([0, 0, n, 1]);
        }
        cutoffs.extend([0x12, 0x34]);
        let all = std::vec![
            (packet(0x11, &[0, 1, 0, 0, 6]), Control::Grant { offset: 0x10000, priority: 6 }),
            (
                packet(0x12, &[0, 0, 1, 0, 0, 0, 2, 0, 7]),
                Control::Resend { offset: 0x100, length: Some(0x200), priority: 7 },
            ),
            (
                packet(0x12, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 7]),
                Control::Resend { offset: 0, length: None, priority: 7 },
            ),
            (packet(0x13, &[]), Control::Unknown),
            (packet(0x14, &[]), Control::Busy),
            (
                packet(0x15, &cutoffs),
                Control::Cutoffs {
                    cutoffs: [1, 0x101, 0x201, 0x301, 0x401, 0x501, 0x601, 0x701],
                    version: 0x1234,
                },
            ),
            (packet(0x16, &[]), Control::Freeze),
            (packet(0x17, &[]), Control::NeedAck),
            (packet(0x18, &three), Control::Ack(acks(3))),
        ];
        for (bytes, control) in all {
            assert_eq!(control.emit(&COMMON).as_slice(), bytes);
            assert_eq!(parse(&bytes), Ok(control));
            // A peer may pad; it may not cut.
            let mut padded = bytes.clone();
            padded.push(1);
            assert_eq!(parse(&padded), Ok(control));
            assert_eq!(parse(&bytes[..bytes.len() - 1]), Err(Malformed::Short));
        }
    }

    #[test]
    fn an_ack_holds_five() {
        let mut full = acks(5);
        assert!(!full.push(Ack::default()));
        assert_eq!(full.as_slice().len(), 5);
        let mut bytes = Control::Ack(full).emit(&COMMON).as_slice().to_vec();
        assert_eq!(parse(&bytes), Ok(Control::Ack(full)));
        bytes[29] = 6;
        assert_eq!(parse(&bytes), Err(Malformed::Acks));
        bytes[28] = 0xff;
        assert_eq!(parse(&bytes), Err(Malformed::Acks));
    }

    #[test]
    fn no_offset_beyond_any_message() {
        let grant = |offset| Control::Grant { offset, priority: 0 };
        assert_eq!(parse(grant(MAX_STREAM).emit(&COMMON).as_slice()), Ok(grant(MAX_STREAM)));
        for control in [
            grant(MAX_STREAM + 1),
            grant(u32::MAX),
            Control::Resend { offset: MAX_STREAM + 1, length: None, priority: 0 },
            Control::Resend { offset: 0, length: Some(u32::MAX - 1), priority: 0 },
        ] {
            assert_eq!(parse(control.emit(&COMMON).as_slice()), Err(Malformed::Place));
        }
    }

    #[test]
    fn priorities_beyond_the_highest_are_the_highest() {
        let grant = Control::Grant { offset: 1, priority: 200 };
        let read = parse(grant.emit(&COMMON).as_slice());
        assert_eq!(read, Ok(Control::Grant { offset: 1, priority: 7 }));
    }
}
