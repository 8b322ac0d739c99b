// SPDX-License-Identifier: GPL-2.0

//! Routes, and sending on them.

/// What determines a route. `source` may be ANY: then it is chosen.
#[derive(Clone, Copy)]
pub struct Flow { pub source: Addr, pub dest: Addr, pub sport: u16, pub dport: u16, pub scope: u32, pub tos: u8 }

/// A route to one destination from one socket: cache it, ask [`is_valid`](Self::is_valid) before each use.
pub struct Dst;      // Send + Sync; clone_ref
impl Dst {
    /// Looks it up for `sk` (its device, mark, uid, source address; LSMs have their say). ENETUNREACH, EHOSTUNREACH, EINVAL, EACCES for broadcast...
    /// Process or softirq.
    pub fn lookup(sk: &Sock, flow: &Flow) -> Result<Dst>;
    pub fn is_valid(&self) -> bool;           // dst_check, cheap
    /// The source address the route uses.
    pub fn source(&self) -> Addr;
    pub fn dest(&self) -> Addr;
    pub fn family(&self) -> Family;
    /// Largest IP packet, headers included.
    pub fn mtu(&self) -> usize;
    /// Bytes of IP header it will put in front (20 or 40, plus options).
    pub fn ip_header_len(&self) -> usize;
    /// Link-layer headroom and IP header, to be given to `SkbBuilder::new` (plus the transport's own header).
    pub fn headroom(&self) -> usize;
    pub fn ifindex(&self) -> u32;
    pub fn is_loopback(&self) -> bool;
    /// Bytes (and segments) that the device takes in one GSO packet; 
    pub fn gso_max_size(&self) -> usize;
    pub fn gso_max_segs(&self) -> usize;
    /// NETIF_F_* of the device.
    pub fn features(&self) -> Features;       // .sg(), .tso4(), .tso6(), .hw_tls_tx(), .hw_csum(), .supports(GsoKind)
    /// Mbit/s if the device says so.  (Process context: asks ethtool.)
    pub fn link_speed(&self) -> Option<u32>;
    /// Sends. The packet's `data` is at the transport header; it is consumed whatever happens. `tos` is DSCP and ECN (v4) or traffic
    /// class (v6). Err is what the stack said (e.g. ENOBUFS when the device's queue is full): the packet is gone all the same.
    pub fn xmit(&self, sk: &Sock, skb: SkBuff, tos: u8) -> Result;
}
