// SPDX-License-Identifier: GPL-2.0

//! recvmsg: the next request or response.
//!
//! Without a pool the message is copied to the iovec, as a datagram is; with one it goes to the pool, as
//! HomaModule's callers expect. A failed RPC is an error of recvmsg, and its control data says which RPC
//! it was.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::pool;
use super::uapi::{
    KeyCmsg, RecvmsgArgs, RpcCmsg, HOMA_CMSG_FAILED, HOMA_CMSG_KEY, HOMA_CMSG_RPC,
    HOMA_CMSG_SEALED, SOL_HOMA, TLS_RX, TLS_TX,
};
use super::Socket;
use crate::observe::counters::Counter;
use crate::protocol::bpool::{Placement, MAX_BPAGES};
use crate::sys::time::now_ns;
use crate::sys::uio::MsgHdr;
use crate::tls::Direction;
use crate::transport::endpoint::Endpoint;
use crate::transport::incoming::Incoming;
use crate::transport::rpc::Rpc;

/// `MSG_OOB`.
const MSG_OOB: u32 = 1;
/// `MSG_PEEK`.
const MSG_PEEK: u32 = 2;
/// `MSG_TRUNC`.
const MSG_TRUNC: u32 = 0x20;
/// `MSG_ERRQUEUE`.
const MSG_ERRQUEUE: u32 = 0x2000;

/// What a ready RPC has for the program.
enum Taken {
    Message(Incoming, u32),
    Failed(Error),
    /// Its client took the request back.
    Gone,
}

/// Receives one message. Returns its length, as far as it fitted.
///
/// 0 (ESHUTDOWN with a pool) after a shutdown; EAGAIN, EINTR, EFAULT, and the error of an RPC that
/// failed.
pub(super) fn recvmsg(
    sock: &Socket,
    msg: &mut MsgHdr<'_>,
    len: usize,
    flags: u32,
) -> Result<usize> {
    if flags & MSG_OOB != 0 {
        return Err(sock.because(EOPNOTSUPP, "MSG_OOB means nothing to Homa"));
    }
    if flags & MSG_ERRQUEUE != 0 {
        return recv_notice(sock, msg);
    }
    sock.endpoint.sk.take_err()?;
    if sock.is_pooled() {
        return recv_pool(sock, msg, flags);
    }
    recv_iovec(sock, msg, len, flags)
}

/// What the program should know about keys, without a message. EAGAIN if there is nothing: it never waits.
#[cold]
fn recv_notice(sock: &Socket, msg: &mut MsgHdr<'_>) -> Result<usize> {
    let endpoint = &sock.endpoint;
    let family = endpoint.sk.family();
    let (name, notice) = endpoint.notices.next().ok_or(EAGAIN)?;
    let mut cmsg = KeyCmsg {
        used: notice.used,
        limit: notice.limit,
        direction: match notice.direction {
            Direction::Tx => TLS_TX as u32,
            Direction::Rx => TLS_RX as u32,
        },
        peer: [0; 28],
    };
    name.write(family, &mut cmsg.peer);
    msg.set_name(family, &name);
    msg.set_flags(MSG_ERRQUEUE);
    msg.put_cmsg(SOL_HOMA, HOMA_CMSG_KEY, &cmsg)?;
    Ok(0)
}

const BAD_ARGS: &str = "msg_control does not point at a writable homa_recvmsg_args";
const RPC_FAILED: &str = "the RPC failed; what recvmsg() returned tells which";

fn recv_iovec(sock: &Socket, msg: &mut MsgHdr<'_>, len: usize, flags: u32) -> Result<usize> {
    let endpoint = &sock.endpoint;
    let mut timeout = msg.recv_timeout(flags);
    loop {
        let Some(rpc) = msg.wait_readable(&mut timeout, || next(endpoint))? else {
            // Shut down: the end, as for other datagram sockets.
            return Ok(0);
        };
        match take(&rpc) {
            Taken::Gone => {}
            Taken::Failed(error) => {
                let told = describe(&rpc, endpoint, msg, Some(error));
                if told.is_err() || flags & MSG_PEEK != 0 {
                    endpoint.put_back(&rpc);
                    told?;
                } else {
                    endpoint.forget(&rpc);
                }
                return Err(sock.because(error, RPC_FAILED));
            }
            Taken::Message(incoming, length) => {
                let fits = len.min(length as usize);
                let told = incoming
                    .copy_out(0, fits as u32, msg.iter())
                    .and_then(|()| describe(&rpc, endpoint, msg, None));
                if told.is_err() || flags & MSG_PEEK != 0 {
                    give_back(endpoint, &rpc, incoming);
                    told?;
                } else {
                    received(sock, rpc);
                }
                if fits < length as usize {
                    msg.set_flags(MSG_TRUNC);
                }
                let whole = flags & MSG_TRUNC != 0;
                return Ok(if whole { length as usize } else { fits });
            }
        }
    }
}

