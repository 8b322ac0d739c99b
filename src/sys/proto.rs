// SPDX-License-Identifier: GPL-2.0

//! Registering a datagram transport protocol for IPv4 and IPv6.

/// A transport protocol with SOCK_DGRAM sockets.
///
/// Socket calls arrive in process context without the socket lock (take [`Sock::lock`] where needed); several may run at once on one socket.
pub trait DatagramProtocol: Sized + 'static {
    /// IP protocol number.
    const PROTOCOL: u8;
    /// Name in /proc/net/protocols; the v6 one gets "v6" appended.
    const NAME: &'static CStr;
    /// What belongs to one socket. It normally keeps the `SockRef` it was made with; the cycle is cut when the socket is closed.
    type Socket: Send + Sync + 'static;

    // Life.
    /// socket(2). Nothing else can see the socket before this returns.
    fn init(sk: SockRef) -> Result<Arc<Self::Socket>>;
    /// close(2), or the process ended, or a later step of socket(2) failed: the last call for this socket; the kernel's reference to
    /// the `Arc` is dropped after it. Packets may still find the socket through the protocol's own tables: take it out here.
    fn close(sock: &Arc<Self::Socket>);

    // Calls.
    fn bind(sock: &Arc<Self::Socket>, name: &[u8]) -> Result;                   // raw sockaddr: SockAddr::parse
    fn connect(sock: &Arc<Self::Socket>, name: &[u8]) -> Result;                // never AF_UNSPEC
    fn disconnect(sock: &Arc<Self::Socket>) -> Result;                          // connect to AF_UNSPEC
    fn sendmsg(sock: &Arc<Self::Socket>, msg: &mut MsgHdr, len: usize) -> Result<usize>;
    fn recvmsg(sock: &Arc<Self::Socket>, msg: &mut MsgHdr, len: usize, flags: u32) -> Result<usize>;
    /// What poll reports, besides errors and shutdown, which are added from the sock.
    fn poll(sock: &Arc<Self::Socket>) -> PollEvents;                            // READABLE | WRITABLE | PRIORITY | ERROR
    /// `how`: 1 = receive, 2 = send, 3 = both. sk_shutdown is set already.
    fn shutdown(sock: &Arc<Self::Socket>, how: u8) -> Result;
    /// Options of level PROTOCOL and SOL_TLS; other levels go to IP and IPv6.
    fn setsockopt(sock: &Arc<Self::Socket>, level: i32, name: i32, value: OptVal<'_>) -> Result;
    fn getsockopt(sock: &Arc<Self::Socket>, level: i32, name: i32, out: &mut OptOut<'_>) -> Result;
    /// ENOIOCTLCMD passes it on to IP.
    fn ioctl(sock: &Arc<Self::Socket>, cmd: u32, arg: usize) -> Result<i32>;

    // Packets. Softirq, under rcu_read_lock.
    /// A packet for us; `data` is at the transport header (nothing of it need be linear). `net` is its namespace.
    fn rcv(net: &Net, skb: SkBuff);
    /// An ICMP error about a packet we sent: `skb.data` is at *its* transport header (only the first 8 bytes are certain), source() and dest() are of
    /// the packet we sent.
    fn icmp_error(net: &Net, skb: &mut Skb, error: IcmpError);

    // Offloads. Optional.
    /// Cuts a packet built with `set_gso`: normally `Segments::cut` and a header fix.
    fn gso_segment(skb: &mut GsoSkb<'_>) -> Result<Segments>;
    /// May `new` be chained behind `held` (same addresses)? Both `data` at the transport header; `GRO_HEADER` bytes are linear.
    const GRO_HEADER: usize;    // 0 switches GRO off
    fn gro_same(held: &[u8], new: &[u8]) -> GroVerdict;
}

pub struct PollEvents(u32);    // BitOr

/// What ICMP said.
#[derive(Clone, Copy)]
pub struct IcmpError { pub kind: u8, pub code: u8, pub info: u32, /// errno it stands for
    pub err: Error, /// the path itself is not usable (as opposed to a hint)
    pub fatal: bool, /// Packet too big: the new MTU (the route was updated already)
    pub mtu: Option<u32> }

/// Keeps protocol `P` registered; dropping it unregisters (and waits until no packet is in it). The sockets hold the module.
pub struct Registration<P: DatagramProtocol>;
impl<P: DatagramProtocol> Registration<P> { pub fn new(module: &'static ThisModule) -> Result<Self>; }
