// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A ConnectX-6 Dx/7 in software: what the mlx5 driver sees of the card, as a vfio-user device.
//!
//! README.md tells what is modelled and what is not.

#![deny(unsafe_code)]

pub mod faults;
pub mod lso;
pub mod packet;
pub mod sched;
pub mod spec;
pub mod tls;
pub mod wire;
