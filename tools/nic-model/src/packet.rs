// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Ethernet frames as the NIC's parser sees them, and the checksums that it makes and checks.
//!
//! [`parse`] never fails on a frame with an Ethernet header: it goes as far into the frame as headers are whole and make
//! sense, and says how far it got. All places it gives lie inside the frame. They are for a frame of the same length:
//! functions that take both do nothing to one that is shorter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an Ethernet header without tags.
pub const ETH_LEN: usize = 14;

/// Ethertypes.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// A customer's VLAN tag.
    pub const VLAN: u16 = 0x8100;
    /// A service provider's VLAN tag.
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

/// IP protocols that the NIC knows.
pub mod protocol {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
}

/// What the parser found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Destination MAC address.
    pub dst_mac: [u8; 6],
    /// Source MAC address.
    pub src_mac: [u8; 6],
    /// The tags, outermost first: ethertype and TCI. The NIC looks at no more than two.
    pub vlan: [Option<(u16, u16)>; 2],
    /// The ethertype after the tags.
    pub ethertype: u16,
    /// Where what the ethertype names begins.
    pub l3: usize,
    /// The IP header.
    pub ip: Option<Ip>,
    /// The TCP or UDP header, of a packet that is no fragment.
    pub l4: Option<L4>,
}

/// An IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// The protocol after all extension headers that were understood.
    pub protocol: u8,
    /// Where that protocol's header begins.
    pub l4: usize,
    /// Where the packet ends by its own length: Ethernet may have padding after it. Not after the frame's end.
    pub end: usize,
    /// The frame is shorter than the packet says.
    pub truncated: bool,
    /// A fragment, even if the first.
    pub fragment: bool,
}

/// A TCP or UDP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L4 {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Where its checksum is.
    pub checksum: usize,
    /// Where the payload begins.
    pub payload: usize,
}

/// What the NIC says of a received packet's checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// There is an IP header, and its checksum, if it has one, is right.
    pub l3_ok: bool,
    /// There is a TCP or UDP header in a packet that is no fragment, and its checksum is right.
    pub l4_ok: bool,
}

fn u16_at(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?))
}

fn array_at<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk().copied()
}

fn put_u16(frame: &mut [u8], at: usize, value: u16) {
    if let Some(place) = frame.get_mut(at..).and_then(|f| f.first_chunk_mut()) {
        *place = value.to_be_bytes();
    }
}

/// Parses a frame; `None` if it has no whole Ethernet header.
pub fn parse(frame: &[u8]) -> Option<Headers> {
    let mut ethertype = u16_at(frame, 12)?;
    let mut l3 = ETH_LEN;
    let mut vlan = [None; 2];
    for tag in &mut vlan {
        if !matches!(ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN) {
            break;
        }
        let (Some(tci), Some(next)) = (u16_at(frame, l3), u16_at(frame, l3 + 2)) else { break };
        *tag = Some((ethertype, tci));
        (ethertype, l3) = (next, l3 + 4);
    }
    let ip = match ethertype {
        ethertype::IPV4 => parse_ipv4(frame, l3),
        ethertype::IPV6 => parse_ipv6(frame, l3),
        _ => None,
    };
    let l4 = ip.as_ref().and_then(|ip| parse_l4(frame, ip));
    Some(Headers {
        dst_mac: array_at(frame, 0)?,
        src_mac: array_at(frame, 6)?,
        vlan,
        ethertype,
        l3,
        ip,
        l4,
    })
}

fn parse_ipv4(frame: &[u8], l3: usize) -> Option<Ip> {
    let header: [u8; 20] = array_at(frame, l3)?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4
        || header_len < header.len()
        || total < header_len
        || l3 + header_len > frame.len()
    {
        return None;
    }
    let address = |at| array_at::<4>(&header, at).map(|a| IpAddr::from(Ipv4Addr::from(a)));
    Some(Ip {
        src: address(12)?,
        dst: address(16)?,
        traffic_class: header[1],
        protocol: header[9],
        l4: l3 + header_len,
        end: frame.len().min(l3 + total),
        truncated: frame.len() < l3 + total,
        // More fragments, or an offset.
        fragment: u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0,
    })
}

