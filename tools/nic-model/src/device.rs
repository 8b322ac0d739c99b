// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The device as a whole: all of its state, what starts its work, and what ends it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::caps::Caps;
use crate::cmd::{
    CmdError, CommandQueue, Commands, Hca, HcaState, Input, Output, Status, Vport, When,
};
use crate::cq::Cqs;
use crate::eq::{event, Eqs};
use crate::faults::{Faults, Plan};
use crate::ifc::Ifc;
use crate::memory::GuestMemory;
use crate::objects::Objects;
use crate::port::{Port, Traffic};
use crate::rq::Rq;
use crate::rss::Tir;
use crate::sched::{Policy, Scheduler};
use crate::sq::Sq;
use crate::steering::{FlowFields, Steering};
use crate::strict::{note, Strict};
use crate::tis::Tis;
use crate::tls::{Key, Silicon};
use crate::wire::Impairments;
use crate::work::Queue;

/// What is chosen when the model starts.
#[derive(Clone, Debug)]
pub struct Config {
    pub mac: [u8; 6],
    /// What is not known of the TLS engine's hardware.
    pub silicon: Silicon,
    /// The same of large send offload.
    pub lso: crate::lso::Silicon,
    /// In which order queues progress.
    pub scheduler: Policy,
    /// What goes wrong on purpose: see [`Plan`].
    pub faults: String,
    /// A line for each command.
    pub log_commands: bool,
}

/// `MLX5_INITIAL_SEG_NIC_INTERFACE_*`
mod nic_interface {
    pub const FULL: u32 = 0;
    pub const DISABLED: u32 = 1;
    pub const SW_RESET: u32 = 7;
}

pub struct Device {
    pub config: Config,
    pub ifc: Arc<Ifc>,
    pub caps: Caps,
    pub mem: GuestMemory,
    pub strict: Strict,
    commands: Commands,
    pub cmdq: CommandQueue,
    pub hca: Hca,
    pub objects: Objects,
    pub mkeys: BTreeSet<u32>,
    pub eqs: Eqs,
    pub cqs: Cqs,
    pub sqs: BTreeMap<u32, Sq>,
    pub rqs: BTreeMap<u32, Rq>,
    pub rqts: BTreeMap<u32, Vec<u32>>,
    pub tirs: BTreeMap<u32, Tir>,
    pub tises: BTreeMap<u32, Tis>,
    pub deks: BTreeMap<u32, Key>,
    pub steering: Steering,
    pub flow_fields: FlowFields,
    /// By counter set.
    pub out_of_buffer: BTreeMap<u32, u64>,
    pub port: Port,
    pub vport: Vport,
    pub vport_sent: Traffic,
    pub vport_received: Traffic,
    /// Frames on their way out.
    pub outgoing: VecDeque<Vec<u8>>,
    /// Who may use the device: 0 is everybody, see [`nic_interface`].
    pub nic_interface: u32,
    pub queue: Queue,
    /// So many packets are to end in an error CQE, for a test.
    pub fail_wqes: u32,
    /// What is to happen on the wire from now on, if a test has said so.
    pub impair: Option<Impairments>,
    pub scheduler: Scheduler<u32>,
    pub faults: Faults,
    started: Instant,
}

impl Device {
    pub fn new(ifc: Ifc, caps: Caps, config: Config) -> anyhow::Result<Device> {
        let scheduler = Scheduler::new(config.scheduler);
        let commands = Commands::new(&ifc)?;
        let plan = Plan::parse(&config.faults, |name| commands.opcode(name))
            .map_err(anyhow::Error::msg)?;
        Ok(Device {
            commands,
            scheduler,
            faults: Faults::new(plan, Instant::now()),
            flow_fields: FlowFields::new(&ifc)?,
            vport: Vport::new(config.mac),
            config,
            ifc: Arc::new(ifc),
            caps,
            mem: GuestMemory::default(),
            strict: Strict::default(),
            cmdq: CommandQueue::default(),
            hca: Hca::default(),
            objects: Objects::default(),
            mkeys: BTreeSet::new(),
            eqs: Eqs::default(),
            cqs: Cqs::default(),
            sqs: BTreeMap::new(),
            rqs: BTreeMap::new(),
            rqts: BTreeMap::new(),
            tirs: BTreeMap::new(),
            tises: BTreeMap::new(),
            deks: BTreeMap::new(),
            steering: Steering::default(),
            out_of_buffer: BTreeMap::new(),
            port: Port::new(),
            vport_sent: Traffic::default(),
            vport_received: Traffic::default(),
            outgoing: VecDeque::new(),
            nic_interface: nic_interface::FULL,
            queue: Queue::default(),
            fail_wqes: 0,
            impair: None,
            started: Instant::now(),
        })
    }

    /// A plan of faults, which may name commands.
    pub fn plan(&self, text: &str) -> Result<Plan, String> {
        Plan::parse(text, |name| self.commands.opcode(name))
    }

