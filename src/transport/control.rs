// SPDX-License-Identifier: GPL-2.0

//! What arrives about messages: control packets, acknowledgments that come with DATA, and ICMP. Softirq.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::endpoint::Endpoint;
use super::net::Net;
use super::peer::Peer;
use super::receive::{Arrived, Outcome};
use super::rpc::Rpc;
use crate::observe::counters::Counter;
use crate::observe::trace;
use crate::protocol::rpc::{Action, Failure};
use crate::protocol::wire::{Ack, Acks, Control};
use crate::sys::addr::SockAddr;
use crate::sys::netns;
use crate::sys::proto::IcmpError;
use crate::sys::skb::Skb;
use crate::sys::time::now_ns;
use crate::tls::Session;

/// Acknowledged RPCs that one packet frees.
const MAX_DEAD: usize = 1024;

/// The client of a session is done with the requests `ids`.
pub(super) fn forget_dead(endpoint: &Endpoint, peer: &Peer, ids: ::core::ops::Range<u64>) {
    // Ids whose RPCs are gone already cost a look-up, too. What is left over is acknowledged when asked.
    for id in ids.step_by(2).take(MAX_DEAD) {
        // The one whose floor this is counts.
        if peer.use_count() <= 1 {
            break;
        }
        if let Some(rpc) = endpoint.find_rpc(&peer.name, id | 1) {
            endpoint.finish(rpc, now_ns);
        }
    }
}

/// An acknowledgment; `sealed` if it is authenticated. Only such ones count for sealed RPCs.
///
/// HomaModule acknowledges, with whatever it has to send to a host, the RPCs of all its sockets with all of that
/// host's. Those of another socket of its own it will acknowledge again when asked.
pub(super) fn handle_ack(endpoint: &Endpoint, name: &SockAddr, now: u64, sealed: bool, ack: &Ack) {
    let (id, port) = (ack.client_id ^ 1, ack.server_port);
    if port == endpoint.port() {
        acknowledged(endpoint, endpoint.find_rpc(name, id), now, sealed);
    } else if let Some(other) = endpoint.ns.find_port(port).filter(|_| !sealed) {
        acknowledged(&other, other.find_rpc(name, id), now, sealed);
    }
}

/// The client has the response of `rpc`.
fn acknowledged(endpoint: &Endpoint, rpc: Option<Arc<Rpc>>, now: u64, sealed: bool) {
    let Some(rpc) = rpc.filter(|rpc| rpc.session.is_some() == sealed) else {
        return;
    };
    let action = rpc.state.lock().core.handle_ack();
    if action == Action::Free {
        endpoint.finish(rpc, || now);
    }
}

/// A control packet, of `session` if it is authenticated, about `rpc` if there is one.
pub(super) fn handle_control(
    arrived: &Arrived,
    rpc: Option<Arc<Rpc>>,
    session: Option<&Session>,
    control: &Control,
) -> Outcome {
    let Arrived { endpoint, name, id, now, skb } = arrived;
    let (id, now) = (*id, *now);
    if let Control::Ack(acks) = control {
        for ack in acks.as_slice() {
            handle_ack(endpoint, name, now, session.is_some(), ack);
        }
        // HomaModule's answer to NEED_ACK may name the RPC in no other place.
        acknowledged(endpoint, rpc, now, session.is_some());
        return Ok(());
    }
    if let Control::Cutoffs { cutoffs, version } = control {
        // About all that is sent to the peer, not about the RPC.
        let peer = rpc.map(|rpc| rpc.peer.clone()).or_else(|| endpoint.find_peer(name));
        let peer = peer.ok_or(Counter::DropUnknownRpc)?;
        peer.learn_cutoffs(*cutoffs, *version);
        return Ok(());
    }
    let Some(rpc) = rpc else {
        return unknown_rpc(endpoint, name, id, session, control, skb);
    };
    rpc.peer.heard(now);
    let config = &endpoint.ns.config;
    let action = {
        let core = &mut rpc.state.lock().core;
        match control {
            Control::Grant { offset, priority } => {
                let action = core.handle_grant_at(now, *offset, *priority);
                if let Some(speed) = core.pace_out(now) {
                    rpc.peer.carried_out(now, speed);
                }
                action
            }
            Control::Resend { offset, length, .. } => {
                let length = length.unwrap_or(u32::MAX);
                trace::resend(&rpc, "received", *offset, length);
                core.handle_resend(now, *offset, length)
            }
            Control::Unknown => core.handle_unknown(now, config),
            Control::Busy => core.handle_busy(now, config),
            Control::NeedAck => core.handle_need_ack(now),
            Control::Ack(_) | Control::Cutoffs { .. } | Control::Freeze => Action::None,
        }
    };
    perform(endpoint, &rpc, action);
    // A grant, a RESEND or a restart may have made room to send.
    endpoint.push_out(&rpc);
    Ok(())
}

