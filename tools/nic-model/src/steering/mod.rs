// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Steering of received packets, as the driver programs it: tables of groups of entries.
//!
//! A group has a mask over the packet's fields (`fte_match_param`), an entry of it the values behind the mask. What an
//! entry forwards to is another table, further on, or a TIR. A packet that no entry takes goes where the table's miss
//! action says, and without one it is dropped.

mod flow;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use flow::{Flow, FlowFields, IpFlow};

use crate::cmd::CmdError;

/// Only the outer headers of `fte_match_param` are modelled: its first 64 bytes.
pub const MATCH_LEN: usize = 64;

/// Bits of an entry's action.
pub mod action {
    pub const ALLOW: u32 = 0x1;
    pub const DROP: u32 = 0x2;
    pub const FORWARD: u32 = 0x4;
    pub const COUNT: u32 = 0x8;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Table(u32),
    Tir(u32),
}

#[derive(Debug)]
pub struct Table {
    /// `table_type`: 0 is reception.
    pub kind: u64,
    pub level: u32,
    pub log_size: u32,
    pub miss: Option<u32>,
    groups: BTreeMap<u32, Group>,
    /// By flow index: the lowest that matches wins.
    entries: BTreeMap<u32, Entry>,
}

#[derive(Debug)]
pub struct Group {
    pub first: u32,
    pub last: u32,
    pub mask: [u8; MATCH_LEN],
}

#[derive(Debug)]
pub struct Entry {
    pub group: u32,
    pub value: [u8; MATCH_LEN],
    pub action: u32,
    pub tag: u32,
    pub destinations: Vec<Destination>,
    pub ignore_level: bool,
}

/// Where a packet goes: the TIRs that get a copy each, with the tag of the last entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub tirs: Vec<u32>,
    pub tag: u32,
}

#[derive(Debug, Default)]
pub struct Steering {
    tables: BTreeMap<u32, Table>,
    /// For a type of table, where packets begin.
    roots: BTreeMap<u64, u32>,
}

impl Table {
    pub fn new(kind: u64, level: u32, log_size: u32, miss: Option<u32>) -> Table {
        Table { kind, level, log_size, miss, groups: BTreeMap::new(), entries: BTreeMap::new() }
    }

    /// The tables and TIRs that this one names.
    pub fn destinations(&self) -> impl Iterator<Item = Destination> + '_ {
        let miss = self.miss.map(Destination::Table);
        miss.into_iter()
            .chain(self.entries.values().flat_map(|entry| entry.destinations.iter().copied()))
    }
}

impl Steering {
    pub fn clear(&mut self) {
        *self = Steering::default();
    }

    pub fn insert_table(&mut self, id: u32, table: Table) {
        self.tables.insert(id, table);
    }

    pub fn remove_table(&mut self, id: u32) {
        self.tables.remove(&id);
        self.roots.retain(|_, root| *root != id);
    }

    pub fn table(&self, id: u32) -> Option<&Table> {
        self.tables.get(&id)
    }

    pub fn table_mut(&mut self, id: u32) -> Result<&mut Table, CmdError> {
        self.tables
            .get_mut(&id)
            .ok_or_else(|| CmdError::parameter(format!("there is no flow table {id:#x}")))
    }

    pub fn set_root(&mut self, id: u32) -> Result<(), CmdError> {
        let kind = self.table_mut(id)?.kind;
        self.roots.insert(kind, id);
        Ok(())
    }

    pub fn add_group(&mut self, table: u32, id: u32, group: Group) -> Result<(), CmdError> {
        let table = self.table_mut(table)?;
        if group.first > group.last || u64::from(group.last) >= 1 << table.log_size {
            return Err(CmdError::parameter(format!(
                "a flow group from {:#x} to {:#x} in a table of 2^{}",
                group.first, group.last, table.log_size
            )));
        }
        if table.groups.values().any(|other| other.first <= group.last && group.first <= other.last)
        {
            return Err(CmdError::parameter("a flow group that overlaps another"));
        }
        table.groups.insert(id, group);
        Ok(())
    }

    pub fn remove_group(&mut self, table: u32, id: u32) -> Result<(), CmdError> {
        let table = self.table_mut(table)?;
        if table.entries.values().any(|entry| entry.group == id) {
            return Err(CmdError::new(
                crate::cmd::Status::BadResourceState,
                format!("flow group {id:#x} has entries"),
            ));
        }
        table.groups.remove(&id);
        Ok(())
    }

