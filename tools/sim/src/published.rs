// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the Homa paper (Montazeri and others, SIGCOMM'18) reports, to stand beside our numbers.
//!
//! Of its simulations (section 5.2, figures 12 and 13: 144 hosts, one-way messages) there are plots, and no
//! numbers to be had; its text says that at 80 % load the shorter half of the messages has a slowdown of at
//! most [`SIMULATED_SHORT_P99`] at the 99th percentile, in all workloads.
//!
//! Of its measurements (section 5.1, figures 8 and 9: RAMCloud on 16 hosts at one 10 Gbit/s switch, echo RPCs)
//! the numbers are public (PlatformLab/homa-paper-artifact, old-experiment-data/slowdownImpl.txt; Homa with 8
//! priorities, 80 % load, which the file calls 76): [`measured`] has them at each tenth of the messages. That
//! is hardware and its software, and so not the same setup as any simulation.

use serde::Serialize;

use homa_workload::Workload;

/// Simulated: P99 of the slowdown of the shorter half of all messages, at 80 % load, is at most this.
pub const SIMULATED_SHORT_P99: f32 = 2.2;

/// A measured slowdown.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Tenths of the messages that are at most so long: from 1.
    pub tenth: u8,
    /// Bytes.
    pub length: u32,
    /// Median.
    pub p50: f32,
    /// 99th percentile.
    pub p99: f32,
}

const fn at(tenth: u8, length: u32, p50: f32, p99: f32) -> Measured {
    Measured { tenth, length, p50, p99 }
}

const W3: &[Measured] = &[
    at(1, 36, 2.45, 3.34),
    at(2, 77, 2.48, 3.36),
    at(3, 110, 2.34, 3.15),
    at(4, 158, 2.27, 3.04),
    at(5, 268, 2.09, 2.81),
    at(6, 313, 2.04, 2.73),
    at(7, 402, 1.97, 2.62),
    at(8, 573, 1.88, 2.55),
    at(9, 1755, 1.54, 2.08),
];

const W4: &[Measured] = &[
    at(1, 315, 1.93, 2.79),
    at(2, 376, 1.88, 2.69),
    at(3, 502, 1.84, 2.58),
    at(4, 561, 1.82, 2.52),
    at(5, 662, 1.73, 2.39),
    at(6, 960, 1.57, 2.10),
    at(7, 6387, 1.32, 1.94),
    at(8, 49_408, 1.56, 2.33),
    at(9, 120_373, 1.62, 2.65),
];

const W5: &[Measured] = &[
    at(1, 7350, 1.32, 2.54),
    at(2, 20_580, 1.60, 2.74),
    at(3, 27_930, 1.56, 2.66),
    at(4, 49_980, 1.56, 2.60),
    at(5, 72_030, 1.55, 2.44),
    at(6, 195_510, 1.55, 2.17),
    at(7, 980_490, 1.57, 2.33),
];

/// What was measured on 16 hosts at 80 % load; nothing for W1 and W2.
pub fn measured(workload: Workload) -> &'static [Measured] {
    match workload {
        Workload::W1 | Workload::W2 => &[],
        Workload::W3 => W3,
        Workload::W4 => W4,
        Workload::W5 => W5,
    }
}
