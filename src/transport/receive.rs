// SPDX-License-Identifier: GPL-2.0

//! Packets that arrive. Softirq.
//!
//! Every packet ends here in one of three ways: it becomes part of an incoming message, it changes
//! the state of an RPC, or it is dropped and counted.

use kernel::prelude::*;
use kernel::sync::{rcu, Arc};

use super::control::{forget_dead, handle_ack, handle_control};
use super::endpoint::Endpoint;
use super::grants;
use super::incoming::{Opened, Seal, Whole};
use super::net::Net;
use super::peer::{Answer, Peer};
use super::rpc::{Identity, Rpc, State};
use crate::observe::counters::Counter;
use crate::observe::trace;
use crate::protocol::msgin::{MsgIn, Range};
use crate::protocol::rpc::{self as core, Arrival, Data as Verdict, Phase};
use crate::protocol::session::preamble::Preamble;
use crate::protocol::session::seq::MessageId;
use crate::protocol::window::ResponseLimit;
use crate::protocol::wire::{
    Ack, Acks, AnyData, Body, Common, Control, Packet, PacketType, SealedData, DATA_LEN,
    MAX_HEADER, SEALED_DATA_LEN,
};
use crate::sys::addr::{Family, SockAddr};
use crate::sys::netns;
use crate::sys::skb::{SkBuff, Skb};
use crate::sys::time::now_ns;
use crate::tls::{Keys, Session};

/// What a DATA packet brings, plain or sealed.
struct Payload {
    /// Bytes of the stream.
    range: Range,
    /// Where they begin in the packet.
    skip: u32,
    /// Length of the stream.
    length: u32,
    /// The sender sends so far unasked.
    incoming: u32,
    /// It says that it sent this before.
    again: bool,
    /// It has this version of our cutoffs.
    cutoff_version: u16,
    /// What the client wants of the response at a time.
    response_limit: ResponseLimit,
    /// How a sealed message is sealed.
    seal: Option<Seal>,
}

/// A packet, or several that GRO chained.
pub(crate) fn receive(net: &netns::Net, mut skb: SkBuff) {
    let guard = rcu::read_lock();
    let Some(ns) = Net::of_borrow(net, &guard) else {
        return;
    };
    ns.early_routes.learn(&skb);
    let Ok(mut chained) = skb.take_frag_list() else {
        ns.stats.inc(Counter::DropNoMemory);
        return;
    };
    one(net, &ns, skb, true);
    while let Some(skb) = chained.pop_front() {
        one(net, &ns, skb, false);
    }
}

/// What came of a packet: it was used, or dropped for a reason.
pub(super) type Outcome = Result<(), Counter>;

/// `first`: it is as IP handed it up, and so can be answered with ICMP.
fn one(net: &netns::Net, ns: &Net, skb: SkBuff, first: bool) {
    ns.stats.inc(Counter::PacketsReceived);
    if trace::drops_watched() {
        return one_watched(net, ns, skb, first);
    }
    if let Err(why) = dispatch(ns, skb, first) {
        ns.stats.inc(why);
    }
}

/// The same while somebody looks at dropped packets.
#[cold]
fn one_watched(net: &netns::Net, ns: &Net, skb: SkBuff, first: bool) {
    let packet = trace::Packet::of(&skb);
    if let Err(why) = dispatch(ns, skb, first) {
        ns.stats.inc(why);
        packet.dropped(net, why);
    }
}

fn dispatch(ns: &Net, skb: SkBuff, first: bool) -> Outcome {
    let head = skb.head();
    match AnyData::parse(head, skb.len())? {
        Some((common, data)) => {
            let arrived = Arrived::admit(ns, skb, first, &common, data.packet_type())?;
            handle_data(arrived, data)
        }
        None => dispatch_copied(ns, skb, first),
    }
}

