// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The receive pool: messages are borrowed from memory that the kernel placed them in.

use crate::socket::{Failure, Rpc, Socket};
use crate::sys::{self, Region};
use crate::uapi::{
    homa_peer, homa_rcvbuf_args, homa_recvmsg_args, HOMA_BPAGE_SIZE, HOMA_MAX_BPAGES, IPPROTO_HOMA,
    SO_HOMA_RCVBUF,
};
use libc::c_int;
use std::io;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

/// The memory, and which bpages go back to the kernel with the next `recvmsg`.
struct Pool {
    region: Region,
    returned: Mutex<Vec<u32>>,
}

/// A [`Socket`] that has a receive pool.
pub struct PooledSocket {
    socket: Socket,
    pool: Arc<Pool>,
}

/// A message in the pool. Dropping it gives its memory back.
pub struct PooledMessage {
    /// Its RPC.
    pub rpc: Rpc,
    len: usize,
    bpages: Vec<u32>,
    pool: Arc<Pool>,
}

/// What [`PooledSocket::recv`] brings.
pub enum PooledEvent {
    /// A client asks; [`Socket::reply`] to it.
    Request(PooledMessage),
    /// A server answered.
    Response(PooledMessage),
    /// A request will never be answered.
    Failed(Failure),
}

impl PooledSocket {
    pub(crate) fn new(socket: Socket, bytes: usize) -> io::Result<Self> {
        let bpages = bytes.div_ceil(HOMA_BPAGE_SIZE).max(1);
        let len = bpages.checked_mul(HOMA_BPAGE_SIZE).ok_or(io::ErrorKind::InvalidInput)?;
        let region = Region::new(len)?;
        let args = homa_rcvbuf_args { start: region.address(), length: region.len() as u64 };
        sys::set_option(socket.as_fd(), IPPROTO_HOMA, SO_HOMA_RCVBUF, &args, size_of_val(&args))?;
        Ok(Self { socket, pool: Arc::new(Pool { region, returned: Mutex::default() }) })
    }

    /// Wait for the next message, or for the next RPC that fails.
    pub fn recv(&self) -> io::Result<PooledEvent> {
        self.recv_with(0, 0)
    }

    /// As [`PooledSocket::recv`], but fails with `WouldBlock` instead of waiting.
    pub fn try_recv(&self) -> io::Result<PooledEvent> {
        self.recv_with(0, libc::MSG_DONTWAIT)
    }

    /// Wait for the response to a private request.
    pub fn recv_private(&self, id: u64) -> io::Result<PooledEvent> {
        self.recv_with(id, 0)
    }

    fn recv_with(&self, id: u64, flags: c_int) -> io::Result<PooledEvent> {
        let mut args = homa_recvmsg_args { id, ..Default::default() };
        self.pool.take_returned(&mut args);
        let given = args.num_bpages;
        let (result, from) = sys::receive_args(self.socket.as_fd(), &mut args, flags);
        let len = match result {
            Ok(len) => len,
            Err(error) => {
                // The kernel may not have come to take them.
                if given > 0 && args.num_bpages == given {
                    self.pool.give_back(&args.bpage_offsets[..given as usize]);
                }
                if args.id == 0 || args.id == id {
                    return Err(error);
                }
                return Ok(PooledEvent::Failed(Failure { rpc: rpc_of(&args, from), error }));
            }
        };
        let bpages =
            args.bpage_offsets.get(..args.num_bpages as usize).unwrap_or_default().to_vec();
        let pool = Arc::clone(&self.pool);
        let message = PooledMessage { rpc: rpc_of(&args, from), len, bpages, pool };
        Ok(if args.id & 1 == 1 {
            PooledEvent::Request(message)
        } else {
            PooledEvent::Response(message)
        })
    }
}

/// HomaModule's structure does not tell whether a message came sealed: say no, and the reply is
/// sealed by the session all the same.
fn rpc_of(args: &homa_recvmsg_args, peer: homa_peer) -> Rpc {
    Rpc { id: args.id, cookie: args.completion_cookie, sealed: false, peer }
}

/// All that a socket without a pool can do but receive.
impl Deref for PooledSocket {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.socket
    }
}

impl Pool {
    fn take_returned(&self, args: &mut homa_recvmsg_args) {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        let left = returned.len() - returned.len().min(HOMA_MAX_BPAGES);
        for (to, bpage) in args.bpage_offsets.iter_mut().zip(returned.drain(left..)) {
            *to = bpage;
            args.num_bpages += 1;
        }
    }

    fn give_back(&self, bpages: &[u32]) {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bpages);
    }
}

impl PooledMessage {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Messages are never empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The message, in pieces of 64 KiB and a last one with the rest.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.bpages.iter().enumerate().map_while(|(index, &offset)| {
            let len = self.len.checked_sub(index * HOMA_BPAGE_SIZE)?.min(HOMA_BPAGE_SIZE);
            // SAFETY: the kernel gave these bpages to this message, whose `drop` gives them back.
            unsafe { self.pool.region.bytes(offset as usize, len) }
        })
    }

    /// The whole message, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.chunks().for_each(|chunk| bytes.extend_from_slice(chunk));
        bytes
    }
}

impl Drop for PooledMessage {
    fn drop(&mut self) {
        self.pool.give_back(&self.bpages);
    }
}
