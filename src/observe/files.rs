// SPDX-License-Identifier: GPL-2.0

//! The files of a namespace: counters, lists of sockets and RPCs in `/proc/net`, settings in `/proc/sys/net/homa`.
//!
//! `docs/counters.md`, `docs/listing.md` and `docs/sysctl.md` say what they show.

use kernel::prelude::*;
use kernel::seq_file::{seq_print, SeqFile};
use kernel::sync::Arc;

use super::counters::{is_tls, NAMES};
use crate::protocol::rpc::Phase;
use crate::sys::netns;
use crate::sys::procfs::{uid_for, ProcFile, ProcNet, ProcNetList};
use crate::sys::sysctl::Sysctl;
use crate::transport::endpoint::Endpoint;
use crate::transport::net::Net;
use crate::transport::rpc::Rpc;

/// All files of a namespace. Dropped before the namespace goes.
pub(crate) struct Files {
    _proc: [ProcFile; 4],
    _sysctl: Sysctl<Net>,
}

impl Files {
    /// Makes them.
    pub(crate) fn new(net: &netns::Net, state: &Arc<Net>) -> Result<Self> {
        Ok(Self {
            _proc: [
                ProcFile::new::<Net, COUNTERS>(net)?,
                ProcFile::new::<Net, TLS_STAT>(net)?,
                ProcFile::list::<Net, SOCKETS>(net)?,
                ProcFile::list::<Net, RPCS>(net)?,
            ],
            _sysctl: Sysctl::new(net, state.clone())?,
        })
    }
}

const COUNTERS: u64 = 0;
const TLS_STAT: u64 = 1;
const SOCKETS: u64 = 2;
const RPCS: u64 = 3;

impl ProcNet<COUNTERS> for Net {
    const NAME: &'static CStr = c"homa";

    fn show(this: &Self, m: &SeqFile) {
        print(this, m, false);
        line(m, "segments_sent", this.stats.segments_sent());
        let (mut receive, mut send) = (0, 0);
        for socket in (0..usize::MAX).map_while(|bucket| this.sockets_in(bucket)).flatten() {
            receive = u64::wrapping_add(receive, socket.sk.rmem() as u64);
            send = u64::wrapping_add(send, socket.sk.wmem() as u64);
        }
        line(m, "memory_receive", receive);
        line(m, "memory_send", send);
    }
}

impl ProcNet<TLS_STAT> for Net {
    const NAME: &'static CStr = c"homa_tls_stat";

    fn show(this: &Self, m: &SeqFile) {
        print(this, m, true);
    }
}

/// Prints the counters of one file.
fn print(this: &Net, m: &SeqFile, tls: bool) {
    for (i, name) in NAMES.iter().enumerate() {
        if is_tls(name) == tls {
            line(m, name, this.stats.sum(i));
        }
    }
}

fn line(m: &SeqFile, name: &str, value: u64) {
    seq_print!(m, "{:<24} {}\n", name, value as i64);
}

// A place in either list is 0, the heading, or 1 and more: a bucket of the table of ports, in the list of RPCs
// together with a bucket of their sockets' tables of RPCs.

impl ProcNetList<SOCKETS> for Net {
    const NAME: &'static CStr = c"homa_sockets";

    fn seek(this: &Self, pos: u64) -> Option<u64> {
        match pos.checked_sub(1) {
            None => Some(0),
            Some(bucket) => next_bucket(this, bucket)?.checked_add(1),
        }
    }

    fn show(this: &Self, pos: u64, m: &SeqFile) {
        let Some(bucket) = pos.checked_sub(1) else {
            seq_print!(
                m,
                "local remote server sealed rmem rcvbuf wmem sndbuf rpcs peers uid inode\n"
            );
            return;
        };
        for socket in this.sockets_in(bucket as usize).into_iter().flatten() {
            show_socket(&socket, m);
        }
    }
}

fn show_socket(socket: &Endpoint, m: &SeqFile) {
    let sk = &socket.sk;
    seq_print!(m, "{}", sk.local_name());
    match sk.peer() {
        Some(peer) => seq_print!(m, " {}", peer),
        None => seq_print!(m, " *"),
    }
    let (server, sealed) = (u8::from(socket.is_server()), u8::from(socket.is_sealed_only()));
    seq_print!(m, " {} {} {} {}", server, sealed, sk.rmem(), sk.rcvbuf());
    seq_print!(m, " {} {} {}", sk.wmem(), sk.sndbuf(), socket.rpc_count());
    seq_print!(m, " {} {} {}\n", socket.peer_count(), uid_for(m, sk.uid()), sk.inode());
}

impl ProcNetList<RPCS> for Net {
    const NAME: &'static CStr = c"homa_rpcs";

    fn seek(this: &Self, pos: u64) -> Option<u64> {
        let Some(place) = pos.checked_sub(1) else {
            return Some(0);
        };
        let per_socket = Endpoint::RPC_BUCKETS as u64;
        let bucket = next_bucket(this, place / per_socket)?;
        // In the same bucket of ports, go on; in a later one, begin.
        bucket.checked_mul(per_socket)?.max(place).checked_add(1)
    }

    fn show(this: &Self, pos: u64, m: &SeqFile) {
        let Some(place) = pos.checked_sub(1) else {
            seq_print!(m, "port peer id cookie state sealed");
            seq_print!(m, " tx_length tx_sent tx_granted rx_length rx_remaining rx_granted\n");
            return;
        };
        let per_socket = Endpoint::RPC_BUCKETS as u64;
        let sockets = this.sockets_in((place / per_socket) as usize);
        for socket in sockets.into_iter().flatten() {
            for rpc in socket.rpcs_in((place % per_socket) as usize) {
                show_rpc(&socket, &rpc, m);
            }
        }
    }
}

fn show_rpc(socket: &Endpoint, rpc: &Rpc, m: &SeqFile) {
    // All at once: no printing under the lock.
    let (state, out, msgin) = {
        let state = rpc.state.lock();
        let name = match state.core.phase() {
            _ if state.error.is_some() => "failed",
            _ if state.taken => "taken",
            _ if state.ready => "ready",
            Phase::Sending => "sending",
            Phase::Receiving => "receiving",
            Phase::InService => "in_service",
            Phase::Replying => "replying",
            Phase::Done => "done",
        };
        let out = state.core.out().map(|out| (out.length(), out.sent(), out.granted()));
        let msgin = state.core.msgin().map(|m| (m.length(), m.remaining(), m.granted()));
        (name, out, msgin)
    };
    let sealed = u8::from(rpc.session.is_some());
    seq_print!(m, "{} {} {} {}", socket.port(), rpc.peer.name, rpc.visible_id, rpc.cookie);
    seq_print!(m, " {} {}", state, sealed);
    for part in [out, msgin] {
        match part {
            Some((a, b, c)) => seq_print!(m, " {} {} {}", a, b, c),
            None => seq_print!(m, " - - -"),
        }
    }
    seq_print!(m, "\n");
}

/// The first bucket of ports from `bucket` on that has sockets.
fn next_bucket(this: &Net, bucket: u64) -> Option<u64> {
    let mut bucket = usize::try_from(bucket).ok()?;
    while this.sockets_in(bucket)?.is_empty() {
        bucket = bucket.checked_add(1)?;
    }
    Some(bucket as u64)
}
