// SPDX-License-Identifier: GPL-2.0

//! Helpers for the offload callbacks of a protocol: cutting large packets (GSO), and chaining small ones (GRO).

/// The result of cutting a packet: a list of packets whose headers can still be changed.
pub struct Segments;
impl Segments {
    /// skb_segment: each gets a copy of the transport header (`header_len` bytes at the transport header) and up to gso_size of payload.
    pub fn cut(skb: &mut GsoSkb<'_>, header_len: usize) -> Result<Segments>;
    /// f(index, the transport header, payload length)
    pub fn for_each_header(&mut self, f: impl FnMut(usize, &mut [u8], usize));
}
/// The packet that a `gso_segment` callback got.
pub struct GsoSkb<'a>;
impl GsoSkb<'_> { pub fn gso_size(&self) -> usize; pub fn header(&mut self, n: usize) -> Option<&[u8]>; /* features... */ }

/// The packet that a `gro_receive` callback got: see [`DatagramProtocol::gro_same`](super::proto::DatagramProtocol::gro_same).
/// What the protocol says about two packets of one source, destination address and IP protocol.
pub enum GroVerdict { Chain, Separate, FlushHeld }
