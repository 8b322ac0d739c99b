// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The subcommands: a file for each.

pub mod faults;
pub mod run;
pub mod summary;
