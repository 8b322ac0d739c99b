// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What happens when the attacker stops: everything that is sent arrives, everybody does what there is to do.

use crate::crypto::{Side, Term, Text};
use crate::packet::ControlPacket;
use crate::sabotage::Rules;
use crate::scenario::Scenario;
use crate::state::{Action, State};

/// Rounds after which it is given up.
const ROUNDS: usize = 32;

/// Does all end well from `state` on?
pub fn completes(state: &State, scenario: &Scenario, rules: Rules) -> bool {
    let mut run = Run { state: state.clone(), scenario, rules };
    run.until_quiet(Run::round);
    let answered = run.state.ends.iter().zip(Side::BOTH).all(|(end, side)| {
        let peer = run.state.end(side.peer());
        usize::from(end.started) == scenario.rpcs[side.index()].len()
            && end.client.keys().all(|id| peer.given_up.contains(id))
    });
    if !answered {
        return false;
    }
    // Much time passes.
    run.until_quiet(Run::time_passes);
    run.state.ends.iter().all(|end| {
        let peer = run.state.end(end.side.peer());
        end.client.is_empty()
            && end.server.is_empty()
            && end.ids.in_window() == 0
            && !end.has_previous_tx()
            && end.tx.generation == peer.rx.generation
    })
}

struct Run<'a> {
    state: State,
    scenario: &'a Scenario,
    rules: Rules,
}

impl Run<'_> {
    fn until_quiet(&mut self, round: fn(&mut Self)) {
        for _ in 0..ROUNDS {
            let before = self.state.clone();
            round(self);
            if self.state == before {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        self.state.act(self.scenario, self.rules, &action);
    }

    /// A rekey that one end began is done by the other, RPCs begin, everything is sent (again), requests are answered.
    fn round(&mut self) {
        for side in Side::BOTH {
            self.rekey(side);
            let i = side.index();
            while usize::from(self.state.ends[i].started) < self.scenario.rpcs[i].len() {
                let started = self.state.ends[i].started;
                self.act(Action::Start(side));
                if self.state.ends[i].started == started {
                    break;
                }
            }
            let packets: Vec<_> =
                self.state.end(side).live().flat_map(|sent| sent.packets()).collect();
            for packet in packets {
                self.act(Action::Data(side.peer(), packet));
            }
            let served: Vec<u64> = self.state.end(side.peer()).server.keys().copied().collect();
            for local in served {
                self.act(Action::Reply(side.peer(), local));
            }
        }
    }

    /// What is sent is opened, and what is to be opened is sent: but that may have to wait (EBUSY).
    fn rekey(&mut self, side: Side) {
        let (end, peer) = (self.state.end(side), self.state.end(side.peer()));
        if end.tx.generation < peer.rx.generation {
            self.act(Action::RekeyTx(side));
        }
        let (end, peer) = (self.state.end(side), self.state.end(side.peer()));
        if end.rx.generation < peer.tx.generation {
            self.act(Action::RekeyRx(side));
        }
    }

    /// Clients give up what their server gave up, servers what no client sends, and servers ask what they may forget.
    fn time_passes(&mut self) {
        for side in Side::BOTH {
            self.rekey(side);
            for id in self.state.end(side).client.keys().copied().collect::<Vec<_>>() {
                self.act(Action::Abort(side, id));
            }
            for (local, call) in &self.state.ends[side.index()].clone().server {
                if call.rpc.is_receiving() {
                    self.act(Action::TimeOut(side, *local));
                } else {
                    let before = self.state.wire.clone();
                    self.act(Action::NeedAck(side, *local));
                    self.hand_out(side.peer(), &before);
                }
            }
        }
    }

    /// Hands to `to`, and what it answers to its peer, the control packets that are not in `before`.
    fn hand_out(&mut self, to: Side, before: &std::collections::BTreeSet<Term>) {
        let new: Vec<Term> = self.state.wire.difference(before).cloned().collect();
        let before = self.state.wire.clone();
        for tag in &new {
            if let Text::Control(header) = &tag.sealed().text {
                let packet = ControlPacket { header: header.clone(), tag: Some(tag.clone()) };
                self.act(Action::Control(to, packet));
            }
        }
        if !new.is_empty() {
            self.hand_out(to.peer(), &before);
        }
    }
}
