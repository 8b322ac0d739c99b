// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The model as stateright sees it.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::attacker;
use crate::check::{self, Invariant, Witness};
use crate::crypto::Side;
use crate::live::hash_of;
use crate::progress;
use crate::sabotage::Rules;
use crate::scenario::Scenario;
use crate::state::{Action, State};

/// A run of the model: its bounds, and the rules that hold.
#[derive(Clone, Debug)]
pub struct Session {
    /// The bounds.
    pub scenario: Scenario,
    /// The rules.
    pub rules: Rules,
    /// Bits of the invariants that were found broken.
    found: Arc<AtomicU16>,
}

impl Session {
    /// A new one.
    pub fn new(scenario: Scenario, rules: Rules) -> Self {
        Self { scenario, rules, found: Arc::default() }
    }

    /// Only the first state in which `invariant` does not hold counts: stateright would report the last.
    fn first(&self, invariant: Invariant, holds: bool) -> bool {
        let bit = 1 << invariant as u16;
        holds || self.found.fetch_or(bit, Ordering::Relaxed) & bit != 0
    }

    fn holds(&self, invariant: Invariant, state: &State) -> bool {
        let holds = match invariant {
            Invariant::FloorSafe => state.holds(invariant) && check::floors(state),
            Invariant::KeysKept => check::keys_kept(state, self.rules),
            Invariant::KeysGo => state.holds(invariant) && check::keys_go(state),
            Invariant::Progress => self.progresses(state),
            _ => state.holds(invariant),
        };
        self.first(invariant, holds)
    }

    fn progresses(&self, state: &State) -> bool {
        let every = self.scenario.progress_every;
        (every > 1 && hash_of(state) % every != 0)
            || progress::completes(state, &self.scenario, self.rules)
    }

    fn sees(&self, witness: Witness, state: &State) -> bool {
        let [a, b] = &self.scenario.rpcs;
        witness.seen(state, [a.len(), b.len()])
    }
}

impl Model for Session {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for side in Side::BOTH {
            state.own_actions(&self.scenario, self.rules, side, actions);
            attacker::data(state, &self.scenario, self.rules, side, actions);
            attacker::control(state, self.rules, side, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        state.step(&self.scenario, self.rules, &action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let condition = |invariant: Invariant| -> fn(&Self, &State) -> bool {
            match invariant {
                Invariant::NonceOnce => |m, s| m.holds(Invariant::NonceOnce, s),
                Invariant::AtMostOnce => |m, s| m.holds(Invariant::AtMostOnce, s),
                Invariant::OnlyWhatWasSent => |m, s| m.holds(Invariant::OnlyWhatWasSent, s),
                Invariant::NoTruncation => |m, s| m.holds(Invariant::NoTruncation, s),
                Invariant::ControlAuthentic => |m, s| m.holds(Invariant::ControlAuthentic, s),
                Invariant::ControlOnce => |m, s| m.holds(Invariant::ControlOnce, s),
                Invariant::FloorSafe => |m, s| m.holds(Invariant::FloorSafe, s),
                Invariant::KeysKept => |m, s| m.holds(Invariant::KeysKept, s),
                Invariant::KeysGo => |m, s| m.holds(Invariant::KeysGo, s),
                Invariant::Progress => |m, s| m.holds(Invariant::Progress, s),
            }
        };
        let seen = |witness: Witness| -> fn(&Self, &State) -> bool {
            match witness {
                Witness::AllAnswered => |m, s| m.sees(Witness::AllAnswered, s),
                Witness::FloorFrees => |m, s| m.sees(Witness::FloorFrees, s),
                Witness::OldKeyOpens => |m, s| m.sees(Witness::OldKeyOpens, s),
                Witness::ThreeKeys => |m, s| m.sees(Witness::ThreeKeys, s),
                Witness::OldKeyEnds => |m, s| m.sees(Witness::OldKeyEnds, s),
                Witness::RekeyWaits => |m, s| m.sees(Witness::RekeyWaits, s),
                Witness::ForgedWaits => |m, s| m.sees(Witness::ForgedWaits, s),
            }
        };
        let always = Invariant::ALL.map(|i| Property::always(i.name(), condition(i)));
        let sometimes = Witness::ALL.map(|w| Property::sometimes(w.name(), seen(w)));
        always.into_iter().chain(sometimes).collect()
    }
}

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Steps that lead to them.
    pub steps: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// Were all states seen?
    pub exhaustive: bool,
    /// What was seen.
    pub seen: Vec<Witness>,
    /// What does not hold, with the shortest way there (with one thread; with more, almost the shortest).
    pub broken: Vec<(Invariant, Vec<Action>)>,
}

/// Explores all states within the bounds, or until something does not hold; `wanted`, if that is given.
pub fn run(
    session: Session,
    threads: usize,
    limit: Option<usize>,
    wanted: Option<Invariant>,
) -> Report {
    let began = Instant::now();
    let until = match wanted {
        Some(wanted) => HasDiscoveries::AnyOf([wanted.name()].into()),
        None => HasDiscoveries::AnyFailures,
    };
    let mut checker = session.checker().threads(threads).finish_when(until);
    if let Some(limit) = limit {
        checker = checker.target_state_count(limit);
    }
    let checker = checker.spawn_bfs().join();
    let broken: Vec<_> = Invariant::ALL
        .into_iter()
        .filter_map(|i| Some((i, checker.discovery(i.name())?.into_actions())))
        .collect();
    Report {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        time: began.elapsed(),
        exhaustive: broken.is_empty() && limit.is_none_or(|limit| checker.state_count() < limit),
        seen: Witness::ALL.into_iter().filter(|w| checker.discovery(w.name()).is_some()).collect(),
        broken,
    }
}
