// SPDX-License-Identifier: GPL-2.0

//! The running protocol: the core's state machines, with packets, locks and timers around them.
//!
//! A network namespace ([`net`]) knows its sockets by port. A socket's transport half is an
//! [`endpoint`], which has a table of [`peer`]s and one of [`rpc`]s. A message that a program sends
//! becomes an [`outgoing`] one and is handed to IP by [`transmit`], a long one when [`pacing`] has its turn come; packets that arrive go through
//! [`receive`] (what is no DATA, through [`control`]) into an [`incoming`] one, for which [`grants`] asks if it is long, and when that is whole, the RPC into the endpoint's queue
//! of ready ones. [`timer`] asks for what is late. [`offload`] cuts and joins packets for the stack.
//!
//! # Locks
//!
//! All are taken with bottom halves off, in this order; any may be left out:
//!
//! 1. a bucket of a table (`Table`), only to look up, add or remove: nothing else is done under it,
//!    but for the timer's scan, which takes 2;
//! 2. an RPC's state (`Rpc::state`);
//! 3. the leaves: a peer's state, a session's, the queue of ready RPCs, the notices about keys, the namespace's grants and priorities, its
//!    devices, a device's pacer (that one under the devices', too).
//!
//! No packet is handed to IP under any of them: what is to be sent is collected
//! first.
//!
//! # Who owns a packet
//!
//! A received skb is ours alone but may share its bytes with others: it is read, never written. A kept
//! outgoing skb belongs to its `Outgoing`; what IP gets is a clone.

pub(crate) mod control;
pub(crate) mod endpoint;
mod grants;
pub(crate) mod incoming;
pub(crate) mod net;
mod notices;
pub(crate) mod offload;
pub(crate) mod outgoing;
pub(crate) mod pacing;
pub(crate) mod peer;
pub(crate) mod receive;
pub(crate) mod rpc;
mod timer;
mod transmit;
