// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Watches, from outside, what each host has granted and not received.

use homa_core::msgin::MsgIn;
use homa_core::wire::{Body, Control, Packet as Parsed};
use rustc_hash::FxHashMap;

use super::fates::Name;
use crate::packet::{HostId, Packet};
use crate::trace;

/// A message that somebody receives.
#[derive(Debug)]
struct Incoming {
    /// Which of its bytes came.
    bytes: MsgIn,
    /// Everything below is sent unasked.
    unasked: u32,
    /// Everything below was granted.
    granted: u32,
}

impl Incoming {
    /// Granted, and not received.
    fn outstanding(&self) -> u64 {
        let received = self.bytes.length() - self.bytes.remaining();
        u64::from(self.granted.saturating_sub(received.max(self.unasked)))
    }
}

/// All messages that are being received, by receiver, and the sum of what they are owed.
#[derive(Debug)]
pub struct Grants {
    messages: FxHashMap<(HostId, Name), Incoming>,
    outstanding: Vec<u64>,
}

impl Grants {
    /// Of `hosts` hosts.
    pub fn new(hosts: usize) -> Self {
        Self { messages: FxHashMap::default(), outstanding: vec![0; hosts] }
    }

    /// A packet arrives.
    pub fn received(&mut self, packet: &Packet) {
        let Ok(parsed) = Parsed::parse(packet.head(), packet.len() as usize) else { return };
        // Of what was changed on its way the header may say anything.
        if packet.payload.noise != 0 {
            return;
        }
        let (length, start, unasked, len) = match parsed.body {
            Body::Data(data) => (data.message_length, data.offset, data.incoming, data.payload),
            Body::SealedData(data) => {
                let Ok(start) = data.stream_offset(Some(packet.ip_id)) else { return };
                let Some(layout) =
                    data.layout().filter(|layout| packet.payload.layout == Some(*layout))
                else {
                    return;
                };
                (layout.stream_length(), start, data.incoming, data.payload)
            }
            _ => return,
        };
        if start != packet.payload.start {
            return;
        }
        let name = trace::name(packet.source, packet.destination, parsed.common.sender_id);
        let key = (packet.destination, name);
        let message = self.messages.entry(key).or_insert_with(|| {
            let bytes = MsgIn::new(length, 0);
            Incoming { bytes, unasked, granted: 0 }
        });
        let before = message.outstanding();
        if message.bytes.length() == length {
            message.bytes.accept(start, len);
        }
        // It stays here when it is whole: a record of it may not open, and be sent again.
        let after = message.outstanding();
        self.adjust(packet.destination, before, after);
    }

    /// A host sends a packet. Returns its bound and what is outstanding, if that is more.
    pub fn sent(&mut self, packet: &Packet, bound: Option<u64>) -> Option<(u64, u64)> {
        let bound = bound?;
        let parsed = Parsed::parse(packet.head(), packet.len() as usize).ok()?;
        let offset = match parsed.body {
            Body::Control(Control::Grant { offset, .. }) => offset,
            Body::SealedControl(control) => match control.inner {
                Control::Grant { offset, .. } => offset,
                _ => return None,
            },
            _ => return None,
        };
        let host = packet.source;
        let name = trace::name(packet.source, packet.destination, parsed.common.sender_id);
        let message = self.messages.get_mut(&(host, name))?;
        let before = message.outstanding();
        message.granted = message.granted.max(offset.min(message.bytes.length()));
        let after = message.outstanding();
        self.adjust(host, before, after);
        let outstanding = self.outstanding[usize::from(host)];
        (outstanding > bound).then_some((bound, outstanding))
    }

    fn adjust(&mut self, host: HostId, before: u64, after: u64) {
        let sum = &mut self.outstanding[usize::from(host)];
        *sum = (*sum + after).saturating_sub(before);
    }

    fn remove(&mut self, key: (HostId, Name)) {
        if let Some(message) = self.messages.remove(&key) {
            self.adjust(key.0, message.outstanding(), 0);
        }
    }

    /// An RPC is over for its client: neither end expects anything any more.
    pub fn forget(&mut self, name: Name) {
        self.remove((name.client, name));
        self.remove((name.server, name));
    }

    /// A host crashed.
    pub fn crash(&mut self, host: HostId) {
        let gone: Vec<_> = self.messages.keys().filter(|key| key.0 == host).copied().collect();
        gone.into_iter().for_each(|key| self.remove(key));
    }
}