/// The same for packets whose header is copied: so that what is authenticated is what was read, and for those whose header does not lie in one piece.
#[inline(never)]
fn dispatch_copied(ns: &Net, skb: SkBuff, first: bool) -> Outcome {
    let mut copy = [0; MAX_HEADER];
    let len = skb.len();
    let head = copy.get_mut(..len.min(MAX_HEADER)).ok_or(Counter::MalformedShort)?;
    if !skb.copy_bits(0, head) {
        return Err(Counter::MalformedShort);
    }
    let packet = Packet::parse(head, len)?;
    let arrived = Arrived::admit(ns, skb, first, &packet.common, packet.packet_type())?;
    let Arrived { ref endpoint, ref name, id, .. } = arrived;
    match packet.body {
        Body::Data(data) => handle_data(arrived, AnyData::Plain(data)),
        Body::SealedData(data) => handle_data(arrived, AnyData::Sealed(data)),
        Body::Control(control) => {
            let rpc = endpoint.find_rpc(name, id);
            if rpc.as_ref().is_some_and(|rpc| rpc.session.is_some())
                || endpoint.find_peer(name).is_some_and(|peer| peer.is_sealed())
            {
                return Err(Counter::DropPlain);
            }
            handle_control(&arrived, rpc, None, &control)
        }
        Body::SealedControl(control) => {
            let peer = endpoint.find_peer(name).ok_or(Counter::DropNoSession)?;
            let session = peer.session().ok_or(Counter::DropNoSession)?;
            let opened = session.open_control(&control, head);
            endpoint.tell_usage(*name, &session);
            opened?;
            let rpc = endpoint.find_rpc(name, id).filter(|rpc| rpc.session.is_some());
            handle_control(&arrived, rpc, Some(&session), &control.inner)
        }
    }
}

/// A packet for a socket of this host.
pub(super) struct Arrived {
    pub(super) endpoint: Arc<Endpoint>,
    /// Where it came from.
    pub(super) name: SockAddr,
    /// The RPC's id, as this end knows it.
    pub(super) id: u64,
    pub(super) now: u64,
    pub(super) skb: SkBuff,
}

impl Arrived {
    /// Finds the socket, which may have it.
    #[inline(always)]
    fn admit(
        ns: &Net,
        mut skb: SkBuff,
        first: bool,
        common: &Common,
        kind: PacketType,
    ) -> Result<Self, Counter> {
        ns.stats.received(kind);
        let id = common.local_id();
        let endpoint = ns.find_port(common.destination_port);
        // A client should not have to wait for a time-out to learn that there is no server (any more); and HomaModule's
        // server asks a client that is gone for an acknowledgment until it hears this, every millisecond.
        let request = id & 1 != 0 && kind.plain() == PacketType::Data;
        if first && endpoint.as_ref().is_none_or(|e| request && !e.is_server()) {
            skb.port_unreachable();
        }
        let endpoint = endpoint.ok_or(Counter::DropNoSocket)?;
        check_address(&endpoint, &skb)?;
        filter(&endpoint, &mut skb)?;
        let addr = skb.source();
        let scope = if addr.is_link_local() { skb.ifindex() } else { 0 };
        let name = SockAddr { addr, port: common.source_port, scope };
        Ok(Self { endpoint, name, id, now: now_ns(), skb })
    }
}

/// It is part of the incoming message of an RPC.
#[inline(always)]
fn handle_data(arrived: Arrived, data: AnyData) -> Outcome {
    let Arrived { endpoint, name, id, now, skb } = arrived;
    match data {
        AnyData::Plain(data) => {
            if let Some(ack) = data.ack {
                handle_ack(&endpoint, &name, now, false, &ack);
            }
            let start = data.offset;
            let range = Range { start, end: start.saturating_add(data.payload) };
            let payload = Payload {
                range,
                skip: DATA_LEN as u32,
                length: data.message_length,
                incoming: data.incoming,
                again: data.retransmit,
                cutoff_version: data.cutoff_version,
                response_limit: data.response_limit,
                seal: None,
            };
            plain_data(&endpoint, &name, id, now, skb, payload)
        }
        AnyData::Sealed(data) => sealed_data(&endpoint, &name, id, now, skb, &data),
    }
}

/// May this socket have this packet?
#[inline(always)]
fn check_address(endpoint: &Endpoint, skb: &Skb) -> Outcome {
    let sk = &endpoint.sk;
    let bound = sk.local_addr();
    let family_ok = match skb.family() {
        Family::V4 => sk.family() == Family::V4 || !sk.is_v6only(),
        Family::V6 => sk.family() == Family::V6,
    };
    if !family_ok || !(bound.is_any() || bound == skb.dest()) {
        return Err(Counter::DropNoSocket);
    }
    let device = sk.bound_dev_if();
    if device != 0 && device != skb.ifindex() {
        return Err(Counter::DropNoSocket);
    }
    Ok(())
}

