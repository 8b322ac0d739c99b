// SPDX-License-Identifier: GPL-2.0

//! Grants: messages that are too long to be sent unasked, and the namespace's scheduler that lets them go on.
//!
//! A message gets there with its first packet and reports each time a step of it arrived; it leaves when it is whole or its RPC ends.
//! Whatever changes what the scheduler would do is followed by [`poll`], with no lock held.

use kernel::sync::Arc;

use super::endpoint::Endpoint;
use super::net::Net;
use super::rpc::{Rpc, State};
use crate::protocol::wire::Control;
use crate::sys::time::now_ns;

/// What the scheduler knows a message by. It keeps both alive: whoever ends an RPC calls [`leave`].
#[derive(Clone)]
pub(super) struct Granted {
    endpoint: Arc<Endpoint>,
    rpc: Arc<Rpc>,
}

/// Grants that are sent in one go; others have to wait for the next occasion.
const MAX_GRANTS: usize = 32;

/// Tells the scheduler about the incoming message of `rpc`, if it has to know; true if it has to be polled then.
#[inline]
pub(super) fn report(endpoint: &Arc<Endpoint>, rpc: &Arc<Rpc>, state: &mut State) -> bool {
    state.core.is_report_due() && report_slow(endpoint, rpc, state)
}

fn report_slow(endpoint: &Arc<Endpoint>, rpc: &Arc<Rpc>, state: &mut State) -> bool {
    let now = now_ns();
    if let Some(ns) = state.core.take_round_trip() {
        rpc.peer.round_trip(now, ns);
    }
    if let Some(speed) = state.core.pace_in(now) {
        rpc.peer.carried_in(now, speed);
    }
    let (window, rto, reordering) = rpc.peer.window(state.core.take_arrived());
    if !state.core.is_scheduled() {
        state.core.set_rto(now, rto, reordering);
    }
    let handle = || Granted { endpoint: endpoint.clone(), rpc: rpc.clone() };
    let mut grants = endpoint.ns.grants.lock();
    // Without memory: with the next packet, or when it is asked for.
    state.core.report(&mut grants, handle, rpc.peer.host_key(), window).is_ok()
}

/// The scheduler forgets the incoming message; true if it has to be polled then.
#[inline]
pub(super) fn leave(ns: &Net, state: &mut State) -> bool {
    let scheduled = state.core.is_scheduled();
    if scheduled {
        state.core.leave(&mut ns.grants.lock());
    }
    scheduled
}

/// The sender of the incoming message is silent: others go first. True if the scheduler has to be polled then.
pub(super) fn stalled(ns: &Net, state: &mut State) -> bool {
    match state.core.take_stalled() {
        Some(token) => {
            ns.grants.lock().stalled(token);
            true
        }
        None => false,
    }
}

/// Sends what grants are due.
pub(super) fn poll(ns: &Net) {
    let levels = ns.scheduled_levels();
    for _ in 0..MAX_GRANTS {
        let Some(grant) = ns.grants.lock().poll(levels) else {
            return;
        };
        let Granted { endpoint, rpc } = grant.handle;
        if rpc.state.lock().core.grant(now_ns(), grant.offset) {
            let control = Control::Grant { offset: grant.offset, priority: grant.priority };
            endpoint.send_control(&rpc.peer, rpc.session.as_deref(), rpc.id, &control);
            // From now on it is the peer that is waited for.
            endpoint.watch();
        }
    }
}
