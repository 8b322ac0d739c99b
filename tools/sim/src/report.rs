// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What came out of a run: slowdown by length of message, as a table and as JSON.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::world::{Outcome, Sample, Totals};

/// Messages of similar length: a tenth of all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decile {
    /// The shortest, in bytes.
    pub shortest: u32,
    /// The longest.
    pub longest: u32,
    /// How many were measured.
    pub count: usize,
    /// Half of them were no slower than this, compared with an idle network.
    pub p50: f32,
    /// 99 of 100.
    pub p99: f32,
    /// 999 of 1000.
    pub p999: f32,
    /// Half of them took no longer than this, in microseconds.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// What those near the 99th percentile (98th to 99.8th) waited for.
    pub near_p99: Waits,
}

/// What messages waited for, in microseconds on average.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Waits {
    /// At the sender: for the end of the packet that its card was sending.
    pub sender_lag: f64,
    /// At the sender: for other packets that went first.
    pub sender_queue: f64,
    /// In switches: for the end of packets of lower priorities.
    pub switch_lag: f64,
    /// In switches: for packets of the same and of higher priorities.
    pub switch_queue: f64,
}

/// What came out of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What was run: the command's options.
    pub options: serde_json::Value,
    /// Counts.
    pub totals: Totals,
    /// From the shortest messages to the longest.
    pub deciles: Vec<Decile>,
    /// Of all messages.
    pub all: Option<Decile>,
}

/// The value that a part of the sorted `values` does not exceed.
fn quantile<T: Copy>(values: &[T], part: f64) -> T {
    let index = (values.len() as f64 * part).ceil() as usize;
    values[index.clamp(1, values.len()) - 1]
}

fn waits(samples: &[Sample], from: f32, to: f32) -> Waits {
    let near = samples.iter().filter(|sample| (from..=to).contains(&sample.slowdown));
    let (mut sum, mut count) = (Waits::default(), 0.0);
    for Sample { causes, .. } in near {
        sum.sender_lag += f64::from(causes.sender_lag);
        sum.sender_queue += f64::from(causes.sender_queue);
        sum.switch_lag += f64::from(causes.switches.lag);
        sum.switch_queue += f64::from(causes.switches.queue);
        count += 1000.0;
    }
    Waits {
        sender_lag: sum.sender_lag / count,
        sender_queue: sum.sender_queue / count,
        switch_lag: sum.switch_lag / count,
        switch_queue: sum.switch_queue / count,
    }
}

fn decile(samples: &[Sample]) -> Decile {
    let mut slowdowns: Vec<_> = samples.iter().map(|s| s.slowdown).collect();
    slowdowns.sort_unstable_by(f32::total_cmp);
    let mut took: Vec<_> = samples.iter().map(|s| s.took).collect();
    took.sort_unstable();
    let us = |part| quantile(&took, part) as f64 / 1000.0;
    Decile {
        shortest: samples.iter().map(|s| s.length).min().unwrap_or(0),
        longest: samples.iter().map(|s| s.length).max().unwrap_or(0),
        count: samples.len(),
        p50: quantile(&slowdowns, 0.5),
        p99: quantile(&slowdowns, 0.99),
        p999: quantile(&slowdowns, 0.999),
        p50_us: us(0.5),
        p99_us: us(0.99),
        near_p99: waits(samples, quantile(&slowdowns, 0.98), quantile(&slowdowns, 0.998)),
    }
}

impl Report {
    /// From what was measured.
    pub fn new(options: serde_json::Value, outcome: Outcome) -> Self {
        let Outcome { totals, mut samples } = outcome;
        // Messages of the same length are in the order in which they were measured: as good as any.
        samples.sort_by_key(|sample| sample.length);
        let cut = |tenth: usize| samples.len() * tenth / 10;
        let tenths = if samples.len() < 10 { 0 } else { 10 };
        let deciles = (0..tenths).map(|n| decile(&samples[cut(n)..cut(n + 1)])).collect();
        let all = (!samples.is_empty()).then(|| decile(&samples));
        Self { options, totals, deciles, all }
    }