/// Socket filters, cgroups and security modules may refuse the packet. A filter may also shorten it:
/// then it is not what its header says any more.
#[inline(always)]
fn filter(endpoint: &Endpoint, skb: &mut Skb) -> Outcome {
    let len = skb.len();
    if endpoint.sk.admits(skb).is_err() || skb.len() != len {
        endpoint.sk.count_drop();
        return Err(Counter::DropFilter);
    }
    Ok(())
}

fn plain_data(
    endpoint: &Arc<Endpoint>,
    name: &SockAddr,
    id: u64,
    now: u64,
    skb: SkBuff,
    payload: Payload,
) -> Outcome {
    let rpc = match endpoint.find_rpc(name, id) {
        Some(rpc) if rpc.session.is_some() => return Err(Counter::DropPlain),
        Some(rpc) if rpc.peer.is_sealed() => return Err(Counter::DropPlain),
        Some(rpc) => rpc,
        None => {
            check_server(endpoint, id)?;
            if endpoint.is_sealed_only() {
                return Err(Counter::DropPlain);
            }
            let peer = endpoint.peer(*name, skb.dest()).map_err(|_| Counter::DropNoMemory)?;
            if peer.is_sealed() {
                return Err(Counter::DropPlain);
            }
            if peer.is_recent(now, id) {
                return Err(Counter::DropDuplicate);
            }
            let identity =
                Identity { id, visible_id: id, cookie: 0, private: false, session: None };
            new_request(endpoint, &peer.to_arc(), identity, now, &payload, true)?
        }
    };
    add_data(endpoint, &rpc, now, skb, payload)
}

/// Is there a server here for the request `id`?
fn check_server(endpoint: &Endpoint, id: u64) -> Outcome {
    if id & 1 == 0 {
        return Err(Counter::DropUnknownRpc);
    }
    if !endpoint.is_server() || endpoint.is_closed() {
        return Err(Counter::DropNotServer);
    }
    Ok(())
}

/// Bytes that are reserved for a sealed message of which nothing has been authenticated.
const UNPROVEN_CHARGE: u32 = 16 << 10;

/// A server's RPC, of which the first packet is here. `proven`: it is known to be the peer's.
fn new_request(
    endpoint: &Arc<Endpoint>,
    peer: &Arc<Peer>,
    identity: Identity,
    now: u64,
    payload: &Payload,
    proven: bool,
) -> Result<Arc<Rpc>, Counter> {
    // The whole message is reserved at once, so that a message once begun can be finished; but of a sealed
    // one only the first record, as long as anybody may have made it up.
    let sealed = identity.session.is_some();
    let reserve =
        if sealed && !proven { payload.length.min(UNPROVEN_CHARGE) } else { payload.length };
    let charge = Rpc::charge_for(reserve);
    let unproven = match &identity.session {
        Some(session) if !proven => Some(session.admit_unproven().ok_or(Counter::DropBufferFull)?),
        _ => None,
    };
    if endpoint.has_too_many() || !endpoint.sk.charge_rmem(charge) {
        endpoint.sk.count_drop();
        if !sealed {
            // We are alive and hold back.
            endpoint.send_control(peer, None, identity.id, &Control::Busy);
        }
        return Err(Counter::DropBufferFull);
    }
    let ns = &endpoint.ns;
    ns.learn(identity.id, payload.length, payload.incoming);
    let name = peer.name;
    let id = identity.id;
    let core = || {
        let msgin = MsgIn::new(payload.length, payload.incoming);
        let mut core = core::Rpc::server(now, &ns.config, msgin);
        core.set_response_limit(payload.response_limit);
        if payload.length > payload.range.len() {
            let (rto, reordering) = peer.waits();
            core.set_rto(now, rto, reordering);
        }
        core
    };
    let rpc = Rpc::server(endpoint, peer.clone(), identity, core, charge, unproven);
    let rpc = rpc.map_err(|_| {
        endpoint.sk.uncharge_rmem(charge);
        Counter::DropNoMemory
    })?;
    let twin = endpoint.rpcs.insert_unique(rpc.hash, rpc.clone(), |r| r.is(&name, id));
    match twin.map_err(|_| Counter::DropNoMemory)? {
        Some(twin) => Ok(twin),
        None => {
            if endpoint.is_closed() {
                endpoint.forget(&rpc);
                return Err(Counter::DropNoSocket);
            }
            endpoint.watch();
            Ok(rpc)
        }
    }
}

