// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Send WQEs, as bytes in a ring of 64-byte basic blocks.
//!
//! Layouts are those of the kernel's `include/linux/mlx5/qp.h`, which are not in `mlx5_ifc.h`.

use crate::wq::{DataSegment, DATA_SEGMENT_SIZE};

/// Basic block.
pub const BB: usize = 64;
/// What control segments count a WQE's length in.
const DS: usize = 16;

mod opcode {
    pub const NOP: u8 = 0x00;
    pub const SEND: u8 = 0x0a;
    pub const LSO: u8 = 0x0e;
    pub const SET_PSV: u8 = 0x20;
    pub const DUMP: u8 = 0x23;
    pub const UMR: u8 = 0x25;
}

/// `opmod` of UMR and SET_PSV: for a TIS.
const OPMOD_TLS_TIS: u8 = 1;

/// `struct mlx5_wqe_ctrl_seg`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    pub opmod: u8,
    pub index: u16,
    pub opcode: u8,
    pub sqn: u32,
    /// Length in 16 bytes.
    pub ds: u8,
    /// Waits for what was posted before.
    pub fenced: bool,
    /// A CQE is wanted.
    pub completion: bool,
    pub tisn: u32,
    reserved: bool,
}

impl Control {
    pub fn parse(bytes: &[u8; DS]) -> Control {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Control {
            opmod: bytes[0],
            index: u16::from_be_bytes([bytes[1], bytes[2]]),
            opcode: bytes[3],
            sqn: word(4) >> 8,
            ds: bytes[7] & 0x3f,
            fenced: bytes[11] >> 5 != 0,
            completion: (bytes[11] >> 2) & 3 == 2,
            tisn: word(12) >> 8,
            reserved: bytes[7] & 0xc0 != 0 || bytes[9] != 0 || bytes[10] != 0,
        }
    }

    pub fn is_packet(&self) -> bool {
        matches!(self.opcode, opcode::SEND | opcode::LSO)
    }

    /// Basic blocks that the WQE takes; one of length 0 takes one, too.
    pub fn blocks(&self) -> u32 {
        u32::from(self.ds).div_ceil((BB / DS) as u32).max(1)
    }
}

/// What is wrong with a WQE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WqeError {
    #[error("opcode {opcode:#x} with opmod {opmod:#x}")]
    Opcode { opcode: u8, opmod: u8 },
    #[error("reserved bits of the control segment are set")]
    Reserved,
    #[error("{what}, which does not fit into {ds} * 16 bytes")]
    Length { what: &'static str, ds: u8 },
    #[error("an unexpected value of {0}")]
    Value(&'static str),
}

/// Checksums that a packet is to get: bits of `cs_flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChecksumBits {
    pub l3: bool,
    pub l4: bool,
}

