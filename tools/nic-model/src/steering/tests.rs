// SPDX-License-Identifier: GPL-2.0 OR MIT

use super::*;
use crate::ifc::Ifc;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn fields() -> (Ifc, FlowFields) {
    let ifc = Ifc::load(&crate::default_ifc_folder().unwrap()).unwrap();
    let fields = FlowFields::new(&ifc).unwrap();
    (ifc, fields)
}

fn tcp4() -> Flow {
    Flow {
        dmac: [2, 0, 0, 0, 0, 1],
        smac: [2, 0, 0, 0, 0, 2],
        ethertype: 0x0800,
        vlan: Some((0x6123, false)),
        ip: Some(IpFlow {
            source: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            destination: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
            protocol: 6,
            tos: 0xb9,
            ttl: 64,
            fragment: false,
            ports: Some((1234, 80)),
            tcp_flags: 0x12,
        }),
    }
}

#[test]
fn fields_are_where_the_header_says() {
    let (ifc, fields) = fields();
    let mut data = fields.encode(&tcp4()).to_vec();
    data.resize(512, 0);
    let get =
        |name: &str| ifc.get(&data, &format!("fte_match_param.outer_headers.{name}")).unwrap();
    assert_eq!(get("dmac_47_16"), 0x0200_0000);
    assert_eq!(get("dmac_15_0"), 1);
    assert_eq!((get("first_prio"), get("first_cfi"), get("first_vid")), (3, 0, 0x123));
    assert_eq!((get("cvlan_tag"), get("svlan_tag")), (1, 0));
    assert_eq!(
        (get("ip_version"), get("ip_protocol"), get("ip_dscp"), get("ip_ecn")),
        (4, 6, 0x2e, 1)
    );
    assert_eq!((get("tcp_sport"), get("tcp_dport"), get("udp_dport")), (1234, 80, 0));
    assert_eq!(get("dst_ipv4_dst_ipv6.ipv4_layout.ipv4"), 0x0a00_0002);
    assert_eq!(get("src_ipv4_src_ipv6.ipv4_layout.ipv4"), 0x0a00_0001);

    let mut six = tcp4();
    if let Some(ip) = &mut six.ip {
        ip.source = IpAddr::V6(Ipv6Addr::LOCALHOST);
        ip.destination = IpAddr::V6("fd00::2".parse().unwrap());
        ip.protocol = 17;
    }
    let data = fields.encode(&six);
    assert_eq!(data[48..], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(data[47], 1);
}

fn group(first: u32, last: u32, mask: &[(usize, u8)]) -> Group {
    let mut group = Group { first, last, mask: [0; MATCH_LEN] };
    for (at, byte) in mask {
        group.mask[*at] = *byte;
    }
    group
}

fn entry(group: u32, value: &[(usize, u8)], destinations: &[Destination]) -> Entry {
    let mut entry = Entry {
        group,
        value: [0; MATCH_LEN],
        action: action::FORWARD,
        tag: 0,
        destinations: destinations.to_vec(),
        ignore_level: false,
    };
    for (at, byte) in value {
        entry.value[*at] = *byte;
    }
    entry
}

fn packet(bytes: &[(usize, u8)]) -> [u8; MATCH_LEN] {
    let mut packet = [0; MATCH_LEN];
    for (at, byte) in bytes {
        packet[*at] = *byte;
    }
    packet
}

use Destination::{Table as ToTable, Tir};

/// Table 1 at level 4 forwards to table 2 at level 5.
fn two_tables() -> Steering {
    let mut s = Steering::default();
    s.insert_table(1, Table::new(0, 4, 4, None));
    s.insert_table(2, Table::new(0, 5, 4, None));
    s.add_group(1, 10, group(0, 7, &[(0, 0xff)])).unwrap();
    s.add_group(1, 11, group(8, 15, &[])).unwrap();
    s.add_group(2, 20, group(0, 15, &[(1, 0xf0)])).unwrap();
    s.set_entry(1, 0, entry(10, &[(0, 5)], &[ToTable(2)]), false).unwrap();
    s.set_entry(1, 8, entry(11, &[], &[Tir(99)]), false).unwrap();
    s.set_entry(2, 3, entry(20, &[(1, 0x20)], &[Tir(7), Tir(8)]), false).unwrap();
    s
}

fn tirs(s: &Steering, bytes: &[(usize, u8)]) -> Vec<u32> {
    s.receive(&packet(bytes)).tirs
}

#[test]
fn masks_order_chains_and_copies() {
    let mut s = two_tables();
    assert_eq!(tirs(&s, &[(0, 5), (1, 0x2f)]), [7, 8]);
    assert_eq!(tirs(&s, &[(0, 5), (1, 0x3f)]), [0u32; 0]);
    assert_eq!(tirs(&s, &[(0, 6)]), [99]);
    // A miss may lead on.
    s.insert_table(3, Table::new(0, 6, 0, None));
    s.add_group(3, 30, group(0, 0, &[])).unwrap();
    s.set_entry(3, 0, entry(30, &[], &[Tir(50)]), false).unwrap();
    s.table_mut(2).unwrap().miss = Some(3);
    assert_eq!(tirs(&s, &[(0, 5), (1, 0x3f)]), [50]);
    // The driver may begin elsewhere.
    s.set_root(2).unwrap();
    assert_eq!(tirs(&s, &[(0, 6), (1, 0x20)]), [7, 8]);
    s.remove_table(2);
    assert_eq!(tirs(&s, &[(0, 6)]), [99]);
}

#[test]
fn changes_and_drops() {
    let mut s = two_tables();
    assert!(s.set_entry(1, 8, entry(11, &[], &[Tir(1)]), false).is_err());
    s.set_entry(1, 8, entry(11, &[], &[Tir(1)]), true).unwrap();
    assert!(s.set_entry(1, 9, entry(11, &[], &[Tir(1)]), true).is_err());
    assert_eq!(tirs(&s, &[]), [1]);
    let mut drop = entry(11, &[], &[]);
    drop.action = action::DROP;
    s.set_entry(1, 8, drop, true).unwrap();
    assert_eq!(tirs(&s, &[]), [0u32; 0]);
    s.delete_entry(1, 8).unwrap();
    assert!(s.delete_entry(1, 8).is_err());
    s.remove_group(1, 11).unwrap();
    assert!(s.remove_group(1, 10).is_err());
}

#[test]
fn what_a_driver_must_not_program() {
    let mut s = two_tables();
    assert!(s.add_group(1, 12, group(4, 9, &[])).is_err(), "overlap");
    assert!(s.add_group(2, 12, group(16, 16, &[])).is_err(), "beyond the table");
    let mut set = |table, index, e: Entry| s.set_entry(table, index, e, false).is_err();
    assert!(set(1, 9, entry(10, &[], &[Tir(1)])), "not in the group");
    assert!(set(1, 1, entry(99, &[], &[Tir(1)])), "no group");
    assert!(set(1, 1, entry(10, &[(1, 1)], &[Tir(1)])), "outside the mask");
    assert!(set(2, 1, entry(20, &[], &[ToTable(1)])), "back");
    assert!(set(2, 1, entry(20, &[], &[ToTable(77)])), "no table");
    assert!(set(2, 1, entry(20, &[], &[])), "forward to nothing");
    let mut back = entry(20, &[], &[ToTable(1)]);
    back.ignore_level = true;
    assert!(!set(2, 1, back));
    // A circle ends all the same.
    assert_eq!(tirs(&s, &[(0, 5)]), [0u32; 0]);
}
