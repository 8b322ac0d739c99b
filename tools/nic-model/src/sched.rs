// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Which work queue progresses next.
//!
//! Within a queue hardware takes WQEs in order. Between queues it promises nothing: a queue's doorbell may be seen late, and
//! another queue's WQEs may pass at any moment. [`Scheduler`] makes that choice for each single WQE, by a seed, and not
//! kindly. So two queues that use one TIS without keeping each other out do spoil each other's records, sooner or later,
//! where a model that empties a queue at each doorbell would never show it.
//!
//! The choice follows the idea of "probabilistic concurrency testing" (Burckhardt and others, ASPLOS 2010): queues have
//! random priorities, the highest runs, and now and then the one that runs falls to the end. That finds orders that need a few
//! changes at the right moments much more often than throwing dice for each WQE does. As the doorbells come from real CPUs,
//! a queue is also held for a while now and then, so that others have something to overtake it with.

use std::str::FromStr;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::spec::{self, Probability};

/// How the next queue is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// One WQE of each queue in turn. Written `fair`.
    Fair,
    /// By a seed. Written `seed=7` or `seed=7,switch=10%,hold=5%,hold-time=1ms`.
    Adversarial {
        /// What decides.
        seed: u64,
        /// How likely it is that a queue that runs falls behind all others, for each WQE.
        switch: Probability,
        /// How likely it is that a queue is held, for each doorbell and each WQE.
        hold: Probability,
        /// For how long at most.
        hold_time: Duration,
    },
}

impl Policy {
    /// The usual adversary.
    pub fn adversarial(seed: u64) -> Self {
        let (switch, hold) = (Probability::new(0.2), Probability::new(0.1));
        Policy::Adversarial {
            seed,
            switch: switch.unwrap_or_default(),
            hold: hold.unwrap_or_default(),
            hold_time: Duration::from_millis(1),
        }
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if s == "fair" {
            return Ok(Policy::Fair);
        }
        let mut policy = Policy::adversarial(0);
        let Policy::Adversarial { seed, switch, hold, hold_time } = &mut policy else {
            return Ok(policy);
        };
        let mut seeded = false;
        for (key, value) in spec::pairs(s) {
            match key {
                "seed" => (*seed, seeded) = (spec::number(value)?, true),
                "switch" => *switch = value.parse()?,
                "hold" => *hold = value.parse()?,
                "hold-time" => *hold_time = spec::duration(value)?,
                _ => return Err(format!("a scheduler has no '{key}'")),
            }
        }
        if seeded {
            Ok(policy)
        } else {
            Err(format!("'{s}' is neither fair nor has a seed=N"))
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<Q> {
    /// Execute one WQE of this queue. If that was its last one, say so with [`Scheduler::remove`].
    Run(Q),
    /// Nothing before this moment, unless a doorbell comes.
    Wait(Instant),
    /// Nothing until a doorbell comes.
    Idle,
}

struct Ready<Q> {
    queue: Q,
    priority: u64,
    held_until: Option<Instant>,
}

/// Queues that have work.
pub struct Scheduler<Q> {
    policy: Policy,
    rng: ChaCha8Rng,
    ready: Vec<Ready<Q>>,
    /// The queue that ran last, for [`Policy::Fair`].
    turn: usize,
    /// Below all priorities that were given before.
    floor: u64,
}

impl<Q: Copy + Eq> Scheduler<Q> {
    /// No queue has work yet.
    pub fn new(policy: Policy) -> Self {
        let seed = match policy {
            Policy::Fair => 0,
            Policy::Adversarial { seed, .. } => seed,
        };
        Scheduler {
            policy,
            rng: ChaCha8Rng::seed_from_u64(seed),
            ready: Vec::new(),
            turn: 0,
            floor: u64::MAX / 2,
        }
    }

    /// Another policy, from the next choice on.
    pub fn set_policy(&mut self, policy: Policy) {
        let ready = std::mem::take(&mut self.ready);
        *self = Scheduler { ready, ..Scheduler::new(policy) };
        for ready in &mut self.ready {
            // Fair queues are never held; nor is there a floor below which they might have fallen.
            ready.held_until = None;
            ready.priority = self.rng.random_range(u64::MAX / 2 + 1..=u64::MAX);
        }
    }

    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// A queue has work: its doorbell was rung, or room has come for its completions. It may be ready already.
    pub fn ready(&mut self, now: Instant, queue: Q) {
        if !self.ready.iter().any(|r| r.queue == queue) {
            let held_until = self.hold(now);
            let priority = self.rng.random_range(u64::MAX / 2 + 1..=u64::MAX);
            self.ready.push(Ready { queue, priority, held_until });
        }
    }

    /// A queue has no work any more, was stopped, or is gone.
    pub fn remove(&mut self, queue: Q) {
        if let Some(at) = self.ready.iter().position(|r| r.queue == queue) {
            self.ready.remove(at);
            if at < self.turn {
                self.turn -= 1;
            }
        }
    }

    /// What to do next.
    pub fn next(&mut self, now: Instant) -> Next<Q> {
        match self.policy {
            Policy::Fair => {
                if self.turn >= self.ready.len() {
                    self.turn = 0;
                }
                let Some(ready) = self.ready.get(self.turn) else { return Next::Idle };
                self.turn += 1;
                Next::Run(ready.queue)
            }
            Policy::Adversarial { switch, .. } => self.adversary(now, switch),
        }
    }

    fn adversary(&mut self, now: Instant, switch: Probability) -> Next<Q> {
        let free = |r: &Ready<Q>| r.held_until.is_none_or(|until| until <= now);
        let best =
            self.ready.iter().enumerate().filter(|(_, r)| free(r)).max_by_key(|(_, r)| r.priority);
        let Some((at, _)) = best else {
            return self
                .ready
                .iter()
                .filter_map(|r| r.held_until)
                .min()
                .map_or(Next::Idle, Next::Wait);
        };
        let falls = switch.happens(&mut self.rng);
        let held_until = self.hold(now);
        let Some(ready) = self.ready.get_mut(at) else { return Next::Idle };
        ready.held_until = held_until;
        if falls {
            // A new run of all priorities every 2^63 times is no danger to anybody.
            self.floor = self.floor.checked_sub(1).unwrap_or(u64::MAX / 2);
            ready.priority = self.floor;
        }
        Next::Run(ready.queue)
    }

    fn hold(&mut self, now: Instant) -> Option<Instant> {
        match self.policy {
            Policy::Adversarial { hold, hold_time, .. } if hold.happens(&mut self.rng) => {
                Some(now + hold_time.mul_f64(self.rng.random()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
