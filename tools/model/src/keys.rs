// SPDX-License-Identifier: GPL-2.0 OR MIT

//! When the previous key goes.
//!
//! A sender knows its own messages: the key goes with the last that was sealed under it. A receiver cannot know of
//! messages of which nothing came. It has to wait as long as a sender may go on sending: that it does is modelled by
//! looking what the sender has.

use std::sync::Arc;

use crate::crypto::Side;
use crate::sabotage::{Rules, Sabotage};
use crate::state::State;

/// Does `side` still send what it sealed under its key `generation`, or an older one?
fn in_use(state: &State, side: Side, generation: u8) -> bool {
    state.end(side).live().any(|sent| sent.generation <= generation)
}

/// May the receiver `side` drop its previous key?
fn receiver_may_drop(state: &State, rules: Rules, side: Side, generation: u8) -> bool {
    let (end, peer) = (state.end(side), state.end(side.peer()));
    if rules.broken(Sabotage::DropKeyEarly) {
        let epoch = generation & 3;
        let mut calls = end.client.values().chain(end.server.values());
        return !calls.any(|call| call.incoming.epoch() == Some(epoch));
    }
    peer.tx.generation > generation && !in_use(state, side.peer(), generation)
}

/// Drops the previous keys that are not needed any more.
pub fn drop_old(state: &mut State, rules: Rules) {
    for side in Side::BOTH {
        let (tx, rx) = (state.end(side).tx.previous(), state.end(side).rx.previous());
        if tx.is_some_and(|generation| !in_use(state, side, generation)) {
            Arc::make_mut(&mut state.ends[side.index()]).tx.drop_previous();
        }
        if rx.is_some_and(|generation| receiver_may_drop(state, rules, side, generation)) {
            Arc::make_mut(&mut state.ends[side.index()]).rx.drop_previous();
        }
    }
}
