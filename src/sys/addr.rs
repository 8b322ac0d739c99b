// SPDX-License-Identifier: GPL-2.0

//! IP addresses in one canonical form, and socket addresses.

use homa_bindings as bindings;
use kernel::{fmt, prelude::*};

/// An IPv6 address, or an IPv4 address as `::ffff:a.b.c.d`: 16 bytes in network order.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Addr(pub [u8; 16]);

impl Addr {
    /// `::`
    pub const ANY: Addr = Addr([0; 16]);
    /// `0.0.0.0`
    pub const ANY_V4: Addr = Addr::v4([0; 4]);
    /// `::1`
    pub const LOOPBACK: Addr = Addr([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    /// `127.0.0.1`
    pub const LOOPBACK_V4: Addr = Addr::v4([127, 0, 0, 1]);

    /// An IPv4 address.
    pub const fn v4(b: [u8; 4]) -> Addr {
        Addr([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, b[0], b[1], b[2], b[3]])
    }

    /// An IPv6 address.
    pub const fn v6(bytes: [u8; 16]) -> Addr {
        Addr(bytes)
    }

    /// Two words, for hashing and comparing.
    #[inline]
    pub const fn words(&self) -> [u64; 2] {
        let b = &self.0;
        [
            u64::from_ne_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            u64::from_ne_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]),
        ]
    }

    /// Whether this is an IPv4 address.
    #[inline]
    pub const fn is_v4(&self) -> bool {
        let b = &self.0;
        self.words()[0] == 0 && u32::from_be_bytes([b[8], b[9], b[10], b[11]]) == 0xffff
    }

    /// The four bytes of an IPv4 address.
    #[inline]
    pub const fn as_v4(&self) -> Option<[u8; 4]> {
        match self.is_v4() {
            true => Some([self.0[12], self.0[13], self.0[14], self.0[15]]),
            false => None,
        }
    }

    /// `::` or `0.0.0.0`.
    pub fn is_any(&self) -> bool {
        *self == Self::ANY || *self == Self::ANY_V4
    }

    /// 224.0.0.0/4 or ff00::/8.
    pub fn is_multicast(&self) -> bool {
        match self.as_v4() {
            Some(b) => b[0] & 0xf0 == 0xe0,
            None => self.0[0] == 0xff,
        }
    }

    /// 255.255.255.255
    pub fn is_broadcast(&self) -> bool {
        *self == Addr::v4([255; 4])
    }

    /// fe80::/10
    pub fn is_link_local(&self) -> bool {
        self.0[0] == 0xfe && self.0[1] & 0xc0 == 0x80
    }

    pub(super) const fn from_in6(addr: &bindings::in6_addr) -> Addr {
        // SAFETY: all members of the union are the same 16 plain bytes.
        Addr(unsafe { addr.in6_u.u6_addr8 })
    }

    pub(super) const fn to_in6(self) -> bindings::in6_addr {
        bindings::in6_addr { in6_u: bindings::in6_addr__bindgen_ty_1 { u6_addr8: self.0 } }
    }

    /// From a `__be32`.
    pub(super) const fn from_be32(addr: u32) -> Addr {
        Addr::v4(addr.to_ne_bytes())
    }

    /// The last four bytes as a `__be32`: the address, if it is an IPv4 one.
    pub(super) const fn to_be32(self) -> u32 {
        u32::from_ne_bytes([self.0[12], self.0[13], self.0[14], self.0[15]])
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some([a, b, c, d]) = self.as_v4() {
            return write!(f, "{a}.{b}.{c}.{d}");
        }
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(self.0.chunks_exact(2)) {
            if let [high, low] = *bytes {
                *word = u16::from_be_bytes([high, low]);
            }
        }
        // The first of the longest runs of zeros becomes "::" (RFC 5952); one zero alone does not.
        let (mut zeros, mut longest) = (8..8, 1);
        for i in 0..8 {
            let run = words.iter().skip(i).take_while(|word| **word == 0).count();
            if run > longest {
                (zeros, longest) = (i..i.saturating_add(run), run);
            }
        }
        for (i, word) in words.iter().enumerate() {
            if i == zeros.start {
                write!(f, "::")?;
            }
            if !zeros.contains(&i) {
                let colon = if i == 0 || i == zeros.end { "" } else { ":" };
                write!(f, "{colon}{word:x}")?;
            }
        }
        Ok(())
    }
}

