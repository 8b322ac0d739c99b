// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Packets on their way: out of a host's card, through the switches, to the other host.

use super::{Happening, World};
use crate::check::Invariant;
use crate::faults::Verdict;
use crate::host::Host;
use crate::net::port::{Offer, Served};
use crate::net::Node;
use crate::packet::HostId;
use crate::pool::Handle;
use crate::trace;

impl<H: Host> World<H> {
    /// Takes packets from a host as long as its card has room. Returns how many.
    pub(super) fn fill_card(&mut self, id: HostId) -> u32 {
        let card = self.net.card(id);
        let mut sent = 0;
        loop {
            let depth = self.scenario.card_queue;
            let port = self.net.port(card);
            let idle = port.busy_until() <= self.now && port.queued() == 0;
            if !idle && (depth == 0 || port.queued() >= depth) {
                break;
            }
            if self.hosts[usize::from(id)].down {
                break;
            }
            let Some(packet) = self.call(id, |host, now| host.poll_transmit(now)) else { break };
            sent += 1;
            self.note(trace::name_of(&packet), || format!("send {}", trace::describe(&packet)));
            if let Some(grants) = &mut self.grants {
                if let Some((bound, outstanding)) =
                    grants.sent(&packet, self.hosts[usize::from(id)].host.grant_bound())
                {
                    let text = format!("host {id} has granted {outstanding} bytes that did not come; its bound is {bound}");
                    self.violated(Invariant::GrantBound, trace::name_of(&packet), text);
                }
            }
            let bytes = packet.wire_len();
            let kind = usize::from(packet.payload.len == 0);
            self.sent[kind] += u64::from(bytes);
            let handle = self.pool.put(packet);
            // A card has one queue.
            self.offer(card, handle, 0, bytes);
            self.totals.packets += 1;
            if self.totals.packets & 0xfff == 0 {
                self.check_storm();
            }
            if let Some((key, number)) = self.ledger.as_ref().and_then(|ledger| ledger.twice()) {
                let text = format!("host {id}: key {key:x} and nonce {number:x} encrypted twice");
                self.violated(Invariant::NonceOnce, None, text);
            }
            if self.violation.is_some() {
                break;
            }
        }
        let port = self.net.port(card);
        let free = port.busy_until();
        let slot = &mut self.hosts[usize::from(id)];
        // Also if something else, at the very time for which this was planned last, came before and sent already.
        if free > self.now && port.queued() == 0 && !slot.card_planned {
            slot.card_planned = true;
            self.queue.push(free, Happening::Card(id));
        }
        sent
    }

    /// Hands a packet to a port.
    fn offer(&mut self, port: usize, packet: Handle, priority: u8, bytes: u32) {
        let out = self.net.port(port);
        match out.offer(self.now, packet, priority, bytes) {
            Offer::Sent(arrives) => {
                let to = out.to;
                self.queue.push(arrives, Happening::Arrive(packet, to));
            }
            Offer::Queued(Some(at)) => self.queue.push(at, Happening::Serve(port as u32)),
            Offer::Queued(None) => {}
            Offer::Full => {
                self.totals.overflowed += 1;
                self.lose(packet, "no buffer");
            }
        }
    }

    /// A port's link is free.
    pub(super) fn serve(&mut self, port: usize) {
        let out = self.net.port(port);
        if let Some(Served { packet, arrives, again, wait }) = out.serve(self.now) {
            let to = out.to;
            if port >= self.hosts.len() {
                self.pool.get_mut(packet).waited.add(wait);
            }
            self.queue.push(arrives, Happening::Arrive(packet, to));
            if let Some(at) = again {
                self.queue.push(at, Happening::Serve(port as u32));
            }
        }
        if port < self.hosts.len() {
            let id = port as HostId;
            let card = self.net.port(port);
            let (free, waits) = (card.busy_until(), card.queued() > 0);
            let slot = &mut self.hosts[port];
            if !waits && !slot.card_planned {
                slot.card_planned = true;
                self.queue.push(free, Happening::Card(id));
            }
            self.after(id);
        }
    }

    /// A packet is at the end of a link.
    pub(super) fn arrive(&mut self, packet: Handle, node: Node) {
        if let Node::Host(_) = node {
            return self.judge(packet);
        }
        let (to, priority, bytes) = {
            let packet = self.pool.get(packet);
            (packet.destination, packet.priority, packet.wire_len())
        };
        let port = self.net.route(node, to, &mut self.spray);
        self.offer(port, packet, priority, bytes);
    }

    /// What goes wrong at the very end stands for all that can go wrong on the way.
    fn judge(&mut self, handle: Handle) {
        let Some(judge) = &mut self.judge else { return self.handle(handle) };
        let mut more = Vec::new();
        let verdict = judge.judge(self.now, self.pool.get_mut(handle), &mut more);
        for (late, packet) in more {
            let copy = self.pool.put(packet);
            self.note(trace::name_of(&packet), || {
                format!("another comes {} us later: {}", late / 1000, trace::describe(&packet))
            });
            self.queue.push(self.now + late, Happening::Handle(copy));
        }
        match verdict {
            Verdict::Arrives => self.handle(handle),
            Verdict::Late(late) => self.queue.push(self.now + late, Happening::Handle(handle)),
            Verdict::Lost(why) => self.lose(handle, why),
        }
    }

    fn lose(&mut self, handle: Handle, why: &str) {
        self.totals.lost += 1;
        if self.trace.is_some() {
            let packet = *self.pool.get(handle);
            self.note(trace::name_of(&packet), || {
                format!("lost ({why}) {}", trace::describe(&packet))
            });
        }
        self.pool.free(handle);
    }

    /// A packet is with the host's protocol.
    pub(super) fn handle(&mut self, handle: Handle) {
        let packet = *self.pool.get(handle);
        let id = packet.destination;
        if self.hosts[usize::from(id)].down {
            return self.lose(handle, "nobody there");
        }
        if let Some((slow, cost)) = self.scenario.slow {
            let slot = &mut self.hosts[usize::from(id)];
            if slow == id {
                if slot.busy_until > self.now {
                    // In order, as what is planned for the same time is.
                    return self.queue.push(slot.busy_until, Happening::Handle(handle));
                }
                slot.busy_until = self.now + cost;
            }
        }
        self.pool.free(handle);
        self.note(trace::name_of(&packet), || format!("receive {}", trace::describe(&packet)));
        self.waited = packet.waited;
        if let Some(grants) = &mut self.grants {
            grants.received(&packet);
        }
        self.call(id, |host, now| host.handle(now, &packet));
        self.after(id);
    }
}