fn sealed_data(
    endpoint: &Arc<Endpoint>,
    name: &SockAddr,
    id: u64,
    now: u64,
    skb: SkBuff,
    data: &SealedData,
) -> Outcome {
    let layout = data.layout().ok_or(Counter::MalformedRecord)?;
    let ip_id = matches!(skb.family(), Family::V4).then(|| skb.ip_id());
    let start = data.stream_offset_in(&layout, ip_id)?;
    let seal = Seal { layout, flags: data.flags };
    let payload = Payload {
        range: Range { start, end: start.saturating_add(data.payload) },
        skip: SEALED_DATA_LEN as u32,
        length: layout.stream_length(),
        incoming: data.incoming,
        again: data.retransmit,
        cutoff_version: data.cutoff_version,
        response_limit: data.response_limit,
        seal: Some(seal),
    };
    // As most are.
    let is_whole = layout.records() == 1 && payload.range == layout.stream();
    let guard = rcu::read_lock();
    if let Some(rpc) = endpoint.find_rpc(name, id) {
        let session = rpc.session.as_ref().ok_or(Counter::DropNoSession)?;
        let keys = session.rx(data.flags, &guard)?;
        let response =
            if is_whole { rpc.incoming_id().filter(|id| id.is_response()) } else { None };
        let Some(response) = response else {
            return add_data(endpoint, &rpc, now, skb, payload);
        };
        return add(endpoint, &rpc, now, payload.cutoff_version, |state, after| {
            if !state.incoming.is_empty() {
                return add_data_beside(endpoint, &rpc, state, now, skb, payload, after);
            }
            let open = || open_whole(endpoint, session, keys, response, &seal, skb);
            add_whole(endpoint, &rpc, state, now, &payload, seal, open, after);
        });
    }
    check_server(endpoint, id)?;
    let peer = endpoint.find_peer(name).ok_or(Counter::DropNoSession)?;
    let session = peer.session().ok_or(Counter::DropNoSession)?;
    let keys = session.rx(data.flags, &guard)?;
    let request = MessageId::new(id ^ 1).ok_or(Counter::MalformedId)?;
    if !session.may_be_new(request) {
        return Err(Counter::TlsReplay);
    }
    // If it is all here, it becomes an RPC only if it is the peer's.
    let whole = if is_whole {
        let whole = open_whole(endpoint, &session, keys, request, &seal, skb);
        Ok(whole.inspect_err(|_| endpoint.tell_usage(*name, &session))?)
    } else {
        Err(skb)
    };
    let identity = Identity {
        id,
        visible_id: session.tag.program_id(request.other()),
        cookie: 0,
        private: false,
        session: Some(session),
    };
    let rpc = new_request(endpoint, &peer, identity, now, &payload, is_whole)?;
    match whole {
        Ok(whole) => add(endpoint, &rpc, now, payload.cutoff_version, |state, after| {
            if state.incoming.is_empty() {
                add_whole(endpoint, &rpc, state, now, &payload, seal, || Ok(whole), after);
            } else {
                // Another packet began the same RPC at the same time.
                after.outcome = Some(Counter::DropDuplicate);
            }
        }),
        Err(skb) => add_data(endpoint, &rpc, now, skb, payload),
    }
}

/// Adds a packet to what is here of a message that it has all of: something of it came before, or was forged.
#[cold]
fn add_data_beside(
    endpoint: &Arc<Endpoint>,
    rpc: &Arc<Rpc>,
    state: &mut State,
    now: u64,
    skb: SkBuff,
    payload: Payload,
    after: &mut After,
) {
    add_data_locked(endpoint, rpc, state, now, skb, payload, after);
}

/// Opens message `id`, which is one record in one packet.
fn open_whole(
    endpoint: &Endpoint,
    session: &Session,
    keys: &Keys,
    id: MessageId,
    seal: &Seal,
    skb: SkBuff,
) -> Result<Whole, Counter> {
    let whole = Whole::open(skb, SEALED_DATA_LEN, seal, keys, id).map_err(|e| {
        session.look_at(keys);
        e.counter()
    })?;
    endpoint.ns.stats.inc(Counter::TlsRecordsOpened);
    session.used(seal.flags.epoch);
    Ok(whole)
}

