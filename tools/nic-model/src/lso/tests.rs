// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Segments against their definition, and against etherparse's checksums.

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;
use crate::packet::{check, parse, Checks};

const BOTH: ChecksumFlags = ChecksumFlags { l3: true, l4: true };

/// Headers as the kernel leaves them for LSO: no length, no checksum that means anything.
fn tcp_header(v6: bool, options: usize, id: u16, seq: u32, flags: u8) -> Vec<u8> {
    let eth = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip =
        if v6 { eth.ipv6([1; 16], [2; 16], 9) } else { eth.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9) };
    let mut frame = vec![];
    ip.tcp(1, 2, seq, 100).options_raw(&vec![1; options]).unwrap().write(&mut frame, &[]).unwrap();
    let tcp = if v6 { 54 } else { 34 };
    frame[tcp + 13] = flags;
    if !v6 {
        frame[16..18].copy_from_slice(&[0, 0]);
        frame[18..20].copy_from_slice(&id.to_be_bytes());
        frame[24..26].copy_from_slice(&[0xaa, 0xbb]);
    }
    frame
}

/// A header of IP protocol 146 that is shaped like TCP's.
fn other_header(v6: bool, id: u16) -> Vec<u8> {
    let mut frame = tcp_header(v6, 0, id, 0x1020_3040, 0xff);
    frame[if v6 { 20 } else { 23 }] = 146;
    frame
}

fn segments(header: &[u8], payload: &[u8], mss: usize) -> Vec<Vec<u8>> {
    segment(header, payload, mss, BOTH, Silicon::default()).unwrap().collect()
}

proptest! {
    #[test]
    fn tcp_segments_are_the_stream(
        v6 in any::<bool>(), options in (0..=10_usize).prop_map(|n| n * 4), id in any::<u16>(), seq in any::<u32>(),
        flags in any::<u8>(), payload in prop::collection::vec(any::<u8>(), 1..5000), mss in 1..1500_usize,
    ) {
        let header = tcp_header(v6, options, id, seq, flags);
        let frames = segments(&header, &payload, mss);
        prop_assert_eq!(frames.len(), payload.len().div_ceil(mss));
        let mut at = 0;
        for (i, frame) in frames.iter().enumerate() {
            let last = i + 1 == frames.len();
            prop_assert_eq!(check(frame, &parse(frame).unwrap()), Checks { l3_ok: true, l4_ok: true });
            let sliced = SlicedPacket::from_ethernet(frame).unwrap();
            if let Some(NetSlice::Ipv4(ip)) = &sliced.net {
                prop_assert_eq!(ip.header().identification(), id.wrapping_add(i as u16));
                prop_assert_eq!(usize::from(ip.header().total_len()), frame.len() - 14);
                prop_assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
            }
            let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("no TCP") };
            prop_assert_eq!(tcp.payload().len(), mss.min(payload.len() - at));
            prop_assert_eq!(tcp.payload(), &payload[at..at + tcp.payload().len()]);
            prop_assert_eq!(tcp.sequence_number(), seq.wrapping_add(at as u32));
            prop_assert_eq!((tcp.fin(), tcp.psh()), (last && flags & 1 != 0, last && flags & 8 != 0));
            prop_assert_eq!(tcp.cwr(), i == 0 && flags & 0x80 != 0);
            prop_assert_eq!((tcp.syn(), tcp.ack(), tcp.urg(), tcp.ece()),
                (flags & 2 != 0, flags & 0x10 != 0, flags & 0x20 != 0, flags & 0x40 != 0));
            at += tcp.payload().len();
        }
        prop_assert_eq!(at, payload.len());
    }

    /// Only the IPv4 header changes.
    #[test]
    fn another_protocols_header_is_copied(
        id in any::<u16>(), payload in prop::collection::vec(any::<u8>(), 1..5000), mss in 1..1500_usize,
    ) {
        let header = other_header(false, id);
        for (i, frame) in segments(&header, &payload, mss).iter().enumerate() {
            prop_assert_eq!(&frame[..16], &header[..16]);
            prop_assert_eq!(&frame[16..18], &((frame.len() - 14) as u16).to_be_bytes());
            prop_assert_eq!(&frame[18..20], &id.wrapping_add(i as u16).to_be_bytes());
            prop_assert_eq!(&frame[20..24], &header[20..24]);
            prop_assert!(check(frame, &parse(frame).unwrap()).l3_ok);
            prop_assert_eq!(&frame[26..54], &header[26..54]);
            prop_assert_eq!(&frame[54..], payload.chunks(mss).nth(i).unwrap());
        }
    }

    #[test]
    fn any_headers(header in prop::collection::vec(any::<u8>(), 0..120), ip in 0..3_u8, len in 0..400_usize, mss in 0..100_usize) {
        let mut header = header;
        if header.len() > 24 && ip > 0 {
            header[12..14].copy_from_slice(if ip == 1 { &[8, 0] } else { &[0x86, 0xdd] });
            header[14] = if ip == 1 { 0x45 } else { 0x60 };
            header[if ip == 1 { 23 } else { 20 }] = [6, 17, 146][len % 3];
        }
        let silicon = Silicon { other_over_ipv6: true };
        let payload = vec![0; len];
        let frames = segment(&header, &payload, mss, BOTH, silicon).map(|f| f.collect::<Vec<_>>());
        if let Ok(frames) = frames {
            prop_assert_eq!(frames.iter().map(|f| f.len() - header.len()).sum::<usize>(), len);
        }
    }
}

