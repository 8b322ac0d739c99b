// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How far away a host is, and so how much to send to it unasked, how far to grant ahead, and how long to wait for
//! what should come.
//!
//! A link stays busy if as many bytes are under way as it carries in a round trip: *RTT bytes*, the smallest
//! time that a small packet and its answer ever took, times the speed of the link. That time is the network's, not the server's
//! program's, as long as there are samples in which no program took part. All of these are upper bounds, so the
//! least is the best:
//!
//! - from a GRANT to the first byte that it granted: a sender cannot send that sooner;
//! - from a request to its response, both of a packet: what a quick server does, now and then;
//! - from a RESEND to what was sent again, or BUSY.
//!
//! The least of the last ten to twenty seconds counts: routes change.
//!
//! The link that counts is the slowest on the path, which need not be ours. What long messages were carried with tells
//! ([`Pace`]): all of these are lower bounds, as a message may also wait for its turn, so the most is the best. The speed of our link is an
//! upper bound. A window is made for twice what was seen, so that it never is what limits a message for long.
//!
//! Where bytes are lost, less is sent: a path may have a slower link than ours, or a short queue. The share of the full
//! window halves with losses ([`LossRate`]: more than a few), once in a round trip, and grows with what arrives. A receiver counts
//! as lost what came again and had not come before, and what it asks for when nothing comes at all: other bytes that it asks for may
//! be late, or not sent yet.

use ::core::num::NonZero;

use super::config::Config;
use super::lossrate::LossRate;

/// A minimum is forgotten after one to two of these.
const PERIOD: u64 = 10_000_000_000;

/// So many samples tell more than what other hosts are like.
const TRUSTED: u8 = 16;

/// The whole of a window, in parts.
const WHOLE: u16 = 1024;
const LEAST: u16 = WHOLE / 32;
/// Grows by so much with each window that arrives.
const GROWTH: u32 = 32;

/// How fast a message is carried: bytes that came, or were granted to us, and the time that took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace(Option<(u32, u64)>);

/// So many bytes in so many nanoseconds, at least: what came in one go, because somebody held it back, tells nothing. (On links of 100
/// Gbit/s no message takes so long, and none needs to.)
const PACE_BYTES: u32 = 32_768;
const PACE_NS: u64 = 100_000;

impl Pace {
    /// Nothing came yet.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Everything below `offset` is there now; bits per second since the last time that something was said.
    pub fn at(&mut self, now: u64, offset: u32) -> Option<u64> {
        self.0.take_if(|(start, _)| *start > offset);
        let (start, began) = *self.0.get_or_insert((offset, now));
        let (bytes, ns) = (offset.saturating_sub(start), now.saturating_sub(began));
        let ns = NonZero::new(ns).filter(|ns| bytes >= PACE_BYTES && ns.get() >= PACE_NS)?;
        self.0 = Some((offset, now));
        Some(u64::from(bytes).saturating_mul(8 * 1_000_000_000) / ns)
    }
}

/// With fewer samples nothing is known: their messages may all have waited for others.
const PACES: u16 = 16;

/// The most that a path was seen to carry, in bits per second.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    /// In this period and in the one before; 0: nothing was seen.
    most: [u64; 2],
    /// In how many samples.
    samples: [u8; 2],
    began: u64,
}

impl Carried {
    const fn new() -> Self {
        Self { most: [0; 2], samples: [0; 2], began: 0 }
    }

    fn sample(&mut self, now: u64, speed: u64) {
        let ([most, _], [samples, _]) = (self.most, self.samples);
        if now.saturating_sub(self.began) >= PERIOD {
            self.began = now;
            self.most = [speed, most];
            self.samples = [1, samples];
        } else {
            let ([most, _], [samples, _]) = (&mut self.most, &mut self.samples);
            *most = speed.max(*most);
            *samples = samples.saturating_add(1);
        }
    }

    /// Twice that, if it is known.
    fn twice(&self) -> Option<u64> {
        let ([this, last], [samples, before]) = (self.most, self.samples);
        let known = u16::from(samples).saturating_add(u16::from(before)) >= PACES;
        known.then(|| this.max(last).saturating_mul(2))
    }
}

