// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What must hold in every state.

use std::collections::BTreeSet;

use homa_core::session::epoch::Epoch;

use crate::crypto::{Author, Term, Text};
use crate::end::{End, Event};
use crate::packet::ControlPacket;
use crate::sabotage::Rules;
use crate::state::State;

/// Something that must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// No key and nonce seal two different texts.
    NonceOnce,
    /// A message is delivered at most once.
    AtMostOnce,
    /// What is delivered was sent: by the peer, as this message, in this direction, record by record in its order.
    OnlyWhatWasSent,
    /// And all of it, with its length.
    NoTruncation,
    /// A control packet is believed only if the peer sent it, with this header.
    ControlAuthentic,
    /// And once.
    ControlOnce,
    /// A server's floor is never above its client's, and an RPC is acknowledged only once its client is done with it.
    FloorSafe,
    /// A receiver has the key of whatever its peer goes on sending, unless it did not get that key yet.
    KeysKept,
    /// A receiver has three keys at most, and two as soon as something of the newest authenticates.
    KeysGo,
    /// When the attacker stops, every RPC completes, and all state goes; a rekey that one end began is done by both.
    Progress,
}

impl Invariant {
    /// All.
    pub const ALL: [Self; 10] = [
        Self::NonceOnce,
        Self::AtMostOnce,
        Self::OnlyWhatWasSent,
        Self::NoTruncation,
        Self::ControlAuthentic,
        Self::ControlOnce,
        Self::FloorSafe,
        Self::KeysKept,
        Self::KeysGo,
        Self::Progress,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::NonceOnce => "NonceOnce",
            Self::AtMostOnce => "AtMostOnce",
            Self::OnlyWhatWasSent => "OnlyWhatWasSent",
            Self::NoTruncation => "NoTruncation",
            Self::ControlAuthentic => "ControlAuthentic",
            Self::ControlOnce => "ControlOnce",
            Self::FloorSafe => "FloorSafe",
            Self::KeysKept => "KeysKept",
            Self::KeysGo => "KeysGo",
            Self::Progress => "Progress",
        }
    }
}

/// Something that some state must show, or the run proves little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Witness {
    /// Every RPC began, none was given up, and its client has the answer.
    AllAnswered,
    /// A request died by a floor, without a control packet.
    FloorFrees,
    /// A record opened under an older key than its sender's newest.
    OldKeyOpens,
    /// A receiver has three keys, and messages are under way under both that its peer got.
    ThreeKeys,
    /// Something of the newest key ended the oldest one.
    OldKeyEnds,
    /// The next key to seal with is refused.
    RekeyWaits,
    /// A server has a request that nobody sent.
    ForgedWaits,
}

impl Witness {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::AllAnswered,
        Self::FloorFrees,
        Self::OldKeyOpens,
        Self::ThreeKeys,
        Self::OldKeyEnds,
        Self::RekeyWaits,
        Self::ForgedWaits,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllAnswered => "AllAnswered",
            Self::FloorFrees => "FloorFrees",
            Self::OldKeyOpens => "OldKeyOpens",
            Self::ThreeKeys => "ThreeKeys",
            Self::OldKeyEnds => "OldKeyEnds",
            Self::RekeyWaits => "RekeyWaits",
            Self::ForgedWaits => "ForgedWaits",
        }
    }

    /// Does `state` show it? `rpcs`: of each end.
    pub fn seen(self, state: &State, rpcs: [usize; 2]) -> bool {
        let started = |end: &End| usize::from(end.started);
        let mut ends = state.ends.iter();
        match self {
            Self::AllAnswered => ends.zip(rpcs).all(|(end, rpcs)| {
                started(end) == rpcs && end.client.is_empty() && end.aborted == 0
            }),
            Self::FloorFrees => state.believed.is_empty() && ends.any(|end| end.replay.floor() > 0),
            Self::OldKeyOpens => ends.any(|end| {
                let newest = state.end(end.side.peer()).tx.generation;
                let mut opened = end
                    .client
                    .values()
                    .chain(end.server.values())
                    .flat_map(|c| c.incoming.opened());
                opened.any(|term| term.sealed().key.generation < newest)
            }),
            Self::ThreeKeys => ends.any(|end| {
                let sent: BTreeSet<u8> =
                    state.end(end.side.peer()).live().map(|sent| sent.generation).collect();
                let older: BTreeSet<u8> =
                    end.rx.all().filter(|generation| *generation < end.rx.generation).collect();
                older.len() == 2 && older == sent
            }),
            Self::OldKeyEnds => ends.any(|end| end.rx.generation == 2 && end.rx.all().eq([1, 2])),
            Self::RekeyWaits => ends.any(|end| {
                end.has_previous_tx()
                    && state.end(end.side.peer()).rx.generation > end.tx.generation
            }),
            Self::ForgedWaits => ends.any(|end| {
                let peer = &state.ends[end.side.peer().index()];
                end.server.keys().any(|local| *local / 2 >= u64::from(peer.started))
            }),
        }
    }
}

