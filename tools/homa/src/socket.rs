// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The socket, and messages copied to a buffer of the program's.

use crate::key::{CryptoInfo, Key};
use crate::pool::PooledSocket;
use crate::sys::{self, SendControl};
use crate::uapi::{
    homa_abort_args, homa_peer, homa_sendmsg_args, homa_tls_key, homa_tls_key_crypto, HOMAIOCABORT,
    HOMA_CMSG_FAILED, HOMA_CMSG_SEALED, HOMA_SENDMSG_PRIVATE, IPPROTO_HOMA, NO_PEER, SOL_TLS,
    SO_HOMA_REPLY, SO_HOMA_SEALED, SO_HOMA_SERVER, TLS_RX, TLS_TX,
};
use libc::{c_int, sockaddr_storage};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The kind of addresses that a socket uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// AF_INET.
    Ipv4,
    /// AF_INET6.
    Ipv6,
}

impl From<&SocketAddr> for Domain {
    fn from(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::Ipv4,
            SocketAddr::V6(_) => Self::Ipv6,
        }
    }
}

/// Which RPC a message belongs to.
#[derive(Clone, Copy)]
pub struct Rpc {
    /// Odd: this side is the server, even: the client.
    pub id: u64,
    /// What the client gave with its request; 0 at the server.
    pub cookie: u64,
    /// Did the message come under a session, that is, from somebody who has the keys?
    pub sealed: bool,
    pub(crate) peer: homa_peer,
}

impl Rpc {
    /// The other side.
    pub fn peer(&self) -> SocketAddr {
        Option::from(&self.peer).unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }
}

impl std::fmt::Debug for Rpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (id, cookie, sealed) = (self.id, self.cookie, self.sealed);
        write!(f, "Rpc {{ id: {id}, cookie: {cookie}, sealed: {sealed}, peer: {} }}", self.peer())
    }
}

/// A message that is in the buffer now.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Its RPC.
    pub rpc: Rpc,
    /// Bytes in the buffer.
    pub len: usize,
    /// The message was longer than the buffer; the rest is lost.
    pub truncated: bool,
}

/// An RPC of this client's that failed.
#[derive(Debug)]
pub struct Failure {
    /// The RPC.
    pub rpc: Rpc,
    /// Why: `TimedOut`, `NotConnected` (nobody on that port), `HostUnreachable`, ...
    pub error: io::Error,
}

/// What `recv` brings.
#[derive(Debug)]
pub enum Event {
    /// A client asks; [`Socket::reply`] to it.
    Request(Message),
    /// A server answered.
    Response(Message),
    /// A request will never be answered.
    Failed(Failure),
}

