// SPDX-License-Identifier: GPL-2.0

//! What time brings: questions for what is late, and the end of what is too late.
//!
//! One timer per socket, which ticks while an RPC waits for its peer and is off otherwise. Whoever
//! makes an RPC wait calls [`Endpoint::watch`].

use kernel::prelude::*;
use kernel::sync::Arc;

use super::endpoint::Endpoint;
use super::receive::perform;
use super::rpc::Rpc;
use crate::observe::counters::Counter;
use crate::observe::trace;
use crate::protocol::rpc::Action;
use crate::sys::time::now_ns;
use crate::sys::timer::OnTimer;

/// RPCs that one tick deals with; the others have to wait for the next.
const MAX_DUE: usize = 256;

impl OnTimer for Endpoint {
    fn on_timer(this: &Arc<Self>) -> Option<u64> {
        if this.is_closed() {
            return None;
        }
        let now = now_ns();
        let config = &this.ns.config;
        let mut due: KVec<(Arc<Rpc>, Action)> = KVec::new();
        let mut waiting = false;
        this.for_each(|rpc| {
            let core = &mut rpc.state.lock().core;
            let Some(deadline) = core.deadline() else {
                return;
            };
            waiting = true;
            // Without memory, or too many at once: at the next tick.
            if deadline > now || due.len() >= MAX_DUE || due.reserve(1, GFP_ATOMIC).is_err() {
                return;
            }
            let action = core.poll_timer(now, config);
            if action != Action::None {
                let _ = due.push((rpc.clone(), action), GFP_ATOMIC);
            }
        });
        for (rpc, action) in due {
            if action == Action::Free {
                this.ns.stats.inc(Counter::ClientsLost);
                trace::timeout(&rpc, rpc.end_name(), 0, 0);
            }
            perform(this, &rpc, action);
        }
        waiting.then_some(config.resend_first)
    }
}
