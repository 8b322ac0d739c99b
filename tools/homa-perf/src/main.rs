// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `homa-perf` measures request and response over UDP, TCP, kTLS, Homa and sealed Homa.
//!
//! A run is a [`spec::Spec`]. The client ([`client`]) opens a control connection (TCP) to the server
//! ([`server`]), sends it the spec, and both set up the data sockets of one of the [`transport`]s; then the
//! measuring loop ([`measure`]) keeps a number of requests under way, and [`report`] prints what came out.
//!
//! Both sides are single-threaded and block in system calls: what is measured is the transport, not an
//! event loop. But for [`load`], whose requests come when they come.

mod args;
mod client;
mod connect;
mod control;
mod load;
mod mark;
mod measure;
mod pattern;
mod report;
mod server;
mod spec;
mod sys;
mod transport;
mod watchdog;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match args::Args::parse().command {
        args::Command::Server(args) => server::run(&args),
        args::Command::Rtt(args) => client::run(&args, args::Kind::Rtt),
        args::Command::Load(args) => load::run(&args),
        args::Command::Throughput(args) => client::run(&args, args::Kind::Throughput),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("homa-perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}
