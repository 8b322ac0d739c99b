// SPDX-License-Identifier: GPL-2.0

//! What time brings: questions for what is late, and the end of what is too late.
//!
//! One timer per socket, which ticks while an RPC waits for its peer and is off otherwise. Whoever
//! makes an RPC wait calls [`Endpoint::watch`].

use kernel::prelude::*;
use kernel::sync::Arc;

use super::control::perform;
use super::endpoint::Endpoint;
use super::grants;
use super::rpc::Rpc;
use crate::observe::counters::Counter;
use crate::observe::trace;
use crate::protocol::rpc::Action;
use crate::sys::time::now_ns;
use crate::sys::timer::OnTimer;

/// RPCs that one tick deals with; the others have to wait for the next.
const MAX_DUE: usize = 256;

/// A tick comes no sooner than this many nanoseconds for each RPC: a few per cent of a CPU at most.
const COST: u64 = 1_000;

impl OnTimer for Endpoint {
    fn on_timer(this: &Arc<Self>) -> Option<u64> {
        if this.is_closed() {
            return None;
        }
        let now = now_ns();
        let config = &this.ns.config;
        let mut due: KVec<(Arc<Rpc>, Action)> = KVec::new();
        // When the next RPC is due.
        let mut next: Option<u64> = None;
        let mut poll_grants = false;
        this.for_each(|rpc| {
            let state = &mut *rpc.state.lock();
            let Some(deadline) = state.core.deadline() else {
                return;
            };
            // Without memory, or too many at once: at the next tick.
            if deadline > now || due.len() >= MAX_DUE || due.reserve(1, GFP_ATOMIC).is_err() {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
                return;
            }
            let core = &mut state.core;
            let action = rpc.peer.with_pulse(|pulse| core.poll_timer_of(now, config, pulse));
            if let Some(news) = core.take_news() {
                rpc.peer.learn(now, news);
            }
            if action != Action::None {
                let _ = due.push((rpc.clone(), action), GFP_ATOMIC);
            }
            poll_grants |= grants::stalled(&this.ns, state);
            // There may have been no memory to report it before.
            poll_grants |= grants::report(this, rpc, state);
            if let Some(deadline) = state.core.deadline() {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
            }
        });
        if poll_grants {
            grants::poll(&this.ns);
        }
        for (rpc, action) in due {
            if action == Action::Free {
                this.ns.stats.inc(Counter::ClientsLost);
                trace::timeout(&rpc, rpc.end_name(), 0, 0);
            }
            perform(this, &rpc, action);
            // A question may have more than one part.
            while let Some(control) = rpc.state.lock().core.poll_resend(now) {
                this.send_core_control(&rpc, control);
            }
        }
        // Each tick looks at all RPCs: not too often.
        let least = (this.rpc_count() as u64).saturating_mul(COST).max(config.rto_min);
        next.map(|next| next.saturating_sub(now).clamp(least, config.resend_first.max(least)))
    }
}
