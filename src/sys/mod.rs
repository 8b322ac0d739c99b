// SPDX-License-Identifier: GPL-2.0

//! Safe Rust over the kernel's C, one concept per file.
//!
//! Everything here is general: it knows the kernel's networking, not the protocol that is built on it.
//! All `unsafe` of the module is here. Tested on Linux 7.3.4.
//!
//! From the outside in: a module registers per-namespace state ([`netns`]) and a protocol ([`proto`]);
//! programs then hold a [`sock::Sock`] each, hand in messages ([`uio`], [`user`], [`addr`]), which become
//! packets ([`skb`]) that leave on a [`route`]; packets that arrive are found an owner ([`table`]),
//! opened ([`aead`], [`secret`]) and copied out. [`timer`], [`lock`], [`percpu`], [`rand`] and
//! [`procfs`] are what the name says.
//!
//! Contexts: "process" means that sleeping is allowed; "softirq" that it is not, and that bottom halves are off.
//! A function that may sleep says so.

pub mod addr;
pub mod aead;
pub mod bindings;
pub mod builder;
pub mod gro;
pub mod lock;
pub mod netns;
pub mod percpu;
pub mod procfs;
pub mod proto;
pub mod rand;
pub mod route;
pub mod secret;
pub mod skb;
pub mod skbq;
pub mod sock;
pub mod table;
pub mod time;
pub mod timer;
pub mod uio;
pub mod user;