/// A Homa socket.
///
/// All methods take `&self`: several threads may send and receive on it at the same time.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// A client's socket: the kernel chose a port, requests to it are refused.
    ///
    /// Fails with `EPROTONOSUPPORT` when the kernel has no Homa: load the module.
    pub fn new(domain: Domain) -> io::Result<Self> {
        let family = match domain {
            Domain::Ipv4 => libc::AF_INET,
            Domain::Ipv6 => libc::AF_INET6,
        };
        Ok(Self { fd: sys::socket(family)? })
    }

    /// A server's socket, with a port from 1 to 0x7fff. It can send requests, too.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Self::new((&address).into())?;
        sys::bind(socket.as_fd(), &address.into())?;
        Ok(socket)
    }

    /// Make this the peer of [`Socket::send`], and of keys that are set from here on.
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        sys::connect(self.as_fd(), &peer.into())
    }

    /// Address and port of this socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = sys::local_address(self.as_fd())?;
        Option::from(&address).ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Send a request. `cookie` comes back with its response; it is never sent.
    pub fn send_request(&self, to: SocketAddr, cookie: u64, message: &[u8]) -> io::Result<()> {
        let control = SendControl::new(0, cookie, 0);
        sys::send_control(self.as_fd(), &to.into(), &control, message, 0).map(drop)
    }

    /// Send a request and learn its RPC's id, for [`Socket::abort`].
    ///
    /// The response to a `private` request is received only by naming its id
    /// ([`PooledSocket::recv_private`]).
    pub fn send_request_id(
        &self,
        to: SocketAddr,
        cookie: u64,
        private: bool,
        message: &[u8],
    ) -> io::Result<u64> {
        let flags = if private { HOMA_SENDMSG_PRIVATE } else { 0 };
        let mut args = homa_sendmsg_args { id: 0, completion_cookie: cookie, flags, reserved: 0 };
        let parts = [IoSlice::new(message)];
        sys::send_args(self.as_fd(), &to.into(), &mut args, &parts, 0)?;
        Ok(args.id)
    }

    /// Send a request with cookie 0 to the peer that the socket is connected to; or, after
    /// [`Socket::set_replying`], the answer to the request that was received last.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        sys::send(self.as_fd(), message, 0).map(drop)
    }

    /// Answer a request.
    ///
    /// A request that came sealed is never answered in clear.
    pub fn reply(&self, rpc: &Rpc, message: &[u8]) -> io::Result<()> {
        let flags = if rpc.sealed { HOMA_CMSG_SEALED } else { 0 };
        let control = SendControl::new(rpc.id, 0, flags);
        sys::send_control(self.as_fd(), &rpc.peer, &control, message, 0).map(drop)
    }

    /// Answer a request with a message in several parts, such as [`PooledMessage::chunks`] of the request.
    ///
    /// [`PooledMessage::chunks`]: crate::PooledMessage::chunks
    pub fn reply_vectored(&self, rpc: &Rpc, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut args = homa_sendmsg_args { id: rpc.id, ..Default::default() };
        sys::send_args(self.as_fd(), &rpc.peer, &mut args, parts, 0)
    }

    /// Wait for the next message, or for the next RPC that fails.
    ///
    /// `Err` means that this call failed, not an RPC.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Event> {
        self.recv_with(buffer, 0)
    }

    /// As [`Socket::recv`], but fails with `WouldBlock` instead of waiting.
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Event> {
        self.recv_with(buffer, libc::MSG_DONTWAIT)
    }

    /// Wait for the next message and forget which RPC it belongs to. A failed RPC is an `Err` here.
    ///
    /// Enough for a client that has one request at a time, and for a server that takes one at a time
    /// ([`Socket::set_replying`]).
    pub fn recv_bytes(&self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::receive(self.as_fd(), buffer, 0)
    }

    fn recv_with(&self, buffer: &mut [u8], flags: c_int) -> io::Result<Event> {
        let received = sys::receive_control(self.as_fd(), buffer, flags);
        let Some(control) = received.rpc else {
            // A message without its RPC would be a kernel without our control messages.
            let _ = received.result?;
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        };
        let rpc = Rpc {
            id: control.id,
            cookie: control.cookie,
            sealed: control.flags & HOMA_CMSG_SEALED != 0,
            peer: control.peer,
        };
        if control.flags & HOMA_CMSG_FAILED != 0 {
            return Ok(Event::Failed(Failure {
                rpc,
                error: io::Error::from_raw_os_error(control.error),
            }));
        }
        let truncated = received.flags & libc::MSG_TRUNC != 0;
        let message = Message { rpc, len: received.result?, truncated };
        Ok(if rpc.id & 1 == 1 { Event::Request(message) } else { Event::Response(message) })
    }

    /// Forget a request of this socket; its response will not be received.
    pub fn abort(&self, id: u64) -> io::Result<()> {
        self.end(id, 0)
    }

    /// End a request of this socket; [`Socket::recv`] returns it as failed with this errno.
    pub fn fail(&self, id: u64, errno: i32) -> io::Result<()> {
        self.end(id, errno as u32)
    }

    fn end(&self, id: u64, error: u32) -> io::Result<()> {
        let mut args = homa_abort_args { id, error, ..Default::default() };
        // SAFETY: this is the structure of this request, and holds no pointers.
        unsafe { sys::ioctl(self.as_fd(), HOMAIOCABORT, &mut args) }
    }

    /// Set the key for what is sent: to `peer`, or `None` on a connected socket, for its peer. Once both
    /// keys are set, all messages to and from the peer are sealed. A further key starts the next epoch.
    pub fn set_tx_key(&self, peer: Option<SocketAddr>, key: &Key) -> io::Result<()> {
        self.set_key(TLS_TX, peer, key)
    }

    /// Set the key for what is received: from `peer`, or as in [`Socket::set_tx_key`].
    pub fn set_rx_key(&self, peer: Option<SocketAddr>, key: &Key) -> io::Result<()> {
        self.set_key(TLS_RX, peer, key)
    }

    fn set_key(&self, direction: c_int, peer: Option<SocketAddr>, key: &Key) -> io::Result<()> {
        let fd = self.as_fd();
        let (crypto, len) = match key.into() {
            CryptoInfo::Aes128Gcm(info) => {
                (homa_tls_key_crypto { aes_gcm_128: info }, size_of_val(&info))
            }
            CryptoInfo::Aes256Gcm(info) => {
                (homa_tls_key_crypto { aes_gcm_256: info }, size_of_val(&info))
            }
        };
        match peer {
            None => sys::set_option(fd, SOL_TLS, direction, &crypto, len),
            Some(peer) => {
                let argument = homa_tls_key { peer: storage_of(&peer.into()), crypto };
                let len = size_of::<sockaddr_storage>() + len;
                sys::set_option(fd, SOL_TLS, direction, &argument, len)
            }
        }
    }

    /// Refuse plain traffic: sending to a peer without keys fails with `ENOKEY`, what arrives in clear
    /// is dropped.
    pub fn set_sealed(&self, sealed: bool) -> io::Result<()> {
        self.set_int(SO_HOMA_SEALED, sealed)
    }

    /// Does this socket refuse plain traffic?
    pub fn sealed(&self) -> io::Result<bool> {
        Ok(sys::int_option(self.as_fd(), IPPROTO_HOMA, SO_HOMA_SEALED)? != 0)
    }

    /// Take requests, or refuse them. [`Socket::bind`] has switched it on.
    pub fn set_server(&self, server: bool) -> io::Result<()> {
        self.set_int(SO_HOMA_SERVER, server)
    }

    /// From now on [`Socket::send`] answers the request that was received last, once. For servers that
    /// take one request at a time, with one thread per socket: the quickest way.
    pub fn set_replying(&self, replying: bool) -> io::Result<()> {
        self.set_int(SO_HOMA_REPLY, replying)
    }

    /// Does [`Socket::send`] answer?
    pub fn replying(&self) -> io::Result<bool> {
        Ok(sys::int_option(self.as_fd(), IPPROTO_HOMA, SO_HOMA_REPLY)? != 0)
    }

    /// Does this socket take requests?
    pub fn server(&self) -> io::Result<bool> {
        Ok(sys::int_option(self.as_fd(), IPPROTO_HOMA, SO_HOMA_SERVER)? != 0)
    }

    fn set_int(&self, option: c_int, value: bool) -> io::Result<()> {
        let value = c_int::from(value);
        sys::set_option(self.as_fd(), IPPROTO_HOMA, option, &value, size_of_val(&value))
    }

    /// Give the socket a receive pool of `bytes`, rounded up to whole bpages of 64 KiB.
    ///
    /// It bounds the messages that can be waiting or in use at a time.
    pub fn into_pooled(self, bytes: usize) -> io::Result<PooledSocket> {
        PooledSocket::new(self, bytes)
    }
}

