// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The measuring loop: keep a number of requests under way, look at the clock.

use crate::transport::Client;
use crate::{mark, pattern, watchdog};
use anyhow::{ensure, Context, Result};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// When the measurement ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Count(u64),
    Time(Duration),
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub size: usize,
    pub response: usize,
    pub outstanding: u32,
    pub warmup: Until,
    pub until: Until,
    pub latency: bool,
    pub check: bool,
}

pub struct Outcome {
    pub round_trips: u64,
    pub elapsed: Duration,
    /// In nanoseconds; `None` if the plan did not ask for it.
    pub latency: Option<Histogram<u64>>,
}

/// Latencies above this are counted as this, in nanoseconds.
const MAX_LATENCY: u64 = 100_000_000_000;

/// How often the clock is read when there is no other reason to.
const CLOCK_EVERY: u64 = 32;

struct Loop<'a, C> {
    client: &'a mut C,
    plan: &'a Plan,
    request: Vec<u8>,
    buffer: Vec<u8>,
    sent: u64,
    done: u64,
    /// When each request under way was sent; the request with number `i` is in place
    /// `i % outstanding`, which is free again when it is sent.
    times: Vec<Instant>,
    /// The number of the request in each place.
    numbers: Vec<u64>,
}

/// Run the plan.
pub fn run<C: Client>(client: &mut C, plan: &Plan) -> Result<Outcome> {
    let outstanding = plan.outstanding as usize;
    let mut state = Loop {
        client,
        plan,
        request: vec![0x5a; plan.size],
        buffer: vec![0; plan.response.max(plan.size)],
        sent: 0,
        done: 0,
        times: vec![Instant::now(); outstanding],
        numbers: vec![0; outstanding],
    };
    let mut latency = None;
    if plan.latency {
        latency = Some(Histogram::new_with_max(MAX_LATENCY, 3)?);
    }
    for place in 0..outstanding {
        state.send(place)?;
    }
    state.phase(plan.warmup, &mut None)?;
    let before = state.done;
    let start = Instant::now();
    mark::begin();
    state.phase(plan.until, &mut latency)?;
    mark::end();
    let elapsed = start.elapsed();
    let round_trips = state.done - before;
    for _ in 0..outstanding {
        state.receive()?;
    }
    Ok(Outcome { round_trips, elapsed, latency })
}

impl<C: Client> Loop<'_, C> {
    /// Receive a response and send the next request, until it is time.
    fn phase(&mut self, until: Until, latency: &mut Option<Histogram<u64>>) -> Result<()> {
        let (end, deadline) = match until {
            Until::Count(0) => return Ok(()),
            Until::Count(count) => (self.done + count, None),
            Until::Time(time) => (u64::MAX, Some(Instant::now() + time)),
        };
        loop {
            let place = self.receive()?;
            if let Some(histogram) = latency {
                let nanos = self.times[place].elapsed().as_nanos();
                histogram.saturating_record(u64::try_from(nanos).unwrap_or(MAX_LATENCY));
            }
            self.send(place)?;
            if self.done == end {
                return Ok(());
            }
            if self.done % CLOCK_EVERY == 0 && deadline.is_some_and(|end| Instant::now() >= end) {
                return Ok(());
            }
        }
    }

    /// Send the next request, to be remembered in `place`.
    #[inline]
    fn send(&mut self, place: usize) -> Result<()> {
        self.numbers[place] = self.sent;
        if self.plan.check {
            pattern::fill(&mut self.request, self.sent);
        }
        if self.plan.latency {
            self.times[place] = Instant::now();
        }
        self.client
            .send(place as u64, &self.request)
            .with_context(|| format!("sending request {}", self.sent))?;
        self.sent += 1;
        Ok(())
    }

    /// Wait for a response; which place its request has.
    #[inline]
    fn receive(&mut self) -> Result<usize> {
        let received = self.client.receive(&mut self.buffer);
        let (len, tag) = received.with_context(|| format!("after {} round trips", self.done))?;
        ensure!(
            len == self.plan.response,
            "a response of {len} bytes came instead of one of {}",
            self.plan.response
        );
        let place = match tag {
            Some(tag) => tag as usize,
            None => self.place_of_untagged(),
        };
        if self.plan.check {
            self.check(place)?;
        }
        self.done += 1;
        watchdog::progress(self.done);
        Ok(place)
    }

    /// A transport without tags keeps the order, or there is a number in the response.
    fn place_of_untagged(&self) -> usize {
        let number =
            self.plan.check.then(|| pattern::index(&self.buffer[..self.plan.response])).flatten();
        let by_number = number.and_then(|number| self.numbers.iter().position(|&n| n == number));
        by_number.unwrap_or((self.done % u64::from(self.plan.outstanding)) as usize)
    }

    fn check(&self, place: usize) -> Result<()> {
        let number =
            *self.numbers.get(place).context("a response to a request that was not sent")?;
        let echoed = &self.buffer[..self.plan.size.min(self.plan.response)];
        // The number in the response is whole only if the response has room for it.
        let wrong = if echoed.len() < self.plan.size && echoed.len() < 8 {
            None
        } else {
            pattern::first_wrong(echoed, number)
        };
        match wrong {
            None => Ok(()),
            Some(at) => {
                anyhow::bail!("response {} (request {number}) is wrong at byte {at}", self.done)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::io;

    /// Answers at once, in order or in reverse, with or without tags.
    struct Echo {
        queue: VecDeque<(u64, Vec<u8>)>,
        reverse: bool,
        tags: bool,
        damage: Option<usize>,
    }

    impl Client for Echo {
        fn send(&mut self, tag: u64, message: &[u8]) -> io::Result<()> {
            self.queue.push_back((tag, message.to_vec()));
            Ok(())
        }

        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
            let next = if self.reverse { self.queue.pop_back() } else { self.queue.pop_front() };
            let (tag, mut message) = next.ok_or(io::ErrorKind::TimedOut)?;
            if let Some(at) = self.damage {
                message[at] ^= 1;
            }
            buffer[..message.len()].copy_from_slice(&message);
            Ok((message.len(), self.tags.then_some(tag)))
        }
    }

    fn plan(size: usize, outstanding: u32) -> Plan {
        let (warmup, until) = (Until::Count(10), Until::Count(1000));
        Plan { size, response: size, outstanding, warmup, until, latency: true, check: true }
    }

    fn echo(reverse: bool, tags: bool) -> Echo {
        Echo { queue: VecDeque::new(), reverse, tags, damage: None }
    }

    #[test]
    fn counts_and_checks_in_any_order() {
        for (size, outstanding, reverse, tags) in
            [(1, 1, false, false), (8, 8, true, false), (100, 8, true, true), (7, 3, false, false)]
        {
            let mut client = echo(reverse, tags);
            let outcome = run(&mut client, &plan(size, outstanding)).unwrap();
            assert_eq!(outcome.round_trips, 1000);
            assert_eq!(outcome.latency.unwrap().len(), 1000);
            assert!(client.queue.is_empty(), "all responses were collected");
        }
    }

    #[test]
    fn damage_is_noticed() {
        for at in [0, 50, 99] {
            let mut client = Echo { damage: Some(at), ..echo(false, true) };
            assert!(run(&mut client, &plan(100, 4)).is_err());
        }
    }
}
