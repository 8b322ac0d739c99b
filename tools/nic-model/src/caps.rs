// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the device says it can do: one table.
//!
//! A profile takes from it what is needed at least, or everything. Each capability can be given another value by its
//! name, so that tests can take them away one by one.

use std::collections::BTreeMap;

use crate::ifc::{FieldError, Ifc};

/// Groups of capabilities: the types of QUERY_HCA_CAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    General = 0x00,
    Ethernet = 0x01,
    FlowTable = 0x07,
    Tls = 0x11,
}

impl Group {
    const ALL: [Group; 4] = [Group::General, Group::Ethernet, Group::FlowTable, Group::Tls];

    /// The structure of its fields.
    fn layout(self) -> &'static str {
        match self {
            Group::General => "cmd_hca_cap",
            Group::Ethernet => "per_protocol_networking_offload_caps",
            Group::FlowTable => "flow_table_nic_cap",
            Group::Tls => "tls_cap",
        }
    }

    fn from_type(kind: u64) -> Option<Group> {
        Group::ALL.into_iter().find(|group| *group as u64 == kind)
    }
}

/// Who needs a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it the driver refuses the device, or gets into trouble (so measured).
    Driver,
    /// Part of the smallest set that brings up TLS offload.
    Minimal,
    /// Only in the default profile.
    Feature,
}

pub struct Cap {
    pub group: Group,
    pub field: &'static str,
    pub value: u64,
    pub need: Need,
}

const fn cap(group: Group, field: &'static str, value: u64, need: Need) -> Cap {
    Cap { group, field, value, need }
}

use Group::{Ethernet as E, FlowTable as F, General as G, Tls as T};
use Need::{Driver, Feature, Minimal};

/// Everything that the model can do. What is not here is 0: see README.md for what that leaves out.
pub const TABLE: &[Cap] = &[
    cap(G, "port_type", 1, Driver),
    cap(G, "num_ports", 1, Driver),
    cap(G, "log_max_eq", 6, Driver),
    cap(G, "eth_net_offloads", 1, Driver),
    cap(G, "nic_flow_table", 1, Driver),
    cap(G, "max_wqe_sz_sq", 1024, Driver),
    cap(G, "log_bf_reg_size", 9, Driver),
    cap(G, "log_max_rqt_size", 11, Minimal),
    cap(G, "device_frequency_khz", 1_000_000, Minimal),
    cap(G, "cq_moderation", 1, Minimal),
    cap(G, "vport_counters", 1, Minimal),
    cap(G, "log_max_current_uc_list", 7, Minimal),
    cap(G, "log_max_current_mc_list", 7, Minimal),
    cap(G, "log_max_dek", 17, Minimal),
    cap(G, "tls_tx", 1, Minimal),
    cap(G, "general_obj_types", 1 << 0x0c, Minimal),
    cap(G, "log_max_tis", 17, Feature),
    cap(G, "log_max_tir", 17, Feature),
    cap(G, "log_max_sq", 17, Feature),
    cap(G, "log_max_rq", 17, Feature),
    cap(G, "log_max_rqt", 17, Feature),
    cap(G, "log_max_cq", 17, Feature),
    cap(G, "log_max_cq_sz", 20, Feature),
    cap(G, "log_max_eq_sz", 16, Feature),
    cap(E, "csum_cap", 1, Driver),
    cap(E, "vlan_cap", 1, Driver),
    cap(E, "max_lso_cap", 18, Driver),
    cap(E, "rss_ind_tbl_cap", 11, Driver),
    cap(E, "self_lb_en_modifiable", 1, Minimal),
    cap(E, "cqe_checksum_full", 1, Minimal),
    cap(E, "wqe_vlan_insert", 1, Feature),
    // The driver need not inline headers (but for TLS).
    cap(E, "wqe_inline_mode", 2, Feature),
    cap(F, "flow_table_properties_nic_receive.ft_support", 1, Driver),
    cap(F, "flow_table_properties_nic_receive.log_max_ft_size", 16, Driver),
    cap(F, "flow_table_properties_nic_receive.max_ft_level", 64, Driver),
    cap(F, "flow_table_properties_nic_receive.ft_field_support.outer_dmac", 1, Minimal),
    cap(F, "flow_table_properties_nic_receive.ft_field_support.outer_ether_type", 1, Minimal),
    cap(F, "flow_table_properties_nic_receive.ft_field_support.outer_ip_protocol", 1, Minimal),
    cap(F, "flow_table_properties_nic_receive.ft_field_support.outer_ip_version", 1, Feature),
    cap(F, "flow_table_properties_nic_receive.flow_modify_en", 1, Feature),
    cap(F, "flow_table_properties_nic_receive.modify_root", 1, Feature),
    cap(F, "flow_table_properties_nic_receive.identified_miss_table_mode", 1, Feature),
    cap(F, "flow_table_properties_nic_receive.flow_table_modify", 1, Feature),
    cap(F, "flow_table_properties_nic_receive.log_max_ft_num", 12, Feature),
    cap(F, "flow_table_properties_nic_receive.log_max_destination", 8, Feature),
    cap(F, "flow_table_properties_nic_receive.log_max_flow", 16, Feature),
    cap(T, "tls_1_2_aes_gcm_128", 1, Minimal),
    cap(T, "tls_1_2_aes_gcm_256", 1, Minimal),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// All that the model can do.
    Default,
    /// The least that a driver with TLS offload comes up on.
    Minimal,
}

