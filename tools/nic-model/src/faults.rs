// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What goes wrong on purpose, by a seed: the plan, and the dice.
//!
//! Each kind of fault has dice of its own, so that turning one on does not change when the others happen.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::spec::{self, Probability};

/// What goes wrong, and how often. Written as a list, such as
/// `seed=7,command=CREATE_TIS:5%,command=any:0.1%,late-command=1%,late-cqe=1%,late=2ms,no-buffer=1%,sq-error=0.01%,`
/// `link-up=3s,link-down=500ms,max-tis=100,max-dek=100,after=5s`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What decides.
    pub seed: u64,
    /// Nothing goes wrong before so much time has passed: drivers come up first.
    pub after: Duration,
    /// Opcodes whose commands fail.
    pub commands: Vec<(u16, Probability)>,
    /// Commands that fail whatever their opcode, but for those that take something away, or out of use ([`Device::removes`]):
    /// no driver can do anything about what it cannot destroy.
    ///
    /// [`Device::removes`]: crate::device::Device::removes
    pub any_command: Probability,
    /// Commands that complete late.
    pub late_command: Probability,
    /// CQEs that are written late.
    pub late_cqe: Probability,
    /// How late, at most.
    pub late: Duration,
    /// Received packets that find no buffer.
    pub no_buffer: Probability,
    /// WQEs of send queues that complete in error.
    pub sq_error: Probability,
    /// How long the link is up between two flaps; it stays up if there is none.
    pub link_up: Option<Duration>,
    /// How long it is down then.
    pub link_down: Duration,
    /// How many TISes with `tls_en` there may be.
    pub max_tis: Option<u32>,
    /// How many encryption keys there may be.
    pub max_dek: Option<u32>,
}

impl Plan {
    /// Reads a plan; `opcode` knows the names of commands.
    pub fn parse(list: &str, opcode: impl Fn(&str) -> Option<u16>) -> Result<Self, String> {
        let mut plan = Plan {
            late: Duration::from_millis(2),
            link_down: Duration::from_millis(500),
            ..Plan::default()
        };
        for (key, value) in spec::pairs(list) {
            match key {
                "seed" => plan.seed = spec::number(value)?,
                "after" => plan.after = spec::duration(value)?,
                "command" => {
                    let (name, p) = value
                        .split_once(':')
                        .ok_or_else(|| format!("'{value}' is not NAME:PROBABILITY"))?;
                    let p = p.parse()?;
                    match name {
                        "any" => plan.any_command = p,
                        _ => plan.commands.push((
                            opcode(name).ok_or_else(|| format!("there is no command '{name}'"))?,
                            p,
                        )),
                    }
                }
                "late-command" => plan.late_command = value.parse()?,
                "late-cqe" => plan.late_cqe = value.parse()?,
                "late" => plan.late = spec::duration(value)?,
                "no-buffer" => plan.no_buffer = value.parse()?,
                "sq-error" => plan.sq_error = value.parse()?,
                "link-up" => plan.link_up = Some(spec::duration(value)?),
                "link-down" => plan.link_down = spec::duration(value)?,
                "max-tis" => plan.max_tis = Some(spec::number(value)?),
                "max-dek" => plan.max_dek = Some(spec::number(value)?),
                _ => return Err(format!("there is no fault '{key}'")),
            }
        }
        if plan.link_up.is_some_and(|t| t.is_zero()) {
            return Err("link-up: the link must be up for a while".to_string());
        }
        Ok(plan)
    }
}

/// What goes wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandFault {
    /// It has no effect, and this status.
    Fails(Status),
    /// It is executed, and completes so much later.
    Late(Duration),
}

/// A command's delivery status, as far as faults use it: `enum` at `MLX5_CMD_STAT_OK` of `include/linux/mlx5/device.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// `MLX5_CMD_STAT_INT_ERR`.
    Internal = 0x01,
    /// `MLX5_CMD_STAT_LIM_ERR`.
    Limit = 0x08,
    /// `MLX5_CMD_STAT_NO_RES_ERR`.
    NoResources = 0x0f,
}

/// Objects whose number may be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A TIS with `tls_en`.
    Tis,
    /// An encryption key.
    Dek,
}

/// What has gone wrong so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands that failed.
    pub commands: u64,
    /// Commands and CQEs that were late.
    pub late: u64,
    /// Packets without a buffer.
    pub no_buffer: u64,
    /// WQEs in error.
    pub sq_errors: u64,
    /// Times the link went down.
    pub link_downs: u64,
    /// Objects that were one too many.
    pub exhausted: u64,
}

