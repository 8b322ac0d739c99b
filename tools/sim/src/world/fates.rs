// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What is known of every RPC from outside: what it should do, and what became of it.

use homa_core::rpc::Failure;
use rustc_hash::FxHashMap;

use crate::host::Time;
use crate::packet::{HostId, Message};

/// Names an RPC: client, server, and the client's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Who asks.
    pub client: HostId,
    /// Who answers.
    pub server: HostId,
    /// The client's id for it.
    pub id: u64,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RPC {} of host {} to host {}", self.id, self.client, self.server)
    }
}

/// How an RPC ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has its response.
    Completed,
    /// It failed.
    Failed(Failure),
    /// Its program gave it up.
    Aborted,
    /// The client crashed.
    Crashed,
}

/// An RPC.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    /// Which.
    pub name: Name,
    /// What the client sent.
    pub request: Message,
    /// What the server will answer.
    pub response: Message,
    /// When it was begun.
    pub began: Time,
    /// How long the client's card was busy then with the packet that it was sending.
    pub card_busy: u32,
    /// How often the server that now runs was given the request.
    pub executed: u8,
    /// How it ended.
    pub end: Option<End>,
    /// Its session is gone: programs do not know it any more.
    pub retired: bool,
    /// Its client crashed.
    pub orphan: bool,
}

/// All RPCs that matter.
#[derive(Debug, Default)]
pub struct Fates {
    all: Vec<Fate>,
    free: Vec<u32>,
    by_name: FxHashMap<Name, u32>,
    /// How many have not ended.
    pub open: usize,
}

impl Fates {
    /// An RPC begins. False if there is another of that name.
    pub fn begin(&mut self, fate: Fate) -> bool {
        let index = match self.free.pop() {
            Some(index) => {
                self.all[index as usize] = fate;
                index
            }
            None => {
                self.all.push(fate);
                (self.all.len() - 1) as u32
            }
        };
        self.open += 1;
        self.by_name.insert(fate.name, index).is_none()
    }

    /// The RPC of that name, and its number.
    pub fn find(&mut self, name: &Name) -> Option<(u32, &mut Fate)> {
        let index = *self.by_name.get(name)?;
        Some((index, &mut self.all[index as usize]))
    }

    /// The RPC with this number.
    pub fn get(&self, index: u32) -> &Fate {
        &self.all[index as usize]
    }

    /// It ended. `keep`: something about it may still come.
    pub fn end(&mut self, index: u32, end: End, keep: bool) {
        let fate = &mut self.all[index as usize];
        fate.end = Some(end);
        self.open -= 1;
        if !keep {
            self.by_name.remove(&fate.name);
            self.free.push(index);
        }
    }

    /// Two hosts have a new session, in which ids begin anew: nothing can come of what was before.
    pub fn retire(&mut self, a: HostId, b: HostId) {
        let between = |name: &Name| {
            (name.client, name.server) == (a, b) || (name.server, name.client) == (a, b)
        };
        self.by_name.retain(|name, _| !between(name));
        self.all.iter_mut().filter(|fate| between(&fate.name)).for_each(|fate| fate.retired = true);
    }

    /// A host crashed: its RPCs are over, and what it served before it knows nothing of any more.
    pub fn crash(&mut self, host: HostId) -> Vec<Name> {
        let mut over = Vec::new();
        for fate in &mut self.all {
            if fate.name.client == host && fate.end.is_none() {
                fate.end = Some(End::Crashed);
                self.open -= 1;
                over.push(fate.name);
            }
            if fate.name.server == host {
                fate.executed = 0;
            }
            fate.orphan |= fate.name.client == host;
        }
        over
    }

    /// All that are kept.
    pub fn iter(&self) -> impl Iterator<Item = &Fate> {
        self.all.iter()
    }
}