    /// Does a command take something away, or out of use before it goes: RQs out of an RQT, the next table out of one's miss action?
    pub fn removes(&self, opcode: u16) -> bool {
        const REMOVING: &[&str] = &[
            "DESTROY_",
            "DEALLOC_",
            "DELETE_",
            "DETACH_",
            "TEARDOWN_",
            "DISABLE_",
            "MANAGE_PAGES",
            "MODIFY_RQT",
            "MODIFY_FLOW_TABLE",
        ];
        let name = self.commands.name(opcode);
        REMOVING.iter().any(|word| name.starts_with(word))
    }

    /// All objects are gone, as after ENABLE_HCA.
    pub fn reset_objects(&mut self) {
        self.objects.clear();
        self.mkeys.clear();
        self.eqs.clear();
        self.cqs.clear();
        for sqn in std::mem::take(&mut self.sqs).into_keys() {
            self.scheduler.remove(sqn);
        }
        self.rqs.clear();
        self.rqts.clear();
        self.tirs.clear();
        self.tises.clear();
        self.deks.clear();
        self.steering.clear();
        self.out_of_buffer.clear();
    }

    /// A reset of the function: as after power-on, but what the port has counted stays.
    pub fn reset(&mut self) {
        self.reset_objects();
        self.hca = Hca::default();
        self.cmdq = CommandQueue::default();
        self.queue.clear();
        self.outgoing.clear();
        self.vport = Vport::new(self.config.mac);
        self.port.admin_up = true;
        self.port.mtu = 1522;
    }

    /// The firmware dies: nothing is left of its objects, and it does nothing until a driver begins anew.
    fn die(&mut self) {
        note("the firmware dies, on purpose");
        self.reset();
        self.nic_interface = nic_interface::DISABLED;
    }

    pub fn is_dead(&self) -> bool {
        self.nic_interface == nic_interface::DISABLED
    }

    /// The driver writes `nic_interface`, with the low part of the command queue's address.
    pub fn set_nic_interface(&mut self, value: u32) {
        if value == nic_interface::SW_RESET {
            self.reset();
            self.nic_interface = nic_interface::DISABLED;
        } else {
            self.nic_interface = value;
        }
    }

    /// Nanoseconds since the start: the internal timer, of 1 GHz.
    pub fn timer(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Executes a command and gives its output, which begins with a status.
    pub fn execute(&mut self, input: &[u8], outlen: usize) -> Vec<u8> {
        let opcode = match input {
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => 0,
        };
        let ifc = self.ifc.clone();
        let (result, output) = self.dispatch(&ifc, opcode, input, outlen);
        if self.config.log_commands {
            note(format_args!("{}: {result:?}", self.commands.name(opcode)));
        }
        match result {
            Ok(()) => output,
            Err(error) => {
                let text = format!("{}: {error}", self.commands.name(opcode));
                if error.is_violation() {
                    self.strict.violation(text);
                } else {
                    note(text);
                }
                let mut output = vec![0; outlen.max(8)];
                output[0] = error.status as u8;
                output
            }
        }
    }

    fn dispatch(
        &mut self,
        ifc: &Ifc,
        opcode: u16,
        input: &[u8],
        outlen: usize,
    ) -> (Result<(), CmdError>, Vec<u8>) {
        let Some(command) = self.commands.get(opcode) else {
            return (Err(CmdError::unsupported("the model does not have it")), Vec::new());
        };
        let allowed = match command.when {
            When::Always => true,
            When::Enabled => self.hca.state >= HcaState::Enabled,
            When::Initialized => self.hca.state >= HcaState::Initialized,
        };
        if !allowed {
            let text = format!("the HCA is {:?}", self.hca.state);
            return (Err(CmdError::new(Status::BadSystemState, text)), Vec::new());
        }
        let input = Input::new(ifc, command.input, input);
        let mut output = Output::new(ifc, command.output, outlen);
        let result = (command.handler)(self, &input, &mut output);
        (result, output.bytes)
    }

    /// Tells the driver if the link has gone up or down.
    pub fn update_link(&mut self) {
        const DOWN: u8 = 1;
        const ACTIVE: u8 = 4;
        let Some(up) = self.port.changed() else { return };
        note(if up { "link up" } else { "link down" });
        // The port is in the high nibble of byte 8.
        let data = [0, 0, 0, 0, 0, 0, 0, 0, 1 << 4];
        let subtype = if up { ACTIVE } else { DOWN };
        self.eqs.async_event(&self.mem, &mut self.strict, event::PORT_CHANGE, subtype, &data);
    }

    /// A command of a test's, from the guest: see README.md.
    pub fn test_command(&mut self, command: u32) {
        let (what, argument) = (command >> 24, command & 0xff_ffff);
        match what {
            1 => self.port.forced_down = argument == 0,
            2 => self.fail_wqes = argument,
            3 => self.die(),
            _ => self
                .strict
                .violation(format_args!("test command {command:#x}, which does not exist")),
        }
    }
}

#[cfg(any(test, feature = "bench"))]
pub mod bench;
#[cfg(test)]
mod tests;
