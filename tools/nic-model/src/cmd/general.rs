// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Objects that are little more than a number: UARs, protection and transport domains, memory keys, counter sets.

use super::{CmdError, Input, Output};
use crate::device::Device;
use crate::objects::{Handle, Kind};

fn alloc(dev: &mut Device, kind: Kind, field: &str, out: &mut Output<'_>) -> Result<(), CmdError> {
    let id = dev.objects.create(kind, &[])?;
    out.set(field, id.into())?;
    Ok(())
}

pub fn alloc_uar(dev: &mut Device, _: &Input<'_>, out: &mut Output<'_>) -> Result<(), CmdError> {
    alloc(dev, Kind::Uar, "uar", out)
}

pub fn dealloc_uar(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    dev.objects.destroy(Handle(Kind::Uar, input.get32("uar")?))
}

pub fn alloc_pd(dev: &mut Device, _: &Input<'_>, out: &mut Output<'_>) -> Result<(), CmdError> {
    alloc(dev, Kind::Pd, "pd", out)
}

pub fn dealloc_pd(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    dev.objects.destroy(Handle(Kind::Pd, input.get32("pd")?))
}

pub fn alloc_transport_domain(
    dev: &mut Device,
    _: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    alloc(dev, Kind::TransportDomain, "transport_domain", out)
}

pub fn dealloc_transport_domain(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    dev.objects.destroy(Handle(Kind::TransportDomain, input.get32("transport_domain")?))
}

/// Keys are taken for what they are, but not for what they allow: every key of the driver's covers all of memory.
pub fn create_mkey(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let pd = Handle(Kind::Pd, input.get32("memory_key_mkey_entry.pd")?);
    let id = dev.objects.create(Kind::Mkey, &[pd])?;
    out.set("mkey_index", id.into())?;
    // The low byte of a key is the driver's choice.
    dev.mkeys.insert((id << 8) | input.get32("memory_key_mkey_entry.mkey_7_0")?);
    Ok(())
}

pub fn destroy_mkey(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    let id = input.get32("mkey_index")?;
    dev.objects.destroy(Handle(Kind::Mkey, id))?;
    dev.mkeys.retain(|key| key >> 8 != id);
    Ok(())
}

pub fn alloc_q_counter(
    dev: &mut Device,
    _: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let id = dev.objects.create(Kind::QCounter, &[])?;
    dev.out_of_buffer.insert(id, 0);
    out.set("counter_set_id", id.into())?;
    Ok(())
}

pub fn dealloc_q_counter(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    let id = input.get32("counter_set_id")?;
    dev.objects.destroy(Handle(Kind::QCounter, id))?;
    dev.out_of_buffer.remove(&id);
    Ok(())
}

pub fn query_q_counter(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let id = input.get32("counter_set_id")?;
    dev.objects.check(Handle(Kind::QCounter, id))?;
    out.set("out_of_buffer", dev.out_of_buffer.get(&id).copied().unwrap_or(0))?;
    if input.flag("clear")? {
        dev.out_of_buffer.insert(id, 0);
    }
    Ok(())
}
