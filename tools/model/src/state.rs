// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Two ends, and what the attacker has of them.
//!
//! The network is a set: all that was ever sent. The attacker hands out of it what it likes, to whom it likes, as
//! often and as late as it likes; what it never hands out is lost. So loss, duplication, reordering, replay and
//! reflection are all there, and a retransmission of the same bytes changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use homa_core::rpc::Phase;

use crate::check::{self, Invariant};
use crate::crypto::{Side, Term};
use crate::end::{End, Event};
use crate::keys;
use crate::packet::{ControlPacket, DataPacket};
use crate::sabotage::Rules;
use crate::scenario::Scenario;

/// A state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// A and B.
    pub ends: [Arc<End>; 2],
    /// All that was ever sent.
    pub wire: Arc<BTreeSet<Term>>,
    /// Tags of the control packets that were believed.
    pub believed: BTreeSet<Term>,
    /// Bits of the invariants that an event broke.
    broken: u16,
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The program sends its next request.
    Start(Side),
    /// The program answers the request that its end knows by this id.
    Reply(Side, u64),
    /// The program gives up its request.
    Abort(Side, u64),
    /// A message is sent again.
    Resend(Side, u64),
    /// The next key to seal with is set.
    RekeyTx(Side),
    /// The next key to open with is set.
    RekeyRx(Side),
    /// The server asks whether it may forget an RPC.
    NeedAck(Side, u64),
    /// The server gives up a request.
    TimeOut(Side, u64),
    /// The attacker hands this out.
    Data(Side, DataPacket),
    /// And this.
    Control(Side, ControlPacket),
}

impl State {
    /// A new session.
    pub fn new() -> Self {
        Self {
            ends: Side::BOTH.map(|side| Arc::new(End::new(side))),
            wire: Arc::default(),
            believed: BTreeSet::new(),
            broken: 0,
        }
    }

    /// Did no event break this?
    pub fn holds(&self, invariant: Invariant) -> bool {
        self.broken & (1 << invariant as u16) == 0
    }

    /// One of the ends.
    pub fn end(&self, side: Side) -> &End {
        &self.ends[side.index()]
    }

    /// What the program or the timer of `side` may do.
    pub fn own_actions(
        &self,
        scenario: &Scenario,
        rules: Rules,
        side: Side,
        actions: &mut Vec<Action>,
    ) {
        let (end, i) = (self.end(side), side.index());
        if usize::from(end.started) < scenario.rpcs[i].len() {
            actions.push(Action::Start(side));
        }
        for id in end.client.keys() {
            if end.aborted < scenario.aborts[i] {
                actions.push(Action::Abort(side, *id));
            }
        }
        for (local, call) in &end.server {
            match call.rpc.phase() {
                Phase::InService => actions.push(Action::Reply(side, *local)),
                Phase::Replying if end.asked < scenario.need_acks[i] => {
                    actions.push(Action::NeedAck(side, *local));
                }
                Phase::Receiving
                    if !call.incoming.is_proven()
                        || end.given_up.len() < scenario.time_outs[i].into() =>
                {
                    actions.push(Action::TimeOut(side, *local));
                }
                _ => {}
            }
        }
        for sent in end.live() {
            actions.push(Action::Resend(side, sent.author.id));
        }
        if keys::tx_is_next(self, scenario, side) {
            actions.push(Action::RekeyTx(side));
        }
        if keys::rx_is_next(self, scenario, rules, side) {
            actions.push(Action::RekeyRx(side));
        }
    }

    /// The state after `action`; `None` if that changes nothing.
    pub fn step(&self, scenario: &Scenario, rules: Rules, action: &Action) -> Option<Self> {
        let mut next = self.clone();
        next.act(scenario, rules, action);
        (next != *self).then_some(next)
    }

    /// Does `action`.
    pub fn act(&mut self, scenario: &Scenario, rules: Rules, action: &Action) {
        let mut events = Vec::new();
        let side = action.side();
        let end = Arc::make_mut(&mut self.ends[side.index()]);
        // What cannot be done changes nothing: the return values say no more than that.
        match action {
            Action::Start(_) => {
                let shape = scenario.rpcs[side.index()][usize::from(end.started)];
                let _ = end.start(rules, shape.request, &mut events);
            }
            Action::Reply(_, local) => {
                let number = (*local / 2) as usize;
                let shape = scenario.rpcs[side.peer().index()].get(number).copied();
                let records = shape.map_or(1, |shape| shape.response);
                let _ = end.reply(rules, *local, records, &mut events);
            }
            Action::Abort(_, id) => {
                let _ = end.abort(rules, *id, &mut events);
            }
            Action::Resend(_, id) => {
                let _ = end.resend(rules, *id, &mut events);
            }
            Action::RekeyTx(_) => {
                end.rekey_tx(rules);
            }
            Action::RekeyRx(_) => end.rekey_rx(rules),
            Action::NeedAck(_, local) => end.need_ack(rules, *local, &mut events),
            Action::TimeOut(_, local) => end.time_out(*local),
            Action::Data(_, packet) => end.data(rules, packet, &mut events),
            Action::Control(_, packet) => end.control(rules, packet, &mut events),
        }
        for event in events {
            self.happened(side, event);
        }
    }

    fn happened(&mut self, side: Side, event: Event) {
        if let Some(broken) = check::event(self, self.end(side), &event) {
            self.broken |= 1 << broken as u16;
        }
        match event {
            Event::Sealed(term) => {
                Arc::make_mut(&mut self.wire).insert(term);
            }
            Event::Believed(ControlPacket { tag: Some(tag), .. }) => {
                self.believed.insert(tag);
            }
            _ => {}
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl Action {
    /// Where it happens.
    pub fn side(&self) -> Side {
        match self {
            Self::Start(side)
            | Self::Reply(side, _)
            | Self::Abort(side, _)
            | Self::Resend(side, _)
            | Self::RekeyTx(side)
            | Self::RekeyRx(side)
            | Self::NeedAck(side, _)
            | Self::TimeOut(side, _)
            | Self::Data(side, _)
            | Self::Control(side, _) => *side,
        }
    }
}
