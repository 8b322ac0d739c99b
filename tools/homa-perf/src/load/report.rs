// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How long requests took, by their length.

use super::Answered;
use crate::args::LoadArgs;
use crate::spec::Transport;
use hdrhistogram::Histogram;
use homa_workload::Workload;
use serde::Serialize;

/// What takes longer counts as this, in nanoseconds.
const MAX_TIME: u64 = 1_000_000_000_000;

/// One transport's times; its fields are those of the JSON output.
#[derive(Serialize)]
pub struct Report {
    transport: Transport,
    workload: Workload,
    /// Of the link, in Mbit/s.
    link: f64,
    load: f64,
    seed: u64,
    requests: usize,
    /// By length, from the shortest tenth of the requests on.
    tenths: Vec<Tenth>,
}

#[derive(Serialize)]
struct Tenth {
    requests: usize,
    /// Bytes.
    longest: u32,
    /// Microseconds.
    p50: f64,
    p99: f64,
    max: f64,
}

impl Report {
    pub fn new(args: &LoadArgs, transport: Transport, mut answered: Vec<Answered>) -> Self {
        answered.sort_by_key(|a| a.length);
        let size = answered.len().div_ceil(10).max(1);
        Self {
            transport,
            workload: args.workload,
            link: args.link,
            load: args.load,
            seed: args.seed,
            requests: answered.len(),
            tenths: answered.chunks(size).map(Tenth::of).collect(),
        }
    }

    pub fn print(&self) {
        println!(
            "{:7} {:?} at {:.0} % of {} Mbit/s, {} requests",
            self.transport.name(),
            self.workload,
            self.load * 100.0,
            self.link,
            self.requests
        );
        println!(
            "        {:>12} {:>8} {:>12} {:>12} {:>12}",
            "up to", "", "p50 us", "p99 us", "max us"
        );
        for tenth in &self.tenths {
            println!(
                "        {:>12} {:>8} {:>12.0} {:>12.0} {:>12.0}",
                tenth.longest, tenth.requests, tenth.p50, tenth.p99, tenth.max
            );
        }
    }
}

impl Tenth {
    /// `answered` is not empty, and in the order of lengths.
    fn of(answered: &[Answered]) -> Self {
        let mut times = Histogram::<u64>::new_with_max(MAX_TIME, 3).expect("the bounds are good");
        for one in answered {
            times.saturating_record(one.took.as_nanos() as u64);
        }
        let us = |ns: u64| ns as f64 / 1e3;
        Self {
            requests: answered.len(),
            longest: answered.last().map_or(0, |a| a.length),
            p50: us(times.value_at_quantile(0.5)),
            p99: us(times.value_at_quantile(0.99)),
            max: us(times.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn tenths_are_by_length() {
        let answered: Vec<_> = (1..=1000)
            .map(|n| Answered { length: n, took: Duration::from_micros(u64::from(n)) })
            .collect();
        let tenth = Tenth::of(&answered[..100]);
        assert_eq!((tenth.requests, tenth.longest), (100, 100));
        assert!((tenth.p50 - 50.0).abs() < 1.0 && (tenth.p99 - 99.0).abs() < 1.0);
    }
}