/// Which kind of socket an address is for, or which protocol carries a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// AF_INET
    V4,
    /// AF_INET6
    V6,
}

/// Address, port (in host order) and, where it matters (link-local addresses), the device's index.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SockAddr {
    /// The address.
    pub addr: Addr,
    /// The port.
    pub port: u16,
    /// The device's index, or 0.
    pub scope: u32,
}

impl fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.addr.is_v4() {
            fmt::Display::fmt(&self.addr, f)?;
            return write!(f, ":{}", self.port);
        }
        f.write_str("[")?;
        fmt::Display::fmt(&self.addr, f)?;
        if self.scope != 0 {
            write!(f, "%{}", self.scope)?;
        }
        write!(f, "]:{}", self.port)
    }
}

const LEN_V4: usize = 16;
const LEN_V6: usize = 28;
/// Without sin6_scope_id, as in RFC 2133: the kernel still takes it.
const LEN_V6_SHORT: usize = 24;

impl SockAddr {
    /// Reads a `sockaddr_in` or `sockaddr_in6` that a program passed to a socket of `family`.
    ///
    /// EINVAL if it is too short; EAFNOSUPPORT if the address family does not fit. A V6 socket takes a
    /// `sockaddr_in`, too; whether IPv4 is welcome on an IPv6-only socket is the caller's question.
    pub fn parse(family: Family, bytes: &[u8]) -> Result<SockAddr> {
        let af = Self::family_of(bytes).ok_or(EINVAL)?;
        let port = |b: &[u8]| u16::from_be_bytes([b[2], b[3]]);
        match u32::from(af) {
            bindings::AF_INET => {
                let b = bytes.get(..LEN_V4).ok_or(EINVAL)?;
                Ok(SockAddr { addr: Addr::v4([b[4], b[5], b[6], b[7]]), port: port(b), scope: 0 })
            }
            bindings::AF_INET6 if family == Family::V6 => {
                let b = bytes.get(..LEN_V6_SHORT).ok_or(EINVAL)?;
                let mut addr = Addr::ANY;
                addr.0.copy_from_slice(&b[8..24]);
                let scope = match bytes.get(24..LEN_V6) {
                    Some(s) if addr.is_link_local() => u32::from_ne_bytes([s[0], s[1], s[2], s[3]]),
                    _ => 0,
                };
                Ok(SockAddr { addr, port: port(b), scope })
            }
            _ => Err(EAFNOSUPPORT),
        }
    }

    /// sa_family of the bytes, if there are two. (AF_UNSPEC is 0.)
    pub fn family_of(bytes: &[u8]) -> Option<u16> {
        Some(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]))
    }

    /// Writes it the way a socket of `family` shows it, and returns its length (16 or 28). A `sockaddr_in6`
    /// shows IPv4 as v4-mapped; a `sockaddr_in` of an IPv6 address cannot be, and shows 0.0.0.0.
    pub fn write(&self, family: Family, out: &mut [u8; 28]) -> usize {
        *out = [0; 28];
        out[2..4].copy_from_slice(&self.port.to_be_bytes());
        match family {
            Family::V4 => {
                out[..2].copy_from_slice(&(bindings::AF_INET as u16).to_ne_bytes());
                out[4..8].copy_from_slice(&self.addr.as_v4().unwrap_or([0; 4]));
                LEN_V4
            }
            Family::V6 => {
                out[..2].copy_from_slice(&(bindings::AF_INET6 as u16).to_ne_bytes());
                out[8..24].copy_from_slice(&self.addr.0);
                if self.addr.is_link_local() {
                    out[24..28].copy_from_slice(&self.scope.to_ne_bytes());
                }
                LEN_V6
            }
        }
    }
}
