// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The cable: what leaves the port, and what comes in.
//!
//! A [`Wire`] is one end. Its other end is another model NIC in this process ([`link::pair`]) or in another
//! ([`link::Unix`]), a tap device of this machine ([`link::Tap`]), or nothing. On the way out frames pass a stage that
//! loses, delays and spoils them as [`Impairments`] say, by a seed; a [`Capture`] then writes what really was on the wire,
//! in both directions.
//!
//! Nothing here blocks, starts a thread or reads a clock. The owner polls [`Wire::fd`], calls [`Wire::receive`] until there
//! is no more, and [`Wire::advance`] when it is time.
//!
//! ```
//! use std::time::Instant;
//! use nic_model::wire::{link, Impairments, Wire};
//!
//! let (a, b) = link::pair()?;
//! let (mut a, mut b) = (Wire::new(Box::new(a), Impairments::default()), Wire::new(Box::new(b), Impairments::default()));
//! let now = Instant::now();
//! a.send(now, &[0; 60]);
//! a.advance(now)?;
//! assert_eq!(b.receive()?, Some(vec![0; 60]));
//! # std::io::Result::Ok(())
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

pub mod capture;
pub mod impair;
pub mod link;

pub use capture::Capture;
pub use impair::Impairments;
pub use link::{Endpoint, Link};

use capture::Direction;
use impair::Stage;

/// The longest frame that passes.
pub const MAX_FRAME: usize = 1 << 16;

/// How many bytes wait for a peer that is slow to read. A cable has flow control, too, so this is not meant to overflow.
const BACKLOG: usize = 8 << 20;

/// What has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames that went out on the wire.
    pub sent: u64,
    /// Frames that came in.
    pub received: u64,
    /// Frames that were lost on purpose.
    pub lost: u64,
    /// Frames that went out twice on purpose.
    pub duplicated: u64,
    /// Frames that were held back on purpose.
    pub reordered: u64,
    /// Frames with a bit flipped on purpose.
    pub corrupted: u64,
    /// Frames that found the queue of the rate limit full.
    pub queue_full: u64,
    /// Frames that went nowhere: there is no peer, it is too slow, or a frame is too long.
    pub undelivered: u64,
}

/// One end of a cable.
pub struct Wire {
    link: Box<dyn Link>,
    stage: Stage,
    capture: Option<Capture>,
    backlog: VecDeque<Vec<u8>>,
    backlog_bytes: usize,
    buffer: Vec<u8>,
    stats: Stats,
}

impl Wire {
    /// A cable that is impaired as `impairments` say, in the direction away from here.
    pub fn new(link: Box<dyn Link>, impairments: Impairments) -> Self {
        Wire {
            link,
            stage: Stage::new(impairments),
            capture: None,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            buffer: vec![0; MAX_FRAME],
            stats: Stats::default(),
        }
    }

    /// Impairs what is sent from now on in another way; what is on its way stays there.
    pub fn set_impairments(&mut self, impairments: Impairments) {
        self.stage.set_impairments(impairments);
    }

    /// Writes all that passes to `capture` from now on.
    pub fn set_capture(&mut self, capture: Capture) {
        self.capture = Some(capture);
    }

    /// Puts a frame on the wire. It goes out with the next [`Wire::advance`] that finds it due.
    pub fn send(&mut self, now: Instant, frame: &[u8]) {
        if frame.is_empty() || frame.len() > MAX_FRAME {
            self.stats.undelivered += 1;
        } else {
            self.stage.push(now, frame, &mut self.stats);
        }
    }

    /// Sends what is due; when to call it again, if there is anything that waits for its time. Call it also when
    /// [`Wire::wants_write`] was true and [`Wire::fd`] has become writable.
    pub fn advance(&mut self, now: Instant) -> io::Result<Option<Instant>> {
        while let Some(frame) = self.backlog.front() {
            match self.link.send(frame)? {
                link::Sent::Full => break,
                sent => self.count(sent),
            }
            self.backlog_bytes -= self.backlog.pop_front().map_or(0, |f| f.len());
        }
        while let Some((due, frame)) = self.stage.pop(now) {
            if !self.link.carrier() {
                self.stats.undelivered += 1;
                continue;
            }
            if let Some(capture) = &mut self.capture {
                capture.frame(due, Direction::Out, &frame)?;
            }
            let sent =
                if self.backlog.is_empty() { self.link.send(&frame)? } else { link::Sent::Full };
            match sent {
                link::Sent::Full if self.backlog_bytes + frame.len() <= BACKLOG => {
                    self.backlog_bytes += frame.len();
                    self.backlog.push_back(frame);
                }
                link::Sent::Full => self.stats.undelivered += 1,
                sent => self.count(sent),
            }
        }
        Ok(self.stage.next_due())
    }

    fn count(&mut self, sent: link::Sent) {
        match sent {
            link::Sent::Yes => self.stats.sent += 1,
            link::Sent::Full | link::Sent::NoPeer => self.stats.undelivered += 1,
        }
    }

    /// The next frame that came in; `None` if there is none now.
    pub fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(len) = self.link.receive(&mut self.buffer)? else { return Ok(None) };
        let frame = self.buffer.get(..len).unwrap_or_default().to_vec();
        self.stats.received += 1;
        if let Some(capture) = &mut self.capture {
            capture.frame(Instant::now(), Direction::In, &frame)?;
        }
        Ok(Some(frame))
    }

    /// What to poll for reading, and, if [`Wire::wants_write`], for writing. It may be another one after each call of
    /// [`Wire::receive`] or [`Wire::advance`]: a peer has come or gone.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.link.fd()
    }

    /// The peer was too slow, and something waits for it.
    pub fn wants_write(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// There is something at the other end.
    pub fn carrier(&self) -> bool {
        self.link.carrier()
    }

    /// What has passed.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Writes out what the capture has buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.capture.as_mut().map_or(Ok(()), Capture::flush)
    }
}

#[cfg(test)]
mod tests;
