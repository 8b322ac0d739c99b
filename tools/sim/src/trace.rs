// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What happened to each RPC, to be read when a seed fails.
//!
//! Nothing is written in the first run of a seed; one that failed runs again with a trace.

use std::collections::VecDeque;

use homa_core::wire::{Body, Control, Packet as Parsed};

use crate::host::Time;
use crate::packet::{HostId, Packet};
use crate::world::fates::Name;

/// Entries that are kept.
const LIMIT: usize = 2_000_000;

/// A diary.
#[derive(Debug, Default)]
pub struct Trace(VecDeque<(Time, Option<Name>, String)>);

impl Trace {
    /// Something happened, to this RPC or to all.
    pub fn note(&mut self, at: Time, rpc: Option<Name>, what: String) {
        if self.0.len() >= LIMIT {
            self.0.pop_front();
        }
        self.0.push_back((at, rpc, what));
    }

    /// The last `count` entries about `rpc` (and those about hosts), or about everything, as lines.
    pub fn last(&self, rpc: Option<Name>, count: usize) -> String {
        let matters = |of: &Option<Name>| of.is_none() || rpc.is_none() || *of == rpc;
        let mut lines: Vec<_> = self
            .0
            .iter()
            .rev()
            .filter(|(_, of, _)| matters(of))
            .take(count)
            .map(|(at, of, what)| {
                let id = of.map_or(String::new(), |name| {
                    format!("{}.{}.{} ", name.client, name.server, name.id)
                });
                format!("{:>12}.{:03} us  {id}{what}", at / 1000, at % 1000)
            })
            .collect();
        lines.reverse();
        lines.join("\n")
    }
}

/// The RPC that a packet is about, by what its header says.
pub fn name_of(packet: &Packet) -> Option<Name> {
    let parsed = Parsed::parse(packet.head(), packet.len() as usize).ok()?;
    Some(name(packet.source, packet.destination, parsed.common.sender_id))
}

/// The RPC that `source` names `sender_id` to `destination`.
pub fn name(source: HostId, destination: HostId, sender_id: u64) -> Name {
    let (client, server) =
        if sender_id & 1 == 0 { (source, destination) } else { (destination, source) };
    Name { client, server, id: sender_id & !1 }
}

/// A packet in a few words.
pub fn describe(packet: &Packet) -> String {
    let way = format!("{}->{} p{}", packet.source, packet.destination, packet.priority);
    let what = match Parsed::parse(packet.head(), packet.len() as usize) {
        Err(why) => format!("malformed ({why})"),
        Ok(parsed) => {
            let kind = parsed.packet_type().name();
            match parsed.body {
                Body::Data(data) => format!(
                    "{kind} {}+{} of {}, incoming {}{}",
                    data.offset,
                    data.payload,
                    data.message_length,
                    data.incoming,
                    if data.retransmit { ", again" } else { "" }
                ),
                Body::SealedData(data) => format!(
                    "{kind} {:?}+{} of {}, record {}, incoming {}{}",
                    data.stream_offset(Some(packet.ip_id)).ok(),
                    data.payload,
                    data.message_length,
                    data.first_record,
                    data.incoming,
                    if data.retransmit { ", again" } else { "" }
                ),
                Body::Control(control) => format!("{kind} {}", fields(&control)),
                Body::SealedControl(control) => {
                    format!("{kind} {} counter {}", fields(&control.inner), control.counter)
                }
            }
        }
    };
    let noise = if packet.payload.noise != 0 { ", damaged" } else { "" };
    format!("{way} {what}{noise}")
}

fn fields(control: &Control) -> String {
    match control {
        Control::Grant { offset, priority } => format!("up to {offset}, priority {priority}"),
        Control::Resend { offset, length, .. } => format!("{offset}+{length:?}"),
        Control::Ack(acks) => {
            let ids: Vec<_> = acks.as_slice().iter().map(|ack| ack.client_id).collect();
            format!("{ids:?}")
        }
        _ => String::new(),
    }
}
