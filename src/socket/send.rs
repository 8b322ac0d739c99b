// SPDX-License-Identifier: GPL-2.0

//! sendmsg: requests and responses.
//!
//! Three kinds of callers: one that knows only sockets (no control data: a request), one that hands
//! a `struct homa_rpc_cmsg` in (a request with a cookie, or a response), and one written for HomaModule
//! (`msg_control` points at `struct homa_sendmsg_args` and `msg_controllen` is 0).

use kernel::prelude::*;

use super::names::destination;
use super::uapi::{
    RpcCmsg, SendmsgArgs, HOMA_CMSG_RPC, HOMA_CMSG_SEALED, HOMA_CMSG_SHORT, HOMA_SENDMSG_PRIVATE,
    SOL_HOMA,
};
use super::Socket;
use crate::sys::addr::SockAddr;
use crate::sys::uio::MsgHdr;
use crate::sys::user::UserPtr;
use crate::transport::endpoint::{Endpoint, Request, MAX_MESSAGE};

/// `MSG_OOB`.
const MSG_OOB: u32 = 1;

/// May another message be handed in?
pub(super) fn has_room(endpoint: &Endpoint) -> bool {
    endpoint.sk.wmem() < endpoint.sk.sndbuf()
}

/// What the caller says about the message.
struct Call {
    /// It says nothing.
    silent: bool,
    /// 0: a request.
    id: u64,
    cookie: u64,
    private: bool,
    /// Not in clear.
    sealed: bool,
    peer: Option<SockAddr>,
    /// HomaModule's caller: the id is written back there.
    args: Option<(UserPtr, SendmsgArgs)>,
}

/// Sends one message. Returns its length, or 0 to callers written for HomaModule, as there.
///
/// EINVAL for an empty message or control data that is none, EMSGSIZE for a long one, EDESTADDRREQ,
/// EAGAIN, ESHUTDOWN, ENOKEY, and those of routes and memory.
pub(super) fn sendmsg(sock: &Socket, msg: &mut MsgHdr<'_>, len: usize) -> Result<usize> {
    let endpoint = &sock.endpoint;
    let sk = &endpoint.sk;
    if msg.flags() & MSG_OOB != 0 {
        return Err(sock.because(EOPNOTSUPP, "MSG_OOB means nothing to Homa"));
    }
    if len == 0 {
        return Err(sock.because(EINVAL, "the message is empty"));
    }
    if len > MAX_MESSAGE {
        return Err(sock.because(EMSGSIZE, "the message is longer than HOMA_MAX_MESSAGE_LENGTH"));
    }
    let call = read_call(sock, msg)?;
    let to = match (msg.name(), call.peer) {
        ([], Some(peer)) => Some(peer),
        ([], None) if call.silent && sock.is_replying() => None,
        ([], None) => Some(sk.peer().ok_or_else(|| {
            sock.because(EDESTADDRREQ, "no msg_name, and the socket is not connected")
        })?),
        (name, _) => Some(destination(sk, name).map_err(|e| sock.because(e, BAD_DESTINATION))?),
    };
    let mut timeout = msg.send_timeout();
    msg.wait_writable(&mut timeout, || {
        if endpoint.is_closed() {
            // The one is what other sockets say, the other what HomaModule says.
            let error = if call.args.is_none() { EPIPE } else { ESHUTDOWN };
            return Some(Err(sock.because(error, "the socket was shut down")));
        }
        has_room(endpoint).then_some(Ok(()))
    })??;
    let length = len as u32;
    let Some(to) = to else {
        return reply_to_last(sock, msg, length);
    };
    if call.id == 0 {
        let Call { cookie, private, sealed, .. } = call;
        let request = Request { to, cookie, private, sealed };
        let id = endpoint
            .send_request(request, length, msg.iter())
            .map_err(|e| sock.because(e, not_sent(e)))?;
        if let Some((at, args)) = call.args {
            at.write(&SendmsgArgs { id, ..args }).map_err(|e| sock.because(e, BAD_ARGS))?;
            return Ok(0);
        }
        return Ok(len);
    }
    // A request that is gone is no error: its client may have given up.
    if let Some(rpc) = endpoint.find_request(&to, call.id) {
        endpoint
            .send_reply(&rpc, call.sealed, length, msg.iter())
            .map_err(|e| sock.because(e, not_sent(e)))?;
    }
    Ok(if call.args.is_some() { 0 } else { len })
}

