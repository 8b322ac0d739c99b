// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The commands that the model knows, by the names of `MLX5_CMD_OP_*`.

use std::collections::HashMap;

use super::{flow, general, hca, queues, registers, transport, vport};
use super::{CmdError, Input, Output};
use crate::device::Device;
use crate::ifc::Ifc;

pub type Handler = fn(&mut Device, &Input<'_>, &mut Output<'_>) -> Result<(), CmdError>;

/// In which state of the HCA a command may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    Enabled,
    Initialized,
}

pub struct Command {
    pub name: &'static str,
    pub input: &'static str,
    pub output: &'static str,
    pub when: When,
    pub handler: Handler,
}

const fn command(
    name: &'static str,
    input: &'static str,
    output: &'static str,
    when: When,
    handler: Handler,
) -> Command {
    Command { name, input, output, when, handler }
}

use When::{Always, Enabled, Initialized};

const TABLE: &[Command] = &[
    command("ENABLE_HCA", "enable_hca_in", "enable_hca_out", Always, hca::enable),
    command("DISABLE_HCA", "disable_hca_in", "disable_hca_out", Always, hca::disable),
    command("QUERY_ISSI", "query_issi_in", "query_issi_out", Enabled, hca::query_issi),
    command("SET_ISSI", "set_issi_in", "set_issi_out", Enabled, hca::set_issi),
    command("QUERY_PAGES", "query_pages_in", "query_pages_out", Enabled, hca::query_pages),
    command("MANAGE_PAGES", "manage_pages_in", "manage_pages_out", Enabled, hca::manage_pages),
    command("QUERY_HCA_CAP", "query_hca_cap_in", "query_hca_cap_out", Enabled, hca::query_cap),
    command("SET_HCA_CAP", "set_hca_cap_in", "set_hca_cap_out", Enabled, hca::set_cap),
    command("INIT_HCA", "init_hca_in", "init_hca_out", Enabled, hca::init),
    command("TEARDOWN_HCA", "teardown_hca_in", "teardown_hca_out", Enabled, hca::teardown),
    command(
        "QUERY_ADAPTER",
        "query_adapter_in",
        "query_adapter_out",
        Initialized,
        hca::query_adapter,
    ),
    command(
        "SET_DRIVER_VERSION",
        "set_driver_version_in",
        "set_driver_version_out",
        Initialized,
        hca::nothing,
    ),
    command("ACCESS_REG", "access_register_in", "access_register_out", Enabled, registers::access),
    command("ALLOC_UAR", "alloc_uar_in", "alloc_uar_out", Initialized, general::alloc_uar),
    command("DEALLOC_UAR", "dealloc_uar_in", "dealloc_uar_out", Initialized, general::dealloc_uar),
    command("ALLOC_PD", "alloc_pd_in", "alloc_pd_out", Initialized, general::alloc_pd),
    command("DEALLOC_PD", "dealloc_pd_in", "dealloc_pd_out", Initialized, general::dealloc_pd),
    command(
        "ALLOC_TRANSPORT_DOMAIN",
        "alloc_transport_domain_in",
        "alloc_transport_domain_out",
        Initialized,
        general::alloc_transport_domain,
    ),
    command(
        "DEALLOC_TRANSPORT_DOMAIN",
        "dealloc_transport_domain_in",
        "dealloc_transport_domain_out",
        Initialized,
        general::dealloc_transport_domain,
    ),
    command("CREATE_MKEY", "create_mkey_in", "create_mkey_out", Initialized, general::create_mkey),
    command(
        "DESTROY_MKEY",
        "destroy_mkey_in",
        "destroy_mkey_out",
        Initialized,
        general::destroy_mkey,
    ),
    command(
        "ALLOC_Q_COUNTER",
        "alloc_q_counter_in",
        "alloc_q_counter_out",
        Initialized,
        general::alloc_q_counter,
    ),
    command(
        "DEALLOC_Q_COUNTER",
        "dealloc_q_counter_in",
        "dealloc_q_counter_out",
        Initialized,
        general::dealloc_q_counter,
    ),
    command(
        "QUERY_Q_COUNTER",
        "query_q_counter_in",
        "query_q_counter_out",
        Initialized,
        general::query_q_counter,
    ),
    command("CREATE_EQ", "create_eq_in", "create_eq_out", Initialized, queues::create_eq),
    command("DESTROY_EQ", "destroy_eq_in", "destroy_eq_out", Initialized, queues::destroy_eq),
    command("CREATE_CQ", "create_cq_in", "create_cq_out", Initialized, queues::create_cq),
    command("DESTROY_CQ", "destroy_cq_in", "destroy_cq_out", Initialized, queues::destroy_cq),
    command("MODIFY_CQ", "modify_cq_in", "modify_cq_out", Initialized, queues::modify_cq),
    command("CREATE_SQ", "create_sq_in", "create_sq_out", Initialized, queues::create_sq),
    command("MODIFY_SQ", "modify_sq_in", "modify_sq_out", Initialized, queues::modify_sq),
    command("QUERY_SQ", "query_sq_in", "query_sq_out", Initialized, queues::query_sq),
    command("DESTROY_SQ", "destroy_sq_in", "destroy_sq_out", Initialized, queues::destroy_sq),
    command("CREATE_RQ", "create_rq_in", "create_rq_out", Initialized, queues::create_rq),
    command("MODIFY_RQ", "modify_rq_in", "modify_rq_out", Initialized, queues::modify_rq),
    command("QUERY_RQ", "query_rq_in", "query_rq_out", Initialized, queues::query_rq),
    command("DESTROY_RQ", "destroy_rq_in", "destroy_rq_out", Initialized, queues::destroy_rq),
    command("CREATE_RQT", "create_rqt_in", "create_rqt_out", Initialized, transport::create_rqt),
    command("MODIFY_RQT", "modify_rqt_in", "modify_rqt_out", Initialized, transport::modify_rqt),
    command(
        "DESTROY_RQT",
        "destroy_rqt_in",
        "destroy_rqt_out",
        Initialized,
        transport::destroy_rqt,
    ),
    command("CREATE_TIR", "create_tir_in", "create_tir_out", Initialized, transport::create_tir),
    command("MODIFY_TIR", "modify_tir_in", "modify_tir_out", Initialized, transport::modify_tir),
    command(
        "DESTROY_TIR",
        "destroy_tir_in",
        "destroy_tir_out",
        Initialized,
        transport::destroy_tir,
    ),
    command("CREATE_TIS", "create_tis_in", "create_tis_out", Initialized, transport::create_tis),
    command("MODIFY_TIS", "modify_tis_in", "modify_tis_out", Initialized, transport::modify_tis),
    command(
        "DESTROY_TIS",
        "destroy_tis_in",
        "destroy_tis_out",
        Initialized,
        transport::destroy_tis,
    ),
    command(
        "CREATE_GENERAL_OBJECT",
        "create_encryption_key_in",
        "general_obj_out_cmd_hdr",
        Initialized,
        transport::create_general_object,
    ),
    command(
        "DESTROY_GENERAL_OBJECT",
        "general_obj_in_cmd_hdr",
        "general_obj_out_cmd_hdr",
        Initialized,
        transport::destroy_general_object,
    ),
    command(
        "CREATE_FLOW_TABLE",
        "create_flow_table_in",
        "create_flow_table_out",
        Initialized,
        flow::create_table,
    ),
    command(
        "MODIFY_FLOW_TABLE",
        "modify_flow_table_in",
        "modify_flow_table_out",
        Initialized,
        flow::modify_table,
    ),
    command(
        "DESTROY_FLOW_TABLE",
        "destroy_flow_table_in",
        "destroy_flow_table_out",
        Initialized,
        flow::destroy_table,
    ),
    command(
        "SET_FLOW_TABLE_ROOT",
        "set_flow_table_root_in",
        "set_flow_table_root_out",
        Initialized,
        flow::set_root,
    ),
    command(
        "CREATE_FLOW_GROUP",
        "create_flow_group_in",
        "create_flow_group_out",
        Initialized,
        flow::create_group,
    ),
    command(
        "DESTROY_FLOW_GROUP",
        "destroy_flow_group_in",
        "destroy_flow_group_out",
        Initialized,
        flow::destroy_group,
    ),
    command("SET_FLOW_TABLE_ENTRY", "set_fte_in", "set_fte_out", Initialized, flow::set_entry),
    command(
        "DELETE_FLOW_TABLE_ENTRY",
        "delete_fte_in",
        "delete_fte_out",
        Initialized,
        flow::delete_entry,
    ),
    command(
        "QUERY_VPORT_STATE",
        "query_vport_state_in",
        "query_vport_state_out",
        Initialized,
        vport::query_state,
    ),
    command(
        "MODIFY_VPORT_STATE",
        "modify_vport_state_in",
        "modify_vport_state_out",
        Initialized,
        vport::modify_state,
    ),
    command(
        "QUERY_NIC_VPORT_CONTEXT",
        "query_nic_vport_context_in",
        "query_nic_vport_context_out",
        Initialized,
        vport::query_context,
    ),
    command(
        "MODIFY_NIC_VPORT_CONTEXT",
        "modify_nic_vport_context_in",
        "modify_nic_vport_context_out",
        Initialized,
        vport::modify_context,
    ),
    command(
        "QUERY_VPORT_COUNTER",
        "query_vport_counter_in",
        "query_vport_counter_out",
        Initialized,
        vport::query_counter,
    ),
];

