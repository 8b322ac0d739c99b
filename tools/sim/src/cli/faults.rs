// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `homa-sim faults`: many seeds, each a small network with faults of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;

use anyhow::Result;
use homa_sim::faults::plan;
use homa_sim::host::TheHost;
use homa_sim::trial::{trial, Failure};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many seeds
    #[arg(long, short = 'n', default_value_t = 1000)]
    seeds: u64,
    /// The first of them
    #[arg(long, short, default_value_t = 0)]
    first: u64,
    /// Only this one, and tell everything about it
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Threads; as many as there are processors if not given
    #[arg(long, short)]
    jobs: Option<usize>,
    /// Lines of the trace of a seed that failed
    #[arg(long, default_value_t = 60)]
    lines: usize,
    /// Do not stop at a seed that fails; tell of each in one line
    #[arg(long)]
    all: bool,
}

pub fn run(options: &Options) -> Result<bool> {
    let (first, seeds) = options.seed.map_or((options.first, options.seeds), |seed| (seed, 1));
    if let Some(seed) = options.seed {
        println!("{:#?}", plan::scenario(seed));
    }
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    let jobs = options.jobs.unwrap_or(processors).max(1);
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let sums = Mutex::new([0u64; 6]);
    let started = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= seeds || (failed.load(Ordering::Relaxed) && !options.all) {
                    return;
                }
                let seed = first.wrapping_add(index);
                match trial::<TheHost>(seed, options.lines) {
                    Ok(totals) => {
                        let mut sums = sums.lock().unwrap_or_else(|e| e.into_inner());
                        let more = [
                            totals.rpcs,
                            totals.completed,
                            totals.failed,
                            totals.abandoned,
                            totals.packets,
                            totals.lost,
                        ];
                        sums.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
                    }
                    Err(Failure { text }) if options.all => {
                        failed.store(true, Ordering::Relaxed);
                        println!("seed {seed}: {}", text.lines().last().unwrap_or_default());
                    }
                    Err(Failure { text }) => {
                        failed.store(true, Ordering::Relaxed);
                        println!(
                            "{text}\nseed {seed} failed; again:\n  homa-sim faults --seed {seed}"
                        );
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    let [rpcs, completed, failures, abandoned, packets, lost] =
        sums.into_inner().unwrap_or_else(|e| e.into_inner());
    println!(
        "seeds {first} to {}: {}; {rpcs} RPCs ({completed} completed, {failures} failed, {abandoned} abandoned), \
         {packets} packets, {lost} lost; {:.1} s",
        first.wrapping_add(seeds - 1),
        if failed { "FAILED" } else { "ok" },
        started.elapsed().as_secs_f64()
    );
    Ok(!failed)
}
