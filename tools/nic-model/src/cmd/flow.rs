// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Flow tables, groups and entries.

use super::{CmdError, Input, Output};
use crate::device::Device;
use crate::objects::{Handle, Kind};
use crate::steering::{Destination, Entry, Group, Table, MATCH_LEN};

/// `table_miss_action`: to `table_miss_id`.
const MISS_TO_TABLE: u64 = 1;

fn miss(input: &Input<'_>) -> Result<Option<u32>, CmdError> {
    if input.get("flow_table_context.table_miss_action")? == MISS_TO_TABLE {
        return Ok(Some(input.get32("flow_table_context.table_miss_id")?));
    }
    Ok(None)
}

/// The table uses what its entries and its miss action name.
fn update_uses(dev: &mut Device, table: u32) -> Result<(), CmdError> {
    let uses: Vec<_> = dev.steering.table(table).map_or(Vec::new(), |t| t.destinations().collect());
    let uses: Vec<_> = uses
        .into_iter()
        .map(|destination| match destination {
            Destination::Table(id) => Handle(Kind::FlowTable, id),
            Destination::Tir(id) => Handle(Kind::Tir, id),
        })
        .collect();
    dev.objects.set_uses(Handle(Kind::FlowTable, table), &uses)
}

fn check_table(dev: &Device, input: &Input<'_>) -> Result<u32, CmdError> {
    let id = input.get32("table_id")?;
    dev.objects.check(Handle(Kind::FlowTable, id))?;
    let kind = input.get("table_type")?;
    if dev.steering.table(id).is_some_and(|table| table.kind != kind) {
        return Err(CmdError::parameter(format!("flow table {id:#x} is not of type {kind}")));
    }
    Ok(id)
}

pub fn create_table(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let context = |field: &str| input.get32(&format!("flow_table_context.{field}"));
    if context("reformat_en")? != 0 || context("decap_en")? != 0 || context("sw_owner")? != 0 {
        return Err(CmdError::unsupported("flow tables that change packets"));
    }
    if context("log_size")? > 24 {
        return Err(CmdError::parameter("a flow table too large"));
    }
    let miss = miss(input)?;
    let uses: Vec<_> = miss.into_iter().map(|id| Handle(Kind::FlowTable, id)).collect();
    let id = dev.objects.create(Kind::FlowTable, &uses)?;
    let table = Table::new(input.get("table_type")?, context("level")?, context("log_size")?, miss);
    dev.steering.insert_table(id, table);
    out.set("table_id", id.into())?;
    Ok(())
}

pub fn modify_table(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    const MISS_TABLE: u64 = 1 << 0;
    let id = check_table(dev, input)?;
    if input.get("modify_field_select")? != MISS_TABLE {
        return Err(CmdError::unsupported("changes of flow tables but for the miss table"));
    }
    let miss = miss(input)?;
    if let Some(next) = miss {
        dev.objects.check(Handle(Kind::FlowTable, next))?;
    }
    dev.steering.table_mut(id)?.miss = miss;
    update_uses(dev, id)
}

pub fn destroy_table(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    let id = check_table(dev, input)?;
    dev.objects.destroy(Handle(Kind::FlowTable, id))?;
    dev.steering.remove_table(id);
    Ok(())
}

pub fn set_root(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    let id = check_table(dev, input)?;
    dev.steering.set_root(id)
}

/// The outer headers; the model matches nothing else, so a mask of anything else cannot be honoured.
fn match_param(input: &Input<'_>, field: &str) -> Result<[u8; MATCH_LEN], CmdError> {
    let bytes = input.raw(field)?;
    let (outer, others) =
        bytes.split_at_checked(MATCH_LEN).ok_or_else(|| CmdError::parameter("no match_param"))?;
    if others.iter().any(|byte| *byte != 0) {
        return Err(CmdError::unsupported("matching beyond the outer headers"));
    }
    let mut out = [0; MATCH_LEN];
    out.copy_from_slice(outer);
    Ok(out)
}

pub fn create_group(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    /// `match_criteria_enable`: outer headers.
    const OUTER: u64 = 1;
    let table = check_table(dev, input)?;
    let enabled = input.get("match_criteria_enable")?;
    if enabled & !OUTER != 0 {
        return Err(CmdError::unsupported(format!("match criteria {enabled:#x}")));
    }
    let mask = match_param(input, "match_criteria")?;
    if enabled & OUTER == 0 && mask.iter().any(|byte| *byte != 0) {
        return Err(CmdError::parameter("a mask of outer headers that is not enabled"));
    }
    let group = Group {
        first: input.get32("start_flow_index")?,
        last: input.get32("end_flow_index")?,
        mask,
    };
    let handle = Handle(Kind::FlowTable, table);
    let id = dev.objects.create(Kind::FlowGroup, &[handle])?;
    if let Err(error) = dev.steering.add_group(table, id, group) {
        dev.objects.destroy(Handle(Kind::FlowGroup, id))?;
        return Err(error);
    }
    out.set("group_id", id.into())?;
    Ok(())
}

pub fn destroy_group(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    let table = check_table(dev, input)?;
    let id = input.get32("group_id")?;
    dev.objects.check(Handle(Kind::FlowGroup, id))?;
    dev.steering.remove_group(table, id)?;
    dev.objects.destroy(Handle(Kind::FlowGroup, id))
}

/// `destination_type` of entries.
const TO_TABLE: u64 = 1;
const TO_TIR: u64 = 2;

fn destinations(dev: &Device, input: &Input<'_>) -> Result<Vec<Destination>, CmdError> {
    let count = input.get("flow_context.destination_list_size")?;
    if input.flag("flow_context.extended_destination")? {
        return Err(CmdError::unsupported("extended destinations"));
    }
    let mut out = Vec::new();
    // The header has room there for the longer, extended form.
    let list = input.part("flow_context.destination", "dest_format_struct")?;
    for n in 0..count {
        let part = usize::try_from(n * 8).ok().and_then(|at| list.bytes.get(at..));
        let item = Input { bytes: part.unwrap_or_default(), ..list };
        let (kind, id) = (item.get("destination_type")?, item.get32("destination_id")?);
        let (destination, handle) = match kind {
            TO_TABLE => (Destination::Table(id), Handle(Kind::FlowTable, id)),
            TO_TIR => (Destination::Tir(id), Handle(Kind::Tir, id)),
            other => {
                return Err(CmdError::unsupported(format!("flows to destinations of type {other}")))
            }
        };
        dev.objects.check(handle)?;
        out.push(destination);
    }
    Ok(out)
}

pub fn set_entry(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    /// Bits of `modify_enable_mask`.
    const ACTION: u64 = 1 << 0;
    const DESTINATIONS: u64 = 1 << 2;
    let table = check_table(dev, input)?;
    let modify = input.get("op_mod")? == 1;
    let changed = input.get("modify_enable_mask")?;
    if modify && changed & !(ACTION | DESTINATIONS) != 0 {
        return Err(CmdError::unsupported(format!("change {changed:#x} of a flow")));
    }
    let entry = Entry {
        group: input.get32("flow_context.group_id")?,
        value: match_param(input, "flow_context.match_value")?,
        action: input.get32("flow_context.action")?,
        tag: input.get32("flow_context.flow_tag")?,
        destinations: destinations(dev, input)?,
        ignore_level: input.flag("ignore_flow_level")?,
    };
    dev.steering.set_entry(table, input.get32("flow_index")?, entry, modify)?;
    update_uses(dev, table)
}

pub fn delete_entry(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    let table = check_table(dev, input)?;
    dev.steering.delete_entry(table, input.get32("flow_index")?)?;
    update_uses(dev, table)
}
