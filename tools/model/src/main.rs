// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The command; see `homa-model --help`.

use std::process::ExitCode;

use clap::Parser;
use homa_model::model::{run, Session};
use homa_model::sabotage::{Rules, Sabotage};
use homa_model::scenario::{self, Scenario, Shape};

/// Explores all states of a sealed session whose network belongs to an attacker, within bounds.
///
/// Without --rpcs, the scenarios of the tests are run and then larger ones; with it, one with the bounds that are given. Exits 1 if something
/// does not hold, with a shortest way there.
#[derive(Debug, Parser)]
#[command(name = "homa-model", max_term_width = 110)]
struct Options {
    /// Only this scenario: replay, abort, records, rekey, epochs, wrap, order, both; larger: replay+, rekey+, both+
    #[arg(long)]
    scenario: Option<String>,
    /// RPCs that A begins
    #[arg(long)]
    rpcs: Option<u8>,
    /// RPCs that B begins
    #[arg(long, default_value_t = 0)]
    peer_rpcs: u8,
    /// Records of each message
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    records: u8,
    /// Rekeys of each direction
    #[arg(long, default_value_t = 0)]
    rekeys: u8,
    /// Keys may be set where they seal before they are set where they open
    #[arg(long)]
    tx_first: bool,
    /// NEED_ACKs of each end
    #[arg(long, default_value_t = 1)]
    need_acks: u8,
    /// RPCs that each end may give up
    #[arg(long, default_value_t = 1)]
    aborts: u8,
    /// Requests that each server may give up after it marked them
    #[arg(long, default_value_t = 0)]
    time_outs: u8,
    /// Check progress in one of so many states
    #[arg(long, default_value_t = 1)]
    progress_every: u64,
    /// Break this rule
    #[arg(long)]
    sabotage: Option<Sabotage>,
    /// Stop after so many steps
    #[arg(long)]
    limit: Option<usize>,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

impl Options {
    fn scenarios(&self) -> Vec<Scenario> {
        let Some(rpcs) = self.rpcs else {
            let wanted = |s: &Scenario| self.scenario.as_ref().is_none_or(|name| s.name == name);
            return scenario::small().into_iter().chain(scenario::large()).filter(wanted).collect();
        };
        let shape = Shape { request: self.records, response: self.records };
        let rpcs = [rpcs, self.peer_rpcs].map(|n| vec![shape; n.into()]);
        // What no RPC needs would only multiply states.
        let served = [&rpcs[1], &rpcs[0]].map(|rpcs| u8::from(!rpcs.is_empty()));
        let clients = [served[1], served[0]];
        vec![Scenario {
            name: "given",
            rekeys: [self.rekeys; 2],
            tx_first: self.tx_first,
            need_acks: served.map(|n| n * self.need_acks),
            aborts: clients.map(|n| n * self.aborts),
            time_outs: served.map(|n| n * self.time_outs),
            records: self.records.max(2),
            progress_every: self.progress_every,
            rpcs,
        }]
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let rules = Rules(options.sabotage);
    let scenarios = options.scenarios();
    if scenarios.is_empty() {
        eprintln!("homa-model: there is no such scenario");
        return ExitCode::from(2);
    }
    let mut failed = false;
    for scenario in scenarios {
        let name = scenario.name;
        let report = run(Session::new(scenario, rules), options.threads, options.limit, None);
        println!(
            "{name:8} {:>9} states {:>10} steps  depth {:>3}  {:6.1} s{}",
            report.states,
            report.steps,
            report.depth,
            report.time.as_secs_f64(),
            if report.exhaustive { "" } else { "  not all" }
        );
        for (invariant, way) in &report.broken {
            failed = true;
            println!("{} does not hold:", invariant.name());
            for action in way {
                println!("    {action:?}");
            }
        }
    }
    ExitCode::from(u8::from(failed))
}
