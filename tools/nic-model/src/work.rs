// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The device's work: commands, WQEs in the scheduler's order, and completions, some of them late.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::cmd::{Delivery, Posted};
use crate::cq::Cqe;
use crate::device::Device;
use crate::eq::event;
use crate::faults::CommandFault;
use crate::sched::Next;

/// A command whose doorbell was rung.
#[derive(Debug)]
struct Rung {
    entry: u32,
    /// The driver polls for its end: no event.
    polled: bool,
}

/// A command that is done, but not yet told so.
#[derive(Debug)]
struct Late {
    due: Instant,
    rung: Rung,
    posted: Posted,
    output: Vec<u8>,
}

/// What waits to be done.
#[derive(Debug, Default)]
pub struct Queue {
    commands: VecDeque<Rung>,
    late_commands: Vec<Late>,
    /// By CQ: CQEs stay in order.
    late_cqes: BTreeMap<u32, VecDeque<(Instant, Cqe)>>,
}

impl Queue {
    pub fn clear(&mut self) {
        *self = Queue::default();
    }

    /// When something late is due.
    fn next_due(&self) -> Option<Instant> {
        let commands = self.late_commands.iter().map(|late| late.due);
        let cqes = self.late_cqes.values().filter_map(|queue| queue.front()).map(|(due, _)| *due);
        commands.chain(cqes).min()
    }
}

/// What became of a call of [`Device::work`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worked {
    /// There may be more to do at once.
    pub busy: bool,
    /// When there will be, if not.
    pub due: Option<Instant>,
}

impl Device {
    /// The command doorbell: a bit for each entry that is ready.
    pub fn command_doorbell(&mut self, entries: u32) {
        // The driver polls for the end of what it posts before there is a queue for that event: also of the command
        // that makes this queue.
        let polled = self.eqs.for_event(event::CMD).is_none();
        for entry in (0..32).filter(|n| (entries >> n) & 1 == 1) {
            self.queue.commands.push_back(Rung { entry, polled });
        }
    }

    /// Does some of what is to be done.
    pub fn work(&mut self, steps: usize) -> Worked {
        let now = Instant::now();
        self.finish_late(now);
        if let Some(up) = self.faults.link(now) {
            self.port.faulted_down = !up;
        }
        let dues = [self.queue.next_due(), self.faults.next_link_change()];
        let mut due = dues.into_iter().flatten().min();
        for _ in 0..steps {
            if let Some(rung) = self.queue.commands.pop_front() {
                self.run_command(rung);
                continue;
            }
            match self.scheduler.next(Instant::now()) {
                Next::Run(sqn) => self.run_wqe(sqn),
                Next::Wait(until) => {
                    due = due.into_iter().chain([until]).min();
                    return Worked { busy: false, due };
                }
                Next::Idle => return Worked { busy: false, due },
            }
        }
        Worked { busy: true, due }
    }

    fn run_command(&mut self, rung: Rung) {
        let posted = match self.cmdq.fetch(&self.mem, rung.entry) {
            Ok(posted) => posted,
            Err(failed) => return self.undeliverable(rung, failed.status, &failed.why),
        };
        let now = Instant::now();
        let opcode = posted.input.first_chunk().map_or(0, |b| u16::from_be_bytes(*b));
        match self.faults.command(now, opcode, self.removes(opcode)) {
            Some(CommandFault::Fails(status)) => {
                let mut output = vec![0; posted.outlen];
                output[0] = status as u8;
                self.finish_command(rung, &posted, &output);
            }
            Some(CommandFault::Late(time)) => {
                let output = self.execute(&posted.input, posted.outlen);
                self.queue.late_commands.push(Late { due: now + time, rung, posted, output });
            }
            None => {
                let output = self.execute(&posted.input, posted.outlen);
                self.finish_command(rung, &posted, &output);
            }
        }
    }

    fn finish_command(&mut self, rung: Rung, posted: &Posted, output: &[u8]) {
        match self.cmdq.complete(&self.mem, posted, output) {
            Ok(()) => self.tell(&rung),
            Err(failed) => self.undeliverable(rung, failed.status, &failed.why),
        }
    }

    fn undeliverable(&mut self, rung: Rung, status: Delivery, why: &str) {
        self.strict.violation(format_args!("command entry {}: {why}", rung.entry));
        self.cmdq.give_back(&self.mem, rung.entry, status);
        self.tell(&rung);
    }

    fn tell(&mut self, rung: &Rung) {
        if !rung.polled {
            let data = (1u32 << rung.entry).to_be_bytes();
            self.eqs.async_event(&self.mem, &mut self.strict, event::CMD, 0, &data);
        }
    }

    fn finish_late(&mut self, now: Instant) {
        while let Some(at) = self.queue.late_commands.iter().position(|late| late.due <= now) {
            let late = self.queue.late_commands.swap_remove(at);
            self.finish_command(late.rung, &late.posted, &late.output);
        }
        let cqns: Vec<u32> = self.queue.late_cqes.keys().copied().collect();
        for cqn in cqns {
            self.post_late(cqn, Some(now));
        }
    }

    /// Posts the late CQEs of a CQ that are due by then, or all.
    fn post_late(&mut self, cqn: u32, until: Option<Instant>) {
        let Some(queue) = self.queue.late_cqes.get_mut(&cqn) else { return };
        while let Some((due, cqe)) = queue.front() {
            if until.is_some_and(|until| *due > until) {
                return;
            }
            self.cqs.post(&self.mem, &mut self.eqs, &mut self.strict, cqn, *cqe);
            queue.pop_front();
        }
        self.queue.late_cqes.remove(&cqn);
    }

    /// Before a queue is changed or destroyed its completions are written.
    pub fn flush_cq(&mut self, cqn: u32) {
        self.post_late(cqn, None);
    }

    /// Posts a CQE, now or later.
    pub fn post_cqe(&mut self, cqn: u32, cqe: Cqe) {
        let now = Instant::now();
        let late = self.faults.late_cqe(now);
        let waiting =
            self.queue.late_cqes.get(&cqn).and_then(|queue| queue.back()).map(|(due, _)| *due);
        if late.is_none() && waiting.is_none() {
            self.cqs.post(&self.mem, &mut self.eqs, &mut self.strict, cqn, cqe);
            return;
        }
        let due = late.map_or(now, |time| now + time).max(waiting.unwrap_or(now));
        self.queue.late_cqes.entry(cqn).or_default().push_back((due, cqe));
    }
}
