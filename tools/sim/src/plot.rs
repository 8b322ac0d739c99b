// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Slowdown by length of message, drawn: each tenth of the messages has a tenth of the width.

use std::path::Path;

use anyhow::{anyhow, Result};
use plotters::prelude::*;

use crate::published::{measured, SIMULATED_SHORT_P99};
use crate::report::Decile;
use homa_workload::Workload;

const OURS: RGBColor = RGBColor(0xb2, 0x18, 0x2b);
const MEDIAN: RGBColor = RGBColor(0xf4, 0xa5, 0x82);
const THEIRS: RGBColor = RGBColor(0x21, 0x66, 0xac);

/// Writes an SVG. With `workload`, what was published of it is drawn beside.
///
/// # Errors
///
/// The file cannot be written, or there is nothing to draw.
pub fn draw(
    path: &Path,
    title: &str,
    deciles: &[Decile],
    workload: Option<Workload>,
) -> Result<()> {
    if deciles.is_empty() {
        return Err(anyhow!("too few messages for a plot"));
    }
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", path.display());
    let worst = deciles.iter().map(|d| d.p99).fold(SIMULATED_SHORT_P99, f32::max);
    let top = f64::from(worst) * 1.3;
    let root = SVGBackend::new(path, (900, 520)).into_drawing_area();
    root.fill(&WHITE).map_err(|e| failed(&e))?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..10.0, (1.0..top).log_scale())
        .map_err(|e| failed(&e))?;
    let length = |x: &f64| {
        let tenth = x.round() as usize;
        let bytes = match tenth {
            0 => deciles.first().map_or(0, |d| d.shortest),
            n => deciles.get(n - 1).map_or(0, |d| d.longest),
        };
        bytes.to_string()
    };
    chart
        .configure_mesh()
        .x_labels(11)
        .x_label_formatter(&length)
        .x_desc("bytes of the message (each tenth of all messages is as wide)")
        .y_desc("slowdown")
        .y_label_formatter(&|y| format!("{y:.1}"))
        .light_line_style(BLACK.mix(0.05))
        .draw()
        .map_err(|e| failed(&e))?;
    let steps = |value: fn(&Decile) -> f32| {
        deciles.iter().enumerate().flat_map(move |(n, decile)| {
            let y = f64::from(value(decile));
            [(n as f64, y), (n as f64 + 1.0, y)]
        })
    };
    let lines = [
        ("P99", OURS, steps(|d| d.p99).collect::<Vec<_>>()),
        ("P50", MEDIAN, steps(|d| d.p50).collect()),
    ];
    for (name, color, points) in lines {
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))
            .map_err(|e| failed(&e))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    if let Some(workload) = workload {
        let bound = f64::from(SIMULATED_SHORT_P99);
        chart
            .draw_series(LineSeries::new([(0.0, bound), (5.0, bound)], THEIRS.stroke_width(2)))
            .map_err(|e| failed(&e))?
            .label("SIGCOMM'18, simulated: P99 of the shorter half is below")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], THEIRS.stroke_width(2)));
        let points: Vec<_> = measured(workload)
            .iter()
            .map(|m| (f64::from(m.tenth) - 0.5, f64::from(m.p99)))
            .collect();
        if !points.is_empty() {
            chart
                .draw_series(
                    points.iter().map(|point| Circle::new(*point, 4, THEIRS.stroke_width(2))),
                )
                .map_err(|e| failed(&e))?
                .label("SIGCOMM'18, measured on 16 hosts: P99")
                .legend(|(x, y)| Circle::new((x + 9, y), 4, THEIRS.stroke_width(2)));
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|e| failed(&e))?;
    root.present().map_err(|e| failed(&e))
}

/// Writes an SVG with the P99 of several runs.
///
/// # Errors
///
/// The file cannot be written.
pub fn compare(path: &Path, title: &str, runs: &[(&str, &[Decile])]) -> Result<()> {
    const COLORS: [RGBColor; 6] = [
        OURS,
        THEIRS,
        RGBColor(0x1b, 0x78, 0x37),
        RGBColor(0x76, 0x2a, 0x83),
        RGBColor(0xe0, 0x82, 0x14),
        BLACK,
    ];
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", path.display());
    let all = runs.iter().flat_map(|(_, deciles)| deciles.iter());
    let worst = all.map(|d| d.p99).fold(SIMULATED_SHORT_P99, f32::max);
    let root = SVGBackend::new(path, (900, 480)).into_drawing_area();
    root.fill(&WHITE).map_err(|e| failed(&e))?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..10.0, (1.0..f64::from(worst) * 1.3).log_scale())
        .map_err(|e| failed(&e))?;
    chart
        .configure_mesh()
        .x_labels(11)
        .x_desc("tenths of the messages, from the shortest to the longest")
        .y_desc("slowdown")
        .y_label_formatter(&|y| format!("{y:.1}"))
        .light_line_style(BLACK.mix(0.05))
        .draw()
        .map_err(|e| failed(&e))?;
    for ((name, deciles), color) in runs.iter().zip(COLORS.iter().cycle().copied()) {
        let points = deciles.iter().enumerate().flat_map(|(n, decile)| {
            let y = f64::from(decile.p99);
            [(n as f64, y), (n as f64 + 1.0, y)]
        });
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))
            .map_err(|e| failed(&e))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    let bound = f64::from(SIMULATED_SHORT_P99);
    chart
        .draw_series(LineSeries::new([(0.0, bound), (5.0, bound)], BLACK.mix(0.5).stroke_width(1)))
        .map_err(|e| failed(&e))?
        .label("SIGCOMM'18, simulated: the shorter half is below")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLACK.mix(0.5).stroke_width(1)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|e| failed(&e))?;
    root.present().map_err(|e| failed(&e))
}