/// The dice.
pub struct Faults {
    plan: Plan,
    start: Instant,
    commands: ChaCha8Rng,
    cqes: ChaCha8Rng,
    buffers: ChaCha8Rng,
    sqs: ChaCha8Rng,
    link: ChaCha8Rng,
    link_is_up: bool,
    next_flap: Option<Instant>,
    counts: Counts,
}

impl Faults {
    /// Starts at `now`.
    pub fn new(plan: Plan, now: Instant) -> Self {
        let dice = |stream| {
            let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
            rng.set_stream(stream);
            rng
        };
        let mut faults = Faults {
            start: now,
            commands: dice(0),
            cqes: dice(1),
            buffers: dice(2),
            sqs: dice(3),
            link: dice(4),
            link_is_up: true,
            next_flap: None,
            counts: Counts::default(),
            plan,
        };
        faults.next_flap =
            faults.plan.link_up.map(|t| now + faults.plan.after + around(t, &mut faults.link));
        faults
    }

    fn active(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.start) >= self.plan.after
    }

    /// What goes wrong with a command, if anything. `removes`: it takes something away.
    pub fn command(&mut self, now: Instant, opcode: u16, removes: bool) -> Option<CommandFault> {
        if !self.active(now) {
            return None;
        }
        let (rng, plan) = (&mut self.commands, &self.plan);
        let named = plan.commands.iter().filter(|(op, _)| *op == opcode);
        // All are thrown, so that the course of one does not hang on another's luck.
        let any = plan.any_command.happens(rng) && !removes;
        let fails = named.fold(any, |fails, (_, p)| p.happens(rng) || fails);
        if fails {
            self.counts.commands += 1;
            let statuses = [Status::Internal, Status::Limit, Status::NoResources];
            let status = statuses.get(rng.random_range(0..statuses.len())).copied();
            return Some(CommandFault::Fails(status.unwrap_or(Status::Internal)));
        }
        if plan.late_command.happens(rng) {
            self.counts.late += 1;
            return Some(CommandFault::Late(plan.late.mul_f64(rng.random())));
        }
        None
    }

    /// How late the next CQE is, if it is.
    pub fn late_cqe(&mut self, now: Instant) -> Option<Duration> {
        let late = self.active(now) && self.plan.late_cqe.happens(&mut self.cqes);
        self.counts.late += u64::from(late);
        late.then(|| self.plan.late.mul_f64(self.cqes.random()))
    }

    /// The next received packet finds no buffer.
    pub fn no_buffer(&mut self, now: Instant) -> bool {
        let none = self.active(now) && self.plan.no_buffer.happens(&mut self.buffers);
        self.counts.no_buffer += u64::from(none);
        none
    }

    /// The next WQE of a send queue completes in error.
    pub fn sq_error(&mut self, now: Instant) -> bool {
        let error = self.active(now) && self.plan.sq_error.happens(&mut self.sqs);
        self.counts.sq_errors += u64::from(error);
        error
    }

    /// Whether there may be one more of these, of which `count` are there.
    pub fn room(&mut self, object: Object, count: usize) -> bool {
        let limit = match object {
            Object::Tis => self.plan.max_tis,
            Object::Dek => self.plan.max_dek,
        };
        let room = limit.is_none_or(|limit| count < limit as usize);
        self.counts.exhausted += u64::from(!room);
        room
    }

    /// A change of the link since this was asked last: `true` if it is up now.
    pub fn link(&mut self, now: Instant) -> Option<bool> {
        let (due, up) = (self.next_flap?, self.plan.link_up?);
        if now < due {
            return None;
        }
        self.link_is_up = !self.link_is_up;
        self.counts.link_downs += u64::from(!self.link_is_up);
        let length = if self.link_is_up { up } else { self.plan.link_down };
        self.next_flap = Some(now + around(length, &mut self.link));
        Some(self.link_is_up)
    }

    /// When to ask [`Faults::link`] again.
    pub fn next_link_change(&self) -> Option<Instant> {
        self.next_flap
    }

    /// What has gone wrong so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