/// What `speed` bits per second carry in `ns`.
fn bytes_in(ns: u64, speed: u64) -> u32 {
    // In two steps, as 64 bits must do: the kernel divides no longer numbers.
    let bytes = ns.saturating_mul(speed / 8_000) / 1_000_000;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// How much of a window is used in one direction.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    parts: u16,
    /// Bytes that arrived since it grew.
    bytes: u32,
    lost_at: u64,
}

impl Default for Share {
    fn default() -> Self {
        Self::new()
    }
}

impl Share {
    /// All of it.
    pub const fn new() -> Self {
        Self { parts: WHOLE, bytes: 0, lost_at: 0 }
    }

    /// The used part of `window`; not less than `least`.
    pub fn of(&self, window: u32, least: u32) -> u32 {
        let part = u64::from(window).saturating_mul(u64::from(self.parts)) / u64::from(WHOLE);
        (part as u32).max(least.min(window))
    }

    /// Bytes were lost; a round trip takes `rtt`.
    pub fn lost(&mut self, now: u64, rtt: u64) {
        if now.saturating_sub(self.lost_at) >= rtt || self.lost_at == 0 {
            self.lost_at = now;
            self.parts = (self.parts / 2).max(LEAST);
            self.bytes = 0;
        }
    }

    fn is_whole(&self) -> bool {
        self.parts >= WHOLE
    }

    /// So many bytes arrived, of windows of `window` bytes.
    fn arrived(&mut self, bytes: u32, window: u32) {
        self.bytes = self.bytes.saturating_add(bytes);
        let step = NonZero::new(window / GROWTH).unwrap_or(NonZero::<u32>::MIN);
        let grown = (self.bytes / step).min(u32::from(WHOLE));
        self.bytes = self.bytes.saturating_sub(grown.saturating_mul(step.get()));
        self.parts = self.parts.saturating_add(grown as u16).min(WHOLE);
    }
}

/// What packets of a message tell of the path that they took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// So many bytes were lost: they came again, and not before, or nothing came any more.
    pub lost: u32,
    /// So long after what overtook them came bytes that were taken for lost and were not; 0: none did.
    pub overtaken: u64,
}

impl News {
    /// None.
    pub const NONE: Self = Self { lost: 0, overtaken: 0 };

    /// Is there any?
    #[inline]
    pub fn is_some(&self) -> bool {
        self.lost != 0 || self.overtaken != 0
    }
}

/// The network between this host and another one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path {
    /// The least round trip in this period and in the one before; 0: none.
    least: [u64; 2],
    began: u64,
    samples: u8,
    /// What the paths to other hosts are like; 0: unknown.
    usual: u64,
    smoothed: u64,
    deviation: u64,
    /// The longest that a packet came after those that overtook it, as `least`.
    overtaken: [u64; 2],
    overtaken_began: u64,
    /// Of what the other host sends to us: grants.
    incoming: Share,
    loss_in: LossRate,
    /// Of what we send to it: unscheduled bytes.
    outgoing: Share,
    loss_out: LossRate,
    carried_in: Carried,
    carried_out: Carried,
}

