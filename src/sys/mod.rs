// SPDX-License-Identifier: GPL-2.0

//! Safe Rust over the kernel's C, one concept per file.
//!
//! Everything here is general: it knows the kernel's networking, not the protocol that is built on it.
//! All `unsafe` of the module is here. Tested on Linux 7.3.4.
//!
//! From the outside in: a module registers per-namespace state ([`netns`]) and a protocol ([`proto`]);
//! programs then hold a [`sock::Sock`] each, hand in messages ([`uio`], [`user`], [`addr`]), which become
//! packets ([`builder`], [`skb`], [`skbq`]) that leave on a [`route`] and are cut and chained on their way
//! ([`gso`], [`gro`]); packets that arrive are found an owner ([`table`]), opened ([`aead`], [`secret`]) and
//! copied out. [`timer`], [`time`], [`lock`], [`percpu`], [`rand`] and [`procfs`] are what the name says.
//!
//! Contexts: "process" means that sleeping is allowed; "softirq" that it is not, and that bottom halves
//! are off. A function that may sleep says so.
//!
//! Fields that C changes while we look are read as atomics (`READ_ONCE`). Those are Rust's own: the
//! kernel crate's are calls into C, and what is needed here (relaxed loads and stores, counters) means the
//! same in both memory models.

// What is public here would be so in the kernel crate.
#![allow(unreachable_pub)]

pub mod addr;
pub mod aead;
pub mod arccell;
pub mod builder;
pub mod early;
pub mod gro;
pub mod gso;
pub mod inline;
mod layout;
pub mod linear;
pub mod lock;
pub mod netns;
pub mod pagebytes;
pub mod percpu;
pub mod procfs;
pub mod proto;
pub mod rand;
pub mod rcuslot;
pub mod relaxed;
pub mod route;
pub mod secret;
pub mod skb;
pub mod skbq;
pub mod sock;
pub mod spare;
pub mod sysctl;
pub mod table;
pub mod time;
pub mod timer;
pub mod trace;
pub mod uio;
pub mod user;
pub mod versions;

/// Allocation flags as C takes them.
#[inline]
fn gfp(flags: kernel::alloc::Flags) -> homa_bindings::gfp_t {
    // SAFETY: `Flags` is a struct of nothing but the gfp_t. (The kernel crate keeps its accessor to itself.)
    unsafe { ::core::mem::transmute(flags) }
}