#[test]
fn without_flags_no_checksum_is_written() {
    let header = tcp_header(false, 0, 1, 1, 0x10);
    let frames: Vec<_> =
        segment(&header, &[1; 10], 4, ChecksumFlags::default(), Silicon::default())
            .unwrap()
            .collect();
    for frame in &frames {
        assert_eq!(frame[24..26], header[24..26]);
        assert_eq!(frame[50..52], header[50..52]);
    }
}

#[test]
fn udp_gets_checksums_and_keeps_the_drivers_length() {
    let mut header = vec![];
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9)
        .udp(7, 8)
        .write(&mut header, &[])
        .unwrap();
    header[38..40].copy_from_slice(&108_u16.to_be_bytes());
    let frames = segments(&header, &[9; 300], 100);
    assert_eq!(frames.len(), 3);
    for frame in frames {
        assert_eq!(frame[38..40], [0, 108]);
        assert_eq!(check(&frame, &parse(&frame).unwrap()), Checks { l3_ok: true, l4_ok: true });
    }
}

#[test]
fn what_cannot_be_segmented() {
    let error = |header: &[u8], len: usize, mss| {
        segment(header, &vec![0; len], mss, BOTH, Silicon::default()).map(|_| ()).unwrap_err()
    };
    let tcp = tcp_header(false, 8, 1, 1, 0x10);
    assert_eq!(error(&tcp, 10, 0), Error::Mss);
    assert_eq!(error(&tcp[..30], 10, 5), Error::NoIp);
    assert_eq!(error(&[0; 60], 10, 5), Error::NoIp);
    assert_eq!(error(&[], 10, 5), Error::NoIp);
    assert_eq!(error(&tcp[..50], 10, 5), Error::HeaderLength { inline: 50, end: 54 });
    assert_eq!(
        error(&[&tcp[..], &[0; 4]].concat(), 10, 5),
        Error::HeaderLength { inline: 66, end: 62 }
    );
    assert_eq!(error(&tcp, 70_000, 69_000), Error::PacketLength(69_062));
    assert_eq!(error(&other_header(true, 1), 10, 5), Error::OtherOverIpv6(146));

    let silicon = Silicon { other_over_ipv6: true };
    let header = other_header(true, 0);
    let frames: Vec<_> = segment(&header, &[0; 10], 5, BOTH, silicon).unwrap().collect();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1][..18], header[..18]);
    assert_eq!(frames[1][18..20], 25_u16.to_be_bytes());
    assert_eq!(frames[1][20..74], header[20..74]);
}
