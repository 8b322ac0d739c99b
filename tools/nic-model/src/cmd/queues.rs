// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Event, completion, send and receive queues.

use super::{CmdError, Input, Output, Status};
use crate::cq::Cq;
use crate::device::Device;
use crate::eq::Eq;
use crate::objects::{Handle, Kind};
use crate::ring::{Ring, RingFields};
use crate::rq::Rq;
use crate::sq::Sq;
use crate::wq::WqState;

pub fn create_eq(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let context = |field: &str| input.get32(&format!("eq_context_entry.{field}"));
    let uar = context("uar_page")?;
    let vector = context("intr")?;
    if vector >= crate::pci::MSIX_VECTORS {
        return Err(CmdError::parameter(format!("there is no vector {vector}")));
    }
    let fields = RingFields {
        log_page_size: "eq_context_entry.log_page_size",
        page_offset: "eq_context_entry.page_offset",
        pas: "pas",
    };
    let ring = Ring::from_command(input, &fields, context("log_eq_size")?, 6)?;
    let mask = input.get_nth("event_bitmask", 0)?;
    let eqn = dev.objects.create(Kind::Eq, &[Handle(Kind::Uar, uar)])?;
    dev.eqs.insert(eqn, Eq::new(ring, uar, vector, mask));
    out.set("eq_number", eqn.into())?;
    Ok(())
}

pub fn destroy_eq(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    let eqn = input.get32("eq_number")?;
    dev.objects.destroy(Handle(Kind::Eq, eqn))?;
    dev.eqs.remove(eqn);
    Ok(())
}

pub fn create_cq(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let context = |field: &str| input.get32(&format!("cq_context.{field}"));
    let log_entry = match context("cqe_sz")? {
        0 => 6,
        1 => 7,
        other => return Err(CmdError::parameter(format!("CQEs of size {other}"))),
    };
    if context("cqe_comp_en")? != 0 {
        return Err(CmdError::unsupported("compressed CQEs"));
    }
    let fields = RingFields {
        log_page_size: "cq_context.log_page_size",
        page_offset: "cq_context.page_offset",
        pas: "pas",
    };
    let ring = Ring::from_command(input, &fields, context("log_cq_size")?, log_entry)?;
    let (eqn, uar) = (context("c_eqn_or_apu_element")?, context("uar_page")?);
    let dbr = doorbell_record(dev, input.get("cq_context.dbr_addr")?)?;
    let ignore_overrun = context("oi")? != 0 || context("cc")? != 0;
    let cqn = dev.objects.create(Kind::Cq, &[Handle(Kind::Eq, eqn), Handle(Kind::Uar, uar)])?;
    dev.cqs.insert(cqn, Cq::new(ring, eqn, uar, dbr, ignore_overrun));
    out.set("cqn", cqn.into())?;
    Ok(())
}

pub fn destroy_cq(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    let cqn = input.get32("cqn")?;
    dev.flush_cq(cqn);
    dev.objects.destroy(Handle(Kind::Cq, cqn))?;
    dev.cqs.remove(cqn);
    Ok(())
}

/// Moderation, which the model takes no notice of: every completion is told at once.
pub fn modify_cq(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    dev.objects.check(Handle(Kind::Cq, input.get32("cqn")?))
}

/// A doorbell record must be in memory, and aligned.
fn doorbell_record(dev: &Device, address: u64) -> Result<u64, CmdError> {
    if address & 7 != 0 {
        return Err(CmdError::parameter(format!("a doorbell record at {address:#x}")));
    }
    dev.mem.read_vec(address, 8)?;
    Ok(address)
}

/// The buffer of a work queue, whose context begins at `wq`.
fn work_queue(wq: &Input<'_>, log_entry: u32) -> Result<Ring, CmdError> {
    // A cyclic one.
    if wq.get("wq_type")? != 1 {
        return Err(CmdError::unsupported(format!("a work queue of type {}", wq.get("wq_type")?)));
    }
    let fields =
        RingFields { log_page_size: "log_wq_pg_sz", page_offset: "page_offset", pas: "pas" };
    Ring::from_command(wq, &fields, wq.get32("log_wq_sz")?, log_entry)
}

pub fn create_sq(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let ctx = input.part("ctx", "sqc")?;
    let wq = ctx.part("wq", "wq")?;
    // Of basic blocks: 64 bytes.
    let stride = wq.get32("log_wq_stride")?;
    if stride != 6 {
        return Err(CmdError::parameter(format!("an SQ with a stride of 2^{stride}")));
    }
    if ctx.get("state")? != WqState::Reset as u64 {
        return Err(CmdError::parameter("an SQ that does not begin in reset"));
    }
    let ring = work_queue(&wq, stride)?;
    let uar = wq.get32("uar_page")?;
    let dbr = doorbell_record(dev, wq.get("dbr_addr")?)?;
    let cqn = ctx.get32("cqn")?;
    let mut uses =
        vec![Handle(Kind::Cq, cqn), Handle(Kind::Uar, uar), Handle(Kind::Pd, wq.get32("pd")?)];
    match ctx.get("tis_lst_sz")? {
        0 => {}
        1 => uses.push(Handle(Kind::Tis, ctx.get32("tis_num_0")?)),
        n => return Err(CmdError::unsupported(format!("an SQ with {n} TISes"))),
    }
    let sqn = dev.objects.create(Kind::Sq, &uses)?;
    dev.sqs.insert(sqn, Sq::new(ring, cqn, uar, dbr, ctx.flag("flush_in_error_en")?));
    out.set("sqn", sqn.into())?;
    Ok(())
}

