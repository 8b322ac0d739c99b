// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The command; see `homa-sim --help`.

mod cli;

use std::process::ExitCode;

use clap::Parser;

/// Hundreds of hosts of the Homa core on a modelled network, in virtual time.
#[derive(Debug, Parser)]
#[command(name = "homa-sim", max_term_width = 110)]
enum Command {
    /// Measures slowdown by length of message.
    Run(cli::run::Options),
    /// Small networks with mixed faults, a different one for each seed; what must hold is checked.
    Faults(cli::faults::Options),
    /// Several results of `run` as one table and one plot.
    Summary(cli::summary::Options),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Run(options) => cli::run::run(&options),
        Command::Faults(options) => cli::faults::run(&options),
        Command::Summary(options) => cli::summary::run(&options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("homa-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}
