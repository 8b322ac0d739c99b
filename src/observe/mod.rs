// SPDX-License-Identifier: GPL-2.0

//! Watching the protocol: counters, the files in `/proc/net` that show them, and tracepoints.

pub(crate) mod counters;
pub(crate) mod trace;
