// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Decrypts what a capture has of the connections whose keys a program has logged.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use nic_model::verify::{check, Capture, KeyLog};

/// Decrypts what a capture has of the connections whose keys a program has logged, with a cipher that is not the model's, and
/// compares it with what that program says it sent.
///
/// Exits with 1 if anything is not right: a record that does not decrypt, another plaintext, something missing, or bytes that
/// changed when they were sent again.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// A pcapng file.
    capture: PathBuf,
    /// A program's output, with `ktls-key` lines in it.
    log: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let open = |path: &PathBuf| {
        File::open(path).map(BufReader::new).with_context(|| path.display().to_string())
    };
    let log = KeyLog::read(open(&args.log)?).with_context(|| args.log.display().to_string())?;
    let capture =
        Capture::read(open(&args.capture)?).with_context(|| args.capture.display().to_string())?;
    let report = check(&capture, &log);
    let mut out = std::io::stdout().lock();
    for error in &report.errors {
        writeln!(out, "{error}")?;
    }
    writeln!(
        out,
        "{} packets; {} connections: {} records with {} bytes decrypted, {} bytes sent again, {} errors",
        capture.packets,
        report.connections,
        report.records,
        report.bytes,
        report.resent,
        report.errors.len()
    )?;
    Ok(if report.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