/// What `to` delivered as message `id` is compared with what `from` sent.
pub fn delivered(
    from: &End,
    to: &End,
    id: u64,
    records: &[Term],
    length: Option<u32>,
) -> Option<Invariant> {
    let parts: Vec<(Author, u16)> = records
        .iter()
        .filter_map(|record| match record.sealed().text {
            Text::Record { author, index, .. } => Some((author, index)),
            Text::Control(_) => None,
        })
        .collect();
    let Some((author, _)) = parts.first() else { return Some(Invariant::OnlyWhatWasSent) };
    let Some(sent) = from.sent.get(&(id, author.run)) else {
        return Some(Invariant::OnlyWhatWasSent);
    };
    let expected: Vec<(Author, u16)> =
        (0..sent.records.len() as u16).map(|index| (sent.author, index)).collect();
    if !expected.starts_with(&parts) {
        Some(Invariant::OnlyWhatWasSent)
    } else if expected != parts || length != Some(sent.length) {
        Some(Invariant::NoTruncation)
    } else if to.delivered.get(author) != Some(&1) {
        Some(Invariant::AtMostOnce)
    } else {
        None
    }
}

/// A control packet that `to` believed.
fn believed(from: &End, believed: &BTreeSet<Term>, packet: &ControlPacket) -> Option<Invariant> {
    let Some(tag) = &packet.tag else { return Some(Invariant::ControlAuthentic) };
    let sealed = tag.sealed();
    if sealed.key.from != from.side || sealed.text != Text::Control(packet.header.clone()) {
        Some(Invariant::ControlAuthentic)
    } else if believed.contains(tag) {
        Some(Invariant::ControlOnce)
    } else {
        None
    }
}

/// The invariant that an event at `to` breaks, in the state that it left behind.
pub fn event(state: &State, to: &End, event: &Event) -> Option<Invariant> {
    let from = &state.ends[to.side.peer().index()];
    match event {
        Event::Sealed(term) => {
            let sealed = term.sealed();
            let twice = |other: &Term| {
                let other = other.sealed();
                (other.key, other.nonce) == (sealed.key, sealed.nonce) && other != sealed
            };
            state.wire.iter().any(twice).then_some(Invariant::NonceOnce)
        }
        Event::Delivered(id, records, length) => delivered(from, to, *id, records, *length),
        Event::Acknowledged(request) => {
            from.client.contains_key(request).then_some(Invariant::FloorSafe)
        }
        Event::Believed(packet) => believed(from, &state.believed, packet),
        Event::Authenticated(epoch) => {
            let newest = *epoch == to.rx.generation & Epoch::MASK;
            (newest && to.rx.all().count() > 2).then_some(Invariant::KeysGo)
        }
    }
}

/// Is no server's floor above its client's?
pub fn floors(state: &State) -> bool {
    let [a, b] = &state.ends;
    b.replay.floor() <= a.ids.floor() && a.replay.floor() <= b.ids.floor()
}

/// Has each receiver the keys of what is sent to it?
pub fn keys_kept(state: &State, rules: Rules) -> bool {
    state.ends.iter().all(|from| {
        let rx = &state.end(from.side.peer()).rx;
        let mut sent = from.live().map(|sent| sent.generation).filter(|g| *g <= rx.generation);
        sent.all(|generation| rx.select(rules, generation & Epoch::MASK) == Some(generation))
    })
}

/// Has no receiver more keys than it may need?
pub fn keys_go(state: &State) -> bool {
    state.ends.iter().all(|end| end.rx.all().count() <= 3)
}
