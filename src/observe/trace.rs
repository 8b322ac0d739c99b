// SPDX-License-Identifier: GPL-2.0

//! The tracepoints: what happens to RPCs and packets, as it happens.
//!
//! They are in the group `homa`, as in `perf record -e 'homa:*'`, and all have the same fields; `docs/tracing.md` lists them.

use super::counters::{Counter, NAMES};
use crate::protocol::wire::{at, COMMON_LEN};
use crate::sys::addr::SockAddr;
use crate::sys::netns::Net;
use crate::sys::skb::Skb;
use crate::sys::trace::Event;
use crate::transport::rpc::Rpc;

/// The tracepoints as C has them.
mod points {
    crate::sys::trace::tracepoints! {
        rpc_start;
        rpc_end;
        message_out;
        message_in;
        drop;
        resend;
        retransmit;
        timeout;
    }
}

/// Events about an RPC: which kind it is, and the bytes that it concerns.
macro_rules! rpc_events {
    ($($(#[$doc:meta])* $name:ident, $enabled:ident;)*) => { $(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(rpc: &Rpc, what: &'static str, offset: u32, length: u32) {
            #[cold]
            #[inline(never)]
            fn emit(rpc: &Rpc, what: &'static str, offset: u32, length: u32) {
                let sk = rpc.sk();
                let event = Event::new(sk.net(), what, rpc.id, sk.local_port(), &rpc.peer.name);
                points::$name(&event.at(offset, length));
            }
            if points::$enabled() {
                emit(rpc, what, offset, length);
            }
        }
    )* };
}

rpc_events! {
    /// A program handed in a message: `request` or `response`.
    message_out, message_out_enabled;
    /// A message is whole and good: `request` or `response`.
    message_in, message_in_enabled;
    /// A RESEND: `sent` or `received`.
    resend, resend_enabled;
    /// Bytes are sent again, of the `request` or `response`.
    retransmit, retransmit_enabled;
    /// An RPC begins: `client` or `server`.
    rpc_start, rpc_start_enabled;
    /// Nothing of it is left here.
    rpc_end, rpc_end_enabled;
    /// It ends because the peer is silent.
    timeout, timeout_enabled;
}

/// What is remembered of a packet that may be dropped.
pub(crate) struct Packet {
    peer: SockAddr,
    head: [u8; COMMON_LEN],
    length: u32,
}

/// Does anybody look at dropped packets?
#[inline(always)]
pub(crate) fn drops_watched() -> bool {
    points::drop_enabled()
}

impl Packet {
    /// Looks at a packet. (Of one that is too short, the header counts as zero.)
    pub(crate) fn of(skb: &Skb) -> Self {
        let mut head = [0; COMMON_LEN];
        if !skb.copy_bits(0, &mut head) {
            head = [0; COMMON_LEN];
        }
        let port = be(&head, at::SOURCE_PORT, 2) as u16;
        let peer = SockAddr { addr: skb.source(), port, scope: skb.ifindex() };
        Self { peer, head, length: skb.len() as u32 }
    }

    /// It is dropped.
    pub(crate) fn dropped(&self, net: &Net, why: Counter) {
        let why = NAMES.get(why as usize).copied().unwrap_or_default();
        let id = be(&self.head, at::SENDER_ID, 8) ^ 1;
        let port = be(&self.head, at::DESTINATION_PORT, 2) as u16;
        points::drop(&Event::new(net, why, id, port, &self.peer).at(0, self.length));
    }
}

/// The number of `len` bytes at `at`.
fn be(head: &[u8], at: usize, len: usize) -> u64 {
    head.iter().skip(at).take(len).fold(0, |n, byte| n << 8 | u64::from(*byte))
}
