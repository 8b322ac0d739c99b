// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The core's state machines as values that a model checker can copy and compare.
//!
//! They are neither `Clone` nor `Hash`. A [`Live`] is one of them, shared and never changed: a change is made on a
//! machine that repeats all changes so far. Two are equal if all their fields are, as `Debug` shows them. What a
//! change leads to is remembered, so that the core's code runs once for each state and change.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Debug, Write};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::ops::{Deref, Range};
use std::sync::Arc;

use homa_core::config::Config;
use homa_core::msgin;
use homa_core::msgout::MsgOut;
use homa_core::rpc::{Action, Arrival, Data, Rpc};
use homa_core::session::control::{ControlSender, ControlWindow};
use homa_core::session::ids::{Ids, IdsError};
use homa_core::session::replay::{MarkError, ReplayWindow};
use homa_core::session::seq::MessageId;

/// A state machine of the core.
pub trait Machine: Debug + Sized + 'static {
    /// What it is made of.
    type Seed: Clone + Debug;
    /// What changes it, and how that ends.
    type Op: Clone + Debug + Eq + Hash;
    /// What a change returns.
    type Out: Clone;

    /// A new one.
    fn new(seed: &Self::Seed) -> Self;
    /// Changes it.
    fn apply(&mut self, op: &Self::Op) -> Self::Out;
    /// What is known of changes of such machines, in this thread.
    fn with_memo<R>(f: impl FnOnce(&mut Memo<Self>) -> R) -> R;
}

/// What a change of a machine leads to.
pub type Memo<M> = HashMap<(u64, <M as Machine>::Op), (Live<M>, <M as Machine>::Out)>;

struct Inner<M: Machine> {
    machine: M,
    seed: M::Seed,
    log: Vec<M::Op>,
    key: u64,
}

/// A machine in one state.
pub struct Live<M: Machine>(Arc<Inner<M>>);

/// Hashes what is written to it.
#[derive(Default)]
struct Digest(DefaultHasher);

impl Write for Digest {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.write(s.as_bytes());
        Ok(())
    }
}

impl<M: Machine> Live<M> {
    /// A new machine.
    pub fn new(seed: M::Seed) -> Self {
        Self::of(M::new(&seed), seed, Vec::new())
    }

    fn of(machine: M, seed: M::Seed, log: Vec<M::Op>) -> Self {
        let mut digest = Digest::default();
        // Writing to a hasher does not fail.
        let _ = write!(digest, "{machine:?}");
        Self(Arc::new(Inner { machine, seed, log, key: digest.0.finish() }))
    }

    /// Changes it.
    pub fn apply(&mut self, op: M::Op) -> M::Out {
        let place = (self.0.key, op);
        if let Some((next, out)) = M::with_memo(|memo| memo.get(&place).cloned()) {
            *self = next;
            return out;
        }
        let mut machine = M::new(&self.0.seed);
        for op in &self.0.log {
            machine.apply(op);
        }
        let out = machine.apply(&place.1);
        let mut log = self.0.log.clone();
        log.push(place.1.clone());
        let next = Self::of(machine, self.0.seed.clone(), log);
        // What changed nothing need not be repeated.
        let next = if next == *self { self.clone() } else { next };
        M::with_memo(|memo| memo.insert(place, (next.clone(), out.clone())));
        *self = next;
        out
    }
}

impl<M: Machine> Deref for Live<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0.machine
    }
}

impl<M: Machine> Clone for Live<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Machine> PartialEq for Live<M> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl<M: Machine> Eq for Live<M> {}

impl<M: Machine> Hash for Live<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.key);
    }
}

impl<M: Machine> Debug for Live<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.machine.fmt(f)
    }
}

/// The same hash in every run.
pub fn hash_of(value: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::new().hash_one(value)
}

macro_rules! memo {
    ($machine:ty) => {
        fn with_memo<R>(f: impl FnOnce(&mut Memo<Self>) -> R) -> R {
            thread_local!(static MEMO: RefCell<Memo<$machine>> = RefCell::default());
            MEMO.with_borrow_mut(f)
        }
    };
}

/// A change of [`Ids`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdsOp {
    /// Gives out the next.
    Next,
    /// This one is over.
    Finish(MessageId),
}

impl Machine for Ids {
    type Seed = ();
    type Op = IdsOp;
    type Out = Result<MessageId, IdsError>;

    fn new((): &()) -> Self {
        Self::new()
    }

    fn apply(&mut self, op: &IdsOp) -> Self::Out {
        match *op {
            IdsOp::Next => self.next(),
            IdsOp::Finish(id) => {
                self.finish(id);
                Ok(id)
            }
        }
    }