/// What is to be done for an RPC once its lock is gone.
#[derive(Default)]
struct After {
    /// Something is missing: ask for this, and whatever else the core says.
    ask: Option<core::Control>,
    /// The grant scheduler was told something.
    grants: bool,
    /// The incoming message is whole.
    ready: bool,
    /// What the response says about its server.
    answer: Option<Answer>,
    /// The RPC must go: nothing of its request is true, or it is a replay.
    forget: bool,
    /// Requests of the session's client that are acknowledged.
    dead: Option<::core::ops::Range<u64>>,
    outcome: Option<Counter>,
}

/// Adds a packet to the incoming message of `rpc`.
fn add_data(
    endpoint: &Arc<Endpoint>,
    rpc: &Arc<Rpc>,
    now: u64,
    skb: SkBuff,
    payload: Payload,
) -> Outcome {
    add(endpoint, rpc, now, payload.cutoff_version, |state, after| {
        add_data_locked(endpoint, rpc, state, now, skb, payload, after);
    })
}

/// Adds to the incoming message of `rpc`, as `to` does under its lock, and sees to what follows. The peer has `cutoff_version`.
#[inline(always)]
fn add(
    endpoint: &Arc<Endpoint>,
    rpc: &Arc<Rpc>,
    now: u64,
    cutoff_version: u16,
    to: impl FnOnce(&mut State, &mut After),
) -> Outcome {
    let mut after = After::default();
    to(&mut rpc.state.lock(), &mut after);
    follow_up(endpoint, rpc, now, cutoff_version, after)
}

/// What is to be done without the lock.
#[inline(always)]
fn follow_up(
    endpoint: &Arc<Endpoint>,
    rpc: &Arc<Rpc>,
    now: u64,
    cutoff_version: u16,
    after: After,
) -> Outcome {
    if let Some(session) = &rpc.session {
        endpoint.tell_usage(rpc.peer.name, session);
    }
    if after.forget {
        endpoint.forget(rpc);
    }
    if after.ready {
        // Before the program can have it, and forget it.
        if let Some(answer) = after.answer {
            response_arrived(endpoint, rpc, now, &answer);
        }
        endpoint.make_ready(rpc);
    }
    if let Some(control) = after.ask {
        ask(endpoint, rpc, now, control);
    }
    if after.grants {
        grants::poll(&endpoint.ns);
    }
    if endpoint.ns.has_other_cutoffs(cutoff_version) && !after.forget {
        tell_cutoffs(endpoint, rpc, now, cutoff_version);
    }
    if let Some(dead) = after.dead {
        forget_dead(endpoint, &rpc.peer, dead);
    }
    after.outcome.map_or(Ok(()), Err)
}

/// Asks for what is missing.
#[cold]
fn ask(endpoint: &Endpoint, rpc: &Arc<Rpc>, now: u64, first: core::Control) {
    let mut next = Some(first);
    while let Some(control) = next {
        endpoint.send_core_control(rpc, control);
        next = rpc.state.lock().core.poll_resend(now);
    }
}

/// The peer uses other priorities than it should.
#[cold]
fn tell_cutoffs(endpoint: &Endpoint, rpc: &Rpc, now: u64, version: u16) {
    let ours = endpoint.ns.cutoffs();
    if rpc.peer.must_be_told(now, version, &ours) {
        let control = Control::Cutoffs { cutoffs: ours.longest, version: ours.version };
        endpoint.send_control(&rpc.peer, rpc.session.as_deref(), rpc.id, &control);
    }
}

