// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Port registers, through ACCESS_REG.

use super::{CmdError, Input, Output};
use crate::device::Device;
use crate::port::{self, Port, Traffic};

const PMTU: u64 = 0x5003;
const PTYS: u64 = 0x5004;
const PAOS: u64 = 0x5006;
const PFCC: u64 = 0x5007;
const PPCNT: u64 = 0x5008;
const HOST_ENDIANNESS: u64 = 0x7004;

/// 100GBASE-CR4 in the masks of PTYS.
const SPEED_100G: u64 = 1 << 20;

struct Access<'i, 'a, 'b> {
    write: bool,
    /// What the driver passes, which a write takes its values from.
    data: &'i Input<'a>,
    out: &'i mut Output<'b>,
    layout: &'static str,
}

impl Access<'_, '_, '_> {
    fn set(&mut self, field: &str, value: u64) -> Result<(), CmdError> {
        Ok(self.out.set_in("register_data", self.layout, field, value)?)
    }
}

pub fn access(dev: &mut Device, input: &Input<'_>, out: &mut Output<'_>) -> Result<(), CmdError> {
    let id = input.get("register_id")?;
    let layout = match id {
        PMTU => "pmtu_reg",
        PTYS => "ptys_reg",
        PAOS => "paos_reg",
        PFCC => "pfcc_reg",
        PPCNT => "ppcnt_reg",
        HOST_ENDIANNESS => return Ok(()),
        _ => return Err(CmdError::unsupported(format!("register {id:#x}"))),
    };
    let data = input.part("register_data", layout)?;
    // What is not changed below is as the driver has passed it.
    out.copy("register_data", data.bytes)?;
    let mut access = Access { write: input.get("op_mod")? == 0, data: &data, out, layout };
    match id {
        PMTU => pmtu(&mut dev.port, &mut access),
        PTYS => ptys(&dev.port, &mut access),
        PAOS => paos(&mut dev.port, &mut access),
        PFCC => Ok(()),
        _ => ppcnt(dev, &mut access),
    }
}

fn pmtu(port: &mut Port, access: &mut Access<'_, '_, '_>) -> Result<(), CmdError> {
    if access.write {
        let mtu = access.data.get("admin_mtu")?;
        port.mtu = u16::try_from(mtu)
            .ok()
            .filter(|mtu| (64..=port::MAX_MTU).contains(mtu))
            .ok_or_else(|| CmdError::parameter(format!("an MTU of {mtu}")))?;
    }
    access.set("max_mtu", port::MAX_MTU.into())?;
    access.set("admin_mtu", port.mtu.into())?;
    access.set("oper_mtu", port.mtu.into())
}

fn ptys(port: &Port, access: &mut Access<'_, '_, '_>) -> Result<(), CmdError> {
    if access.write && access.data.get("eth_proto_admin")? & SPEED_100G == 0 {
        return Err(CmdError::unsupported("a speed other than 100 Gbit/s"));
    }
    access.set("eth_proto_capability", SPEED_100G)?;
    access.set("eth_proto_admin", SPEED_100G)?;
    access.set("eth_proto_oper", if port.is_up() { SPEED_100G } else { 0 })
}

fn paos(port: &mut Port, access: &mut Access<'_, '_, '_>) -> Result<(), CmdError> {
    const UP: u64 = 1;
    const DOWN: u64 = 2;
    if access.write {
        port.admin_up = match access.data.get("admin_status")? {
            UP => true,
            DOWN => false,
            other => return Err(CmdError::parameter(format!("port status {other}"))),
        };
    }
    access.set("admin_status", if port.admin_up { UP } else { DOWN })?;
    access.set("oper_status", if port.is_up() { UP } else { DOWN })
}

/// A 64-bit counter is two fields in the header.
fn counter(
    access: &mut Access<'_, '_, '_>,
    group: &str,
    name: &str,
    value: u64,
) -> Result<(), CmdError> {
    access.set(&format!("counter_set.{group}.{name}_high"), value >> 32)?;
    access.set(&format!("counter_set.{group}.{name}_low"), value & 0xffff_ffff)
}