/// The commands by their opcodes in the kernel under test.
pub struct Commands {
    by_opcode: HashMap<u16, &'static Command>,
    names: HashMap<u16, String>,
}

impl Commands {
    /// Fails if the kernel's header lacks a command or structure that the model knows.
    pub fn new(ifc: &Ifc) -> anyhow::Result<Commands> {
        let mut by_opcode = HashMap::new();
        for command in TABLE {
            let opcode = ifc
                .constant(&format!("MLX5_CMD_OP_{}", command.name))
                .ok_or_else(|| anyhow::anyhow!("mlx5_ifc.h has no command {}", command.name))?;
            ifc.size_of(command.input)?;
            ifc.size_of(command.output)?;
            by_opcode.insert(u16::try_from(opcode)?, command);
        }
        let names = ifc
            .constants("MLX5_CMD_OP_")
            .filter_map(|(name, opcode)| Some((u16::try_from(opcode).ok()?, name.to_owned())))
            .collect();
        Ok(Commands { by_opcode, names })
    }

    pub fn get(&self, opcode: u16) -> Option<&'static Command> {
        self.by_opcode.get(&opcode).copied()
    }

    /// All that the model knows.
    pub fn opcodes(&self) -> Vec<u16> {
        let mut opcodes: Vec<_> = self.by_opcode.keys().copied().collect();
        opcodes.sort_unstable();
        opcodes
    }

    pub fn opcode(&self, name: &str) -> Option<u16> {
        self.names.iter().find(|(_, n)| *n == name).map(|(opcode, _)| *opcode)
    }

    /// What the header calls an opcode.
    pub fn name(&self, opcode: u16) -> String {
        self.names.get(&opcode).cloned().unwrap_or_else(|| format!("command {opcode:#x}"))
    }
}
