// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `homa-stat` lists what Homa has in this network namespace: sockets, as `ss` does, RPCs, and counters.
//!
//! It reads files of /proc/net ([`table`], [`counters`]) and, on request, finds the processes that hold the
//! sockets ([`process`]). `docs/listing.md` and `docs/counters.md` say what the columns and names mean.

mod counters;
mod process;
mod table;

use anyhow::{Context, Result};
use clap::Parser;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use counters::Counters;
use table::Table;

/// Lists Homa's sockets; with an option, RPCs or counters.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// RPCs instead of sockets
    #[arg(short, long, conflicts_with = "counters")]
    rpcs: bool,
    /// Counters instead of sockets: those that are not zero
    #[arg(short, long)]
    counters: bool,
    /// Counters that are zero, too
    #[arg(short, long, requires = "counters")]
    all: bool,
    /// Again and again, how much the counters grew in so many seconds
    #[arg(short, long, value_name = "SECONDS", requires = "counters",
          value_parser = clap::value_parser!(u64).range(1..))]
    interval: Option<u64>,
    /// Which processes hold the sockets (those that this user may look into)
    #[arg(short, long, conflicts_with_all = ["rpcs", "counters"])]
    processes: bool,
    /// Only those of this local port
    #[arg(long, conflicts_with = "counters")]
    port: Option<u16>,
    /// Another /proc
    #[arg(long, value_name = "DIR", default_value = "/proc", hide = true)]
    proc: PathBuf,
}

fn main() -> ExitCode {
    let error = match run(&Args::parse()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    // Whoever read the output has enough of it.
    if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("homa-stat: {error:#}");
    ExitCode::FAILURE
}

fn run(args: &Args) -> Result<()> {
    let mut out = io::stdout().lock();
    if args.counters {
        return show_counters(args, &mut out);
    }
    let name = if args.rpcs { "homa_rpcs" } else { "homa_sockets" };
    let mut table = Table::parse(&read(&args.proc, name)?)?;
    if let Some(port) = args.port {
        let column = if args.rpcs { "port" } else { "local" };
        table.keep(column, |cell| table::port(cell) == Some(port))?;
    }
    if args.processes {
        let holders = process::holders(&args.proc);
        table.replace("inode", "process", |inode| match holders.get(inode) {
            Some(who) => who.join(","),
            None => "-".to_string(),
        })?;
    }
    table.print(&mut out)?;
    Ok(())
}

fn show_counters(args: &Args, out: &mut impl Write) -> Result<()> {
    let read_all = || -> Result<Counters> {
        Counters::parse(&(read(&args.proc, "homa")? + &read(&args.proc, "homa_tls_stat")?))
    };
    let mut last = read_all()?;
    let Some(seconds) = args.interval else {
        last.print(args.all, out)?;
        return Ok(());
    };
    loop {
        std::thread::sleep(Duration::from_secs(seconds));
        let now = read_all()?;
        now.since(&last).print(args.all, out)?;
        writeln!(out)?;
        out.flush()?;
        last = now;
    }
}

/// A file of this thread's /proc/net.
fn read(proc: &Path, name: &str) -> Result<String> {
    let path = proc.join("thread-self/net").join(name);
    std::fs::read_to_string(&path)
        .with_context(|| format!("{} (is the module homa loaded?)", path.display()))
}

/// Processes by the inode of a socket that they hold.
type Holders = BTreeMap<String, Vec<String>>;
