// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `homa-perf load`: requests of the lengths of a workload, which come when they come (a Poisson process),
//! whether those before them are answered or not; and how long each takes.
//!
//! The load is that of the link from client to server: responses are of [`RESPONSE`] bytes. A request's time
//! begins when it should have been sent, so that a program that falls behind does not look fast. All transports
//! get the same requests at the same times.

mod homa;
mod report;
mod tcp;

use crate::args::{Format, LoadArgs};
use crate::connect::Connection;
use crate::spec::{Api, Spec, Transport};
use anyhow::{bail, ensure, Context, Result};
use homa_workload::Lengths;
use mio::{Events, Interest, Poll, Registry, Token};
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io;
use std::time::{Duration, Instant};

pub use tcp::serve;

/// Bytes of a response.
pub const RESPONSE: usize = 8;

/// What a packet costs on an Ethernet link besides its payload: preamble, gap, headers of Ethernet, IP and
/// transport; and how much payload it has.
const PACKET_OVERHEAD: u32 = 100;
const PACKET_PAYLOAD: u32 = 1400;

/// A request.
#[derive(Clone, Copy)]
struct Arrival {
    /// After the beginning.
    at: Duration,
    /// Bytes.
    length: u32,
}

/// A request that was answered.
struct Answered {
    length: u32,
    took: Duration,
}

/// A client's sockets, none of which ever blocks.
trait Requests {
    fn register(&mut self, registry: &Registry) -> io::Result<()>;

    /// Send the request number `tag` of so many bytes now, or as soon as it can be.
    fn send(&mut self, tag: u64, length: u32, registry: &Registry) -> io::Result<()>;

    /// Something happened at this socket; `done` is told which requests are answered.
    fn handle(&mut self, socket: Token, done: &mut dyn FnMut(u64)) -> io::Result<()>;
}

/// Either direction may go on.
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

pub fn run(args: &LoadArgs) -> Result<()> {
    let lengths = Lengths::new(args.workload, ::homa::MAX_MESSAGE_LENGTH as u32);
    let on_the_wire = lengths.mean(|length| {
        f64::from(length) + f64::from(length.div_ceil(PACKET_PAYLOAD) * PACKET_OVERHEAD)
    });
    let per_second = args.load * args.link * 1e6 / 8.0 / on_the_wire;
    let arrivals = arrivals(&lengths, per_second, args);
    ensure!(!arrivals.is_empty(), "nothing comes in that time: --duration is too short");
    for &transport in &args.transport {
        let answered = one(args, transport, &arrivals).with_context(|| transport.name())?;
        let report = report::Report::new(args, transport, answered);
        match args.format {
            Format::Text => report.print(),
            Format::Json => println!("{}", serde_json::to_string(&report)?),
        }
    }
    Ok(())
}

fn arrivals(lengths: &Lengths, per_second: f64, args: &LoadArgs) -> Vec<Arrival> {
    let mut random = ChaCha8Rng::seed_from_u64(args.seed);
    // From 0, which is possible, to 1, which is not.
    let mut unit = || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let mut at = 0.0;
    let mut arrivals = Vec::new();
    loop {
        at -= (1.0 - unit()).ln() / per_second;
        if at >= args.warmup + args.duration {
            return arrivals;
        }
        arrivals
            .push(Arrival { at: Duration::from_secs_f64(at), length: lengths.quantile(unit()) });
    }
}

/// One transport's turn.
fn one(args: &LoadArgs, transport: Transport, arrivals: &[Arrival]) -> Result<Vec<Answered>> {
    let spec = Spec {
        transport,
        api: Api::Cmsg,
        size: ::homa::MAX_MESSAGE_LENGTH,
        response: RESPONSE,
        outstanding: 1,
        expect_no_pad: false,
        load: true,
        client_port: None,
        keys: None,
    };
    let mut connection = Connection::open(&args.host, args.port, spec)?;
    let server = connection.server;
    let mut requests: Box<dyn Requests> = match transport {
        Transport::Tcp => Box::new(tcp::TcpRequests::new(server)),
        Transport::Homa | Transport::Sealed => {
            let socket = connection.own.take().context("made before the server was asked")?;
            socket.install_keys(&connection.spec, server)?;
            Box::new(homa::HomaRequests::new(socket, server)?)
        }
        Transport::Udp | Transport::Ktls => bail!("load is for tcp, homa and sealed"),
    };
    if transport != Transport::Tcp {
        // TCP's server accepts connections as long as it runs.
        connection.wait_until_ready()?;
    }
    measure(args, arrivals, requests.as_mut()).map_err(|error| connection.explain(error))
}

fn measure(
    args: &LoadArgs,
    arrivals: &[Arrival],
    requests: &mut dyn Requests,
) -> Result<Vec<Answered>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    requests.register(poll.registry())?;
    let warmup = Duration::from_secs_f64(args.warmup);
    let patience = Duration::from_secs_f64(args.timeout);
    let mut answered = Vec::with_capacity(arrivals.len());
    let (mut sent, mut left) = (0, arrivals.len());
    let start = Instant::now();
    let mut last = start;
    while left > 0 {
        let now = start.elapsed();
        while let Some(next) = arrivals.get(sent).filter(|next| next.at <= now) {
            requests
                .send(sent as u64, next.length, poll.registry())
                .with_context(|| format!("sending request {sent} of {} bytes", next.length))?;
            sent += 1;
        }
        let wait = arrivals.get(sent).map_or(patience, |next| next.at.saturating_sub(now));
        match poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            requests.handle(event.token(), &mut |tag| {
                last = Instant::now();
                left -= 1;
                let Some(arrival) = arrivals.get(tag as usize) else { return };
                if arrival.at >= warmup {
                    let took = last.duration_since(start).saturating_sub(arrival.at);
                    answered.push(Answered { length: arrival.length, took });
                }
            })?;
        }
        ensure!(
            sent == 0 || last.elapsed() < patience + arrivals[sent - 1].at.saturating_sub(now),
            "nothing was answered for too long (--timeout); {left} requests are left"
        );
    }
    Ok(answered)
}
