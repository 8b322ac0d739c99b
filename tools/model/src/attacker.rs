// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the attacker can hand out in a state: every packet that can be made of what was sent, up to those that differ
//! in nothing but which bytes will not open.

use homa_core::session::epoch::Epoch;
use homa_core::session::seq::MessageId;

use crate::crypto::{record_aad, record_number, Side, Term, Text};
use crate::packet::{layout, ControlPacket, DataPacket, RECORD};
use crate::sabotage::{Rules, Sabotage};
use crate::scenario::Scenario;
use crate::state::{Action, State};

/// DATA to `to`: any id, epoch, length and place, with any record that was ever sent, by whomever, or garbage.
pub fn data(state: &State, scenario: &Scenario, rules: Rules, to: Side, actions: &mut Vec<Action>) {
    let end = state.end(to);
    let rpcs = scenario.rpcs.iter().map(Vec::len).max().unwrap_or(0) as u64;
    let epochs = (scenario.rekeys[to.peer().index()] + 2).min(4);
    for id in 0..2 * rpcs {
        for epoch in (0..epochs).filter(|epoch| end.admits(rules, id, *epoch)) {
            for records in 1..=scenario.records {
                for index in 0..records.into() {
                    let length = RECORD * u32::from(records);
                    let packet = DataPacket { id, epoch, length, index, record: None };
                    let record = |record| DataPacket { record: Some(record), ..packet.clone() };
                    let terms = fitting(state, rules, &packet).into_iter().map(record);
                    actions.extend(terms.map(|packet| Action::Data(to, packet)));
                    actions.push(Action::Data(to, packet));
                }
            }
        }
    }
}

/// The records that open in the place that `packet` says, under some key of that epoch. (All others are garbage there.)
fn fitting(state: &State, rules: Rules, packet: &DataPacket) -> Vec<Term> {
    let record = layout(packet.length).and_then(|layout| layout.record(packet.index.into()));
    let (Some(id), Some(record)) = (MessageId::new(packet.id), record) else { return Vec::new() };
    let (number, aad) =
        (record_number(rules, id, packet.index), record_aad(record.plaintext.len()));
    let opens = |term: &&Term| {
        let sealed = term.sealed();
        matches!(sealed.text, Text::Record { .. })
            && sealed.key.generation & Epoch::MASK == packet.epoch
            && term.opens(rules, sealed.key, &sealed.key.nonce(number), &aad)
    };
    state.wire.iter().filter(opens).cloned().collect()
}

/// Control packets to `to`: any that was ever sent, by whomever, as it was or with a field changed, or with a tag of
/// nothing.
pub fn control(state: &State, rules: Rules, to: Side, actions: &mut Vec<Action>) {
    // What is not believed changes nothing. (`End::control` asks the same.)
    let heeded = |packet: &ControlPacket| {
        rules.broken(Sabotage::CounterEarly) || state.end(to).believes(rules, packet)
    };
    for term in state.wire.iter() {
        let Text::Control(header) = &term.sealed().text else { continue };
        let sent = ControlPacket { header: header.clone(), tag: Some(term.clone()) };
        let forged = ControlPacket { tag: None, ..sent.clone() };
        let packets = sent.changed().into_iter().chain(forged.changed()).chain([sent, forged]);
        actions.extend(packets.filter(heeded).map(|packet| Action::Control(to, packet)));
    }
}
