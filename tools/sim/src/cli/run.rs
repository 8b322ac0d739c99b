// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `homa-sim run`: slowdown by length of message.

use std::path::PathBuf;

use anyhow::{bail, Context, Result};
use homa_core::config::Config;
use homa_sim::host::TheHost;
use homa_sim::net::Topology;
use homa_sim::plot;
use homa_sim::published;
use homa_sim::report::Report;
use homa_sim::scenario::{Mode, Pattern, Scenario, Traffic, MS};
use homa_sim::world::World;
use homa_workload::Workload;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    /// Requests are measured until they are with the server; responses are of 1 byte
    OneWay,
    /// Responses are as long as requests; whole RPCs are measured
    Echo,
}

#[derive(Debug, clap::Args, serde::Serialize)]
pub struct Options {
    /// How long messages are
    #[arg(long, short, value_enum, default_value = "w4")]
    workload: Workload,
    /// Part of the hosts' links that is used, from 0 to 1: headers, gaps and control packets included
    #[arg(long, short, default_value_t = 0.8)]
    load: f64,
    /// What is measured
    #[arg(long, value_enum, default_value = "one-way")]
    mode: ModeName,
    /// Instead of a workload: host 0 asks so many others at once, again and again
    #[arg(long, value_name = "FAN")]
    incast: Option<u16>,
    /// Bytes of each response of an incast
    #[arg(long, default_value_t = 10_000)]
    response: u32,
    /// How many rounds of incast
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// Requests are made for so many milliseconds of virtual time
    #[arg(long, short, default_value_t = 20.0)]
    duration: f64,
    /// Those of the first milliseconds are not measured
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leaf switches
    #[arg(long, default_value_t = 9)]
    racks: u16,
    /// Hosts at each
    #[arg(long, default_value_t = 16)]
    hosts_per_rack: u16,
    /// Spine switches
    #[arg(long, default_value_t = 4)]
    spines: u16,
    /// Gbit/s of hosts' links
    #[arg(long, default_value_t = 10)]
    gbps: u64,
    /// Gbit/s between switches
    #[arg(long, default_value_t = 40)]
    fabric_gbps: u64,
    /// Bytes of buffer of each port of a switch; unlimited if not given
    #[arg(long)]
    buffer: Option<u64>,
    #[arg(long, default_value_t = 1500)]
    mtu: u32,
    /// All is sealed
    #[arg(long)]
    sealed: bool,
    /// Bytes that a network card takes beyond the packet that it sends
    #[arg(long, default_value_t = 0)]
    card_queue: u64,
    /// Bytes of a message that may be sent without a grant; the core's own choice if not given
    #[arg(long)]
    unscheduled: Option<u32>,
    /// Host 1 needs so many microseconds for each packet
    #[arg(long)]
    slow_host: Option<f64>,
    /// Host 1 is not there
    #[arg(long)]
    dead_host: bool,
    /// Check everything that is checked under faults; slower
    #[arg(long)]
    checks: bool,
    /// Write all results there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw slowdown by length of message there, with what was published
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Fail if the shortest tenth of the messages has a higher slowdown at the 99th percentile
    #[arg(long, value_name = "SLOWDOWN")]
    at_most: Option<f32>,
}

impl Options {
    fn title(&self) -> String {
        let hosts = self.racks * self.hosts_per_rack;
        let sealed = if self.sealed { ", sealed" } else { "" };
        let what = match self.incast {
            Some(fan) => format!("incast of {fan}"),
            None => format!("{:?} at {:.0} %", self.workload, self.load * 100.0),
        };
        format!("{what}, {hosts} hosts at {} Gbit/s{sealed}", self.gbps)
    }

    /// The workload, if published numbers are for the same load.
    fn published(&self) -> Option<Workload> {
        ((self.load - 0.8).abs() < 0.01 && self.incast.is_none()).then_some(self.workload)
    }

    fn scenario(&self) -> Result<Scenario> {
        let topology = Topology {
            racks: self.racks,
            hosts_per_rack: self.hosts_per_rack,
            spines: if self.racks > 1 { self.spines } else { 0 },
            host_bps: self.gbps * 1_000_000_000,
            fabric_bps: self.fabric_gbps * 1_000_000_000,
            buffer: self.buffer.unwrap_or(u64::MAX),
            mtu: self.mtu,
            ..Topology::SIGCOMM18
        };
        let hosts = topology.hosts();
        if hosts < 2
            || self.gbps == 0
            || self.fabric_gbps == 0
            || (self.racks > 1 && self.spines == 0)
        {
            bail!("a network needs two hosts, links, and spines if there are several racks");
        }
        if !(256..=65_535).contains(&self.mtu) || !(0.0..2.0).contains(&self.load) {
            bail!("an MTU is from 256 to 65535, a load from 0 to 2");
        }
        if self.incast.is_some_and(|fan| fan == 0 || fan >= hosts) {
            bail!("an incast has 1 to {} servers", hosts - 1);
        }
        let mut config = Config::default();
        if let Some(unscheduled) = self.unscheduled {
            config.unscheduled = unscheduled;
        }
        let ns = |ms: f64| (ms * MS as f64) as u64;
        Ok(Scenario {
            topology,
            pattern: self.incast.map_or(Pattern::AllToAll, Pattern::Incast),
            mode: match (self.incast, self.mode) {
                (Some(_), _) => Mode::Response(self.response),
                (None, ModeName::OneWay) => Mode::OneWay,
                (None, ModeName::Echo) => Mode::Echo,
            },
            traffic: match self.incast {
                Some(_) => Traffic::Rounds(self.rounds),
                None => Traffic::Load { workload: self.workload, load: self.load },
            },
            duration: ns(self.duration),
            warmup: if self.incast.is_some() { 0 } else { ns(self.warmup) },
            sealed: self.sealed,
            config,
            card_queue: self.card_queue,
            slow: self.slow_host.map(|us| (1, (us * 1000.0) as u64)),
            dead: self.dead_host.then_some(1),
            weather: None,
            checks: self.checks,
        })
    }
}

pub fn run(options: &Options) -> Result<bool> {
    let scenario = options.scenario()?;
    let started = std::time::Instant::now();
    let outcome = match World::<TheHost>::new(scenario, options.seed).run() {
        Ok(outcome) => outcome,
        Err(violation) => {
            println!("{violation}");
            return Ok(false);
        }
    };
    let report = Report::new(serde_json::to_value(options)?, outcome);
    print!("{}", report.table());
    if let Some(workload) = options.published() {
        println!(
            "published (SIGCOMM'18): P99 of the shorter half at most {} in its simulations; measured on 16 hosts:",
            published::SIMULATED_SHORT_P99
        );
        for m in published::measured(workload) {
            println!("    {:>17} bytes {:>30.2} {:>8.2}", m.length, m.p50, m.p99);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{seconds:.1} s, {:.1} million events per second",
        report.totals.events as f64 / seconds / 1e6
    );
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text + "\n").with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &options.svg {
        plot::draw(path, &options.title(), &report.deciles, options.published())?;
    }
    if let Some(most) = options.at_most {
        let shortest = report.deciles.first().context("too few messages to tell")?.p99;
        if shortest > most {
            println!(
                "the P99 slowdown of the shortest tenth is {shortest:.2}, and may be {most:.2}"
            );
            return Ok(false);
        }
    }
    Ok(true)
}
