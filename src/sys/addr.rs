// SPDX-License-Identifier: GPL-2.0

//! IP addresses in one canonical form, and socket addresses.

/// An IPv6 address, or an IPv4 address as `::ffff:a.b.c.d`: 16 bytes in network order.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Addr(pub [u8; 16]);
impl Addr {
    pub const ANY: Addr;          // ::
    pub const ANY_V4: Addr;       // ::ffff:0.0.0.0
    pub const fn v4(bytes: [u8; 4]) -> Addr;
    pub const fn v6(bytes: [u8; 16]) -> Addr;
    pub fn is_v4(&self) -> bool;
    pub fn as_v4(&self) -> Option<[u8; 4]>;
    /// `::` or `0.0.0.0`.
    pub fn is_any(&self) -> bool;
    pub fn is_multicast(&self) -> bool;
    pub fn is_broadcast(&self) -> bool;     // 255.255.255.255
    pub fn is_link_local(&self) -> bool;    // fe80::/10
    pub fn is_loopback(&self) -> bool;
    /// Two words, for hashing and comparing.
    pub fn words(&self) -> [u64; 2];
}
impl fmt::Display for Addr;

/// Which kind of socket an address is for, or comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family { V4, V6 }

/// Address, port (host order) and, for link-local ones, the device index.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SockAddr { pub addr: Addr, pub port: u16, pub scope: u32 }
impl SockAddr {
    /// Reads a `sockaddr_in` or `sockaddr_in6` that a program passed to a socket of `family`.
    /// EINVAL if too short, EAFNOSUPPORT if the family does not fit (a V6 socket takes `sockaddr_in` too, as `::ffff:`;
    /// whether v4-mapped is welcome on a v6-only socket is the caller's question).
    pub fn parse(family: Family, bytes: &[u8]) -> Result<SockAddr>;
    /// sa_family of the bytes, if there are two (AF_UNSPEC = 0 disconnects).
    pub fn family_of(bytes: &[u8]) -> Option<u16>;
    /// Writes it as a socket of `family` shows it; returns its length (16 or 28). A `sockaddr_in6` shows IPv4 as v4-mapped.
    pub fn write(&self, family: Family, out: &mut [u8; 28]) -> usize;
}
