// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The virtual port of the function: its state, its addresses, its counters.

use super::{CmdError, Input, Output};
use crate::device::Device;
use crate::port::Traffic;

/// What the driver has told of itself. The steering tables say which packets are received; these lists are for an
/// embedded switch, which the model does not have.
#[derive(Debug)]
pub struct Vport {
    pub mac: [u8; 6],
    pub mtu: u32,
    /// `promisc_uc`, `promisc_mc`, `promisc_all`
    pub promiscuous: [bool; 3],
    pub admin_state: u64,
}

impl Vport {
    pub fn new(mac: [u8; 6]) -> Vport {
        Vport { mac, mtu: 1522, promiscuous: [false; 3], admin_state: 2 }
    }
}

pub fn query_state(dev: &mut Device, _: &Input<'_>, out: &mut Output<'_>) -> Result<(), CmdError> {
    out.set("admin_state", dev.vport.admin_state)?;
    out.set("state", dev.port.is_up().into())?;
    Ok(())
}

pub fn modify_state(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    // Down, up, or as the port is.
    let state = input.get("admin_state")?;
    if state > 2 {
        return Err(CmdError::parameter(format!("vport state {state}")));
    }
    dev.vport.admin_state = state;
    Ok(())
}

fn own_vport(input: &Input<'_>) -> Result<(), CmdError> {
    if input.flag("other_vport")? || input.get("vport_number")? != 0 {
        return Err(CmdError::unsupported("other vports"));
    }
    Ok(())
}

pub fn query_context(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    own_vport(input)?;
    let mac = dev.vport.mac.iter().fold(0u64, |all, byte| (all << 8) | u64::from(*byte));
    out.set("nic_vport_context.permanent_address", mac)?;
    out.set("nic_vport_context.mtu", dev.vport.mtu.into())?;
    for (field, value) in
        ["promisc_uc", "promisc_mc", "promisc_all"].iter().zip(dev.vport.promiscuous)
    {
        out.set(&format!("nic_vport_context.{field}"), value.into())?;
    }
    Ok(())
}

pub fn modify_context(
    dev: &mut Device,
    input: &Input<'_>,
    _: &mut Output<'_>,
) -> Result<(), CmdError> {
    own_vport(input)?;
    let selected = |field: &str| input.flag(&format!("field_select.{field}"));
    if selected("mtu")? {
        dev.vport.mtu = input.get32("nic_vport_context.mtu")?;
    }
    if selected("promisc")? {
        for (n, field) in ["promisc_uc", "promisc_mc", "promisc_all"].iter().enumerate() {
            dev.vport.promiscuous[n] = input.flag(&format!("nic_vport_context.{field}"))?;
        }
    }
    if selected("permanent_address")? {
        let mac = input.get("nic_vport_context.permanent_address")?.to_be_bytes();
        dev.vport.mac.copy_from_slice(&mac[2..]);
    }
    Ok(())
}

pub fn query_counter(
    dev: &mut Device,
    input: &Input<'_>,
    out: &mut Output<'_>,
) -> Result<(), CmdError> {
    own_vport(input)?;
    for (prefix, traffic) in [("transmitted", &dev.vport_sent), ("received", &dev.vport_received)] {
        put_traffic(out, prefix, traffic)?;
    }
    if input.flag("clear")? {
        (dev.vport_sent, dev.vport_received) = (Traffic::default(), Traffic::default());
    }
    Ok(())
}

fn put_traffic(out: &mut Output<'_>, prefix: &str, traffic: &Traffic) -> Result<(), CmdError> {
    for (kind, count) in [
        ("unicast", traffic.unicast),
        ("multicast", traffic.multicast),
        ("broadcast", traffic.broadcast),
    ] {
        out.set(&format!("{prefix}_eth_{kind}.packets"), count.packets)?;
        out.set(&format!("{prefix}_eth_{kind}.octets"), count.octets)?;
    }
    Ok(())
}