/// A `sockaddr_storage` with this address, the rest zero.
fn storage_of(peer: &homa_peer) -> sockaddr_storage {
    #[repr(C)]
    union Storage {
        storage: sockaddr_storage,
        words: [u64; size_of::<sockaddr_storage>() / 8],
        peer: homa_peer,
    }
    let mut all = Storage { words: [0; size_of::<sockaddr_storage>() / 8] };
    all.peer = *peer;
    // SAFETY: all bytes were set to zero before some of them were set to the address.
    unsafe { all.storage }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.fd
    }
}

/// The other direction of `OwnedFd::from`: the descriptor of a Homa socket, passed or inherited.
impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

/// An [`Rpc`] made by hand, of the numbers that a program kept.
impl Rpc {
    /// `id` of a request received from `peer`.
    pub fn new(id: u64, peer: Option<SocketAddr>, sealed: bool) -> Self {
        Self { id, cookie: 0, sealed, peer: peer.map_or(NO_PEER, Into::into) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive() {
        for text in ["1.2.3.4:5", "0.0.0.0:0", "[::1]:65535", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Option::from(&homa_peer::from(address)), Some(address));
        }
        assert_eq!(Option::<SocketAddr>::from(&NO_PEER), None);
        assert_eq!(Rpc::new(3, None, false).peer().port(), 0);
    }

    #[test]
    fn an_address_in_a_storage() {
        let storage = storage_of(&"1.2.3.4:5".parse::<SocketAddr>().unwrap().into());
        assert_eq!(c_int::from(storage.ss_family), libc::AF_INET);
    }

    /// Whatever the kernel of this machine has, a program gets an error and not a surprise.
    #[test]
    fn a_socket_or_a_clear_error() {
        if let Err(error) = Socket::new(Domain::Ipv4) {
            let errno = error.raw_os_error();
            assert!(
                [libc::EPROTONOSUPPORT, libc::EPERM, libc::EACCES].map(Some).contains(&errno),
                "{error}"
            );
        }
    }
}
