// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Receive-side scaling: TIRs, their hash, and the tables of RQs behind it.

use std::net::IpAddr;

use crate::steering::Flow;

/// Which fields a TIR hashes: bits of `rx_hash_field_select.selected_fields`.
pub mod select {
    pub const SRC_IP: u32 = 1 << 0;
    pub const DST_IP: u32 = 1 << 1;
    pub const L4_SPORT: u32 = 1 << 2;
    pub const L4_DPORT: u32 = 1 << 3;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// To one RQ.
    Direct(u32),
    /// By the hash, through an RQT.
    Indirect(u32),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashFunction {
    #[default]
    None,
    /// `MLX5_RX_HASH_FN_INVERTED_XOR8`
    InvertedXor8,
    Toeplitz,
}

#[derive(Clone, Debug)]
pub struct Tir {
    pub dispatch: Dispatch,
    pub function: HashFunction,
    pub symmetric: bool,
    pub key: [u8; 40],
    pub selected: u32,
}

/// A packet's hash, and of what: `rss_hash_result` and `rss_hash_type` of the CQE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hash {
    pub value: u32,
    pub kind: u8,
}

/// `rss_hash_type`: bits 3:2 say which IP, bits 7:6 which L4 was hashed.
mod kind {
    pub const IPV4: u8 = 1 << 2;
    pub const IPV6: u8 = 2 << 2;
    pub const TCP: u8 = 1 << 6;
    pub const UDP: u8 = 2 << 6;
}

impl Tir {
    pub fn hash(&self, flow: &Flow) -> Hash {
        let Some(ip) = flow.ip.as_ref().filter(|_| self.selected != 0) else {
            return Hash::default();
        };
        let (mut source, mut destination) = (ip.source, ip.destination);
        let (mut sport, mut dport) = ip.ports.unwrap_or_default();
        if self.symmetric {
            // Both directions of a flow have the same hash.
            if source > destination {
                std::mem::swap(&mut source, &mut destination);
            }
            if sport > dport {
                std::mem::swap(&mut sport, &mut dport);
            }
        }
        let mut data = Vec::with_capacity(36);
        let mut kind = 0;
        for (bit, address) in [(select::SRC_IP, source), (select::DST_IP, destination)] {
            if self.selected & bit != 0 {
                kind |= if address.is_ipv4() { kind::IPV4 } else { kind::IPV6 };
                match address {
                    IpAddr::V4(a) => data.extend(a.octets()),
                    IpAddr::V6(a) => data.extend(a.octets()),
                }
            }
        }
        if ip.ports.is_some() {
            for (bit, port) in [(select::L4_SPORT, sport), (select::L4_DPORT, dport)] {
                if self.selected & bit != 0 {
                    kind |= if ip.protocol == 6 { kind::TCP } else { kind::UDP };
                    data.extend(port.to_be_bytes());
                }
            }
        }
        let value = match self.function {
            HashFunction::None => return Hash::default(),
            HashFunction::InvertedXor8 => u32::from(!data.iter().fold(0, |all, byte| all ^ byte)),
            HashFunction::Toeplitz => toeplitz(&self.key, &data),
        };
        Hash { value, kind }
    }
}

/// For each bit of the data that is set, the 32 bits of the key that begin at the same place.
fn toeplitz(key: &[u8; 40], data: &[u8]) -> u32 {
    let key_bit = |n: usize| key.get(n / 8).is_some_and(|byte| (byte >> (7 - n % 8)) & 1 == 1);
    let mut window = u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
    let mut hash = 0;
    for n in 0..data.len() * 8 {
        if (data[n / 8] >> (7 - n % 8)) & 1 == 1 {
            hash ^= window;
        }
        window = (window << 1) | u32::from(key_bit(n + 32));
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::IpFlow;

    /// The key and the values of Microsoft's "Verifying the RSS hash calculation".
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    fn tir(selected: u32) -> Tir {
        Tir {
            dispatch: Dispatch::Indirect(1),
            function: HashFunction::Toeplitz,
            symmetric: false,
            key: KEY,
            selected,
        }
    }

    fn flow(source: &str, sport: u16, destination: &str, dport: u16) -> Flow {
        Flow {
            ip: Some(IpFlow {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
                protocol: 6,
                tos: 0,
                ttl: 1,
                fragment: false,
                ports: Some((sport, dport)),
                tcp_flags: 0,
            }),
            ..Flow::default()
        }
    }

    #[test]
    fn known_answers() {
        let ips = select::SRC_IP | select::DST_IP;
        let all = ips | select::L4_SPORT | select::L4_DPORT;
        let v4 = flow("66.9.149.187", 2794, "161.142.100.80", 1766);
        assert_eq!(tir(ips).hash(&v4), Hash { value: 0x323e_8fc2, kind: 0x04 });
        assert_eq!(tir(all).hash(&v4), Hash { value: 0x51cc_c178, kind: 0x44 });
        let v6 = flow("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766);
        assert_eq!(tir(ips).hash(&v6), Hash { value: 0x2cc1_8cd5, kind: 0x08 });
        assert_eq!(tir(all).hash(&v6), Hash { value: 0x4020_7d3d, kind: 0x48 });
    }

    #[test]
    fn symmetric_and_none() {
        let mut symmetric =
            tir(select::SRC_IP | select::DST_IP | select::L4_SPORT | select::L4_DPORT);
        symmetric.symmetric = true;
        let (there, back) =
            (flow("10.0.0.1", 5, "10.0.0.2", 6), flow("10.0.0.2", 6, "10.0.0.1", 5));
        assert_eq!(symmetric.hash(&there), symmetric.hash(&back));
        assert_ne!(tir(0xf).hash(&there), tir(0xf).hash(&back));
        assert_eq!(tir(0xf).hash(&Flow::default()), Hash::default());
        assert_eq!(tir(0).hash(&there), Hash::default());
    }
}