impl Path {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self {
            least: [0; 2],
            began: 0,
            samples: 0,
            usual: 0,
            smoothed: 0,
            deviation: 0,
            overtaken: [0; 2],
            overtaken_began: 0,
            incoming: Share::new(),
            loss_in: LossRate::new(),
            outgoing: Share::new(),
            loss_out: LossRate::new(),
            carried_in: Carried::new(),
            carried_out: Carried::new(),
        }
    }

    /// A round trip took `ns` or less.
    pub fn sample(&mut self, now: u64, ns: u64) {
        let ns = ns.max(1);
        self.samples = self.samples.saturating_add(1);
        if self.smoothed == 0 {
            self.smoothed = ns;
            self.deviation = ns / 2;
        } else {
            let off = ns.abs_diff(self.smoothed);
            self.deviation = (self.deviation - self.deviation / 4).saturating_add(off / 4);
            self.smoothed = (self.smoothed - self.smoothed / 8).saturating_add(ns / 8).max(1);
        }
        let [this, last] = self.least;
        if now.saturating_sub(self.began) >= PERIOD || this == 0 {
            self.began = now;
            self.least = [ns, this];
        } else {
            self.least = [ns.min(this), last];
        }
    }

    /// A message from the other host came with so many bits per second ([`Pace`]).
    pub fn carried_in(&mut self, now: u64, speed: u64) {
        self.carried_in.sample(now, speed);
    }

    /// The same for one to the other host.
    pub fn carried_out(&mut self, now: u64, speed: u64) {
        self.carried_out.sample(now, speed);
    }

    /// What packets from the other host told.
    #[cold]
    pub fn learn(&mut self, now: u64, news: News) {
        if news.lost != 0 && self.loss_in.lost(news.lost) {
            self.incoming.lost(now, self.smoothed);
        }
        let [this, last] = self.overtaken;
        if now.saturating_sub(self.overtaken_began) >= PERIOD {
            self.overtaken_began = now;
            self.overtaken = [news.overtaken, this];
        } else {
            self.overtaken = [news.overtaken.max(this), last];
        }
    }

    /// The other host asked for bytes that we had sent.
    #[cold]
    pub fn lost(&mut self, now: u64, bytes: u32) {
        if self.loss_out.lost(bytes) {
            self.outgoing.lost(now, self.smoothed);
        }
    }

    /// The shortest round trip, as far as is known.
    pub fn least(&self) -> Option<u64> {
        let [this, last] = self.least;
        [this, last].into_iter().filter(|least| *least != 0).min()
    }

    /// Bytes that a link of `speed` bits per second carries in a round trip; `None` if either is not known.
    fn rtt_bytes(&self, speed: u64) -> Option<u32> {
        let known = self.usual == 0 || self.samples >= TRUSTED;
        let guess = (!known).then_some(self.usual.saturating_mul(2));
        let least = match (self.least(), guess) {
            // Queues may have made the first samples long.
            (Some(least), Some(guess)) => Some(least.min(guess)),
            (least, guess) => least.or(guess),
        };
        Some(bytes_in(least.filter(|_| speed != 0)?, speed))
    }

    /// The least round trip to any host, 0 if unknown: for as long as little was measured of this one.
    pub fn set_usual(&mut self, ns: u64) {
        self.usual = ns;
    }

    /// How much of a message to send to the other host unasked, over a link of `speed` bits per second (0: unknown).
    pub fn unscheduled(&self, speed: u64, config: &Config) -> u32 {
        let share = self.outgoing.of(self.all_unscheduled(speed, config), config.probe);
        self.bounded(share, &self.carried_out, speed, config)
    }

    fn all_unscheduled(&self, speed: u64, config: &Config) -> u32 {
        match self.rtt_bytes(speed) {
            // The samples are of small packets: a full one takes longer, at each hop.
            Some(bytes) => bytes
                .saturating_add(config.window_slack / 2)
                .min(config.unscheduled_max)
                .max(config.unscheduled_min),
            None => config.unscheduled,
        }
    }

    /// `window`, or less if that is more than a path that carries so much needs.
    fn bounded(&self, window: u32, carried: &Carried, speed: u64, config: &Config) -> u32 {
        match (carried.twice(), self.least()) {
            (Some(twice), Some(least)) if speed == 0 || twice < speed => {
                // Where packets overtake each other, the least that one took is no measure for the others.
                let ns = least.saturating_add(self.reordering(config));
                let enough = bytes_in(ns, twice).saturating_add(config.window_slack);
                window.min(enough.max(config.slow_min))
            }
            _ => window,
        }
    }

    /// How far to grant ahead of what arrived from the other host, over a link of `speed` bits per second.
    pub fn window(&self, speed: u64, config: &Config) -> u32 {
        let share =
            self.incoming.of(self.full_window(speed, config), config.probe.saturating_mul(2));
        self.bounded(share, &self.carried_in, speed, config)
    }

    /// So many bytes came from the other host.
    #[inline]
    pub fn arrived(&mut self, bytes: u32, speed: u64, config: &Config) {
        self.loss_in.arrived(bytes);
        if !self.incoming.is_whole() {
            let window = self.full_window(speed, config);
            self.incoming.arrived(bytes, window);
        }
    }

    /// So many bytes came to it.
    #[inline]
    pub fn departed(&mut self, bytes: u32, speed: u64, config: &Config) {
        self.loss_out.arrived(bytes);
        if !self.outgoing.is_whole() {
            let window = self.all_unscheduled(speed, config);
            self.outgoing.arrived(bytes, window);
        }
    }

    /// The [`window`](Self::window) if nothing is lost.
    pub fn full_window(&self, speed: u64, config: &Config) -> u32 {
        match self.rtt_bytes(speed) {
            // A grant comes with each third of a window, so it must reach further by that.
            Some(bytes) => bytes
                .saturating_add(bytes / 2)
                .saturating_add(config.window_slack)
                .min(config.window_max)
                .max(config.unscheduled_min),
            None => config.grant_window,
        }
    }

    /// How long to wait for bytes that the other host may send.
    pub fn rto(&self, config: &Config) -> u64 {
        if self.smoothed == 0 {
            return config.resend_first;
        }
        let expected = self.smoothed.saturating_add(self.deviation.saturating_mul(4));
        expected.clamp(config.rto_min, config.resend_max.max(config.rto_min))
    }

    /// How long to wait for bytes that others overtook.
    pub fn reordering(&self, config: &Config) -> u64 {
        let quarter = self.least().map_or(0, |least| least / 4);
        let quarter = quarter.clamp(config.reordering, config.rto_min.max(config.reordering));
        let [this, last] = self.overtaken;
        // What comes a round trip later than what overtook it might as well have been lost.
        quarter.max(this.max(last).min(self.smoothed))
    }
}