#[inline(always)]
fn add_data_locked(
    endpoint: &Arc<Endpoint>,
    rpc: &Arc<Rpc>,
    state: &mut State,
    now: u64,
    skb: SkBuff,
    payload: Payload,
    after: &mut After,
) {
    let config = &endpoint.ns.config;
    let Payload { range, skip, length, incoming, again, seal, .. } = payload;
    if let Some(seal) = seal {
        if state.core.is_receiving() && !expect(rpc, state, seal, after) {
            return;
        }
    }
    let sealed = seal.is_some();
    if let Some(record) = seal.and_then(|seal| seal.layout.record_at(range.start)) {
        if record.stream.start == range.start && record.stream.end <= range.end {
            state.incoming.make_way(&mut state.core, record.stream);
        }
    }
    if !state.incoming.has_room(length, skb.truesize()) {
        // Many tiny packets: they would take far more memory than the message.
        after.outcome = Some(Counter::DropBufferFull);
        if sealed {
            state.incoming.make_room(&mut state.core);
        }
        return;
    }
    let (mut skb, mut rest) = (skb, range);
    let mut new: Option<Range> = None;
    // A packet that overlaps what is here may have more than one new part.
    loop {
        let arrival = Arrival { length, incoming, payload: rest, sealed, again };
        match state.core.handle_arrival(now, config, &arrival) {
            Verdict::Keep(kept) => {
                let more = if kept.end < rest.end { skb.try_clone(GFP_ATOMIC).ok() } else { None };
                let skip = skip.wrapping_add(kept.start.wrapping_sub(range.start));
                state.incoming.keep(skb, kept, skip);
                new = Some(Range { start: new.map_or(kept.start, |n| n.start), end: kept.end });
                let Some(clone) = more else {
                    break;
                };
                skb = clone;
                rest.start = kept.end;
            }
            _ if new.is_some() => break,
            Verdict::Duplicate => {
                after.outcome = Some(Counter::DropDuplicate);
                return;
            }
            Verdict::Refused => {
                after.outcome = Some(Counter::DropRefused);
                return;
            }
        }
    }
    let Some(new) = new else {
        return;
    };
    if sealed && !open(endpoint, rpc, state, new, now, after) {
        return;
    }
    advance(endpoint, rpc, state, now, &payload, after);
}

/// Adds a sealed message to `rpc` that is all in one packet, and opened by `open`. Nothing of it is here so far.
#[allow(clippy::too_many_arguments)]
#[inline]
fn add_whole(
    endpoint: &Arc<Endpoint>,
    rpc: &Arc<Rpc>,
    state: &mut State,
    now: u64,
    payload: &Payload,
    seal: Seal,
    open: impl FnOnce() -> Result<Whole, Counter>,
    after: &mut After,
) {
    let Payload { range, length, incoming, again, .. } = *payload;
    let arrival = Arrival { length, incoming, payload: range, sealed: true, again };
    let refused = match state.core.handle_arrival(now, &endpoint.ns.config, &arrival) {
        Verdict::Keep(_) => None,
        Verdict::Duplicate => Some(Counter::DropDuplicate),
        Verdict::Refused => Some(Counter::DropRefused),
    };
    if refused.is_some() {
        after.outcome = refused;
        return;
    }
    let whole = match open() {
        Ok(whole) => whole,
        Err(why) => {
            state.core.forget_message();
            after.outcome = Some(why);
            return;
        }
    };
    if !rpc.is_client() && !mark(rpc, &whole.preamble, after) {
        return;
    }
    state.core.prove(now);
    state.incoming.hold(whole, seal);
    advance(endpoint, rpc, state, now, payload, after);
}

/// Marks a request as come; false if it has come before.
fn mark(rpc: &Rpc, preamble: &Preamble, after: &mut After) -> bool {
    let (Some(session), Some(id)) = (&rpc.session, rpc.incoming_id()) else {
        return false;
    };
    match session.mark(id, preamble) {
        Ok(dead) => {
            after.dead = dead;
            true
        }
        Err(e) => {
            let replay = e == EEXIST;
            after.outcome = Some(if replay { Counter::TlsReplay } else { Counter::DropNoMemory });
            after.forget = true;
            false
        }
    }
}

