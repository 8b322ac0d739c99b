// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `homa-sim summary`: several results of `run`, side by side.

use std::path::PathBuf;

use anyhow::{bail, Context, Result};
use homa_sim::plot;
use homa_sim::report::{markdown, Report};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Results of `run --json`
    #[arg(required = true, value_name = "FILE")]
    reports: Vec<PathBuf>,
    /// Write all of them there, without what is of no interest
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw them there
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<bool> {
    let mut reports = Vec::new();
    for path in &options.reports {
        let read =
            || -> Result<Report> { Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?) };
        let report = read().with_context(|| path.display().to_string())?;
        if report.deciles.is_empty() {
            bail!("{}: no tenths, there were too few messages", path.display());
        }
        reports.push((report.name(), report));
    }
    print!("{}", markdown(&reports));
    if let Some(path) = &options.json {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        let all: Vec<_> = reports
            .iter()
            .map(|(name, report)| {
                let tenths: Vec<_> = report
                    .deciles
                    .iter()
                    .map(|d| {
                        serde_json::json!({
                            "longest": d.longest,
                            "messages": d.count,
                            "p50": rounded(d.p50.into()),
                            "p99": rounded(d.p99.into()),
                        })
                    })
                    .collect();
                serde_json::json!({
                    "run": name,
                    "seed": report.options["seed"],
                    "load": report.options["load"],
                    "milliseconds": report.options["duration"],
                    "warmup": report.options["warmup"],
                    "links_busy": rounded(report.totals.link_load),
                    "tenths": tenths,
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&all)?;
        std::fs::write(path, text + "\n").with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &options.svg {
        let lines: Vec<_> = reports
            .iter()
            .map(|(name, report)| (name.as_str(), report.deciles.as_slice()))
            .collect();
        plot::compare(path, "P99 slowdown by length of message", &lines)?;
    }
    Ok(true)
}