fn parse_ipv6(frame: &[u8], l3: usize) -> Option<Ip> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;

    let header: [u8; 40] = array_at(frame, l3)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let total = header.len() + usize::from(u16::from_be_bytes([header[4], header[5]]));
    let address = |at| array_at::<16>(&header, at).map(|a| IpAddr::from(Ipv6Addr::from(a)));
    let mut ip = Ip {
        src: address(8)?,
        dst: address(24)?,
        traffic_class: (header[0] << 4) | (header[1] >> 4),
        protocol: header[6],
        l4: l3 + header.len(),
        end: frame.len().min(l3 + total),
        truncated: frame.len() < l3 + total,
        fragment: false,
    };
    // Each of these has at least 8 bytes, so this ends.
    while let HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION = ip.protocol {
        let Some([next, len, offset_high, offset_low]) = array_at(frame, ip.l4) else { break };
        let len = if ip.protocol == FRAGMENT { 8 } else { usize::from(len) * 8 + 8 };
        if ip.l4 + len > ip.end {
            break;
        }
        if ip.protocol == FRAGMENT {
            // Not an "atomic fragment": an offset, or more fragments.
            ip.fragment |= u16::from_be_bytes([offset_high, offset_low]) & 0xfff9 != 0;
        }
        (ip.protocol, ip.l4) = (next, ip.l4 + len);
    }
    Some(ip)
}

fn parse_l4(frame: &[u8], ip: &Ip) -> Option<L4> {
    let packet = frame.get(..ip.end)?;
    if ip.fragment {
        return None;
    }
    let (checksum, payload) = match ip.protocol {
        protocol::TCP => {
            let [offset] = array_at(packet, ip.l4 + 12)?;
            let len = usize::from(offset >> 4) * 4;
            (ip.l4 + 16, (len >= 20).then_some(ip.l4 + len)?)
        }
        protocol::UDP => (ip.l4 + 6, ip.l4 + 8),
        _ => return None,
    };
    (payload <= packet.len()).then_some(L4 {
        src_port: u16_at(packet, ip.l4)?,
        dst_port: u16_at(packet, ip.l4 + 2)?,
        checksum,
        payload,
    })
}

/// The ones' complement sum of big-endian words, folded, not inverted. A last odd byte is a word's high one.
pub fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|c| match *c {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    });
    fold(words.sum())
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// What the CQE of a received packet has as `check_sum`: the sum of all that follows the Ethernet header, tags included.
pub fn checksum_complete(frame: &[u8]) -> u16 {
    sum(frame.get(ETH_LEN..).unwrap_or_default())
}

/// The sum over the pseudo header of RFC 9293 and RFC 8200 for what is from `ip.l4` on.
fn pseudo_sum(ip: &Ip) -> u16 {
    let addresses = match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => [sum(&src.octets()), sum(&dst.octets())],
        (IpAddr::V6(src), IpAddr::V6(dst)) => [sum(&src.octets()), sum(&dst.octets())],
        _ => [0; 2],
    };
    let words = addresses.map(u64::from).into_iter().sum::<u64>()
        + u64::from(ip.protocol)
        + (ip.end - ip.l4) as u64;
    fold(words)
}

/// Transmit offload of the IPv4 header's checksum (`MLX5_ETH_WQE_L3_CSUM`). What stood there counts for nothing.
pub fn fill_l3_checksum(frame: &mut [u8], headers: &Headers) {
    let Some(Ip { src: IpAddr::V4(_), l4, .. }) = headers.ip else { return };
    put_u16(frame, headers.l3 + 10, 0);
    if let Some(header) = frame.get(headers.l3..l4) {
        let sum = sum(header);
        put_u16(frame, headers.l3 + 10, !sum);
    }
}

/// Transmit offload of TCP's and UDP's checksum (`MLX5_ETH_WQE_L4_CSUM`). Another protocol's packet, and a fragment, stay
/// as they are.
pub fn fill_l4_checksum(frame: &mut [u8], headers: &Headers) {
    let (Some(ip), Some(l4)) = (&headers.ip, &headers.l4) else { return };
    put_u16(frame, l4.checksum, 0);
    if let Some(segment) = frame.get(ip.l4..ip.end) {
        let sum = !fold(u64::from(pseudo_sum(ip)) + u64::from(sum(segment)));
        // UDP's zero means that there is none.
        put_u16(
            frame,
            l4.checksum,
            if sum == 0 && ip.protocol == protocol::UDP { 0xffff } else { sum },
        );
    }
}

/// Checks a received packet's checksums.
pub fn check(frame: &[u8], headers: &Headers) -> Checks {
    let Some(ip) = &headers.ip else { return Checks::default() };
    let l3_ok = match ip.src {
        IpAddr::V4(_) => frame.get(headers.l3..ip.l4).is_some_and(|h| sum(h) == 0xffff),
        IpAddr::V6(_) => true,
    };
    let l4_ok = match (&headers.l4, frame.get(ip.l4..ip.end)) {
        (Some(l4), Some(segment)) if !ip.truncated => {
            let none = ip.protocol == protocol::UDP && u16_at(frame, l4.checksum) == Some(0);
            none || fold(u64::from(pseudo_sum(ip)) + u64::from(sum(segment))) == 0xffff
        }
        _ => false,
    };
    Checks { l3_ok, l4_ok }
}

#[cfg(test)]
mod tests;