/// The capabilities of one device.
#[derive(Clone, Debug)]
pub struct Caps {
    values: BTreeMap<(Group, String), u64>,
}

impl Caps {
    pub fn new(profile: Profile) -> Caps {
        let values = TABLE
            .iter()
            .filter(|cap| profile == Profile::Default || cap.need != Need::Feature)
            .map(|cap| ((cap.group, cap.field.to_owned()), cap.value))
            .collect();
        Caps { values }
    }

    /// Sets a capability by name: a field of the table, or GROUP.FIELD for any field there is.
    pub fn set(&mut self, ifc: &Ifc, name: &str, value: u64) -> Result<(), String> {
        let named = |cap: &&Cap| cap.field == name || cap.field.rsplit('.').next() == Some(name);
        let (group, field) = match TABLE.iter().find(named) {
            Some(cap) => (cap.group, cap.field.to_owned()),
            None => name
                .split_once('.')
                .and_then(|(group, field)| {
                    let group = Group::ALL
                        .into_iter()
                        .find(|g| format!("{g:?}").eq_ignore_ascii_case(group))?;
                    Some((group, field.to_owned()))
                })
                .ok_or_else(|| format!("there is no capability {name} (--list-caps lists them)"))?,
        };
        let path = format!("{}.{field}", group.layout());
        let bits = ifc.field(&path).map_err(|e| e.to_string())?.bits;
        if bits < 64 && value >> bits != 0 {
            return Err(format!("{name} has {bits} bits"));
        }
        self.values.insert((group, field), value);
        Ok(())
    }

    pub fn get(&self, group: Group, field: &str) -> u64 {
        self.values.get(&(group, field.to_owned())).copied().unwrap_or(0)
    }

    /// What QUERY_HCA_CAP returns of a group; a group that the model does not have is all zeros.
    pub fn encode(&self, ifc: &Ifc, kind: u64) -> Result<Vec<u8>, FieldError> {
        let mut data = vec![0; ifc.size_of("hca_cap_union")?];
        if let Some(group) = Group::from_type(kind) {
            for ((_, field), value) in self.values.iter().filter(|((g, _), _)| *g == group) {
                ifc.set(&mut data, &format!("{}.{field}", group.layout()), *value)?;
            }
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ifc() -> Ifc {
        Ifc::load(&crate::default_ifc_folder().unwrap()).unwrap()
    }

    #[test]
    fn all_are_in_the_kernels_header_and_fit() {
        let ifc = ifc();
        let mut caps = Caps::new(Profile::Minimal);
        for cap in TABLE {
            caps.set(&ifc, cap.field, cap.value).unwrap();
        }
        for group in Group::ALL {
            let data = caps.encode(&ifc, group as u64).unwrap();
            for cap in TABLE.iter().filter(|cap| cap.group == group) {
                assert_eq!(
                    ifc.get(&data, &format!("{}.{}", group.layout(), cap.field)),
                    Ok(cap.value)
                );
            }
        }
    }

    #[test]
    fn profiles_and_names() {
        let ifc = ifc();
        let mut caps = Caps::new(Profile::Minimal);
        let root = "flow_table_properties_nic_receive.modify_root";
        assert_eq!(caps.get(Group::FlowTable, root), 0);
        assert_eq!(Caps::new(Profile::Default).get(Group::FlowTable, root), 1);
        caps.set(&ifc, "modify_root", 1).unwrap();
        assert_eq!(caps.get(Group::FlowTable, root), 1);
        caps.set(&ifc, "ethernet.swp", 1).unwrap();
        assert_eq!(caps.get(Group::Ethernet, "swp"), 1);
        assert!(caps.set(&ifc, "swp_and_more", 1).is_err());
        assert!(caps.set(&ifc, "tls_tx", 2).is_err());
        assert!(caps.encode(&ifc, 0x55).unwrap().iter().all(|b| *b == 0));
    }
}
