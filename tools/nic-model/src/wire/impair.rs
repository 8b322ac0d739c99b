// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What happens to frames on their way: rate, delay, and the wire's misdeeds, by a seed.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Stats;
use crate::spec::{self, Probability};

/// How bad a wire is. Written as a list: `loss=2%,duplicate=1%,reorder=5%,corrupt=0.1%,delay=1ms,rate=1gbit,seed=7`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairments {
    /// Frames that are lost.
    pub loss: Probability,
    /// Frames that come twice.
    pub duplicate: Probability,
    /// Frames that are held back for up to `hold`, so that others overtake them.
    pub reorder: Probability,
    /// How long.
    pub hold: Duration,
    /// Frames with one bit flipped, which no frame check sequence catches.
    pub corrupt: Probability,
    /// How long a frame takes.
    pub delay: Duration,
    /// Bits per second, if limited.
    pub rate: Option<u64>,
    /// How many frames wait for their turn at that rate.
    pub queue: usize,
    /// What decides which frames it hits.
    pub seed: u64,
}

impl Default for Impairments {
    fn default() -> Self {
        Impairments {
            loss: Probability::NEVER,
            duplicate: Probability::NEVER,
            reorder: Probability::NEVER,
            hold: Duration::from_millis(2),
            corrupt: Probability::NEVER,
            delay: Duration::ZERO,
            rate: None,
            queue: 1000,
            seed: 0,
        }
    }
}

impl FromStr for Impairments {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let mut i = Impairments::default();
        for (key, value) in spec::pairs(s) {
            match key {
                "loss" => i.loss = value.parse()?,
                "duplicate" => i.duplicate = value.parse()?,
                "reorder" => i.reorder = value.parse()?,
                "hold" => i.hold = spec::duration(value)?,
                "corrupt" => i.corrupt = value.parse()?,
                "delay" => i.delay = spec::duration(value)?,
                "rate" => i.rate = Some(spec::rate(value)?),
                "queue" => i.queue = spec::number(value)?,
                "seed" => i.seed = spec::number(value)?,
                _ => return Err(format!("a wire has no '{key}'")),
            }
        }
        Ok(i)
    }
}

/// Frames on their way, in the order in which they are due; of the same time in the order they came.
pub struct Stage {
    config: Impairments,
    rng: ChaCha8Rng,
    on_their_way: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
    /// When the last frame will have left at this rate.
    busy_until: Option<Instant>,
}

impl Stage {
    pub fn new(config: Impairments) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(config.seed);
        Stage { config, rng, on_their_way: BTreeMap::new(), count: 0, busy_until: None }
    }

    /// From now on; the seed's course begins anew.
    pub fn set_impairments(&mut self, config: Impairments) {
        self.rng = ChaCha8Rng::seed_from_u64(config.seed);
        self.config = config;
        self.busy_until = None;
    }

    /// Takes a frame at its beginning.
    pub fn push(&mut self, now: Instant, frame: &[u8], stats: &mut Stats) {
        if self.config.rate.is_some() && self.on_their_way.len() >= self.config.queue {
            stats.queue_full += 1;
            return;
        }
        let sent = self.sent_at(now, frame.len());
        if self.config.loss.happens(&mut self.rng) {
            stats.lost += 1;
            return;
        }
        let copies = if self.config.duplicate.happens(&mut self.rng) {
            stats.duplicated += 1;
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut due = sent + self.config.delay;
            if self.config.reorder.happens(&mut self.rng) {
                stats.reordered += 1;
                due += self.config.hold.mul_f64(self.rng.random());
            }
            let mut frame = frame.to_vec();
            if self.config.corrupt.happens(&mut self.rng) {
                stats.corrupted += 1;
                let bit = self.rng.random_range(0..frame.len().max(1) * 8);
                if let Some(byte) = frame.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            self.on_their_way.insert((due, self.count), frame);
            self.count += 1;
        }
    }

    /// When a frame's last bit has left.
    fn sent_at(&mut self, now: Instant, len: usize) -> Instant {
        let Some(rate) = self.config.rate else { return now };
        // Preamble, frame check sequence and gap take time, too.
        let bits = (len as u64 + 24) * 8;
        let start = self.busy_until.map_or(now, |busy| busy.max(now));
        let end = start + Duration::from_secs_f64(bits as f64 / rate as f64);
        self.busy_until = Some(end);
        end
    }

    /// A frame that is at its end by `now`, and since when.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, Vec<u8>)> {
        let first = self.on_their_way.first_entry()?;
        let due = first.key().0;
        (due <= now).then(|| (due, first.remove()))
    }

    /// When the next one will be.
    pub fn next_due(&self) -> Option<Instant> {
        self.on_their_way.first_key_value().map(|((due, _), _)| *due)
    }
}
