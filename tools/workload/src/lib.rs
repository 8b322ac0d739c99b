// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What programs ask of the network: lengths of messages.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod sizes;

use sizes::Point;

/// A distribution of lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Facebook's memcached: mostly below 100 bytes.
    W1,
    /// Google's search application.
    W2,
    /// All of Google's applications.
    W3,
    /// Hadoop at Facebook.
    W4,
    /// Web search: long messages.
    W5,
}

impl Workload {
    fn points(self) -> &'static [Point] {
        match self {
            Self::W1 => sizes::W1,
            Self::W2 => sizes::W2,
            Self::W3 => sizes::W3,
            Self::W4 => sizes::W4,
            Self::W5 => sizes::W5,
        }
    }
}

/// Lengths of a distribution; what is longer than a message can be, becomes the longest message.
///
/// One is drawn by [`quantile`](Self::quantile) of a random number from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    points: &'static [Point],
    longest: u32,
}

impl Lengths {
    /// Those of a workload, cut off at `longest`.
    pub fn new(workload: Workload, longest: u32) -> Self {
        Self { points: workload.points(), longest }
    }

    /// A part of the messages as large as `part` (0 to 1) is at most so long, in bytes.
    pub fn quantile(&self, part: f64) -> u32 {
        let after = self.points.partition_point(|(p, _)| *p < part).clamp(1, self.points.len() - 1);
        let ((p0, s0), (p1, s1)) = (self.points[after - 1], self.points[after]);
        let along = if p1 > p0 { ((part - p0) / (p1 - p0)).clamp(0.0, 1.0) } else { 1.0 };
        let length = f64::from(s0) + along * (f64::from(s1) - f64::from(s0));
        (length.round() as u32).clamp(1, self.longest)
    }

    /// The mean of `cost` over all lengths.
    pub fn mean(&self, cost: impl Fn(u32) -> f64) -> f64 {
        // Fine steps between neighbouring points: each stands for its part of the messages.
        const STEPS: u32 = 200;
        self.points
            .windows(2)
            .map(|pair| {
                let (from, part) = (pair[0].0, pair[1].0 - pair[0].0);
                let at = |step| from + part * (f64::from(step) + 0.5) / f64::from(STEPS);
                part * (0..STEPS).map(|step| cost(self.quantile(at(step)))).sum::<f64>()
                    / f64::from(STEPS)
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The means that the paper's simulator states.
    #[test]
    fn means_are_the_published_ones() {
        let stated = [
            (Workload::W1, 187.77),
            (Workload::W2, 440.79),
            (Workload::W3, 2927.35),
            (Workload::W4, 127_796.6),
            (Workload::W5, 2_547_262.0),
        ];
        for (workload, mean) in stated {
            let ours = Lengths::new(workload, u32::MAX).mean(f64::from);
            assert!(
                (0.96..1.04).contains(&(ours / mean)),
                "{workload:?}: {ours} instead of {mean}"
            );
        }
    }

    #[test]
    fn lengths_grow_up_to_the_longest() {
        for workload in [Workload::W1, Workload::W2, Workload::W3, Workload::W4, Workload::W5] {
            let lengths = Lengths::new(workload, 1_000_000);
            let drawn: Vec<_> =
                (0..=1000).map(|n| lengths.quantile(f64::from(n) / 1000.0)).collect();
            assert!(drawn.is_sorted(), "{workload:?}");
            assert!(drawn[0] >= 1 && drawn[1000] <= 1_000_000, "{workload:?}");
        }
    }
}
