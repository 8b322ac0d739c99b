// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A packet's fields, as the masks and values of flow entries see them.

use std::net::IpAddr;

use super::MATCH_LEN;
use crate::ifc::{Field, FieldError, Ifc};

/// What of a packet can be matched and hashed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    pub dmac: [u8; 6],
    pub smac: [u8; 6],
    /// Behind VLAN tags.
    pub ethertype: u16,
    /// Priority, CFI and id of the first VLAN tag; true for a service tag.
    pub vlan: Option<(u16, bool)>,
    pub ip: Option<IpFlow>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpFlow {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// DSCP and ECN.
    pub tos: u8,
    pub ttl: u8,
    pub fragment: bool,
    /// Of TCP and UDP.
    pub ports: Option<(u16, u16)>,
    pub tcp_flags: u16,
}

/// Where the fields are.
#[derive(Debug)]
pub struct FlowFields {
    smac: [Field; 2],
    dmac: [Field; 2],
    ethertype: Field,
    vlan: [Field; 3],
    tags: [Field; 2],
    ip_protocol: Field,
    ip_dscp: Field,
    ip_ecn: Field,
    frag: Field,
    ip_version: Field,
    ttl: Field,
    tcp_flags: Field,
    tcp: [Field; 2],
    udp: [Field; 2],
    source: Field,
    destination: Field,
}

impl FlowFields {
    pub fn new(ifc: &Ifc) -> Result<FlowFields, FieldError> {
        let field = |name: &str| ifc.field(&format!("fte_match_param.outer_headers.{name}"));
        // Addresses are the last 16 bytes of the unions; an IPv4 address the last four of those.
        Ok(FlowFields {
            smac: [field("smac_47_16")?, field("smac_15_0")?],
            dmac: [field("dmac_47_16")?, field("dmac_15_0")?],
            ethertype: field("ethertype")?,
            vlan: [field("first_prio")?, field("first_cfi")?, field("first_vid")?],
            tags: [field("cvlan_tag")?, field("svlan_tag")?],
            ip_protocol: field("ip_protocol")?,
            ip_dscp: field("ip_dscp")?,
            ip_ecn: field("ip_ecn")?,
            frag: field("frag")?,
            ip_version: field("ip_version")?,
            ttl: field("ttl_hoplimit")?,
            tcp_flags: field("tcp_flags")?,
            tcp: [field("tcp_sport")?, field("tcp_dport")?],
            udp: [field("udp_sport")?, field("udp_dport")?],
            source: field("src_ipv4_src_ipv6")?,
            destination: field("dst_ipv4_dst_ipv6")?,
        })
    }

    /// The packet as `fte_match_param` has it.
    pub fn encode(&self, flow: &Flow) -> [u8; MATCH_LEN] {
        let mut out = [0; MATCH_LEN];
        let mac = |mac: &[u8; 6]| mac.iter().fold(0u64, |all, byte| (all << 8) | u64::from(*byte));
        let mut set = |field: Field, value: u64| {
            // FlowFields::new found it in the structure, whose outer headers are MATCH_LEN bytes.
            field.set(&mut out, value);
        };
        for (fields, address) in [(&self.smac, &flow.smac), (&self.dmac, &flow.dmac)] {
            set(fields[0], mac(address) >> 16);
            set(fields[1], mac(address) & 0xffff);
        }
        set(self.ethertype, flow.ethertype.into());
        if let Some((tci, service)) = flow.vlan {
            set(self.vlan[0], (tci >> 13).into());
            set(self.vlan[1], ((tci >> 12) & 1).into());
            set(self.vlan[2], (tci & 0xfff).into());
            set(self.tags[usize::from(service)], 1);
        }
        let Some(ip) = &flow.ip else { return out };
        set(self.ip_version, if ip.source.is_ipv4() { 4 } else { 6 });
        set(self.ip_protocol, ip.protocol.into());
        set(self.ip_dscp, (ip.tos >> 2).into());
        set(self.ip_ecn, (ip.tos & 3).into());
        set(self.ttl, ip.ttl.into());
        set(self.frag, ip.fragment.into());
        if let Some((source, destination)) = ip.ports {
            let fields = if ip.protocol == 6 { &self.tcp } else { &self.udp };
            set(fields[0], source.into());
            set(fields[1], destination.into());
        }
        set(self.tcp_flags, ip.tcp_flags.into());
        for (field, address) in [(self.source, ip.source), (self.destination, ip.destination)] {
            let end = field.byte_offset() + field.byte_len();
            let place = |len: usize| end.saturating_sub(len)..end;
            match address {
                IpAddr::V4(a) => put(&mut out, place(4), &a.octets()),
                IpAddr::V6(a) => put(&mut out, place(16), &a.octets()),
            }
        }
        out
    }
}

fn put(out: &mut [u8; MATCH_LEN], place: std::ops::Range<usize>, bytes: &[u8]) {
    if let Some(target) = out.get_mut(place).filter(|target| target.len() == bytes.len()) {
        target.copy_from_slice(bytes);
    }
}
