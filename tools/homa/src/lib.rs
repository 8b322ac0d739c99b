// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Homa sockets: reliable, encrypted messages between the hosts of a datacenter, for the kernel
//! module `homa.ko`.
//!
//! One [`Socket`] talks to any number of peers. A client sends *requests*, a server *replies*; a
//! request and its reply are an RPC. Messages have 1 to [`MAX_MESSAGE_LENGTH`] bytes and arrive whole,
//! once, in any order.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! use homa::{Event, Socket};
//!
//! let server = Socket::bind("10.0.0.1:4000".parse().unwrap())?;
//! let client = Socket::new(homa::Domain::Ipv4)?;
//! client.send_request("10.0.0.1:4000".parse().unwrap(), 7, b"how are you?")?;
//!
//! let mut buffer = [0; 1000];
//! if let Event::Request(message) = server.recv(&mut buffer)? {
//!     server.reply(&message.rpc, &buffer[..message.len])?;
//! }
//! match client.recv(&mut buffer)? {
//!     Event::Response(message) => assert_eq!(message.rpc.cookie, 7),
//!     Event::Failed(failure) => return Err(failure.error),
//!     Event::Request(_) => unreachable!("a client's socket gets no requests"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! To encrypt all traffic with a peer, give both sides the keys of a TLS handshake with
//! [`Socket::set_tx_key`] and [`Socket::set_rx_key`], and call [`Socket::set_sealed`] so that nothing
//! in clear is ever sent or taken.
//!
//! With a receive pool ([`Socket::into_pooled`]) the kernel places messages in memory shared with the
//! program, and a message is borrowed from there instead of copied to a buffer.
//!
//! Errors are those of the system calls, as [`io::Error`](std::io::Error); the C header
//! `linux/homa.h` describes when each occurs.

#![cfg(target_os = "linux")]

mod key;
mod pool;
mod socket;
mod sys;
pub mod uapi;

pub use key::{Cipher, Key, Version};
pub use pool::{PooledEvent, PooledMessage, PooledSocket};
pub use socket::{Domain, Event, Failure, Message, Rpc, Socket};
pub use uapi::HOMA_MAX_MESSAGE_LENGTH as MAX_MESSAGE_LENGTH;
