// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A simulator: hundreds of hosts of the protocol core on a modelled network, in virtual time.
//!
//! Everything that happens in a run follows from its options and one seed.
//!
//! - [`host`]: a host, made of the core's state machines: the very files the kernel module compiles;
//! - [`packet`]: real headers, modelled payload; [`ledger`]: what was encrypted.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod check;
pub mod faults;
pub mod host;
pub mod ledger;
pub mod net;
pub mod packet;
pub mod plot;
pub mod pool;
pub mod published;
pub mod queue;
pub mod random;
pub mod report;
pub mod sabotage;
pub mod scenario;
pub mod trace;
pub mod trial;
pub mod world;
