// SPDX-License-Identifier: GPL-2.0

//! Registering a datagram transport protocol for IPv4 and IPv6.
//!
//! The trait is here; what C calls is in [`calls`] (system calls) and [`input`] (packets).

mod calls;
mod input;

use super::{
    addr::Addr,
    early::EarlyRoutes,
    gro::{self, GroVerdict},
    gso::{self, GsoSkb, Segments},
    netns::Net,
    skb::SkBuff,
    sock::{Sock, SockRef},
    uio::MsgHdr,
    user::{OptOut, OptVal},
};
use ::core::{marker::PhantomData, ops, ptr};
use homa_bindings as bindings;
use kernel::{error::to_result, prelude::*, sync::Arc, types::Opaque};

/// A transport protocol with SOCK_DGRAM sockets.
///
/// Calls come in process context, without the socket's lock (take [`Sock::lock`] where that matters); several may be under way on one socket.
/// Packets come in softirq.
pub trait DatagramProtocol: Sized + 'static {
    /// The IP protocol number.
    const PROTOCOL: u8;
    /// Its name in /proc/net/protocols (at most 31 bytes); IPv6's gets "v6" appended.
    const NAME: &'static str;
    /// How many bytes of a packet [`Self::gro_header_len`] wants to see: no shorter header is joined. 0: no GRO.
    const GRO_HEADER: usize;

    /// What belongs to one socket. It may keep the `SockRef` it was made with: the circle is cut when the socket is closed.
    type Socket: Send + Sync + 'static;

    /// socket(2). Nobody else can see the socket before this has returned.
    fn init(sk: SockRef) -> Result<Arc<Self::Socket>>;

    /// close(2), or the process ended, or a later step of socket(2) failed: the last call for this socket. The kernel's reference to the `Arc` is dropped
    /// afterwards. Packets find the socket only through tables of the protocol's own: take it out of them here.
    fn close(sock: &Arc<Self::Socket>);

    /// bind(2). `name` is the raw sockaddr: see [`SockAddr::parse`](super::addr::SockAddr::parse).
    fn bind(sock: &Arc<Self::Socket>, name: &[u8]) -> Result;

    /// connect(2) to an address.
    fn connect(sock: &Arc<Self::Socket>, name: &[u8]) -> Result;

    /// connect(2) to AF_UNSPEC.
    fn disconnect(sock: &Arc<Self::Socket>) -> Result;

    /// sendmsg(2), `len` bytes. Returns how many were taken.
    fn sendmsg(sock: &Arc<Self::Socket>, msg: &mut MsgHdr<'_>, len: usize) -> Result<usize>;

    /// recvmsg(2), with room for `len` bytes; `flags` are MSG_*. Returns what recvmsg(2) does.
    fn recvmsg(
        sock: &Arc<Self::Socket>,
        msg: &mut MsgHdr<'_>,
        len: usize,
        flags: u32,
    ) -> Result<usize>;

    /// poll(2). Errors (SO_ERROR) and shutdown are added to it.
    fn poll(sock: &Arc<Self::Socket>) -> PollEvents;

    /// shutdown(2). `how`: [`SHUT_RCV`](super::sock::SHUT_RCV) and [`SHUT_SEND`](super::sock::SHUT_SEND); the sock is marked already, and sleepers are awake.
    fn shutdown(sock: &Arc<Self::Socket>, how: u8) -> Result;

    /// setsockopt(2), for the levels `PROTOCOL` and SOL_TLS. (SOL_SOCKET is the kernel's, others are IP's.)
    fn setsockopt(sock: &Arc<Self::Socket>, level: i32, name: i32, value: OptVal<'_>) -> Result;

    /// getsockopt(2), for the same.
    fn getsockopt(sock: &Arc<Self::Socket>, level: i32, name: i32, out: &mut OptOut<'_>) -> Result;

    /// ioctl(2). ENOTTY (that is ENOIOCTLCMD) passes it on to IP.
    fn ioctl(sock: &Arc<Self::Socket>, cmd: u32, arg: usize) -> Result<i32>;

    /// A packet of `net`, `data` at the transport header (none of which need be linear). IPsec's policy was asked. In an RCU section.
    fn rcv(net: &Net, skb: SkBuff);

    /// ICMP about a packet that we sent; `header` is what it quotes from the transport header on (8 bytes at least). The route knows already. In an RCU section.
    fn icmp_error(net: &Net, header: &[u8], error: &IcmpError);

    /// Cuts a packet made with [`Skb::set_gso`](super::skb::Skb::set_gso): [`GsoSkb::cut`], and mend the headers.
    fn gso_segment(skb: &mut GsoSkb<'_>) -> Result<Segments>;

    /// The length of a packet's header, of which these are the first `GRO_HEADER` bytes; None if it is not to be joined to any.
    fn gro_header_len(head: &[u8]) -> Option<usize>;

    /// Whether a packet is to be joined to one that is held, and how: both between the same addresses; so many bytes of each as
    /// `gro_header_len` said of the new one; the held one has `payload` bytes behind them.
    fn gro_same(held: &[u8], new: &[u8], payload: usize) -> GroVerdict;

    /// Whether a packet with this header (as long as `gro_header_len` said), which begins with its ports, and so many bytes of payload is
    /// complete in itself: those that come after it, of the same flow, need not follow it.
    fn gro_is_whole(header: &[u8], payload: usize) -> bool;

    /// Runs `f` with the routes of the flows of `net`, if there are any; it says whether one served. Softirq.
    fn with_early_routes(net: &Net, f: impl FnOnce(&EarlyRoutes) -> bool);
}

/// <uapi/linux/eventpoll.h>, whose macros bindgen does not understand.
#[rustfmt::skip]
mod epoll {
    pub(super) const EPOLLIN: u32     = 0x0001;
    pub(super) const EPOLLPRI: u32    = 0x0002;
    pub(super) const EPOLLOUT: u32    = 0x0004;
    pub(super) const EPOLLERR: u32    = 0x0008;
    pub(super) const EPOLLHUP: u32    = 0x0010;
    pub(super) const EPOLLRDNORM: u32 = 0x0040;
    pub(super) const EPOLLWRNORM: u32 = 0x0100;
    pub(super) const EPOLLWRBAND: u32 = 0x0200;
    pub(super) const EPOLLRDHUP: u32  = 0x2000;
}

/// What poll(2) reports.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PollEvents(u32);

impl PollEvents {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// EPOLLIN
    pub const READABLE: Self = Self(epoll::EPOLLIN | epoll::EPOLLRDNORM);
    /// EPOLLPRI
    pub const PRIORITY: Self = Self(epoll::EPOLLPRI);
    /// EPOLLOUT
    pub const WRITABLE: Self = Self(epoll::EPOLLOUT | epoll::EPOLLWRNORM | epoll::EPOLLWRBAND);
}

impl ops::BitOrAssign for PollEvents {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What ICMP said.
#[derive(Clone, Copy)]
pub struct IcmpError {
    /// The peer's address, in the packet that it is about.
    pub dest: Addr,
    /// What it means, as an errno.
    pub err: Error,
    /// There is no hope (as against a hint).
    pub fatal: bool,
}

/// What C allocates for a socket.
#[repr(C)]
struct Object {
    inet: bindings::inet_sock,
    /// An `Arc<P::Socket>` as a raw pointer, or NULL.
    state: *mut kernel::ffi::c_void,
    /// IPv6 sockets only.
    inet6: bindings::ipv6_pinfo,
}

/// All that is registered. C keeps pointers to it.
struct Tables {
    proto: [bindings::proto; 2],
    ops: [bindings::proto_ops; 2],
    protosw: [bindings::inet_protosw; 2],
    input4: bindings::net_protocol,
    input6: bindings::inet6_protocol,
    offload: bindings::net_offload,
}

/// Keeps protocol `P` registered; dropping it unregisters, and waits until no packet is in it.
///
/// Each socket holds a reference to the module, so that a `Registration` that lives as long as the module is not dropped with sockets open. Make it the last
/// thing in the module's `init`, for the same reason.
pub struct Registration<P: DatagramProtocol> {
    tables: Pin<KBox<Opaque<Tables>>>,
    _protocol: PhantomData<fn() -> P>,
}

// SAFETY: it is only touched by register and unregister.
unsafe impl<P: DatagramProtocol> Send for Registration<P> {}
// SAFETY: there is nothing to call on a shared one.
unsafe impl<P: DatagramProtocol> Sync for Registration<P> {}

/// How far registration got, so that it can be undone from there.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Step {
    Nothing,
    Proto4,
    Proto6,
    Input4,
    Input6,
    Offload4,
    Offload6,
    Socket6,
    All,
}

impl<P: DatagramProtocol> Registration<P> {
    /// Registers sockets, packets and offloads. EAGAIN if the protocol number is taken.
    pub fn new(module: &'static ThisModule) -> Result<Self> {
        let tables = KBox::new(Opaque::new(Self::tables(module)), GFP_KERNEL)?;
        let t: *mut Tables = tables.get();
        // SAFETY: the box stays where it is from here on.
        let tables = unsafe {
            for i in 0..2 {
                (*t).protosw[i].prot = &raw mut (*t).proto[i];
                (*t).protosw[i].ops = &raw const (*t).ops[i];
            }
            Pin::new_unchecked(tables)
        };
        let mut step = Step::Nothing;
        // SAFETY: the tables are complete, and stay where they are until they are unregistered.
        let ret = unsafe { Self::register(t, &mut step) };
        if let Err(e) = ret {
            // SAFETY: registered up to `step`.
            unsafe { Self::unregister(t, step) };
            return Err(e);
        }
        Ok(Self { tables, _protocol: PhantomData })
    }

    /// # Safety
    ///
    /// The tables must be complete and stay where they are. `step` says what must be undone.
    unsafe fn register(t: *mut Tables, step: &mut Step) -> Result {
        // SAFETY: by the caller's promise.
        unsafe {
            to_result(bindings::proto_register(&raw mut (*t).proto[0], 1))?;
            *step = Step::Proto4;
            to_result(bindings::proto_register(&raw mut (*t).proto[1], 1))?;
            *step = Step::Proto6;
            to_result(bindings::inet_add_protocol(&raw const (*t).input4, P::PROTOCOL))
                .map_err(|_| EAGAIN)?;
            *step = Step::Input4;
            to_result(bindings::inet6_add_protocol(&raw const (*t).input6, P::PROTOCOL))
                .map_err(|_| EAGAIN)?;
            *step = Step::Input6;
            to_result(bindings::inet_add_offload(&raw const (*t).offload, P::PROTOCOL))
                .map_err(|_| EAGAIN)?;
            *step = Step::Offload4;
            to_result(bindings::inet6_add_offload(&raw const (*t).offload, P::PROTOCOL))
                .map_err(|_| EAGAIN)?;
            *step = Step::Offload6;
            // Programs come last.
            to_result(bindings::inet6_register_protosw(&raw mut (*t).protosw[1]))?;
            *step = Step::Socket6;
            bindings::inet_register_protosw(&raw mut (*t).protosw[0]);
            *step = Step::All;
        }
        Ok(())
    }

    /// # Safety
    ///
    /// The tables must be registered up to `step`, and no socket be open.
    unsafe fn unregister(t: *mut Tables, step: Step) {
        // Programs go first. Each of the functions waits until nobody is in what it takes out.
        // SAFETY: by the caller's promise.
        unsafe {
            if step >= Step::All {
                bindings::inet_unregister_protosw(&raw mut (*t).protosw[0]);
            }
            if step >= Step::Socket6 {
                bindings::inet6_unregister_protosw(&raw mut (*t).protosw[1]);
            }
            if step >= Step::Offload6 {
                bindings::inet6_del_offload(&raw const (*t).offload, P::PROTOCOL);
            }
            if step >= Step::Offload4 {
                bindings::inet_del_offload(&raw const (*t).offload, P::PROTOCOL);
            }
            if step >= Step::Input6 {
                bindings::inet6_del_protocol(&raw const (*t).input6, P::PROTOCOL);
            }
            if step >= Step::Input4 {
                bindings::inet_del_protocol(&raw const (*t).input4, P::PROTOCOL);
            }
            // Sockets are freed by RCU callbacks, in memory that the next step gives up.
            bindings::rcu_barrier();
            if step >= Step::Proto6 {
                bindings::proto_unregister(&raw mut (*t).proto[1]);
            }
            if step >= Step::Proto4 {
                bindings::proto_unregister(&raw mut (*t).proto[0]);
            }
        }
    }

    fn tables(module: &'static ThisModule) -> Tables {
        let input4 = bindings::net_protocol {
            handler: Some(input::rcv::<P>),
            err_handler: Some(input::err4::<P>),
            ..pin_init::zeroed()
        };
        let input6 = bindings::inet6_protocol {
            handler: Some(input::rcv::<P>),
            err_handler: Some(input::err6::<P>),
            flags: bindings::INET6_PROTO_FINAL,
            ..pin_init::zeroed()
        };
        let mut offload: bindings::net_offload = pin_init::zeroed();
        offload.callbacks.gso_segment = Some(gso::gso_segment::<P>);
        if P::GRO_HEADER != 0 {
            offload.callbacks.gro_receive = Some(gro::receive::<P>);
            offload.callbacks.gro_complete = Some(gro::complete);
        }
        Tables {
            proto: [calls::proto::<P>(module, false), calls::proto::<P>(module, true)],
            ops: [calls::ops::<P>(module, false), calls::ops::<P>(module, true)],
            protosw: [calls::protosw::<P>(), calls::protosw::<P>()],
            input4,
            input6,
            offload,
        }
    }
}

impl<P: DatagramProtocol> Drop for Registration<P> {
    fn drop(&mut self) {
        // SAFETY: registered in `new`; no socket is open, as the type's documentation says.
        unsafe { Self::unregister(self.tables.get(), Step::All) }
    }
}

/// The socket's state, while a call on it is under way.
///
/// # Safety
///
/// `sk` must be a socket of `P` that `init` made and `destroy` has not seen yet, and stay so while the result is used.
#[inline]
unsafe fn state<'a, P: DatagramProtocol>(sk: *mut bindings::sock) -> &'a Arc<P::Socket> {
    // SAFETY: the socket is an `Object`, whose `state` is an `Arc` by `into_raw`. An `Arc` is one pointer to the inner
    // allocation: see `ArcSlot`.
    unsafe { &(*(&raw const (*sk.cast::<Object>()).state).cast::<ArcSlot<P::Socket>>()).0 }
}

/// An `Arc` as it is stored in [`Object::state`].
#[repr(transparent)]
struct ArcSlot<T>(Arc<T>);

/// Puts the state of a new socket in, or takes it out (leaving NULL).
///
/// # Safety
///
/// `sk` must be a socket of `P`, and nobody else use it.
unsafe fn put_state<P: DatagramProtocol>(sk: *mut bindings::sock, state: Arc<P::Socket>) {
    // SAFETY: the socket is an `Object`; an `Arc` is one pointer.
    unsafe {
        (&raw mut (*sk.cast::<Object>()).state).cast::<ArcSlot<P::Socket>>().write(ArcSlot(state))
    };
}

/// # Safety
///
/// As for [`put_state`].
unsafe fn take_state<P: DatagramProtocol>(sk: *mut bindings::sock) -> Option<Arc<P::Socket>> {
    // SAFETY: the socket is an `Object`, zeroed when it was made; what is not NULL was put there by `put_state`.
    unsafe {
        let slot = &raw mut (*sk.cast::<Object>()).state;
        if (*slot).is_null() {
            return None;
        }
        let state = slot.cast::<ArcSlot<P::Socket>>().read();
        slot.write(ptr::null_mut());
        Some(state.0)
    }
}

/// The sock of a `struct socket`.
///
/// # Safety
///
/// As for [`state`].
#[inline]
unsafe fn sock_of<'a>(socket: *mut bindings::socket) -> &'a Sock {
    // SAFETY: by the caller's promise.
    unsafe { Sock::from_raw((*socket).sk) }
}

const _: () = assert!(::core::mem::size_of::<ArcSlot<u64>>() == ::core::mem::size_of::<*mut u8>());
