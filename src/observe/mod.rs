// SPDX-License-Identifier: GPL-2.0

//! Watching the protocol: counters and the files in `/proc/net` that show them.

pub(crate) mod counters;
