// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Where packets come to and go from: RQTs, TIRs, TISes and their keys.

use super::{CmdError, Input, Output, Status};
use crate::device::Device;
use crate::faults::Object;
use crate::objects::{Handle, Kind};
use crate::rss::{Dispatch, HashFunction, Tir};
use crate::tis::Tis;
use crate::tls::Key;

/// The RQs of a context, which has two names.
fn rqt_entries(input: &Input<'_>, context: &str) -> Result<Vec<u32>, CmdError> {
    let count = input.get(&format!("{context}.rqt_actual_size"))?;
    if count == 0 {
        return Err(CmdError::parameter("an RQT without RQs"));
    }
    let field = format!("{context}.rq_num");
    let rqns = (0..count).map(|n| input.get_nth(&field, n).map(|rqn| rqn as u32 & 0xff_ffff));
    Ok(rqns.collect::<Result<_, _>>()?)
}

fn rq_handles(rqns: &[u32]) -> Vec<Handle> {
    rqns.iter().map(|rqn| Handle(Kind::Rq, *rqn)).collect()
}

pub fn create_rqt(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let rqns = rqt_entries(input, "rqt_context")?;
    if rqns.len() as u64 > input.get("rqt_context.rqt_max_size")? {
        return Err(CmdError::parameter("an RQT with more than its maximum of RQs"));
    }
    let rqtn = dev.objects.create(Kind::Rqt, &rq_handles(&rqns))?;
    dev.rqts.insert(rqtn, rqns);
    out.set("rqtn", rqtn.into())?;
    Ok(())
}

pub fn modify_rqt(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    let rqtn = input.get32("rqtn")?;
    let rqns = rqt_entries(input, "ctx")?;
    dev.objects.set_uses(Handle(Kind::Rqt, rqtn), &rq_handles(&rqns))?;
    dev.rqts.insert(rqtn, rqns);
    Ok(())
}

pub fn destroy_rqt(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    let rqtn = input.get32("rqtn")?;
    dev.objects.destroy(Handle(Kind::Rqt, rqtn))?;
    dev.rqts.remove(&rqtn);
    Ok(())
}

fn set_hash(tir: &mut Tir, ctx: &Input<'_>) -> Result<(), CmdError> {
    tir.function = match ctx.get("rx_hash_fn")? {
        0 => HashFunction::None,
        1 => HashFunction::InvertedXor8,
        2 => HashFunction::Toeplitz,
        other => return Err(CmdError::parameter(format!("hash function {other}"))),
    };
    tir.symmetric = ctx.flag("rx_hash_symmetric")?;
    let key = ctx.part("rx_hash_toeplitz_key", "tirc")?.bytes.first_chunk();
    tir.key = *key.ok_or_else(|| CmdError::parameter("a short key"))?;
    tir.selected = ctx.get32("rx_hash_field_selector_outer.selected_fields")?;
    Ok(())
}

pub fn create_tir(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let ctx = input.part("ctx", "tirc")?;
    if ctx.flag("tls_en")? {
        return Err(CmdError::unsupported("TLS offload of reception"));
    }
    if ctx.get("packet_merge_mask")? != 0 {
        return Err(CmdError::unsupported("LRO"));
    }
    let (dispatch, target) = match ctx.get("disp_type")? {
        0 => {
            let rqn = ctx.get32("inline_rqn")?;
            (Dispatch::Direct(rqn), Handle(Kind::Rq, rqn))
        }
        1 => {
            let rqtn = ctx.get32("indirect_table")?;
            (Dispatch::Indirect(rqtn), Handle(Kind::Rqt, rqtn))
        }
        other => return Err(CmdError::parameter(format!("a TIR of dispatch type {other}"))),
    };
    let td = Handle(Kind::TransportDomain, ctx.get32("transport_domain")?);
    let mut tir =
        Tir { dispatch, function: HashFunction::None, symmetric: false, key: [0; 40], selected: 0 };
    set_hash(&mut tir, &ctx)?;
    let tirn = dev.objects.create(Kind::Tir, &[target, td])?;
    dev.tirs.insert(tirn, tir);
    out.set("tirn", tirn.into())?;
    Ok(())
}