    memo!(Ids);
}

/// A change of a [`ReplayWindow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplayOp {
    /// Takes over the floor of this message, so far below it, and marks it.
    Take(MessageId, u16),
    /// Marks it alone. (Sabotage.)
    Mark(MessageId),
    /// Takes over the floor alone. (Sabotage.)
    Floor(MessageId, u16),
}

impl Machine for ReplayWindow {
    type Seed = ();
    type Op = ReplayOp;
    /// Which ids died, and whether marking worked.
    type Out = (Option<Range<u64>>, Result<(), MarkError>);

    fn new((): &()) -> Self {
        Self::new()
    }

    fn apply(&mut self, op: &ReplayOp) -> Self::Out {
        match *op {
            ReplayOp::Take(id, distance) => (self.advance_floor(id, distance), self.mark(id)),
            ReplayOp::Mark(id) => (None, self.mark(id)),
            ReplayOp::Floor(id, distance) => (self.advance_floor(id, distance), Ok(())),
        }
    }

    memo!(ReplayWindow);
}

impl Machine for ControlSender {
    type Seed = ();
    type Op = ();
    type Out = Option<u64>;

    fn new((): &()) -> Self {
        Self::new()
    }

    fn apply(&mut self, (): &()) -> Self::Out {
        self.next()
    }

    memo!(ControlSender);
}

impl Machine for ControlWindow {
    type Seed = ();
    /// The counter that is marked.
    type Op = u64;
    type Out = bool;

    fn new((): &()) -> Self {
        Self::new()
    }

    fn apply(&mut self, counter: &u64) -> bool {
        self.mark(*counter)
    }

    memo!(ControlWindow);
}

/// A change of an [`Rpc`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RpcOp {
    /// Bytes `start .. end` of a stream of `length` bytes came.
    Arrival {
        /// Of the stream.
        length: u32,
        /// First byte.
        start: u32,
        /// One past the last byte.
        end: u32,
    },
    /// These bytes are wanted again.
    Forget(u32, u32),
    /// All bytes are wanted again.
    ForgetMessage,
    /// Something authenticated.
    Prove,
    /// The message goes to the program.
    Deliver,
    /// The program answers, with a stream of so many bytes.
    Reply(u32),
    /// The client acknowledged it.
    Ack,
    /// The client's program gives up.
    Cancel,
}

/// What a change of an [`Rpc`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcOut {
    /// Nothing.
    Done,
    /// Whether it worked.
    Worked(bool),
    /// What became of bytes.
    Data(Data),
    /// What is to be done.
    Action(Action),
}

/// Which end of an RPC, and the bytes of the request's stream.
#[derive(Clone, Copy, Debug)]
pub enum RpcSeed {
    /// It has sent them.
    Client(u32),
    /// It expects them.
    Server(u32),
}

/// An outgoing message that has been sent.
fn sent(length: u32) -> MsgOut {
    let mut out = MsgOut::new(length, length);
    out.advance(length);
    out
}

impl Machine for Rpc {
    type Seed = RpcSeed;
    type Op = RpcOp;
    type Out = RpcOut;

    fn new(seed: &RpcSeed) -> Self {
        match *seed {
            RpcSeed::Client(length) => Self::client(0, &Config::DEFAULT, sent(length)),
            RpcSeed::Server(length) => {
                Self::server(0, &Config::DEFAULT, msgin::MsgIn::new(length, length))
            }
        }
    }

    // Time does not pass: what the timer does (asking again) is the attacker's choice or `progress`.
    fn apply(&mut self, op: &RpcOp) -> RpcOut {
        match *op {
            RpcOp::Arrival { length, start, end } => {
                let payload = msgin::Range { start, end };
                let arrival =
                    Arrival { length, incoming: length, payload, sealed: true, again: false };
                RpcOut::Data(self.handle_arrival(0, &Config::DEFAULT, &arrival))
            }
            RpcOp::Forget(start, end) => RpcOut::Worked(self.forget(msgin::Range { start, end })),
            RpcOp::ForgetMessage => {
                self.forget_message();
                RpcOut::Done
            }
            RpcOp::Prove => {
                self.prove(0);
                RpcOut::Done
            }
            RpcOp::Deliver => {
                self.deliver();
                RpcOut::Done
            }
            RpcOp::Reply(length) => RpcOut::Worked(self.reply(0, &Config::DEFAULT, sent(length))),
            RpcOp::Ack => RpcOut::Action(self.handle_ack()),
            RpcOp::Cancel => RpcOut::Action(self.cancel()),
        }
    }

    memo!(Rpc);
}
