// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Large send offload: one WQE's headers and payload become packets of `mss` bytes of payload each.
//!
//! What changes from packet to packet depends on the protocol:
//!
//! | | TCP | others |
//! |---|---|---|
//! | IPv4 total length, IPv6 payload length | yes | yes |
//! | IPv4 identification: + 1 for each packet | yes | yes |
//! | IPv4 header checksum, if asked for | yes | yes |
//! | sequence number: + `mss` for each packet | yes | no |
//! | FIN and PSH only on the last, CWR only on the first | yes | no |
//! | checksum of L4, if asked for | yes | UDP's; of no other protocol |
//!
//! UDP's length is what the driver put there for packets of `mss` bytes: it never hands over a remainder.

use crate::packet::{self, protocol, Ip};

/// The offloads that a WQE asks for in `cs_flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChecksumFlags {
    /// `MLX5_ETH_WQE_L3_CSUM`.
    pub l3: bool,
    /// `MLX5_ETH_WQE_L4_CSUM`.
    pub l4: bool,
}

/// What the hardware is not known to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silicon {
    /// LSO of protocols other than TCP and UDP also over IPv6. By default it is refused.
    pub other_over_ipv6: bool,
}

/// Why a WQE cannot be segmented. It is an error of the driver, or something hardware may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `mss` is 0.
    #[error("mss 0")]
    Mss,
    /// The inlined headers are not Ethernet and IP.
    #[error("no whole IP header among the inlined headers")]
    NoIp,
    /// The inlined headers end within the TCP header, or after it.
    #[error("{inline} bytes are inlined, but the L4 header ends after {end}")]
    HeaderLength {
        /// Bytes that are inlined.
        inline: usize,
        /// Where the L4 header ends.
        end: usize,
    },
    /// A protocol other than TCP and UDP over IPv6.
    #[error("IP protocol {0} over IPv6")]
    OtherOverIpv6(u8),
    /// A packet would be longer than an IP packet can be.
    #[error("packets of {0} bytes")]
    PacketLength(usize),
}

/// Applies the checksum offloads to a frame that is sent as it is.
pub fn checksums(frame: &mut [u8], flags: ChecksumFlags) {
    if let Some(headers) = packet::parse(frame).filter(|_| flags != ChecksumFlags::default()) {
        if flags.l3 {
            packet::fill_l3_checksum(frame, &headers);
        }
        if flags.l4 {
            packet::fill_l4_checksum(frame, &headers);
        }
    }
}

/// Segments: gives the frames in order. `header` is what the WQE inlines, `payload` all that its data segments have; a
/// payload without bytes gives no frame.
pub fn segment<'a>(
    header: &'a [u8],
    payload: &'a [u8],
    mss: usize,
    flags: ChecksumFlags,
    silicon: Silicon,
) -> Result<impl Iterator<Item = Vec<u8>> + 'a, Error> {
    if mss == 0 {
        return Err(Error::Mss);
    }
    let longest = header.len() + mss.min(payload.len());
    let plan = plan(header, silicon)?;
    // The lengths in IP headers count from l3; IPv6's less its header.
    if longest - plan.l3 > usize::from(u16::MAX) {
        return Err(Error::PacketLength(longest));
    }
    let count = payload.len().div_ceil(mss);
    Ok(payload.chunks(mss).enumerate().map(move |(i, part)| {
        let mut frame = [header, part].concat();
        plan.adapt(&mut frame, i, i + 1 == count, mss);
        checksums(&mut frame, flags);
        frame
    }))
}

/// Where in the header what changes is.
struct Plan {
    l3: usize,
    v6: bool,
    tcp: Option<usize>,
}

fn plan(header: &[u8], silicon: Silicon) -> Result<Plan, Error> {
    // The length in the IP header is that of all packets together, 0, or anything: the NIC writes it before it reads it.
    let Ok(total) = u16::try_from(header.len()) else {
        return Err(Error::PacketLength(header.len()));
    };
    let mut copy = header.to_vec();
    let (l3, v6) = packet::parse(&copy)
        .filter(|h| matches!(h.ethertype, packet::ethertype::IPV4 | packet::ethertype::IPV6))
        .map(|h| (h.l3, h.ethertype == packet::ethertype::IPV6))
        .ok_or(Error::NoIp)?;
    put_length(&mut copy, l3, v6, usize::from(total));
    let headers = packet::parse(&copy).ok_or(Error::NoIp)?;
    let Some(Ip { protocol, l4, .. }) = headers.ip else { return Err(Error::NoIp) };
    let tcp = match protocol {
        protocol::TCP | protocol::UDP => {
            let end = headers
                .l4
                .map_or(l4 + if protocol == protocol::TCP { 20 } else { 8 }, |l| l.payload);
            if end != header.len() {
                return Err(Error::HeaderLength { inline: header.len(), end });
            }
            (protocol == protocol::TCP).then_some(l4)
        }
        _ if v6 && !silicon.other_over_ipv6 => return Err(Error::OtherOverIpv6(protocol)),
        _ => None,
    };
    Ok(Plan { l3, v6, tcp })
}

fn put_length(frame: &mut [u8], l3: usize, v6: bool, end: usize) {
    let (at, length) = if v6 { (l3 + 4, end.saturating_sub(l3 + 40)) } else { (l3 + 2, end - l3) };
    if let Some(place) = frame.get_mut(at..).and_then(|f| f.first_chunk_mut()) {
        *place = (length as u16).to_be_bytes();
    }
}

impl Plan {
    fn adapt(&self, frame: &mut [u8], index: usize, last: bool, mss: usize) {
        const FIN: u8 = 0x01;
        const PSH: u8 = 0x08;
        const CWR: u8 = 0x80;

        put_length(frame, self.l3, self.v6, frame.len());
        if !self.v6 {
            if let Some(id) = frame.get_mut(self.l3 + 4..).and_then(|f| f.first_chunk_mut()) {
                *id = u16::from_be_bytes(*id).wrapping_add(index as u16).to_be_bytes();
            }
        }
        let Some(tcp) = self.tcp else { return };
        if let Some(seq) = frame.get_mut(tcp + 4..).and_then(|f| f.first_chunk_mut()) {
            let passed = (index as u32).wrapping_mul(mss as u32);
            *seq = u32::from_be_bytes(*seq).wrapping_add(passed).to_be_bytes();
        }
        if let Some(flags) = frame.get_mut(tcp + 13) {
            if !last {
                *flags &= !(FIN | PSH);
            }
            if index > 0 {
                *flags &= !CWR;
            }
        }
    }
}

#[cfg(test)]
mod tests;