/// A part of a packet: in memory, or in the WQE itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Memory(DataSegment),
    Inline(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Inlined headers.
    pub header: Vec<u8>,
    pub parts: Vec<Part>,
    pub checksums: ChecksumBits,
    /// LSO, with so many bytes of payload in each packet.
    pub mss: Option<u16>,
    /// A VLAN tag to insert: ethertype and TCI.
    pub vlan: Option<(u16, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wqe {
    Nop,
    Packet(Packet),
    /// `tls_static_params`, for a TIS.
    StaticParams([u8; 64]),
    /// For a TIS, which is not in the control segment: `tls_progress_params`.
    ProgressParams {
        tisn: u32,
        params: [u8; 12],
    },
    Dump(DataSegment),
}

/// Parses a WQE. `bytes` are its basic blocks, `control.blocks()` of them.
pub fn parse(control: &Control, bytes: &[u8]) -> Result<Wqe, WqeError> {
    let length = |what| WqeError::Length { what, ds: control.ds };
    if control.reserved {
        return Err(WqeError::Reserved);
    }
    let wqe = bytes.get(..usize::from(control.ds) * DS).ok_or(length("a WQE"))?;
    if wqe.len() < DS {
        return Err(length("a control segment"));
    }
    match (control.opcode, control.opmod) {
        (opcode::NOP, 0) => Ok(Wqe::Nop),
        (opcode::SEND, 0) => packet(control, wqe, false).map(Wqe::Packet),
        (opcode::LSO, 0) => packet(control, wqe, true).map(Wqe::Packet),
        (opcode::UMR, OPMOD_TLS_TIS) => static_params(control, wqe),
        (opcode::SET_PSV, OPMOD_TLS_TIS) => {
            let tisn = wqe
                .get(16..20)
                .and_then(|b| b.first_chunk())
                .ok_or(length("progress parameters"))?;
            let params =
                wqe.get(20..).and_then(|b| b.first_chunk()).ok_or(length("progress parameters"))?;
            Ok(Wqe::ProgressParams { tisn: u32::from_be_bytes(*tisn), params: *params })
        }
        (opcode::DUMP, 0) => match wqe.get(DS..).map(|b| (b.len(), b.first_chunk())) {
            Some((DATA_SEGMENT_SIZE, Some(segment))) => Ok(Wqe::Dump(DataSegment::parse(segment))),
            _ => Err(length("one data segment")),
        },
        (opcode, opmod) => Err(WqeError::Opcode { opcode, opmod }),
    }
}

/// Static parameters come inline in a UMR: its control segment (48 bytes), a memory key context (64), and then they.
fn static_params(control: &Control, wqe: &[u8]) -> Result<Wqe, WqeError> {
    const UMR_INLINE: u8 = 1 << 7;
    const PARAMS: usize = 128;
    let length = WqeError::Length { what: "static parameters", ds: control.ds };
    let Some(flags) = wqe.get(DS) else { return Err(length) };
    if flags & UMR_INLINE == 0 {
        return Err(WqeError::Value("the UMR's flags"));
    }
    match (wqe.len(), wqe.get(PARAMS..).and_then(|b| b.first_chunk())) {
        (192, Some(params)) => Ok(Wqe::StaticParams(*params)),
        _ => Err(length),
    }
}

/// `struct mlx5_wqe_eth_seg`, then data segments.
fn packet(control: &Control, wqe: &[u8], lso: bool) -> Result<Packet, WqeError> {
    const L3_CSUM: u8 = 1 << 6;
    const L4_CSUM: u8 = 1 << 7;
    const INSERT_VLAN: u16 = 1 << 15;
    const INSERT_SVLAN: u16 = 1 << 0;
    /// Where inlined headers begin, of which two bytes are in the segment itself.
    const INLINE: usize = 30;
    let length = |what| WqeError::Length { what, ds: control.ds };
    let eth: &[u8; DS] =
        wqe.get(DS..).and_then(|b| b.first_chunk()).ok_or(length("an Ethernet segment"))?;
    let half = |at: usize| u16::from_be_bytes([eth[at], eth[at + 1]]);
    if eth[4] & !(L3_CSUM | L4_CSUM) != 0 || eth[5] != 0 || eth[..4] != [0; 4] {
        return Err(WqeError::Value("checksum or software parser flags"));
    }
    let mss = half(6);
    if lso == (mss == 0) {
        return Err(WqeError::Value("mss"));
    }
    let mut out = Packet {
        header: Vec::new(),
        parts: Vec::new(),
        checksums: ChecksumBits { l3: eth[4] & L3_CSUM != 0, l4: eth[4] & L4_CSUM != 0 },
        mss: lso.then_some(mss),
        vlan: None,
    };
    let inline = half(12);
    let mut at = 2 * DS;
    if inline & INSERT_VLAN != 0 {
        let ethertype = if inline & INSERT_SVLAN != 0 { 0x88a8 } else { 0x8100 };
        out.vlan = Some((ethertype, half(14)));
    } else if inline > 0 {
        let inline = usize::from(inline);
        out.header = wqe.get(INLINE..INLINE + inline).ok_or(length("inlined headers"))?.to_vec();
        at += inline.saturating_sub(2).next_multiple_of(DS);
    }
    let mut rest = wqe.get(at..).unwrap_or_default();
    while let Some(segment) = rest.first_chunk::<DATA_SEGMENT_SIZE>() {
        const INLINE_DATA: u32 = 1 << 31;
        let parsed = DataSegment::parse(segment);
        if parsed.byte_count & INLINE_DATA == 0 {
            out.parts.push(Part::Memory(parsed));
            rest = &rest[DATA_SEGMENT_SIZE..];
            continue;
        }
        let count = (parsed.byte_count & 0x3ff) as usize;
        out.parts.push(Part::Inline(rest.get(4..4 + count).ok_or(length("inline data"))?.to_vec()));
        rest = rest.get((4 + count).next_multiple_of(DS)..).unwrap_or_default();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A control segment, and what follows it.
    fn wqe(opcode: u8, opmod: u8, fm_ce_se: u8, tisn: u32, rest: &[u8]) -> (Control, Vec<u8>) {
        let mut bytes = vec![0; DS];
        bytes[0] = opmod;
        bytes[1..3].copy_from_slice(&0x1234u16.to_be_bytes());
        bytes[3] = opcode;
        bytes[4..8]
            .copy_from_slice(&((0x77 << 8) | (1 + rest.len().div_ceil(DS)) as u32).to_be_bytes());
        bytes[11] = fm_ce_se;
        bytes[12..16].copy_from_slice(&(tisn << 8).to_be_bytes());
        bytes.extend(rest);
        bytes.resize(bytes.len().next_multiple_of(BB), 0);
        (Control::parse(bytes.first_chunk().unwrap()), bytes)
    }

    fn run(opcode: u8, opmod: u8, rest: &[u8]) -> Result<Wqe, WqeError> {
        let (control, bytes) = wqe(opcode, opmod, 0, 0, rest);
        parse(&control, &bytes)
    }

    fn segment(byte_count: u32, addr: u64) -> Vec<u8> {
        [&byte_count.to_be_bytes()[..], &0x500u32.to_be_bytes(), &addr.to_be_bytes()].concat()
    }

    #[test]
    fn control() {
        let (control, _) = wqe(opcode::NOP, 0, 0x28, 5, &[]);
        assert_eq!((control.index, control.sqn, control.ds, control.tisn), (0x1234, 0x77, 1, 5));
        assert!(control.fenced && control.completion);
        assert_eq!(control.blocks(), 1);
        assert_eq!(Control { ds: 5, ..control }.blocks(), 2);
        assert_eq!(Control { ds: 0, ..control }.blocks(), 1);
    }

    #[test]
    fn send_with_inlined_headers() {
        // 18 bytes of header: two in the segment, 16 behind it.
        let mut eth = vec![0u8; 16];
        eth[4] = 0xc0;
        eth[13] = 18;
        eth[14..].copy_from_slice(&[1, 2]);
        eth.extend(3..=18);
        eth.extend(segment(100, 0xabc));
        let Ok(Wqe::Packet(packet)) = run(opcode::SEND, 0, &eth) else { panic!() };
        assert_eq!(packet.header, (1..=18).collect::<Vec<u8>>());
        assert_eq!(
            packet.parts,
            [Part::Memory(DataSegment { byte_count: 100, lkey: 0x500, addr: 0xabc })]
        );
        assert_eq!((packet.checksums, packet.mss), (ChecksumBits { l3: true, l4: true }, None));
    }

    #[test]
    fn lso_vlan_and_inline_data() {
        let mut eth = vec![0u8; 16];
        eth[6..8].copy_from_slice(&1448u16.to_be_bytes());
        eth[12..].copy_from_slice(&[0x80, 0, 0x01, 0x23]);
        eth.extend([0x80, 0, 0, 13]);
        eth.extend([7; 13]);
        eth.resize(16 + 32, 0);
        eth.extend(segment(100, 0xabc));
        let Ok(Wqe::Packet(packet)) = run(opcode::LSO, 0, &eth) else { panic!() };
        assert_eq!((packet.mss, packet.vlan), (Some(1448), Some((0x8100, 0x123))));
        assert_eq!(packet.parts[0], Part::Inline(vec![7; 13]));
        assert_eq!(packet.parts.len(), 2);
    }

    #[test]
    fn tls() {
        let mut umr = vec![0u8; 48 + 64 + 64];
        umr[0] = 0x80;
        umr[112] = 9;
        let Ok(Wqe::StaticParams(params)) = run(opcode::UMR, 1, &umr) else { panic!() };
        assert_eq!(params[0], 9);
        let psv = [0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let expected = Wqe::ProgressParams { tisn: 5, params: *psv[4..].first_chunk().unwrap() };
        assert_eq!(run(opcode::SET_PSV, 1, &psv), Ok(expected));
        assert!(
            matches!(run(opcode::DUMP, 0, &segment(5, 6)), Ok(Wqe::Dump(s)) if s.byte_count == 5)
        );
    }

    #[test]
    fn what_is_refused() {
        let eth = [0u8; 16];
        assert!(matches!(run(0x77, 0, &[]), Err(WqeError::Opcode { .. })));
        assert!(matches!(run(opcode::UMR, 0, &[0; 176]), Err(WqeError::Opcode { .. })));
        assert!(matches!(run(opcode::UMR, 1, &[0x80; 160]), Err(WqeError::Length { .. })));
        assert!(matches!(run(opcode::UMR, 1, &[]), Err(WqeError::Length { .. })));
        assert!(matches!(run(opcode::LSO, 0, &eth), Err(WqeError::Value("mss"))));
        assert!(matches!(run(opcode::SEND, 0, &[]), Err(WqeError::Length { .. })));
        assert!(matches!(run(opcode::DUMP, 0, &[0; 32]), Err(WqeError::Length { .. })));
        let mut long = eth;
        long[12] = 1;
        assert!(matches!(run(opcode::SEND, 0, &long), Err(WqeError::Length { .. })));
        let (control, mut bytes) = wqe(opcode::NOP, 0, 0, 0, &[]);
        bytes[9] = 1;
        let control =
            Control { reserved: Control::parse(bytes.first_chunk().unwrap()).reserved, ..control };
        assert_eq!(parse(&control, &bytes), Err(WqeError::Reserved));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 16..1100)) {
            let control = Control::parse(bytes.first_chunk().unwrap());
            let _ = parse(&control, &bytes);
        }

        #[test]
        fn nor_with_opcodes_that_exist(
            opcode in proptest::sample::select(vec![0u8, 0x0a, 0x0e, 0x20, 0x23, 0x25]), opmod in 0u8..2,
            rest in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let _ = run(opcode, opmod, &rest);
        }
    }
}