/// The RPC that has been ready longest; `Some(None)` if none will ever be.
fn next(endpoint: &Endpoint) -> Option<Option<Arc<Rpc>>> {
    match endpoint.next_ready() {
        Some(rpc) => Some(Some(rpc)),
        None => endpoint.is_closed().then_some(None),
    }
}

/// Takes out what the program is to get, so that it can be copied without a lock.
fn take(rpc: &Rpc) -> Taken {
    let mut state = rpc.state.lock();
    if state.gone {
        return Taken::Gone;
    }
    if let Some(error) = state.error {
        return Taken::Failed(error);
    }
    if ::core::mem::replace(&mut state.taken, true) {
        return Taken::Gone;
    }
    let stream = state.core.msgin().map_or(0, |m| m.length());
    let incoming = state.incoming.take();
    let length = incoming.length(stream);
    Taken::Message(incoming, length)
}

/// Undoes [`take`] but for the list.
fn put_in(rpc: &Rpc, incoming: Incoming) {
    let mut state = rpc.state.lock();
    // It may have been aborted meanwhile.
    if !state.gone {
        state.incoming = incoming;
        state.taken = false;
    }
}

/// Undoes [`take`]: the message is still there for the next recvmsg.
fn give_back(endpoint: &Endpoint, rpc: &Arc<Rpc>, incoming: Incoming) {
    put_in(rpc, incoming);
    endpoint.put_back(rpc);
}

/// The program has the message.
fn received(sock: &Socket, rpc: Arc<Rpc>) {
    let endpoint = &sock.endpoint;
    if rpc.is_client() {
        return endpoint.finish(rpc, now_ns);
    }
    endpoint.ns.stats.inc(Counter::RequestsReceived);
    rpc.uncharge();
    if sock.is_replying() {
        drop(sock.asked.replace(rpc));
    }
}

/// Tells the program whom the message is from and what it belongs to.
fn describe(rpc: &Rpc, endpoint: &Endpoint, msg: &mut MsgHdr<'_>, error: Option<Error>) -> Result {
    let family = endpoint.sk.family();
    msg.set_name(family, &rpc.peer.name);
    if msg.control_user().is_none_or(|(_, len)| len == 0) {
        return Ok(());
    }
    let mut cmsg = RpcCmsg {
        id: rpc.visible_id,
        cookie: rpc.cookie,
        flags: 0,
        error: error.map_or(0, |e| e.to_errno().wrapping_neg()),
        peer: [0; 28],
        reserved: 0,
    };
    if rpc.session.is_some() {
        cmsg.flags |= HOMA_CMSG_SEALED;
    }
    if error.is_some() {
        cmsg.flags |= HOMA_CMSG_FAILED;
    }
    rpc.peer.name.write(family, &mut cmsg.peer);
    msg.put_cmsg(SOL_HOMA, HOMA_CMSG_RPC, &cmsg)
}

/// recvmsg as in HomaModule: bpages come back, an RPC is waited for, its message goes to the pool.
fn recv_pool(sock: &Socket, msg: &mut MsgHdr<'_>, flags: u32) -> Result<usize> {
    if flags & MSG_PEEK != 0 {
        return Err(sock.because(EOPNOTSUPP, "MSG_PEEK on a socket with a receive pool"));
    }
    let size = ::core::mem::size_of::<RecvmsgArgs>();
    let Some((at, _)) = msg.control_user().filter(|(_, len)| *len == size) else {
        let words = "msg_controllen is not the size of homa_recvmsg_args";
        return Err(sock.because(EINVAL, words));
    };
    let mut args: RecvmsgArgs = at.read().map_err(|e| sock.because(e, BAD_ARGS))?;
    if args.num_bpages as usize > MAX_BPAGES || args.reserved != 0 {
        let words = "homa_recvmsg_args has too many bpages, or reserved is not 0";
        return Err(sock.because(EINVAL, words));
    }
    let returned = release(sock, &args);
    args.num_bpages = 0;
    args.completion_cookie = 0;
    if let Err(error) = returned {
        at.write(&args)?;
        return Err(sock.because(error, "a bpage that was given back is not the program's"));
    }
    let wanted = ::core::mem::take(&mut args.id);
    // EFAULT now rather than when there is something to lose.
    at.write(&args).map_err(|e| sock.because(e, BAD_ARGS))?;
    let result = recv_into_pool(sock, msg, flags, wanted, &mut args);
    at.write(&args)?;
    result
}