/// What a client asks a server to keep to with a response: few bytes unasked, as many responses will come at a time.
///
/// The server's grants-to-be are the client's to give: it spreads the responses by its grant scheduler. Without
/// this, N responses arrive at once and their unscheduled bytes overflow the queue that leads to
/// the client (*incast*).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseLimit(u8);

impl ResponseLimit {
    /// None.
    pub const NONE: Self = Self(0);

    /// What fits a header, from its four bits.
    pub const fn from_wire(bits: u8) -> Self {
        Self(bits & 0xf)
    }

    /// Four bits for a header.
    pub const fn to_wire(self) -> u8 {
        self.0
    }

    /// For a client that has sent `outstanding` requests whose responses are not here, and can take
    /// `max_incoming` bytes at a time; a response may have `unscheduled` unasked otherwise.
    pub fn for_client(outstanding: u32, max_incoming: u32, unscheduled: u32) -> Self {
        let share = max_incoming.checked_div(outstanding.max(1)).unwrap_or(0);
        if share >= unscheduled {
            return Self::NONE;
        }
        // Rounded down to a power of two: 256 << (n - 1); at least that.
        let power = (share / 256).checked_ilog2().unwrap_or(0).saturating_add(1);
        Self(power.min(15) as u8)
    }

    /// How many of `unscheduled` bytes may be sent unasked.
    pub fn apply(self, unscheduled: u32) -> u32 {
        match self.0.checked_sub(1) {
            None => unscheduled,
            Some(power) => unscheduled.min(256u32 << power.min(15)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GBIT: u64 = 1_000_000_000;

    #[test]
    fn windows_follow_the_least_round_trip() {
        let config = Config::default();
        let mut path = Path::new();
        assert_eq!(path.unscheduled(10 * GBIT, &config), config.unscheduled);
        assert_eq!(path.window(10 * GBIT, &config), config.grant_window);
        path.sample(1, 900_000);
        path.sample(2, 20_000);
        path.sample(3, 50_000);
        // 20 us at 10 Gbit/s are 25,000 bytes.
        assert_eq!(path.unscheduled(10 * GBIT, &config), 25_000 + config.window_slack / 2);
        assert_eq!(path.window(10 * GBIT, &config), 37_500 + config.window_slack);
        assert_eq!(path.unscheduled(0, &config), config.unscheduled);
        // Hosts not met before are taken to be like the others.
        let usual = path.least().unwrap();
        let mut other = Path::new();
        other.set_usual(usual);
        assert_eq!(other.unscheduled(10 * GBIT, &config), 50_000 + config.window_slack / 2);
        // Until enough was measured: the first samples may have met long queues.
        for now in 0..u64::from(TRUSTED) {
            let unscheduled = other.unscheduled(10 * GBIT, &config);
            assert_eq!(unscheduled, 50_000 + config.window_slack / 2);
            other.sample(now, 100_000);
        }
        let unscheduled = other.unscheduled(10 * GBIT, &config);
        assert_eq!(unscheduled, 125_000 + config.window_slack / 2);
        assert_eq!(path.unscheduled(10_000 * GBIT, &config), config.unscheduled_max);
        assert_eq!(path.unscheduled(GBIT / 1000, &config), config.unscheduled_min);
        // The least counts for a while, then it is forgotten.
        path.sample(PERIOD + 10, 40_000);
        assert_eq!(path.least(), Some(20_000));
        path.sample(2 * PERIOD + 20, 45_000);
        assert_eq!(path.least(), Some(40_000));
        path.sample(3 * PERIOD + 30, 45_000);
        assert_eq!(path.least(), Some(45_000));
    }

    #[test]
    fn windows_follow_the_slowest_link() {
        let config = Config::default();
        let mut path = Path::new();
        path.sample(1, 1_000_000);
        let whole = path.unscheduled(GBIT, &config);
        // 100 Mbit/s are 12,500 bytes in a round trip.
        let many = |now, speed, sample: &mut dyn FnMut(u64, u64)| {
            for n in 0..u64::from(PACES) {
                sample(now + n, speed / (n % 3 + 1));
            }
        };
        let usual = path.window(GBIT, &config);
        path.carried_in(1, GBIT / 10);
        assert_eq!(path.window(GBIT, &config), usual);
        many(2, GBIT / 10, &mut |now, speed| path.carried_in(now, speed));
        assert_eq!(path.unscheduled(GBIT, &config), whole);
        // 12,500 bytes in a millisecond, 3,125 in the reordering time; twice that.
        let slow = 31_250 + config.window_slack;
        assert_eq!(path.window(GBIT, &config), slow);
        let config = Config { unscheduled_min: 72_000, ..config };
        assert_eq!(path.window(GBIT, &config), slow);
        let config = Config { unscheduled_min: 6_000, ..config };
        many(1, GBIT / 10, &mut |now, speed| path.carried_out(now, speed));
        for speed in [0, GBIT] {
            assert_eq!(path.unscheduled(speed, &config), slow);
        }
        // Our own link is an upper bound.
        path.carried_out(100, 10 * GBIT);
        assert_eq!(path.unscheduled(GBIT, &config), whole);
        // What was seen long ago is forgotten.
        path.sample(2 * PERIOD, 1_000_000);
        many(PERIOD + 200, GBIT / 10, &mut |now, speed| path.carried_out(now, speed));
        assert_eq!(path.unscheduled(GBIT, &config), whole);
        many(2 * PERIOD + 300, GBIT / 10, &mut |now, speed| path.carried_out(now, speed));
        assert_eq!(path.unscheduled(GBIT, &config), slow);
    }

    #[test]
    fn a_pace_needs_bytes_and_time() {
        let mut pace = Pace::new();
        assert_eq!(pace.at(1000, 50_000), None);
        assert_eq!(pace.at(1001, 500_000), None);
        assert_eq!(pace.at(1000 + PACE_NS, 550_000), Some(500_000 * 8 * 10_000));
        assert_eq!(pace.at(1_000_000_000, 560_000), None);
        assert_eq!(pace.at(1000 + PACE_NS + 1_000_000_000, 650_000), Some(800_000));
        // Another message; and a clock that stands still.
        assert_eq!(pace.at(u64::MAX, 0), None);
        assert_eq!(pace.at(0, u32::MAX), None);
    }

    #[test]
    fn what_an_administrator_asks_for_may_exceed_the_bounds() {
        let config = Config { unscheduled_min: 1_000_000, ..Config::default() };
        let mut path = Path::new();
        path.sample(1, 20_000);
        assert_eq!(path.unscheduled(10 * GBIT, &config), 1_000_000);
        assert_eq!(path.full_window(10 * GBIT, &config), 1_000_000);
    }

    #[test]
    fn time_outs_follow_what_was_measured() {
        let config = Config::default();
        let mut path = Path::new();
        assert_eq!(path.rto(&config), config.resend_first);
        for now in 0..100 {
            path.sample(now, 30_000);
        }
        assert_eq!(path.rto(&config), config.rto_min);
        assert_eq!(path.reordering(&config), config.reordering);
        for now in 0..100 {
            path.sample(now, 3_000_000 + 2_000_000 * (now % 2));
        }
        assert!((5_000_000..20_000_000).contains(&path.rto(&config)), "{}", path.rto(&config));
    }

    #[test]
    fn a_receiver_waits_as_long_as_packets_overtake_each_other() {
        let config = Config::default();
        let mut path = Path::new();
        path.sample(1, 20_000);
        path.sample(2, 4_000_000);
        assert_eq!(path.reordering(&config), config.reordering);
        path.learn(PERIOD, News { lost: 0, overtaken: 300_000 });
        assert_eq!(path.reordering(&config), 300_000);
        assert!(path.smoothed < 1_000_000);
        path.learn(PERIOD + 1, News { lost: 0, overtaken: 10_000_000 });
        assert_eq!(path.reordering(&config), path.smoothed);
        path.learn(2 * PERIOD + 1, News { lost: 0, overtaken: 400_000 });
        path.learn(3 * PERIOD + 1, News::NONE);
        assert_eq!(path.reordering(&config), 400_000);
        path.learn(4 * PERIOD + 1, News::NONE);
        assert_eq!(path.reordering(&config), config.reordering);
    }

    #[test]
    fn a_window_shrinks_when_many_bytes_came_again() {
        let config = Config::default();
        let mut path = Path::new();
        let whole = path.window(GBIT, &config);
        for now in 0..100 {
            // One packet in fifty.
            path.arrived(49 * 1400, GBIT, &config);
            path.learn(now * 1_000_000, News { lost: 1400, overtaken: 0 });
        }
        assert_eq!(path.window(GBIT, &config), whole);
        for now in 100..200 {
            path.arrived(1400, GBIT, &config);
            path.learn(now * 1_000_000, News { lost: 1400, overtaken: 0 });
        }
        assert!(path.window(GBIT, &config) < whole / 10);
    }

    #[test]
    fn losses_halve_a_share_and_arrivals_bring_it_back() {
        let mut share = Share::new();
        assert_eq!(share.of(100_000, 2800), 100_000);
        share.lost(1000, 50);
        share.lost(1049, 50);
        assert_eq!(share.of(100_000, 2800), 50_000);
        share.lost(1050, 50);
        assert_eq!(share.of(100_000, 2800), 25_000);
        for n in 0..100 {
            share.lost(2000 + 50 * n, 50);
        }
        assert_eq!((share.of(100_000, 0), share.of(10_000, 2800)), (3125, 2800));
        let mut arrived = 0u64;
        while share.of(100_000, 0) < 100_000 {
            share.arrived(1400, 100_000);
            arrived += 1400;
        }
        assert!((2_900_000..3_300_000).contains(&arrived), "{arrived}");
    }

    #[test]
    fn many_responses_are_asked_for_with_few_bytes() {
        let limit = |n| ResponseLimit::for_client(n, 100_000, 10_000);
        assert_eq!(limit(0), ResponseLimit::NONE);
        assert_eq!((limit(10), limit(10).apply(10_000)), (ResponseLimit::NONE, 10_000));
        assert_eq!(limit(11).apply(10_000), 8192);
        assert_eq!(limit(100).apply(10_000), 512);
        assert_eq!(limit(u32::MAX).apply(10_000), 256);
        for bits in 0..=255 {
            let limit = ResponseLimit::from_wire(bits);
            assert_eq!(limit.to_wire(), bits & 15);
            assert!((1..=10_000).contains(&limit.apply(10_000)));
        }
    }
}
