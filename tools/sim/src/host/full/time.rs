// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What time brings.

use std::cmp::Reverse;

use super::{Full, Key};
use crate::host::Time;

impl Full {
    /// After anything that may have changed an RPC's deadline.
    pub(super) fn touch(&mut self, key: Key) {
        let Some(rpc) = self.rpcs.get_mut(&key) else { return };
        if let Some(at) = rpc.core.deadline() {
            if rpc.timer.is_none_or(|set| at < set) {
                rpc.timer = Some(at);
                self.timers.push(Reverse((at, key)));
            }
        }
    }

    pub(super) fn run_timers(&mut self, now: Time) {
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(rpc) = self.rpcs.get_mut(&key).filter(|rpc| rpc.timer == Some(at)) else {
                continue;
            };
            rpc.timer = None;
            let config = self.setup.config;
            let Some(peer) = self.peers.get_mut(&key.0) else { continue };
            let action = rpc.core.poll_timer_of(now, &config, &mut peer.pulse);
            if let Some(news) = rpc.core.take_news() {
                peer.path.learn(now, news);
            }
            if let Some(token) = rpc.core.take_stalled() {
                self.grants.stalled(token);
            }
            if rpc.core.is_report_due() {
                peer.path.set_usual(self.typical.least().unwrap_or(0));
                let window = peer.path.window(self.setup.link_bps, &config);
                let _ = rpc.core.report(&mut self.grants, || key, u64::from(key.0), window);
            }
            self.perform(now, key, action);
            self.ask(now, key);
            self.touch(key);
        }
    }

    /// Asks for all that is due to be asked for.
    pub(super) fn ask(&mut self, now: Time, key: Key) {
        loop {
            let Some(rpc) = self.rpcs.get_mut(&key) else { return };
            let Some(control) = rpc.core.poll_resend(now) else { return };
            self.send_core_control(now, key, control);
        }
    }
}