fn ppcnt(dev: &mut Device, access: &mut Access<'_, '_, '_>) -> Result<(), CmdError> {
    let (sent, received) = (dev.port.sent, dev.port.received);
    let out_of_buffer: u64 = dev.out_of_buffer.values().sum();
    let (group, counters): (&str, Vec<(&str, u64)>) = match access.data.get("grp")? {
        0x0 => ("eth_802_3_cntrs_grp_data_layout", ieee_802_3(&sent, &received, dev.port.oversize)),
        0x1 => ("eth_2863_cntrs_grp_data_layout", rfc_2863(&sent, &received, out_of_buffer)),
        0x2 => ("eth_2819_cntrs_grp_data_layout", rfc_2819(&received, dev.port.oversize)),
        // Priority 0 has all there is.
        0x10 if access.data.get("prio_tc")? == 0 => (
            "eth_per_prio_grp_data_layout",
            vec![
                ("rx_octets", received.wire_octets()),
                ("rx_frames", received.packets()),
                ("tx_octets", sent.wire_octets()),
                ("tx_frames", sent.packets()),
            ],
        ),
        0x12 => {
            let downs = dev.port.link_downs;
            return access.set("counter_set.phys_layer_cntrs.link_down_events", downs);
        }
        // Groups of what cannot happen here: all zero.
        _ => return Ok(()),
    };
    for (name, value) in counters {
        counter(access, group, name, value)?;
    }
    Ok(())
}

fn ieee_802_3(sent: &Traffic, received: &Traffic, oversize: u64) -> Vec<(&'static str, u64)> {
    vec![
        ("a_frames_transmitted_ok", sent.packets()),
        ("a_frames_received_ok", received.packets()),
        ("a_octets_transmitted_ok", sent.wire_octets()),
        ("a_octets_received_ok", received.wire_octets()),
        ("a_multicast_frames_xmitted_ok", sent.multicast.packets),
        ("a_broadcast_frames_xmitted_ok", sent.broadcast.packets),
        ("a_multicast_frames_received_ok", received.multicast.packets),
        ("a_broadcast_frames_received_ok", received.broadcast.packets),
        ("a_frame_too_long_errors", oversize),
    ]
}

fn rfc_2863(sent: &Traffic, received: &Traffic, discards: u64) -> Vec<(&'static str, u64)> {
    vec![
        ("if_in_octets", received.wire_octets()),
        ("if_in_ucast_pkts", received.unicast.packets),
        ("if_in_multicast_pkts", received.multicast.packets),
        ("if_in_broadcast_pkts", received.broadcast.packets),
        ("if_in_discards", discards),
        ("if_out_octets", sent.wire_octets()),
        ("if_out_ucast_pkts", sent.unicast.packets),
        ("if_out_multicast_pkts", sent.multicast.packets),
        ("if_out_broadcast_pkts", sent.broadcast.packets),
    ]
}

fn rfc_2819(received: &Traffic, oversize: u64) -> Vec<(&'static str, u64)> {
    const SIZES: [&str; port::SIZES.len()] = [
        "ether_stats_pkts64octets",
        "ether_stats_pkts65to127octets",
        "ether_stats_pkts128to255octets",
        "ether_stats_pkts256to511octets",
        "ether_stats_pkts512to1023octets",
        "ether_stats_pkts1024to1518octets",
        "ether_stats_pkts1519to2047octets",
        "ether_stats_pkts2048to4095octets",
        "ether_stats_pkts4096to8191octets",
        "ether_stats_pkts8192to10239octets",
    ];
    let mut counters = vec![
        ("ether_stats_octets", received.wire_octets()),
        ("ether_stats_pkts", received.packets()),
        ("ether_stats_broadcast_pkts", received.broadcast.packets),
        ("ether_stats_multicast_pkts", received.multicast.packets),
        ("ether_stats_oversize_pkts", oversize),
    ];
    counters.extend(SIZES.into_iter().zip(received.sizes));
    counters
}
