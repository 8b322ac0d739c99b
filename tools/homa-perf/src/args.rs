// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The command line.

use crate::spec::{Api, Transport};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use homa_workload::Workload;
use std::path::PathBuf;

/// Measure request and response over UDP, TCP, kTLS, Homa and sealed Homa.
///
/// Start a server on one host, then measure from another one. The server answers every request
/// with a response of the same size (or --response), and serves one client after the other, over any
/// transport that the client asks for.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  homa-perf server                                     on the host 10.0.0.2
  homa-perf rtt 10.0.0.2                               64 bytes over Homa, one at a time
  homa-perf rtt 10.0.0.2 -t tcp,ktls,homa,sealed -s 64,1024,8192,65536
  homa-perf throughput 10.0.0.2 -t ktls,sealed         100,000-byte requests, 16 outstanding
  homa-perf rtt fd00::2 -t sealed --check              every response is compared with its request
  homa-perf rtt 10.0.0.2 -t udp --count 100000 --format json
  homa-perf load 10.0.0.2 --link 100                   W4 at 80 % of a link of 100 Mbit/s

Transports:
  udp     connected datagram socket at the client. A lost datagram ends the run.
          Messages of more than 65,000 bytes travel in several datagrams.
  tcp     one connection with TCP_NODELAY, messages of known size one after the other.
  ktls    the same, with the kernel's TLS 1.3 and AES-128-GCM (module tls).
  homa    plain Homa (module homa).
  sealed  Homa with a TLS 1.3 AES-128-GCM session, SO_HOMA_SEALED on.
For ktls and sealed there is no handshake: the client makes keys up and sends them over
the control connection in clear. They are good for measuring, and for nothing else.";

#[derive(Subcommand)]
pub enum Command {
    /// Answer requests until interrupted
    Server(ServerArgs),
    /// Measure how long a request and its response take
    ///
    /// Small messages, one outstanding, unless said otherwise.
    Rtt(ClientArgs),
    /// Measure how much goes through
    ///
    /// Large requests, small responses, many outstanding, unless said otherwise.
    Throughput(ClientArgs),
    /// Measure how long requests take on a link that has much to do
    ///
    /// Requests of the lengths of a workload, at random times, with responses of 8 bytes. The server is to be behind a link
    /// of known speed (tc qdisc ... tbf). TCP has as many connections as there are requests under way.
    Load(LoadArgs),
}

#[derive(clap::Args)]
pub struct ServerArgs {
    /// Address to listen on for control connections (TCP), for IPv4 and IPv6
    #[arg(short, long, default_value = "[::]")]
    pub listen: String,

    /// Control port (TCP), and the server's Homa port; the others are chosen by the kernel
    #[arg(short, long, default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..0x8000))]
    pub port: u16,

    /// Exit after the first client
    #[arg(long)]
    pub once: bool,

    /// Write the number of this process here when the server is ready
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct ClientArgs {
    /// Host that runs `homa-perf server`: a name or an address
    pub host: String,

    /// Its control port
    #[arg(short, long, default_value_t = DEFAULT_PORT)]
    pub port: u16,

    /// Transports, measured one after the other
    #[arg(short, long, value_enum, value_delimiter = ',', default_value = "homa")]
    pub transport: Vec<Transport>,

    /// Bytes in a request, from 1 to 1000000; several are measured one after the other
    /// [default: 64, throughput: 100000]
    #[arg(short, long, value_delimiter = ',', value_parser = parse_size)]
    pub size: Vec<usize>,

    /// Bytes in a response [default: as the request, throughput: 64]
    #[arg(short, long, value_parser = parse_size)]
    pub response: Option<usize>,

    /// Requests under way at a time; several are measured one after the other
    /// [default: 1, throughput: 16]
    #[arg(short, long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub outstanding: Vec<u32>,

    /// Measure this many round trips
    #[arg(short, long, conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Measure for this long [default: 5]
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub duration: Option<f64>,

    /// Round trips before the measurement [default: a tenth of --count, or a second]
    #[arg(short, long, value_name = "COUNT")]
    pub warmup: Option<u64>,

    /// How Homa's calls are made, on both sides
    #[arg(long, value_enum, default_value_t)]
    pub api: Api,

    /// Compare every response with its request
    ///
    /// Costs time that is measured, too.
    #[arg(long)]
    pub check: bool,

    /// Do not look at the clock at every round trip, print no percentiles
    #[arg(long)]
    pub no_latency: bool,

    /// Let kTLS trust that records are not padded (TLS_RX_EXPECT_NO_PAD)
    #[arg(long)]
    pub expect_no_pad: bool,

    /// Give up when nothing arrives for this long
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub timeout: f64,

    /// text, or json: one object per line and measurement
    #[arg(short, long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(clap::Args)]
pub struct LoadArgs {
    /// Host that runs `homa-perf server`: a name or an address
    pub host: String,

    /// Its control port
    #[arg(short, long, default_value_t = DEFAULT_PORT)]
    pub port: u16,

    /// Transports (tcp, homa, sealed), measured one after the other
    #[arg(short, long, value_enum, value_delimiter = ',', default_value = "tcp,homa,sealed", value_parser = loadable())]
    pub transport: Vec<Transport>,

    /// Whose lengths requests have (SIGCOMM'18); what is longer than 1000000 bytes has so many
    #[arg(short, long, value_enum, default_value = "w4")]
    pub workload: Workload,

    /// Speed of the link, in Mbit/s
    #[arg(long, value_name = "MBITS", value_parser = parse_seconds)]
    pub link: f64,

    /// So much of it is used, headers included
    #[arg(long, default_value = "0.8", value_parser = parse_seconds)]
    pub load: f64,

    /// Measure requests of this long
    #[arg(short, long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub duration: f64,

    /// Requests before the measurement, for this long
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub warmup: f64,

    /// Of lengths and times
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Give up when nothing is answered for this long
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = parse_seconds)]
    pub timeout: f64,

    /// text, or json: one object per line and transport
    #[arg(short, long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Which of the client's commands it is: they differ in their defaults.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Rtt,
    Throughput,
}

pub const DEFAULT_PORT: u16 = 4146;

/// The transports of [`Command::Load`].
fn loadable() -> impl TypedValueParser<Value = Transport> {
    PossibleValuesParser::new(["tcp", "homa", "sealed"])
        .try_map(|name| Transport::from_str(&name, false))
}

fn parse_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 1..=homa::MAX_MESSAGE_LENGTH) => Ok(size),
        _ => Err(format!("a message has from 1 to {} bytes", homa::MAX_MESSAGE_LENGTH)),
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e6 => Ok(seconds),
        _ => Err("a number of seconds above 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_and_seconds() {
        assert_eq!(parse_size("1000000"), Ok(1_000_000));
        for wrong in ["0", "1000001", "-1", "x", ""] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0", "-1", "nan", "inf"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists() {
        let args = Args::try_parse_from([
            "homa-perf",
            "rtt",
            "h",
            "-t",
            "udp,tcp",
            "-s",
            "1,2",
            "-o",
            "1,8",
        ]);
        let Ok(Args { command: Command::Rtt(args) }) = args else { panic!("not parsed") };
        assert_eq!(args.transport, [Transport::Udp, Transport::Tcp]);
        assert_eq!((args.size, args.outstanding), (vec![1, 2], vec![1, 8]));
    }
}