    /// What was run, in short: the workload, and `sealed`.
    pub fn name(&self) -> String {
        let workload = self.options["workload"].as_str().unwrap_or("?").to_uppercase();
        let sealed = self.options["sealed"].as_bool().unwrap_or(false);
        workload + if sealed { ", sealed" } else { "" }
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let totals = &self.totals;
        let _ = writeln!(
            text,
            "{} RPCs: {} completed, {} failed, {} abandoned, {} refused; {:.1} ms of virtual time, {} events\n\
             {} packets for {} needed, {} lost ({} for want of buffers); \
             links {:.1} % busy ({:.1} % of that with control packets), longest queue {} bytes",
            totals.rpcs,
            totals.completed,
            totals.failed,
            totals.abandoned,
            totals.refused,
            totals.time as f64 / 1e6,
            totals.events,
            totals.packets,
            totals.needed,
            totals.lost,
            totals.overflowed,
            totals.link_load * 100.0,
            totals.control * 100.0,
            totals.peak_queue,
        );
        let _ = writeln!(
            text,
            "{:>21} {:>9}   slowdown: {:>7} {:>8} {:>8}   us: {:>9} {:>9}",
            "bytes", "messages", "P50", "P99", "P99.9", "P50", "P99"
        );
        for (name, decile) in
            self.deciles.iter().map(|d| ("", d)).chain(self.all.iter().map(|d| ("all", d)))
        {
            let _ = writeln!(
                text,
                "{name:3} {:>8} {:>8} {:>9}             {:>7.2} {:>8.2} {:>8.2}       {:>9.2} {:>9.2}",
                decile.shortest, decile.longest, decile.count, decile.p50, decile.p99, decile.p999, decile.p50_us, decile.p99_us
            );
        }
        if let Some(Decile { near_p99: waits, .. }) = self.deciles.first() {
            let _ = writeln!(
                text,
                "the shortest tenth, near P99, waits for (us): the packet on the sender's link {:.2}, others there {:.2}, \
                 lower priorities in switches {:.2}, others there {:.2}",
                waits.sender_lag, waits.sender_queue, waits.switch_lag, waits.switch_queue
            );
        }
        text
    }
}

/// Several results side by side, for a document.
pub fn markdown(reports: &[(String, Report)]) -> String {
    let mut text = String::from("| tenth |");
    let mut row = |cells: &mut dyn Iterator<Item = String>, first: &str| {
        let cells: Vec<_> = cells.collect();
        let _ = write!(text, "{first}");
        cells.iter().for_each(|cell| {
            let _ = write!(text, " {cell} |");
        });
        text.push('\n');
    };
    row(&mut reports.iter().map(|(name, _)| name.clone()), "");
    row(&mut reports.iter().map(|_| "---:".into()), "|---|");
    for tenth in 0..10 {
        let mut cells = reports.iter().map(|(_, report)| match report.deciles.get(tenth) {
            Some(d) => format!("{}: {:.2} {:.2}", d.longest, d.p50, d.p99),
            None => String::new(),
        });
        row(&mut cells, &format!("| {} |", tenth + 1));
    }
    let busy = |report: &Report| format!("{:.1} %", report.totals.link_load * 100.0);
    row(&mut reports.iter().map(|(_, report)| busy(report)), "| links busy |");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Causes;

    #[test]
    fn tenths_in_a_table_of_what_was_written() -> Result<(), serde_json::Error> {
        let sample = |length: u32| {
            let causes = Causes { sender_lag: length * 1000, ..Causes::default() };
            Sample { length, slowdown: length as f32, took: u64::from(length) * 1000, causes }
        };
        let samples = (1..=1000).rev().map(sample).collect();
        let totals = Totals { link_load: 0.8, ..Totals::default() };
        let options = serde_json::json!({ "workload": "w4", "sealed": true });
        let report = Report::new(options, Outcome { totals, samples });
        let text = serde_json::to_string(&report)?;
        let report: Report = serde_json::from_str(&text)?;
        let first = &report.deciles[0];
        assert_eq!((first.shortest, first.longest, first.count), (1, 100, 100));
        assert_eq!((first.p50, first.p99, first.p999), (50.0, 99.0, 100.0));
        assert_eq!(first.near_p99.sender_lag, 99.0);
        let table = markdown(&[(report.name(), report)]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines[..3],
            ["| tenth | W4, sealed |", "|---| ---: |", "| 1 | 100: 50.00 99.00 |"]
        );
        assert_eq!(lines[11..], ["| 10 | 1000: 950.00 999.00 |", "| links busy | 80.0 % |"]);
        Ok(())
    }
}