/// Half of a duration to one and a half.
fn around(duration: Duration, rng: &mut ChaCha8Rng) -> Duration {
    duration.mul_f64(0.5 + rng.random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(list: &str) -> Plan {
        Plan::parse(list, |name| (name == "CREATE_TIS").then_some(0x912)).unwrap()
    }

    fn faults(list: &str) -> (Faults, Instant) {
        let now = Instant::now();
        (Faults::new(plan(list), now), now)
    }

    #[test]
    fn nothing_by_default_nor_before_its_time() {
        for list in
            ["", "command=any:100%,late-cqe=100%,no-buffer=100%,sq-error=100%,link-up=1us,after=1s"]
        {
            let (mut f, now) = faults(list);
            for ms in 0..1000 {
                let now = now + Duration::from_millis(ms);
                assert_eq!(f.command(now, 1, false), None);
                assert_eq!(f.late_cqe(now), None);
                assert!(!f.no_buffer(now) && !f.sq_error(now));
                assert_eq!(f.link(now), None);
            }
            assert!(f.room(Object::Tis, 1 << 20));
            assert_eq!(f.counts(), Counts::default());
        }
    }

    #[test]
    fn each_as_often_as_planned() {
        let (mut f, now) = faults("seed=3,command=CREATE_TIS:50%,late-command=20%,late-cqe=10%,late=8ms,no-buffer=5%,sq-error=1%");
        let mut failed = [0; 2];
        for _ in 0..5000 {
            for (i, opcode) in [0x912, 0x100].into_iter().enumerate() {
                match f.command(now, opcode, false) {
                    Some(CommandFault::Fails(_)) => failed[i] += 1,
                    Some(CommandFault::Late(time)) => assert!(time <= Duration::from_millis(8)),
                    None => {}
                }
            }
            assert!(f.late_cqe(now).is_none_or(|time| time <= Duration::from_millis(8)));
            f.no_buffer(now);
            f.sq_error(now);
        }
        assert!((2300..2700).contains(&failed[0]) && failed[1] == 0, "{failed:?}");
        let counts = f.counts();
        assert_eq!(counts.commands, failed[0]);
        // 20 % of 7,500 commands and 10 % of 5,000 CQEs.
        assert!((1800..2200).contains(&counts.late), "{counts:?}");
        assert!(
            (190..310).contains(&counts.no_buffer) && (25..80).contains(&counts.sq_errors),
            "{counts:?}"
        );
    }

    #[test]
    fn what_takes_away_fails_only_by_name() {
        let (mut f, now) = faults("command=any:100%");
        assert_eq!(f.command(now, 0x912, true), None);
        assert!(f.command(now, 0x912, false).is_some());
        let (mut f, now) = faults("command=CREATE_TIS:100%");
        assert!(f.command(now, 0x912, true).is_some());
    }

    #[test]
    fn one_kind_does_not_change_anothers_course() {
        let course = |list: &str| {
            let (mut f, now) = faults(list);
            (0..500)
                .map(|_| {
                    f.command(now, 0x912, true);
                    f.late_cqe(now);
                    f.no_buffer(now)
                })
                .collect::<Vec<_>>()
        };
        let alone = course("seed=1,no-buffer=20%");
        assert_eq!(alone, course("seed=1,no-buffer=20%,command=any:50%,late-cqe=30%"));
        assert_ne!(alone, course("seed=2,no-buffer=20%"));
    }

    #[test]
    fn the_link_goes_down_and_comes_up() {
        let (mut f, start) = faults("seed=4,link-up=100ms,link-down=10ms,after=1s");
        let (mut now, mut up, mut down_for) = (start, true, Duration::ZERO);
        for _ in 0..200 {
            let next = f.next_link_change().unwrap();
            assert!(next >= start + Duration::from_secs(1));
            assert_eq!(f.link(next - Duration::from_nanos(1)), None);
            if !up {
                down_for += next - now;
            }
            up = !up;
            assert_eq!(f.link(next), Some(up));
            now = next;
        }
        assert!(
            (Duration::from_millis(800)..Duration::from_millis(1200)).contains(&down_for),
            "{down_for:?}"
        );
        assert_eq!(f.counts().link_downs, 100);
    }

    #[test]
    fn contexts_run_out() {
        let (mut f, _) = faults("max-tis=2,max-dek=0");
        assert!(f.room(Object::Tis, 1) && !f.room(Object::Tis, 2) && !f.room(Object::Dek, 0));
        assert_eq!(f.counts().exhausted, 2);
    }

    #[test]
    fn plans_that_make_no_sense() {
        for bad in [
            "foo=1",
            "command=5%",
            "command=FOO:5%",
            "command=any:5",
            "link-up=0s",
            "seed=x",
            "late=5",
        ] {
            assert!(Plan::parse(bad, |_| None).is_err(), "{bad}");
        }
    }
}