    /// Checks an entry against its group and the tables it forwards to.
    fn check_entry(&self, table: u32, index: u32, entry: &Entry) -> Result<(), CmdError> {
        let bad = |text: String| Err(CmdError::parameter(text));
        let Some(table) = self.tables.get(&table) else {
            return bad(format!("there is no flow table {table:#x}"));
        };
        let Some(group) = table.groups.get(&entry.group) else {
            return bad(format!("there is no flow group {:#x}", entry.group));
        };
        if !(group.first..=group.last).contains(&index) {
            return bad(format!("flow index {index:#x} is not in group {:#x}", entry.group));
        }
        if entry.value.iter().zip(&group.mask).any(|(value, mask)| value & !mask != 0) {
            return bad(format!("flow {index:#x} matches what its group's mask leaves out"));
        }
        let forwards = entry.action & action::FORWARD != 0;
        if forwards == entry.destinations.is_empty() {
            return bad(format!(
                "flow {index:#x}: action {:#x} and its destinations disagree",
                entry.action
            ));
        }
        if entry.action & !(action::ALLOW | action::DROP | action::FORWARD) != 0 {
            return Err(CmdError::unsupported(format!("flow action {:#x}", entry.action)));
        }
        for destination in &entry.destinations {
            let Destination::Table(id) = destination else { continue };
            let Some(next) = self.tables.get(id) else {
                return bad(format!("there is no flow table {id:#x}"));
            };
            if next.level <= table.level && !entry.ignore_level {
                return bad(format!(
                    "a flow from level {} back to level {}: packets could go in circles",
                    table.level, next.level
                ));
            }
        }
        Ok(())
    }

    /// Adds an entry; one that is there is changed only if `modify`.
    pub fn set_entry(
        &mut self,
        table: u32,
        index: u32,
        entry: Entry,
        modify: bool,
    ) -> Result<(), CmdError> {
        self.check_entry(table, index, &entry)?;
        let entries = &mut self.table_mut(table)?.entries;
        if entries.contains_key(&index) != modify {
            let what = if modify { "is not there" } else { "is there already" };
            return Err(CmdError::parameter(format!("flow {index:#x} {what}")));
        }
        entries.insert(index, entry);
        Ok(())
    }

    pub fn delete_entry(&mut self, table: u32, index: u32) -> Result<(), CmdError> {
        match self.table_mut(table)?.entries.remove(&index) {
            Some(_) => Ok(()),
            None => Err(CmdError::parameter(format!("flow {index:#x} is not there"))),
        }
    }

    /// Where received packets begin: the table that the driver has named, else the one of the lowest level.
    fn root(&self) -> Option<u32> {
        const RECEIVE: u64 = 0;
        self.roots.get(&RECEIVE).copied().or_else(|| {
            self.tables
                .iter()
                .filter(|(_, t)| t.kind == RECEIVE)
                .min_by_key(|(_, t)| t.level)
                .map(|(id, _)| *id)
        })
    }

    /// Where a received packet goes, whose fields are given as `fte_match_param` has them.
    pub fn receive(&self, packet: &[u8; MATCH_LEN]) -> Verdict {
        let mut verdict = Verdict::default();
        let mut tables: Vec<u32> = self.root().into_iter().collect();
        // Levels keep packets from going in circles, but an entry may ignore them.
        let mut steps = 0;
        while let Some(id) = tables.pop() {
            steps += 1;
            let Some(table) = self.tables.get(&id).filter(|_| steps <= 256) else { continue };
            let hit = table.entries.values().find(|entry| {
                let mask = table.groups.get(&entry.group).map(|group| &group.mask);
                mask.is_some_and(|m| {
                    packet.iter().zip(m).zip(&entry.value).all(|((p, m), v)| p & m == *v)
                })
            });
            let Some(entry) = hit else {
                tables.extend(table.miss);
                continue;
            };
            if entry.action & action::DROP != 0 {
                continue;
            }
            verdict.tag = entry.tag;
            for destination in &entry.destinations {
                match destination {
                    Destination::Table(next) => tables.push(*next),
                    Destination::Tir(tir) => verdict.tirs.push(*tir),
                }
            }
        }
        verdict
    }
}
