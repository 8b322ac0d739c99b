// SPDX-License-Identifier: GPL-2.0

//! ioctl: a look at the RPCs of a socket, and their abortion.

use kernel::prelude::*;

use super::uapi::{
    AbortArgs, Info, RpcInfo, ERROR_MSG_SIZE, HOMAIOCABORT, HOMAIOCINFO, SOCKADDR_STORAGE,
};
use super::Socket;
use crate::sys::user::{Plain, UserPtr};
use crate::transport::endpoint::Endpoint;
use crate::transport::rpc::Rpc;

/// `HOMA_RPC_PRIVATE`.
const PRIVATE: u16 = 2;
/// `HOMA_RPC_RX_READY`.
const RX_READY: u16 = 4;

/// Most RPCs that one HOMAIOCINFO describes.
const MAX_INFOS: usize = 4096;

/// Largest errno.
const MAX_ERRNO: u32 = 4095;

/// ENOIOCTLCMD for a command that is not ours.
pub(super) fn ioctl(sock: &Socket, cmd: u32, arg: usize) -> Result<i32> {
    let arg = UserPtr::new(arg);
    match cmd {
        HOMAIOCINFO => info(sock, arg)
            .map_err(|e| sock.because(e, "homa_info, or its array, is not in writable memory")),
        HOMAIOCABORT => abort(sock, arg),
        _ => Err(ENOIOCTLCMD),
    }
}

fn info(sock: &Socket, arg: UserPtr) -> Result<i32> {
    let endpoint = &sock.endpoint;
    let mut info: Info = arg.read()?;
    let size = ::core::mem::size_of::<RpcInfo>();
    let length = if info.rpc_info == 0 { 0 } else { info.rpc_info_length as usize };
    let room = (length / size).min(MAX_INFOS).min(endpoint.rpc_count());
    let mut rpcs: KVec<RpcInfo> = KVec::with_capacity(room, GFP_KERNEL)?;
    endpoint.for_each(|rpc| {
        if rpcs.len() < room {
            let _ = rpcs.push_within_capacity(describe(endpoint, rpc));
        }
    });
    let mut at = UserPtr::new(info.rpc_info as usize);
    for rpc in &rpcs {
        at.write(rpc)?;
        at = at.add(size);
    }
    info.bpool_avail_bytes = sock.pool.lock().as_ref().map_or(0, |p| p.bpages.available());
    info.port = u32::from(endpoint.port());
    info.num_rpcs = endpoint.rpc_count() as u32;
    info.error_msg = [0; ERROR_MSG_SIZE];
    // All but the last byte, which ends the text.
    let words = *sock.words.lock();
    for (to, from) in info.error_msg.iter_mut().take(ERROR_MSG_SIZE - 1).zip(words.bytes()) {
        *to = from;
    }
    arg.write(&info)?;
    Ok(0)
}

fn describe(endpoint: &Endpoint, rpc: &Rpc) -> RpcInfo {
    let mut info = RpcInfo::zeroed();
    info.id = rpc.visible_id;
    let mut name = [0; 28];
    rpc.peer.name.write(endpoint.sk.family(), &mut name);
    let mut peer = [0; SOCKADDR_STORAGE];
    for (to, from) in peer.iter_mut().zip(name) {
        *to = from;
    }
    info.peer = peer;
    info.completion_cookie = rpc.cookie;
    let state = rpc.state.lock();
    info.tx_length = -1;
    if let Some(out) = state.core.out() {
        info.tx_length = out.length() as i32;
        info.tx_sent = out.sent();
        // Whole segments are sent, past what was granted by a part of one.
        info.tx_granted = out.granted().max(out.sent());
    }
    info.rx_length = -1;
    if let Some(msgin) = state.core.msgin() {
        let (gaps, bytes) = msgin.gaps();
        info.rx_length = msgin.length() as i32;
        info.rx_remaining = msgin.remaining();
        info.rx_gaps = gaps;
        info.rx_gap_bytes = bytes;
        info.rx_granted = msgin.granted();
    }
    if rpc.private {
        info.flags |= PRIVATE;
    }
    if state.ready && !state.taken {
        info.flags |= RX_READY;
    }
    info
}

/// Ends one RPC of which this socket is the client, or all. With an error they complete with it, with 0
/// they vanish.
fn abort(sock: &Socket, arg: UserPtr) -> Result<i32> {
    let endpoint = &sock.endpoint;
    let args: AbortArgs =
        arg.read().map_err(|e| sock.because(e, "homa_abort_args is not in readable memory"))?;
    if args.pad1 != 0 || args.pad2 != [0; 2] || args.error > MAX_ERRNO {
        let words = "homa_abort_args: error is no errno, or a reserved field is not 0";
        return Err(sock.because(EINVAL, words));
    }
    let end = |rpc: &kernel::sync::Arc<Rpc>| match args.error {
        0 => endpoint.forget(rpc),
        error => endpoint.fail(rpc, Error::from_errno((error as i32).wrapping_neg())),
    };
    if args.id != 0 {
        let found = endpoint.find_any(|rpc| rpc.is_client() && rpc.visible_id == args.id);
        let found = found.ok_or_else(|| sock.because(EINVAL, "the socket has no such request"));
        end(&found?);
        return Ok(0);
    }
    // What completed keeps its result; but to forget is to forget all.
    let vanish = args.error == 0;
    while let Some(rpc) = endpoint.find_any(|rpc| rpc.is_client() && (vanish || !rpc.is_ready())) {
        end(&rpc);
    }
    Ok(0)
}
