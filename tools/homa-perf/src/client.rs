// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `homa-perf rtt` and `throughput`: the measurements that the command line asks for, in a row.

use crate::args::{ClientArgs, Format, Kind};
use crate::control::{Answer, Control};
use crate::measure::{Outcome, Plan, Until};
use crate::report::{self, Report};
use crate::spec::{KeyIv, Keys, Spec, Transport};
use crate::transport::{self, HomaSocket};
use crate::{sys, watchdog};
use anyhow::{bail, Context, Result};
use std::net::{SocketAddr, TcpStream};
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
fn one(args: &ClientArgs, mut spec: Spec, plan: &Plan) -> Result<(SocketAddr, Outcome)> {
    let host = args.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, args.port)).with_context(|| {
        format!("no server on {} port {}: start 'homa-perf server' there", args.host, args.port)
    })?;
    let mut control = Control::new(stream);
    let mut server = control.peer()?;

    let mut own = None;
    if matches!(spec.transport, Transport::Homa | Transport::Sealed) {
        let socket = HomaSocket::new(&server)?;
        spec.client_port = Some(socket.port()?);
        own = Some(socket);
    }
    if matches!(spec.transport, Transport::Ktls | Transport::Sealed) {
        let key = || Ok::<_, std::io::Error>(KeyIv { key: sys::random()?, iv: sys::random()? });
        spec.keys = Some(Keys { client: key()?, server: key()? });
    }
    control.send(&spec)?;
    let Answer::Listening { port } = control.answer()? else {
        bail!("the server does not follow the control protocol");
    };
    server.set_port(port);
    let ready = || match control.answer()? {
        Answer::Ready => {
            watchdog::progress(0);
            watchdog::start(args.timeout).context("setting the watchdog's timer")
        }
        _ => bail!("the server does not follow the control protocol"),
    };
    let result = transport::run_client(&spec, plan, server, own, ready);
    watchdog::stop();
    match result {
        Ok(outcome) => Ok((server, outcome)),
        // What went wrong at the server explains more than that nothing came from it.
        Err(error) => Err(match control.error() {
            Some(cause) => cause.context(error),
            None => error,
        }),
    }
}