/// Answers the request that the program got last. EDESTADDRREQ if there is none, and those of sendmsg.
fn reply_to_last(sock: &Socket, msg: &mut MsgHdr<'_>, length: u32) -> Result<usize> {
    let rpc = sock.asked.take().ok_or_else(|| {
        sock.because(EDESTADDRREQ, "no msg_name, and no request that was received is unanswered")
    })?;
    match sock.endpoint.send_reply(&rpc, false, length, msg.iter()) {
        Ok(()) => Ok(length as usize),
        Err(e) => {
            // Unless another one came meanwhile, or the RPC ended with it: part of a sealed answer may be sealed.
            if !rpc.is_over() {
                sock.asked.put_if_empty(rpc);
            }
            Err(sock.because(e, not_sent(e)))
        }
    }
}

const BAD_ARGS: &str = "msg_control does not point at a writable homa_sendmsg_args";
const BAD_CMSG: &str = "msg_control holds no control message of Homa's";
const BAD_DESTINATION: &str = "the destination is no address that this socket can send to";

/// Why the transport took no message.
fn not_sent(error: Error) -> &'static str {
    match error {
        e if e == EFAULT => "the message is not in readable memory",
        e if e == ENOKEY => "it would go in clear: there is no session with that peer",
        e if e == ENOBUFS => "too many RPCs or peers, or too many unread responses",
        e if e == ENOMEM => "no memory for the message",
        e if e == ENETUNREACH || e == EHOSTUNREACH => "no route to the destination",
        e if e == EMSGSIZE => "the route's MTU leaves no room for a message",
        e if e == EAGAIN => "too many requests of the session are under way",
        e if e == EKEYEXPIRED => "the session's key is used up",
        e if e == EINVAL => "the request was answered already",
        _ => "the message could not be sent",
    }
}

/// The control message, or the first part of it, without an error or a peer.
fn rpc_cmsg(data: &[u8]) -> Option<RpcCmsg> {
    let Ok(start) = <&[u8; HOMA_CMSG_SHORT]>::try_from(data) else {
        return RpcCmsg::read_from_bytes(data).ok();
    };
    let mut all = [0; ::core::mem::size_of::<RpcCmsg>()];
    all.first_chunk_mut().map(|to| *to = *start)?;
    RpcCmsg::read_from_bytes(&all).ok()
}

fn read_call(sock: &Socket, msg: &MsgHdr<'_>) -> Result<Call> {
    let mut call = Call {
        silent: true,
        id: 0,
        cookie: 0,
        private: false,
        sealed: false,
        peer: None,
        args: None,
    };
    if let Some((at, 0)) = msg.control_user() {
        let bad = |e| sock.because(e, BAD_ARGS);
        let args: SendmsgArgs = at.read().map_err(bad)?;
        // EFAULT now rather than when the request is on its way.
        at.write(&args).map_err(bad)?;
        if args.flags & !HOMA_SENDMSG_PRIVATE != 0 || args.reserved != 0 {
            let words = "homa_sendmsg_args has an unknown flag, or reserved is not 0";
            return Err(sock.because(EINVAL, words));
        }
        if args.id != 0 && args.completion_cookie != 0 {
            return Err(sock.because(EINVAL, "an answer has a completion_cookie"));
        }
        call.id = args.id;
        call.cookie = args.completion_cookie;
        call.private = args.flags & HOMA_SENDMSG_PRIVATE != 0;
        call.args = Some((at, args));
        call.silent = false;
        return Ok(call);
    }
    for cmsg in msg.cmsgs() {
        let cmsg = cmsg.map_err(|e| sock.because(e, BAD_CMSG))?;
        if cmsg.level != SOL_HOMA {
            continue;
        }
        if cmsg.kind != HOMA_CMSG_RPC {
            return Err(sock.because(EINVAL, BAD_CMSG));
        }
        let rpc = rpc_cmsg(cmsg.data).ok_or_else(|| {
            sock.because(EINVAL, "the control message is no homa_rpc_cmsg: its length")
        })?;
        let known = rpc.flags & !HOMA_CMSG_SEALED == 0 && rpc.error == 0 && rpc.reserved == 0;
        let reply = rpc.id != 0;
        if !known {
            let words = "homa_rpc_cmsg has an unknown flag, or error or reserved is not 0";
            return Err(sock.because(EINVAL, words));
        }
        if reply && (rpc.id & 1 == 0 || rpc.cookie != 0) {
            let words = "homa_rpc_cmsg of an answer has an even id or a cookie";
            return Err(sock.because(EINVAL, words));
        }
        call.silent = false;
        call.id = rpc.id;
        call.cookie = rpc.cookie;
        call.sealed = rpc.flags & HOMA_CMSG_SEALED != 0;
        if rpc.peer.first_chunk() != Some(&[0; 2]) {
            let peer = destination(&sock.endpoint.sk, &rpc.peer);
            call.peer = Some(peer.map_err(|e| sock.because(e, BAD_DESTINATION))?);
        }
    }
    Ok(call)
}
