// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A model of the sealed sessions, explored in all its states by stateright.
//!
//! The bookkeeping is the core's own ([`live`]), encryption is ideal ([`crypto`]), the network is the attacker
//! ([`attacker`]). Two [`end`]s do what `src/transport` does with it; [`state`] puts them together, [`check`] says
//! what must hold, [`progress`] what must happen once the attacker stops. [`sabotage`] breaks a rule, to show that
//! this is noticed.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod attacker;
pub mod check;
pub mod crypto;
pub mod end;
pub mod incoming;
pub mod keys;
pub mod live;
pub mod model;
pub mod packet;
pub mod progress;
pub mod sabotage;
pub mod scenario;
pub mod state;