/// The program hands bpages back. EINVAL if one is not its own.
fn release(sock: &Socket, args: &RecvmsgArgs) -> Result {
    if args.num_bpages == 0 {
        return Ok(());
    }
    let mut pool = sock.pool.lock();
    let pool = (*pool).as_mut().ok_or(EINVAL)?;
    for offset in args.bpage_offsets.iter().take(args.num_bpages as usize) {
        pool.bpages.release(*offset).map_err(|_| EINVAL)?;
    }
    // Others may wait for room.
    sock.endpoint.sk.wake_all_readers();
    Ok(())
}

fn recv_into_pool(
    sock: &Socket,
    msg: &mut MsgHdr<'_>,
    flags: u32,
    wanted: u64,
    args: &mut RecvmsgArgs,
) -> Result<usize> {
    let endpoint = &sock.endpoint;
    let private = match wanted {
        0 => None,
        id => Some(
            endpoint
                .find_any(|r| r.is_client() && r.private && r.visible_id == id)
                .ok_or_else(|| sock.because(EINVAL, "there is no private RPC with that id"))?,
        ),
    };
    let mut timeout = msg.recv_timeout(flags);
    let (rpc, taken) = msg.wait_readable_shared(&mut timeout, || loop {
        let rpc = match &private {
            Some(rpc) if rpc.is_over() => return Some(Err(EINVAL)),
            Some(rpc) if rpc.is_ready() => rpc.clone(),
            Some(_) => return endpoint.is_closed().then_some(Err(ESHUTDOWN)),
            None => match next(endpoint)? {
                Some(rpc) => rpc,
                None => return Some(Err(ESHUTDOWN)),
            },
        };
        match take(&rpc) {
            Taken::Gone => {}
            Taken::Failed(error) => return Some(Ok((rpc, Err(error)))),
            Taken::Message(incoming, length) => match allocate(sock, length) {
                Room::There(place, start) => {
                    return Some(Ok((rpc, Ok((incoming, length, place, start)))))
                }
                Room::Later => {
                    put_in(&rpc, incoming);
                    endpoint.put_back_quietly(&rpc);
                    return None;
                }
                // A server's client times out; ours learns it.
                Room::Never if rpc.is_client() => return Some(Ok((rpc, Err(ENOBUFS)))),
                Room::Never => {
                    endpoint.ns.stats.inc(Counter::DropBufferFull);
                    endpoint.forget(&rpc);
                }
            },
        }
        if private.is_some() {
            // Another thread has it.
            return Some(Err(EINVAL));
        }
    })??;
    let (incoming, length, place, start) = match taken {
        Ok(message) => message,
        Err(error) => {
            args.id = rpc.visible_id;
            args.completion_cookie = rpc.cookie;
            msg.set_name(endpoint.sk.family(), &rpc.peer.name);
            endpoint.forget(&rpc);
            let full = error == ENOBUFS;
            let words = if full { "the message is longer than the pool" } else { RPC_FAILED };
            return Err(sock.because(error, words));
        }
    };
    if let Err(e) = pool::copy_out(&incoming, length, start, &place) {
        if let Some(pool) = (*sock.pool.lock()).as_mut() {
            for offset in place.offsets() {
                let _ = pool.bpages.release(*offset);
            }
        }
        give_back(endpoint, &rpc, incoming);
        return Err(sock.because(e, "the receive pool is not writable"));
    }
    args.id = rpc.visible_id;
    args.completion_cookie = rpc.cookie;
    for (slot, offset) in args.bpage_offsets.iter_mut().zip(place.offsets()) {
        *slot = *offset;
    }
    args.num_bpages = place.offsets().len() as u32;
    msg.set_name(endpoint.sk.family(), &rpc.peer.name);
    received(sock, rpc);
    Ok(length as usize)
}

/// Whether the pool has room for a message.
enum Room {
    /// There, in the region that begins at this address.
    There(Placement, usize),
    /// Not before bpages come back.
    Later,
    /// The message is longer than the pool.
    Never,
}

fn allocate(sock: &Socket, length: u32) -> Room {
    let mut pool = sock.pool.lock();
    let Some(pool) = (*pool).as_mut() else {
        return Room::Never;
    };
    match pool.bpages.allocate(length) {
        Some(place) => Room::There(place, pool.start()),
        None if pool.bpages.fits(length) => Room::Later,
        None => Room::Never,
    }
}