/// Does what the core decided about `rpc`.
pub(super) fn perform(endpoint: &Endpoint, rpc: &Arc<Rpc>, action: Action) {
    match action {
        Action::None => {}
        Action::Send(control) => endpoint.send_core_control(rpc, control),
        Action::Retransmit(range) => {
            rpc.peer.lost_outgoing(now_ns(), range.len());
            endpoint.send_again(rpc, range);
        }
        Action::Free => endpoint.forget(rpc),
        Action::Fail(failure) => {
            let (error, counter) = match failure {
                Failure::TimedOut => {
                    trace::timeout(rpc, rpc.end_name(), 0, 0);
                    (ETIMEDOUT, Counter::RpcTimeouts)
                }
                Failure::Reset => (ECONNRESET, Counter::RpcResets),
            };
            endpoint.ns.stats.inc(counter);
            endpoint.fail(rpc, error);
        }
    }
}

/// An ICMP error about a packet of ours, which began with `header`.
///
/// It is not authenticated, so it never touches a session. Plain RPCs with a port that nobody has, or with
/// a host that has no Homa, fail; plain RPCs of a client whose port is gone end.
pub(crate) fn icmp_error(net: &netns::Net, header: &[u8], error: &IcmpError) {
    let Some(ns) = Net::of(net) else {
        return;
    };
    let (true, Some(&[a, b, c, d])) = (error.fatal, header.first_chunk()) else {
        return;
    };
    let (addr, port) = (error.dest, u16::from_be_bytes([c, d]));
    let Some(endpoint) = ns.find_port(u16::from_be_bytes([a, b])) else {
        return;
    };
    // Anybody can forge one: all RPCs are looked at only if there are any with that peer. (Which of the networks
    // a link-local address belongs to is not known.)
    let name = SockAddr { addr, port, scope: 0 };
    let concerned = |peer: Arc<Peer>| peer.use_count() != 0 && !peer.is_sealed();
    if !addr.is_link_local() && !endpoint.find_peer(&name).is_some_and(concerned) {
        return;
    }
    // What HomaModule says when nobody has the port.
    let err = if error.err == ECONNREFUSED { ENOTCONN } else { error.err };
    endpoint.abort_matching(err, |rpc| {
        let to = &rpc.peer.name;
        let mine = rpc.is_client() || err == ENOTCONN;
        mine && rpc.session.is_none() && to.addr == addr && to.port == port
    });
}

/// A control packet about an RPC that is not here.
fn unknown_rpc(
    endpoint: &Endpoint,
    name: &SockAddr,
    id: u64,
    session: Option<&Session>,
    control: &Control,
    skb: &Skb,
) -> Outcome {
    let answer = match control {
        // The client has forgotten it because it is done.
        Control::NeedAck if id & 1 == 0 => {
            let mut acks = Acks::new();
            acks.push(Ack { client_id: id, server_port: name.port });
            Control::Ack(acks)
        }
        Control::Resend { .. } => Control::Unknown,
        _ => return Err(Counter::DropUnknownRpc),
    };
    // Whoever asks need not be remembered.
    let peer = match endpoint.find_peer(name) {
        Some(peer) => peer,
        None => Peer::new(&endpoint.ns, *name, skb.dest()).map_err(|_| Counter::DropNoMemory)?,
    };
    endpoint.send_control(&peer, session, id, &answer);
    Ok(())
}
