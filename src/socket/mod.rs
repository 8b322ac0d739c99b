// SPDX-License-Identifier: GPL-2.0

//! What a program sees: one file per family of system calls.
//!
//! [`uapi`] has the structures of `<linux/homa.h>`; [`names`] is bind and connect, [`send`] and
//! [`recv`] are the messages, [`pool`] the receive pool, [`options`] and [`ioctl`] what they are called.
//! The work is done by the socket's [`Endpoint`].

use crate::sys::relaxed::Relaxed;
use kernel::prelude::*;
use kernel::sync::{new_mutex, rcu, Arc, Mutex};

use crate::observe::counters::Counter;
use crate::protocol::wire::{data_header_len, is_whole};
use crate::sys::arccell::ArcCell;
use crate::sys::early::EarlyRoutes;
use crate::sys::gro::GroVerdict;
use crate::sys::gso::{GsoSkb, Segments};
use crate::sys::netns;
use crate::sys::proto::{DatagramProtocol, IcmpError, PollEvents};
use crate::sys::skb::SkBuff;
use crate::sys::sock::SockRef;
use crate::sys::uio::MsgHdr;
use crate::sys::user::{OptOut, OptVal};
use crate::transport::endpoint::Endpoint;
use crate::transport::rpc::Rpc;
use crate::transport::{control, net::Net, offload, receive};

mod ioctl;
mod names;
mod options;
mod pool;
mod recv;
mod send;
mod uapi;

use self::pool::Pool;

/// A Homa socket.
#[pin_data]
pub(crate) struct Socket {
    endpoint: Arc<Endpoint>,
    #[pin]
    pool: Mutex<Option<Pool>>,
    /// There is one. Written under the lock, once: nobody takes a pool away.
    pooled: Relaxed<bool>,
    /// Messages without a destination are answers to `asked`.
    replies: Relaxed<bool>,
    /// The last request that the program got and did not answer, if it wants that to be kept.
    asked: ArcCell<Rpc>,
    /// What was wrong in the last call that failed.
    #[pin]
    words: Mutex<&'static str>,
}

impl Socket {
    /// Does it receive into a pool?
    #[inline]
    fn is_pooled(&self) -> bool {
        self.pooled.load()
    }

    /// Are messages without a destination answers?
    #[inline]
    fn is_replying(&self) -> bool {
        self.replies.load()
    }

    /// `error`, which HOMAIOCINFO will tell in these words.
    fn because(&self, error: Error, words: &'static str) -> Error {
        *self.words.lock() = words;
        error
    }
}

/// The protocol, as the socket layer knows it.
pub(crate) struct Homa;

impl DatagramProtocol for Homa {
    const PROTOCOL: u8 = crate::protocol::wire::IPPROTO_HOMA;
    const NAME: &'static str = "HOMA";
    const GRO_HEADER: usize = offload::GRO_HEADER;
    type Socket = Socket;

    fn init(sk: SockRef) -> Result<Arc<Socket>> {
        let ns = Net::of(sk.net()).ok_or(ENODEV)?;
        let limits = ns.config.limits();
        sk.set_buffers(limits.sndbuf, limits.rcvbuf);
        let endpoint = Endpoint::new(sk, ns)?;
        let socket = Arc::pin_init(
            try_pin_init!(Socket {
                endpoint,
                pool <- new_mutex!(None, "homa_pool"),
                pooled: Relaxed::new(false),
                replies: Relaxed::new(false),
                asked: ArcCell::empty(),
                words <- new_mutex!("", "homa_words"),
            }),
            GFP_KERNEL,
        )?;
        // Last: from here on packets find it.
        socket.endpoint.bind_any()?;
        let Endpoint { sk, ns, .. } = &*socket.endpoint;
        ns.early_routes.enter::<Self>(sk.net());
        Ok(socket)
    }

    fn close(sock: &Arc<Socket>) {
        sock.endpoint.close();
        let Endpoint { sk, ns, .. } = &*sock.endpoint;
        ns.early_routes.leave::<Self>(sk.net());
        // An RPC keeps the sock, which keeps this.
        drop(sock.asked.take());
    }

    fn bind(sock: &Arc<Socket>, name: &[u8]) -> Result {
        names::bind(sock, name)
    }

    fn connect(sock: &Arc<Socket>, name: &[u8]) -> Result {
        names::connect(sock, name)
    }

    fn disconnect(sock: &Arc<Socket>) -> Result {
        names::disconnect(sock)
    }

    fn sendmsg(sock: &Arc<Socket>, msg: &mut MsgHdr<'_>, len: usize) -> Result<usize> {
        send::sendmsg(sock, msg, len)
    }

    fn recvmsg(sock: &Arc<Socket>, msg: &mut MsgHdr<'_>, len: usize, flags: u32) -> Result<usize> {
        recv::recvmsg(sock, msg, len, flags)
    }

    fn poll(sock: &Arc<Socket>) -> PollEvents {
        let endpoint = &sock.endpoint;
        let mut events = PollEvents::NONE;
        if endpoint.has_ready() || endpoint.is_closed() {
            events |= PollEvents::READABLE;
        }
        if endpoint.notices.any() {
            events |= PollEvents::PRIORITY;
        }
        if send::has_room(endpoint) {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn shutdown(sock: &Arc<Socket>, _how: u8) -> Result {
        // An RPC needs both directions.
        sock.endpoint.shut_down();
        Ok(())
    }

    fn setsockopt(sock: &Arc<Socket>, level: i32, name: i32, value: OptVal<'_>) -> Result {
        options::set(sock, level, name, &value)
    }

    fn getsockopt(sock: &Arc<Socket>, level: i32, name: i32, out: &mut OptOut<'_>) -> Result {
        options::get(sock, level, name, out)
    }

    fn ioctl(sock: &Arc<Socket>, cmd: u32, arg: usize) -> Result<i32> {
        ioctl::ioctl(sock, cmd, arg)
    }

    fn rcv(net: &netns::Net, skb: SkBuff) {
        receive::receive(net, skb);
    }

    fn icmp_error(net: &netns::Net, header: &[u8], error: &IcmpError) {
        control::icmp_error(net, header, error);
    }

    fn gso_segment(skb: &mut GsoSkb<'_>) -> Result<Segments> {
        offload::segment(skb)
    }

    fn gro_header_len(head: &[u8]) -> Option<usize> {
        data_header_len(head)
    }

    fn gro_same(held: &[u8], new: &[u8], payload: usize) -> GroVerdict {
        offload::same_message(held, new, payload)
    }

    fn gro_is_whole(header: &[u8], payload: usize) -> bool {
        is_whole(header, payload)
    }

    fn with_early_routes(net: &netns::Net, f: impl FnOnce(&EarlyRoutes) -> bool) {
        if let Some(ns) = Net::of_borrow(net, &rcu::read_lock()) {
            if f(&ns.early_routes) {
                ns.stats.inc(Counter::EarlyRoutes);
            }
        }
    }
}
