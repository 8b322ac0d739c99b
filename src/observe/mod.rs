// SPDX-License-Identifier: GPL-2.0

//! Watching and tuning the protocol: [`counters`], [`trace`] points, [`settings`], and the [`files`] in `/proc` that
//! show them.

pub(crate) mod counters;
pub(crate) mod files;
pub(crate) mod settings;
pub(crate) mod trace;
