// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `homa-perf rtt` and `throughput`: the measurements that the command line asks for, in a row.

use crate::args::{ClientArgs, Format, Kind};
use crate::connect::Connection;
use crate::measure::{Outcome, Plan, Until};
use crate::report::{self, Report};
use crate::spec::Spec;
use crate::{transport, watchdog};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::time::Duration;

pub fn run(args: &ClientArgs, kind: Kind) -> Result<()> {
    let throughput = kind == Kind::Throughput;
    let sizes = or_default(&args.size, if throughput { 100_000 } else { 64 });
    let outstandings = or_default(&args.outstanding, if throughput { 16 } else { 1 });
    let until = match (args.count, args.duration) {
        (Some(count), _) => Until::Count(count),
        (None, seconds) => Until::Time(Duration::from_secs_f64(seconds.unwrap_or(5.0))),
    };
    let warmup = match (args.warmup, until) {
        (Some(count), _) => Until::Count(count),
        (None, Until::Count(count)) => Until::Count(count / 10),
        (None, Until::Time(_)) => Until::Time(Duration::from_secs(1)),
    };
    for &transport in &args.transport {
        for &size in &sizes {
            for &outstanding in &outstandings {
                let response = args.response.unwrap_or(if throughput { 64 } else { size });
                let plan = Plan {
                    size,
                    response,
                    outstanding,
                    warmup,
                    until,
                    latency: !args.no_latency,
                    check: args.check,
                };
                let spec = Spec {
                    transport,
                    api: args.api,
                    size,
                    response,
                    outstanding,
                    expect_no_pad: args.expect_no_pad,
                    load: false,
                    client_port: None,
                    keys: None,
                };
                let (server, outcome) = one(args, spec.clone(), &plan).with_context(|| {
                    format!("{}, {size} bytes, {outstanding} outstanding", transport.name())
                })?;
                let report = Report::new(&spec, server.is_ipv6(), &outcome);
                match args.format {
                    Format::Text => report::print_text(&report, throughput),
                    Format::Json => println!("{}", serde_json::to_string(&report)?),
                }
            }
        }
    }
    Ok(())
}

fn or_default<T: Clone>(list: &[T], default: T) -> Vec<T> {
    if list.is_empty() {
        vec![default]
    } else {
        list.to_vec()
    }
}

/// One measurement.
fn one(args: &ClientArgs, spec: Spec, plan: &Plan) -> Result<(SocketAddr, Outcome)> {
    let mut connection = Connection::open(&args.host, args.port, spec)?;
    let (server, own, spec) = (connection.server, connection.own.take(), connection.spec.clone());
    let ready = || {
        connection.wait_until_ready()?;
        watchdog::progress(0);
        watchdog::start(args.timeout).context("setting the watchdog's timer")
    };
    let result = transport::run_client(&spec, plan, server, own, ready);
    watchdog::stop();
    match result {
        Ok(outcome) => Ok((server, outcome)),
        Err(error) => Err(connection.explain(error)),
    }
}