pub fn modify_tir(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    let tirn = input.get32("tirn")?;
    dev.objects.check(Handle(Kind::Tir, tirn))?;
    if input.flag("bitmask.packet_merge")? && input.get("ctx.packet_merge_mask")? != 0 {
        return Err(CmdError::unsupported("LRO"));
    }
    if let Some(tir) = dev.tirs.get_mut(&tirn).filter(|_| input.get("bitmask.hash") == Ok(1)) {
        set_hash(tir, &input.part("ctx", "tirc")?)?;
    }
    Ok(())
}

pub fn destroy_tir(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    let tirn = input.get32("tirn")?;
    dev.objects.destroy(Handle(Kind::Tir, tirn))?;
    dev.tirs.remove(&tirn);
    Ok(())
}

pub fn create_tis(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let mut uses = vec![Handle(Kind::TransportDomain, input.get32("ctx.transport_domain")?)];
    let tls = input.flag("ctx.tls_en")?;
    if tls {
        uses.push(Handle(Kind::Pd, input.get32("ctx.pd")?));
        let count = dev.tises.values().filter(|tis| tis.tls.is_some()).count();
        if !dev.faults.room(Object::Tis, count) {
            return Err(CmdError::new(Status::LimitExceeded, "no more TISes with TLS, on purpose"));
        }
    }
    let tisn = dev.objects.create(Kind::Tis, &uses)?;
    dev.tises.insert(tisn, Tis::new(tls.then_some(dev.config.silicon)));
    out.set("tisn", tisn.into())?;
    Ok(())
}

pub fn modify_tis(dev: &mut Device, input: &Input<'_>, _: &mut Output<'_>) -> Result<(), CmdError> {
    // The priority and the port of a bond: there is one of each.
    dev.objects.check(Handle(Kind::Tis, input.get32("tisn")?))
}

pub fn destroy_tis(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    let tisn = input.get32("tisn")?;
    dev.objects.destroy(Handle(Kind::Tis, tisn))?;
    dev.tises.remove(&tisn);
    Ok(())
}

/// `MLX5_GENERAL_OBJECT_TYPES_ENCRYPTION_KEY`
const ENCRYPTION_KEY: u64 = 0xc;
/// `MLX5_GENERAL_OBJECT_TYPE_ENCRYPTION_KEY_PURPOSE_TLS`
const PURPOSE_TLS: u64 = 1;

pub fn create_general_object(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    let kind = input.get("general_obj_in_cmd_hdr.obj_type")?;
    if kind != ENCRYPTION_KEY {
        return Err(CmdError::unsupported(format!("general objects of type {kind:#x}")));
    }
    let object = input.part("encryption_key_object", "encryption_key_obj")?;
    if object.get("key_purpose")? != PURPOSE_TLS {
        return Err(CmdError::unsupported("keys for anything but TLS"));
    }
    let pd = Handle(Kind::Pd, object.get32("pd")?);
    // `key` begins with the first 16 of its 128 bytes; a key of 128 bits is in the second.
    let start = dev.ifc.field("encryption_key_obj.key")?.byte_offset();
    let range = match object.get("key_size")? {
        0 => start + 16..start + 32,
        1 => start..start + 32,
        other => return Err(CmdError::unsupported(format!("keys of size {other}"))),
    };
    let bytes =
        object.bytes.get(range).ok_or_else(|| CmdError::parameter("a key that is not there"))?;
    let key = Key::new(bytes).ok_or_else(|| CmdError::parameter("a key of a wrong length"))?;
    if !dev.faults.room(Object::Dek, dev.deks.len()) {
        return Err(CmdError::new(Status::LimitExceeded, "no more keys, on purpose"));
    }
    let id = dev.objects.create(Kind::Dek, &[pd])?;
    dev.deks.insert(id, key);
    out.set("obj_id", id.into())?;
    Ok(())
}

pub fn destroy_general_object(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    let kind = input.get("obj_type")?;
    if kind != ENCRYPTION_KEY {
        return Err(CmdError::unsupported(format!("general objects of type {kind:#x}")));
    }
    let id = input.get32("obj_id")?;
    dev.objects.destroy(Handle(Kind::Dek, id))?;
    dev.deks.remove(&id);
    Ok(())
}