pub fn modify_sq(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    let sqn = input.get32("sqn")?;
    dev.objects.check(Handle(Kind::Sq, sqn))?;
    let from = WqState::from_bits(input.get("sq_state")?)?;
    let to = WqState::from_bits(input.get("ctx.state")?)?;
    let Some(sq) = dev.sqs.get_mut(&sqn) else {
        return Err(CmdError::new(Status::Internal, "an SQ without state"));
    };
    sq.state = sq.state.change(from, to)?;
    let cqn = sq.cqn;
    if to == WqState::Reset {
        sq.restart();
        dev.scheduler.remove(sqn);
        dev.flush_cq(cqn);
    }
    Ok(())
}

pub fn query_sq(dev: &mut Device, input: &Input<'_>, out: &mut Output<'_>) -> Result<(), CmdError> {
    let sqn = input.get32("sqn")?;
    dev.objects.check(Handle(Kind::Sq, sqn))?;
    if let Some(sq) = dev.sqs.get(&sqn) {
        out.set("sq_context.state", sq.state as u64)?;
        out.set("sq_context.cqn", sq.cqn.into())?;
        out.set("sq_context.flush_in_error_en", sq.flush_in_error.into())?;
    }
    Ok(())
}

pub fn destroy_sq(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    let sqn = input.get32("sqn")?;
    dev.objects.destroy(Handle(Kind::Sq, sqn))?;
    dev.scheduler.remove(sqn);
    if let Some(sq) = dev.sqs.remove(&sqn) {
        dev.flush_cq(sq.cqn);
    }
    Ok(())
}

pub fn create_rq(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let ctx = input.part("ctx", "rqc")?;
    let wq = ctx.part("wq", "wq")?;
    let stride = wq.get32("log_wq_stride")?;
    if !(4..=10).contains(&stride) {
        return Err(CmdError::parameter(format!("an RQ with a stride of 2^{stride}")));
    }
    if ctx.get("mem_rq_type")? != 0 {
        return Err(CmdError::unsupported("an RQ on an RMP"));
    }
    if ctx.get("state")? != WqState::Reset as u64 {
        return Err(CmdError::parameter("an RQ that does not begin in reset"));
    }
    let ring = work_queue(&wq, stride)?;
    let dbr = doorbell_record(dev, wq.get("dbr_addr")?)?;
    let cqn = ctx.get32("cqn")?;
    let mut uses = vec![Handle(Kind::Cq, cqn)];
    // The driver's "drop RQ", which never has a buffer, has no domain either.
    let pd = wq.get32("pd")?;
    if pd != 0 {
        uses.push(Handle(Kind::Pd, pd));
    }
    let counter_set = ctx.get32("counter_set_id")?;
    if counter_set != 0 {
        uses.push(Handle(Kind::QCounter, counter_set));
    }
    // vsd: no stripping of VLAN tags.
    let strip_vlan = !ctx.flag("vsd")?;
    let rqn = dev.objects.create(Kind::Rq, &uses)?;
    dev.rqs.insert(rqn, Rq::new(ring, cqn, dbr, counter_set, strip_vlan, ctx.flag("scatter_fcs")?));
    out.set("rqn", rqn.into())?;
    Ok(())
}

pub fn modify_rq(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    let rqn = input.get32("rqn")?;
    dev.objects.check(Handle(Kind::Rq, rqn))?;
    let from = WqState::from_bits(input.get("rq_state")?)?;
    let to = WqState::from_bits(input.get("ctx.state")?)?;
    let bitmask = input.get("modify_bitmask")?;
    let set = |name: &str, bit: u64| {
        bitmask
            & dev
                .ifc
                .constant(&format!("MLX5_MODIFY_RQ_IN_MODIFY_BITMASK_{name}"))
                .unwrap_or(1 << bit)
            != 0
    };
    let vsd = set("VSD", 1).then(|| input.flag("ctx.vsd")).transpose()?;
    let Some(rq) = dev.rqs.get_mut(&rqn) else {
        return Err(CmdError::new(Status::Internal, "an RQ without state"));
    };
    rq.state = rq.state.change(from, to)?;
    if let Some(vsd) = vsd {
        rq.strip_vlan = !vsd;
    }
    let cqn = rq.cqn;
    if to == WqState::Reset {
        rq.restart();
        dev.flush_cq(cqn);
    }
    Ok(())
}

pub fn query_rq(dev: &mut Device, input: &Input<'_>, out: &mut Output<'_>) -> Result<(), CmdError> {
    let rqn = input.get32("rqn")?;
    dev.objects.check(Handle(Kind::Rq, rqn))?;
    if let Some(rq) = dev.rqs.get(&rqn) {
        out.set("rq_context.state", rq.state as u64)?;
        out.set("rq_context.cqn", rq.cqn.into())?;
    }
    Ok(())
}

pub fn destroy_rq(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    let rqn = input.get32("rqn")?;
    dev.objects.destroy(Handle(Kind::Rq, rqn))?;
    if let Some(rq) = dev.rqs.remove(&rqn) {
        dev.flush_cq(rq.cqn);
    }
    Ok(())
}