/// The packet `payload` was added: does that make the incoming message ready? If not, what is to be asked for?
#[inline(always)]
fn advance(
    endpoint: &Arc<Endpoint>,
    rpc: &Arc<Rpc>,
    state: &mut State,
    now: u64,
    payload: &Payload,
    after: &mut After,
) {
    let length = payload.length;
    if let Some(news) = state.core.take_news() {
        rpc.peer.learn(now, news);
    }
    if rpc.is_client()
        && !rpc.is_charged()
        && (payload.seal.is_none() || state.incoming.is_proven())
    {
        // We asked for it, so it is never refused; but it counts.
        rpc.force_charge(state, length);
    }
    if state.core.phase() != Phase::Sending && rpc.is_client() {
        // The response began: the request is not needed any more.
        state.out = None;
    }
    if state.core.is_deliverable() && state.incoming.is_open() {
        if rpc.is_client() {
            after.answer = Some(Answer {
                rtt: state.core.rtt_sample(now),
                request: state.core.out().map_or(0, |out| out.length()),
                response: length,
                rest: state.core.take_arrived(),
            });
        } else if length > payload.range.len() {
            rpc.peer.arrived(state.core.take_arrived());
        }
        after.grants = grants::leave(&endpoint.ns, state);
        state.core.deliver();
        state.ready = true;
        after.ready = true;
        trace::message_in(rpc, rpc.message_name(false), 0, length);
    } else {
        after.ask = state.core.poll_resend(now);
        after.grants = grants::report(endpoint, rpc, state);
    }
}

/// Prepares for a message sealed as `seal` says; false if the packet that says so is to be dropped.
///
/// Until something is authenticated the newest packet is as good as those before it: if they disagree,
/// those may have been forged.
fn expect(rpc: &Rpc, state: &mut State, seal: Seal, after: &mut After) -> bool {
    if state.incoming.is_sealed_otherwise(&seal) {
        if state.incoming.is_proven() {
            after.outcome = Some(Counter::DropRefused);
            return false;
        }
        state.incoming.clear();
        state.core.forget_message();
        if !rpc.is_client() {
            // What is reserved for an unproven one is the same for all but the smallest.
            rpc.uncharge();
            rpc.force_charge(state, seal.layout.stream_length().min(UNPROVEN_CHARGE));
        }
    }
    if state.incoming.expect_sealed(seal).is_err() {
        after.outcome = Some(Counter::DropNoMemory);
        return false;
    }
    true
}

/// Opens what can be opened; false if the message turned out not to be one.
fn open(
    endpoint: &Endpoint,
    rpc: &Rpc,
    state: &mut State,
    range: Range,
    now: u64,
    after: &mut After,
) -> bool {
    let stats = &endpoint.ns.stats;
    let Some(session) = &rpc.session else {
        return false;
    };
    let (Some(seal), Some(id)) = (state.incoming.seal(), rpc.incoming_id()) else {
        return false;
    };
    let guard = rcu::read_lock();
    let keys = match session.rx(seal.flags, &guard) {
        Ok(keys) => keys,
        Err(why) => {
            // It went just now.
            stats.inc(why);
            return true;
        }
    };
    let opened = state.incoming.open(&mut state.core, range, keys, id, stats);
    session.look_at(keys);
    match opened {
        Opened::Nothing => true,
        Opened::Some(preamble) => {
            session.used(seal.flags.epoch);
            if let (Some(preamble), false) = (preamble, rpc.is_client()) {
                // Now it is worth its whole length; before it is marked, so that it may come again if not.
                let length = state.core.msgin().map_or(0, |m| m.length());
                let more = length.saturating_sub(UNPROVEN_CHARGE);
                if more != 0 && !rpc.charge(state, more) {
                    stats.inc(Counter::DropBufferFull);
                    after.forget = true;
                    return false;
                }
                state.unproven = None;
                if !mark(rpc, &preamble, after) {
                    return false;
                }
            }
            state.core.prove(now);
            true
        }
        Opened::False => {
            state.incoming.clear();
            state.core.forget_message();
            after.forget = !rpc.is_client();
            false
        }
    }
}

/// The response is whole and good: the server may forget the RPC.
fn response_arrived(endpoint: &Endpoint, rpc: &Rpc, now: u64, answer: &Answer) {
    endpoint.ns.stats.inc(Counter::ResponsesReceived);
    endpoint.ns.learn(rpc.id, answer.response, answer.response.min(endpoint.ns.config.unscheduled));
    // In a session, the floor of a later request tells the server.
    endpoint.end_id(rpc);
    if let Some(ids) = rpc.peer.answered(now, rpc.id, answer) {
        let mut acks = Acks::new();
        for id in ids {
            acks.push(Ack { client_id: id, server_port: rpc.peer.name.port });
        }
        endpoint.send_control(&rpc.peer, None, rpc.id, &Control::Ack(acks));
    }
}
