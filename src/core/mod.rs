// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The protocol, as a library: Homa and its sealed sessions as plain state machines.
//!
//! Nothing here does I/O, takes a lock, reads a clock or touches packet data. Time is an argument
//! (`now`, nanoseconds as `u64`), bytes of messages are offsets and lengths, and what is to be done
//! comes back as a value. The kernel module, the simulator, the fuzzers and the tests are users of
//! these very files: on the host this file is the root of the crate `homa-core`, in the kernel it
//! is the module `protocol` of `homa.ko`.
//!
//! Three rules hold in every file below. The code is safe and never panics, whatever the arguments;
//! memory comes only from [`mem`], where every growth can fail; siblings are named by `super::`, as
//! the crate's root differs between the two builds.
//!
//! Read it in this order:
//!
//! - [`wire`]: every packet, as bytes and as values;
//! - [`layout`]: a message cut into records, segments and packets;
//! - [`msgin`] and [`msgout`]: one message arriving, one leaving;
//! - [`rpc`]: a request and its response, at either end; [`recovery`]: asking for what was lost;
//!   [`acks`]: what the client owes after it;
//! - [`peer`]: whether a host is alive, and how much may be asked of it; [`rtt`] and [`window`]: how far away and
//!   how fast it is;
//! - [`grant`]: who of all that would like to send to this host may; [`pacer`]: what of all that this host may
//!   send is sent next; [`priority`]: which of the network's queues it takes; [`slab`]: what they are built on;
//! - [`session`]: ids, sequence numbers, nonces, replay windows, epochs: what sealing needs to
//!   remember between packets;
//! - [`bpool`]: the receive pool that a program shares with its socket;
//! - [`config`]: times and sizes.

#![forbid(unsafe_code)]
// The module uses what it needs of this; the host crate exports everything.
#![allow(dead_code, unreachable_pub)]
#![cfg_attr(MODULE, allow(unused_imports))]
#![warn(missing_docs)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]
// Without the standard prelude on the host too: what compiles here compiles in the kernel.
#![cfg_attr(not(MODULE), no_std)]

#[cfg(not(MODULE))]
extern crate std;

pub mod acks;
pub mod bpool;
pub mod config;
pub mod grant;
pub mod layout;
pub mod lossrate;
pub mod mem;
pub mod msgin;
pub mod msgout;
pub mod pacer;
pub mod peer;
pub mod priority;
pub mod recent;
pub mod recovery;
pub mod rpc;
pub mod rtt;
pub mod session;
pub mod slab;
pub mod window;
pub mod wire;
