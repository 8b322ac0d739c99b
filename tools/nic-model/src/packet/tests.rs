// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The parser and the checksums against `etherparse`.

use etherparse::{IpNumber, Ipv4Header, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;

/// A packet by etherparse, with all checksums right.
#[derive(Clone, Debug)]
struct Spec {
    v6: bool,
    vlan: Option<u16>,
    udp: bool,
    options: usize,
    payload: Vec<u8>,
}

fn spec() -> impl Strategy<Value = Spec> {
    (
        any::<bool>(),
        prop::option::of(0..4096_u16),
        any::<bool>(),
        0..=10_usize,
        prop::collection::vec(any::<u8>(), 0..1500),
    )
        .prop_map(|(v6, vlan, udp, options, payload)| Spec { v6, vlan, udp, options, payload })
}

const SRC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const DST: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn build(spec: &Spec) -> Vec<u8> {
    let mut frame = vec![];
    let eth = PacketBuilder::ethernet2(SRC, DST);
    macro_rules! rest {
        ($link:expr) => {{
            let ip = if spec.v6 {
                $link.ipv6([0xfd; 16], [0xfe; 16], 64)
            } else {
                $link.ipv4([10, 1, 2, 3], [10, 250, 251, 252], 64)
            };
            if spec.udp {
                ip.udp(1234, 4321).write(&mut frame, &spec.payload).unwrap();
            } else {
                let options = vec![1; spec.options * 4];
                ip.tcp(1234, 4321, 77, 5000)
                    .options_raw(&options)
                    .unwrap()
                    .write(&mut frame, &spec.payload)
                    .unwrap();
            }
        }};
    }
    match spec.vlan {
        Some(id) => rest!(eth.single_vlan(id.try_into().unwrap())),
        None => rest!(eth),
    }
    frame
}

proptest! {
    #[test]
    fn what_etherparse_makes_is_understood(spec in spec(), padding in 0..20_usize) {
        let mut frame = build(&spec);
        let whole = frame.len();
        frame.extend(vec![0x5a; padding]);
        let h = parse(&frame).unwrap();
        prop_assert_eq!((h.dst_mac, h.src_mac), (DST, SRC));
        prop_assert_eq!(h.vlan, [spec.vlan.map(|v| (0x8100, v)), None]);
        prop_assert_eq!(h.ethertype, if spec.v6 { 0x86dd } else { 0x0800 });
        let (ip, l4) = (h.ip.clone().unwrap(), h.l4.clone().unwrap());
        prop_assert_eq!(ip.end, whole);
        prop_assert_eq!(ip.protocol, if spec.udp { 17 } else { 6 });
        prop_assert_eq!((l4.src_port, l4.dst_port), (1234, 4321));
        prop_assert_eq!(&frame[l4.payload..ip.end], &spec.payload[..]);
        prop_assert_eq!(check(&frame, &h), Checks { l3_ok: true, l4_ok: true });
    }

    /// Wrong checksums are noticed, and filled in as etherparse has them.
    #[test]
    fn checksums(spec in spec(), noise in any::<u16>(), padding in 0..20_usize) {
        let mut right = build(&spec);
        right.extend(vec![0x5a; padding]);
        let h = parse(&right).unwrap();
        let at = h.l4.as_ref().unwrap().checksum;
        let mut frame = right.clone();
        put_u16(&mut frame, at, noise);
        if !spec.v6 {
            put_u16(&mut frame, h.l3 + 10, noise);
        }
        let before = check(&frame, &h);
        // UDP's zero is "no checksum", and 0 and 0xffff are the same number.
        let same = |a: u16, b: u16| a == b || a ^ b == 0xffff && (a == 0 || b == 0);
        let no_checksum = spec.udp && noise == 0;
        prop_assert_eq!(before.l4_ok, no_checksum || same(noise, u16_at(&right, at).unwrap()));
        prop_assert_eq!(before.l3_ok, spec.v6 || same(noise, u16_at(&right, h.l3 + 10).unwrap()));
        fill_l3_checksum(&mut frame, &h);
        fill_l4_checksum(&mut frame, &h);
        prop_assert_eq!(frame, right);
    }

    /// The sum of all is what the kernel verifies from CHECKSUM_COMPLETE: less the IP header it leaves the segment.
    #[test]
    fn checksum_complete_is_the_sum_of_its_parts(spec in spec()) {
        let frame = build(&spec);
        let h = parse(&frame).unwrap();
        let l4 = h.ip.as_ref().unwrap().l4;
        let parts = u64::from(sum(&frame[ETH_LEN..l4])) + u64::from(sum(&frame[l4..]));
        prop_assert_eq!(checksum_complete(&frame), fold(parts));
    }

    #[test]
    fn any_bytes_are_parsed_within_bounds(mut frame in prop::collection::vec(any::<u8>(), 0..200), vlan in 0..3_usize, v in 0..3_u8) {
        // Steer towards IP: random ethertypes are dull.
        for i in 0..vlan {
            put_u16(&mut frame, 12 + 4 * i, if i == 0 { 0x88a8 } else { 0x8100 });
        }
        match v {
            0 => {}
            1 => put_u16(&mut frame, 12 + 4 * vlan, 0x0800),
            _ => put_u16(&mut frame, 12 + 4 * vlan, 0x86dd),
        }
        if let Some(first) = frame.get_mut(14 + 4 * vlan).filter(|_| v > 0) {
            *first = if v == 1 { 0x40 | *first & 0xf } else { 0x60 };
        }
        let Some(h) = parse(&frame) else {
            prop_assert!(frame.len() < ETH_LEN);
            return Ok(());
        };
        prop_assert!(h.l3 <= frame.len());
        if let Some(ip) = &h.ip {
            prop_assert!(h.l3 < ip.l4 && ip.l4 <= ip.end && ip.end <= frame.len());
            if let Some(l4) = &h.l4 {
                prop_assert!(ip.l4 < l4.checksum && l4.checksum + 2 <= l4.payload && l4.payload <= ip.end);
            }
        }
        check(&frame, &h);
        let (mut longer, len) = (frame.clone(), frame.len());
        fill_l3_checksum(&mut longer, &h);
        fill_l4_checksum(&mut longer, &h);
        prop_assert_eq!(longer.len(), len);
        // Of another frame that is shorter: nothing happens, and nothing panics.
        frame.truncate(len / 2);
        check(&frame, &h);
        fill_l3_checksum(&mut frame, &h);
        fill_l4_checksum(&mut frame, &h);

        // Where etherparse sees TCP or UDP, so do we, at the same place.
        let theirs = SlicedPacket::from_ethernet(&longer);
        if let Ok(SlicedPacket { transport: Some(t), link_exts, .. }) = &theirs {
            let ports = match t {
                TransportSlice::Tcp(t) => Some((t.source_port(), t.destination_port())),
                TransportSlice::Udp(u) => Some((u.source_port(), u.destination_port())),
                _ => None,
            };
            if let (Some(ports), true) = (ports, link_exts.len() <= 2) {
                prop_assert_eq!(parse(&longer).and_then(|h| h.l4).map(|l| (l.src_port, l.dst_port)), Some(ports));
            }
        }
    }
}

#[test]
fn a_protocol_the_nic_does_not_know_has_no_l4_header() {
    let header = Ipv4Header::new(30, 64, IpNumber(146), [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
    let mut frame = [&DST[..], &SRC, &[8, 0], &header.to_bytes(), &[7; 30]].concat();
    let h = parse(&frame).unwrap();
    assert_eq!(h.ip.as_ref().map(|ip| (ip.protocol, ip.l4, ip.end)), Some((146, 34, 64)));
    assert_eq!(h.l4, None);
    fill_l3_checksum(&mut frame, &h);
    assert_eq!(check(&frame, &h), Checks { l3_ok: true, l4_ok: false });
    let before = frame.clone();
    fill_l4_checksum(&mut frame, &h);
    assert_eq!(frame, before);
}

#[test]
fn fragments_have_no_l4_header() {
    let spec = Spec { v6: false, vlan: None, udp: true, options: 0, payload: vec![1; 100] };
    for fragment in [0x2000, 0x0001, 0x1fff] {
        let mut frame = build(&spec);
        put_u16(&mut frame, 20, fragment);
        let h = parse(&frame).unwrap();
        assert!(h.ip.is_some_and(|ip| ip.fragment));
        assert_eq!(h.l4, None);
    }
    // The bit "don't fragment" is none.
    let mut frame = build(&spec);
    put_u16(&mut frame, 20, 0x4000);
    assert!(parse(&frame).unwrap().l4.is_some());
}

#[test]
fn extension_headers_of_ipv6() {
    let frame = build(&Spec { v6: true, vlan: None, udp: true, options: 0, payload: vec![1; 9] });
    // Destination options of 16 bytes, then a fragment header: atomic, and not.
    for (offset, fragment) in [(0, false), (1, true), (8, true)] {
        let extensions = [&[44, 1][..], &[0; 14], &[17, 0, 0, offset, 0, 0, 0, 9]].concat();
        let mut frame = [&frame[..54], &extensions, &frame[54..]].concat();
        frame[20] = 60;
        put_u16(&mut frame, 18, 24 + 17);
        let h = parse(&frame).unwrap();
        let ip = h.ip.unwrap();
        assert_eq!((ip.l4, ip.protocol, ip.fragment), (54 + 24, 17, fragment));
        assert_eq!(h.l4.is_some(), !fragment);
    }
}

#[test]
fn a_sum_of_known_value() {
    // RFC 1071, 3.
    assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    assert_eq!(sum(&[]), 0);
    assert_eq!(sum(&[0xab]), 0xab00);
    assert_eq!(checksum_complete(&[0; 5]), 0);
}
