// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What came out, for people and for programs.

use crate::measure::Outcome;
use crate::spec::{Api, Spec, Transport};
use hdrhistogram::Histogram;
use serde::Serialize;

/// One measurement; its fields are those of the JSON output.
#[derive(Serialize)]
pub struct Report {
    transport: Transport,
    /// Of Homa's calls; not there for other transports.
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<Api>,
    ipv6: bool,
    /// Bytes in a request and in a response.
    size: usize,
    response: usize,
    outstanding: u32,
    round_trips: u64,
    seconds: f64,
    /// Time divided by round trips: with one outstanding, the mean latency.
    ns_per_round_trip: f64,
    round_trips_per_second: f64,
    /// Payload per second, requests and responses together.
    mbit_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ns: Option<Latency>,
}

#[derive(Serialize)]
struct Latency {
    min: u64,
    mean: f64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl From<&Histogram<u64>> for Latency {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            min: histogram.min(),
            mean: histogram.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

impl Report {
    pub fn new(spec: &Spec, ipv6: bool, outcome: &Outcome) -> Self {
        let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
        let round_trips = outcome.round_trips as f64;
        let homa = matches!(spec.transport, Transport::Homa | Transport::Sealed);
        Self {
            transport: spec.transport,
            api: homa.then_some(spec.api),
            ipv6,
            size: spec.size,
            response: spec.response,
            outstanding: spec.outstanding,
            round_trips: outcome.round_trips,
            seconds,
            ns_per_round_trip: seconds * 1e9 / round_trips.max(1.0),
            round_trips_per_second: round_trips / seconds,
            mbit_per_second: round_trips * (spec.size + spec.response) as f64 * 8e-6 / seconds,
            latency_ns: outcome.latency.as_ref().map(Latency::from),
        }
    }
}

pub fn print_text(report: &Report, throughput: bool) {
    let Report { size, response, outstanding, .. } = *report;
    println!(
        "{:7} {size} bytes there, {response} back, {outstanding} outstanding, {}",
        report.transport.name(),
        if report.ipv6 { "IPv6" } else { "IPv4" }
    );
    let us = |ns: f64| ns / 1e3;
    println!(
        "        {} round trips in {:.2} s: {:.0} per second, {:.1} us each",
        report.round_trips,
        report.seconds,
        report.round_trips_per_second,
        us(report.ns_per_round_trip)
    );
    if throughput || size.max(response) >= 1000 {
        println!("        payload {:.1} Mbit/s, both directions together", report.mbit_per_second);
    }
    if let Some(latency) = &report.latency_ns {
        let at = |ns: u64| us(ns as f64);
        println!(
            "        latency us: min {:.1}  mean {:.1}  p50 {:.1}  p90 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1}",
            at(latency.min),
            us(latency.mean),
            at(latency.p50),
            at(latency.p90),
            at(latency.p99),
            at(latency.p999),
            at(latency.max)
        );
    }
}
