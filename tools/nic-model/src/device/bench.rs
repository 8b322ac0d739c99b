// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A driver for tests: as little as brings a device up and passes packets.

use std::sync::LazyLock;

use crate::bar;
use crate::caps::{Caps, Profile};
use crate::device::{Config, Device};
use crate::ifc::Ifc;
use crate::memory::GuestMemory;
use crate::sched::Policy;

/// Places in the memory of 2 MiB.
pub const EQ: u64 = 0x2000;
pub const CQ_TX: u64 = 0x4000;
pub const CQ_RX: u64 = 0x5000;
pub const SQ: u64 = 0x6000;
pub const RQ: u64 = 0x8000;
pub const DOORBELLS: u64 = 0x9000;
pub const BUFFERS: u64 = 0x1_0000;
pub const DATA: u64 = 0x4_0000;
/// The firmware's.
const PAGES: u64 = 0x10_0000;

pub struct Bench {
    pub dev: Device,
    pub uar: u64,
    pub pd: u64,
    pub td: u64,
    pub lkey: u32,
    pub eqn: u64,
    pub cq_tx: u64,
    pub sqn: u64,
    pub rqn: u64,
    pub producer: u16,
}

pub fn config() -> Config {
    Config {
        mac: [2, 0, 0, 0, 0, 1],
        silicon: Default::default(),
        lso: Default::default(),
        scheduler: Policy::Fair,
        faults: String::new(),
        log_commands: false,
    }
}

/// Parsed once: fuzzers make many devices.
static IFC: LazyLock<Ifc> =
    LazyLock::new(|| Ifc::load(&crate::default_ifc_folder().unwrap()).unwrap());

pub fn device(config: Config) -> Device {
    let mut dev = Device::new(IFC.clone(), Caps::new(Profile::Default), config).unwrap();
    dev.mem = GuestMemory::for_test(&[(0, 2 << 20)]);
    dev.port.carrier = true;
    dev
}

/// Executes a command: its output, or its status.
pub fn command(
    dev: &mut Device,
    name: &str,
    layout: &str,
    fields: &[(&str, u64)],
) -> Result<Vec<u8>, u8> {
    let input = encode(dev, name, layout, fields);
    let output = dev.execute(&input, 4112);
    if output[0] == 0 {
        Ok(output)
    } else {
        Err(output[0])
    }
}

pub fn encode(dev: &Device, name: &str, layout: &str, fields: &[(&str, u64)]) -> Vec<u8> {
    // Room for a list of pages and the like.
    let mut input = vec![0; dev.ifc.size_of(layout).unwrap() + 2048];
    let opcode = dev.ifc.constant(&format!("MLX5_CMD_OP_{name}")).unwrap();
    input[..2].copy_from_slice(&(opcode as u16).to_be_bytes());
    for (field, value) in fields {
        dev.ifc.set(&mut input, &format!("{layout}.{field}"), *value).unwrap();
    }
    input
}

impl Bench {
    /// Up to INIT_HCA.
    pub fn initialized(config: Config) -> Device {
        let mut dev = device(config);
        let run = |dev: &mut Device, name: &str, layout: &str, fields: &[(&str, u64)]| {
            command(dev, name, layout, fields)
                .unwrap_or_else(|status| panic!("{name}: {status:#x}"))
        };
        run(&mut dev, "ENABLE_HCA", "enable_hca_in", &[]);
        run(&mut dev, "SET_ISSI", "set_issi_in", &[("current_issi", 1)]);
        let mut next = PAGES;
        for kind in [1, 2] {
            let out = run(&mut dev, "QUERY_PAGES", "query_pages_in", &[("op_mod", kind)]);
            let count = dev.ifc.get(&out, "query_pages_out.num_pages").unwrap();
            let give = [("op_mod", 1), ("input_num_entries", count)];
            let mut input = encode(&dev, "MANAGE_PAGES", "manage_pages_in", &give);
            let pas = dev.ifc.field("manage_pages_in.pas").unwrap();
            for n in 0..count {
                pas.nth(n).set(&mut input, next).unwrap();
                next += 0x1000;
            }
            assert_eq!(dev.execute(&input, 16)[0], 0);
        }
        run(&mut dev, "INIT_HCA", "init_hca_in", &[]);
        dev
    }

    /// Queues that are ready, and steering that brings every packet to the RQ.
    pub fn new(config: Config) -> Bench {
        let dev = Bench::initialized(config);
        let mut b = Bench {
            dev,
            uar: 0,
            pd: 0,
            td: 0,
            lkey: 0,
            eqn: 0,
            cq_tx: 0,
            sqn: 0,
            rqn: 0,
            producer: 0,
        };
        b.uar = b.make("ALLOC_UAR", "alloc_uar", "uar", &[]);
        b.pd = b.make("ALLOC_PD", "alloc_pd", "pd", &[]);
        b.td = b.make("ALLOC_TRANSPORT_DOMAIN", "alloc_transport_domain", "transport_domain", &[]);
        let key = [("memory_key_mkey_entry.pd", b.pd), ("memory_key_mkey_entry.mkey_7_0", 0x42)];
        b.lkey = (b.make("CREATE_MKEY", "create_mkey", "mkey_index", &key) << 8) as u32 | 0x42;
        b.eqn = b.make(
            "CREATE_EQ",
            "create_eq",
            "eq_number",
            &[
                ("eq_context_entry.log_eq_size", 6),
                ("eq_context_entry.uar_page", b.uar),
                ("pas", EQ),
            ],
        );
        b.cq_tx = b.cq(CQ_TX, DOORBELLS);
        let cq_rx = b.cq(CQ_RX, DOORBELLS + 0x10);
        let tis = b.tis(false);
        b.sqn = b.make(
            "CREATE_SQ",
            "create_sq",
            "sqn",
            &[
                ("ctx.cqn", b.cq_tx),
                ("ctx.flush_in_error_en", 1),
                ("ctx.tis_lst_sz", 1),
                ("ctx.tis_num_0", tis),
                ("ctx.wq.wq_type", 1),
                ("ctx.wq.log_wq_stride", 6),
                ("ctx.wq.log_wq_sz", 6),
                ("ctx.wq.pd", b.pd),
                ("ctx.wq.uar_page", b.uar),
                ("ctx.wq.dbr_addr", DOORBELLS + 0x20),
                ("ctx.wq.pas", SQ),
            ],
        );
        b.run("MODIFY_SQ", "modify_sq_in", &[("sqn", b.sqn), ("sq_state", 0), ("ctx.state", 1)]);
        b.rqn = b.make(
            "CREATE_RQ",
            "create_rq",
            "rqn",
            &[
                ("ctx.cqn", cq_rx),
                ("ctx.vsd", 1),
                ("ctx.wq.wq_type", 1),
                ("ctx.wq.log_wq_stride", 4),
                ("ctx.wq.log_wq_sz", 4),
                ("ctx.wq.pd", b.pd),
                ("ctx.wq.dbr_addr", DOORBELLS + 0x30),
                ("ctx.wq.pas", RQ),
            ],
        );
        b.run("MODIFY_RQ", "modify_rq_in", &[("rqn", b.rqn), ("rq_state", 0), ("ctx.state", 1)]);
        b.steer();
        b.dev.update_link();
        b
    }

    pub fn run(&mut self, name: &str, layout: &str, fields: &[(&str, u64)]) -> Vec<u8> {
        command(&mut self.dev, name, layout, fields)
            .unwrap_or_else(|status| panic!("{name}: {status:#x}"))
    }

    /// A command that makes something, and the id of that.
    pub fn make(&mut self, name: &str, layout: &str, id: &str, fields: &[(&str, u64)]) -> u64 {
        let out = self.run(name, &format!("{layout}_in"), fields);
        self.dev.ifc.get(&out, &format!("{layout}_out.{id}")).unwrap()
    }

    pub fn cq(&mut self, at: u64, doorbell: u64) -> u64 {
        self.make(
            "CREATE_CQ",
            "create_cq",
            "cqn",
            &[
                ("cq_context.log_cq_size", 6),
                ("cq_context.uar_page", self.uar),
                ("cq_context.c_eqn_or_apu_element", self.eqn),
                ("cq_context.dbr_addr", doorbell),
                ("pas", at),
            ],
        )
    }

    pub fn tis(&mut self, tls: bool) -> u64 {
        let fields = [
            ("ctx.tls_en", u64::from(tls)),
            ("ctx.transport_domain", self.td),
            ("ctx.pd", self.pd),
        ];
        self.make("CREATE_TIS", "create_tis", "tisn", &fields)
    }

    fn steer(&mut self) {
        let (rqn, td) = (self.rqn, self.td);
        let tir = self.make(
            "CREATE_TIR",
            "create_tir",
            "tirn",
            &[("ctx.disp_type", 0), ("ctx.inline_rqn", rqn), ("ctx.transport_domain", td)],
        );
        let table = self.make("CREATE_FLOW_TABLE", "create_flow_table", "table_id", &[]);
        let group =
            self.make("CREATE_FLOW_GROUP", "create_flow_group", "group_id", &[("table_id", table)]);
        let fields = [
            ("table_id", table),
            ("flow_context.group_id", group),
            ("flow_context.action", 4),
            ("flow_context.destination_list_size", 1),
        ];
        let mut input = encode(&self.dev, "SET_FLOW_TABLE_ENTRY", "set_fte_in", &fields);
        let at = self.dev.ifc.field("set_fte_in.flow_context.destination").unwrap().byte_offset();
        input[at..at + 4].copy_from_slice(&((2 << 24) | tir as u32).to_be_bytes());
        assert_eq!(self.dev.execute(&input, 16)[0], 0);
    }

    /// Puts a WQE into the send queue: opcode and opmod, flags, TIS, and what follows the control segment.
    pub fn post(&mut self, opcode: u8, opmod: u8, flags: u8, tisn: u64, rest: &[u8]) {
        let ds = 1 + rest.len().div_ceil(16);
        let mut bytes = vec![opmod];
        bytes.extend(self.producer.to_be_bytes());
        bytes.push(opcode);
        bytes.extend((((self.sqn as u32) << 8) | ds as u32).to_be_bytes());
        bytes.extend([0, 0, 0, flags]);
        bytes.extend(((tisn as u32) << 8).to_be_bytes());
        bytes.extend(rest);
        bytes.resize(bytes.len().next_multiple_of(64), 0);
        for block in bytes.chunks(64) {
            let at = SQ + u64::from(self.producer % 64) * 64;
            self.dev.mem.write(at, block).unwrap();
            self.producer = self.producer.wrapping_add(1);
        }
    }

    /// Rings the send queue's doorbell, and lets the device work.
    pub fn ring(&mut self) {
        let producer = u32::from(self.producer).to_be_bytes();
        self.dev.mem.write(DOORBELLS + 0x24, &producer).unwrap();
        let mut doorbell = [0; 8];
        doorbell[4..].copy_from_slice(&(((self.sqn as u32) << 8) | 1).to_be_bytes());
        bar::write(&mut self.dev, self.uar * 4096 + 0x800, &doorbell);
        while self.dev.work(16).busy {}
    }

    /// A packet: headers that are inlined, then data in memory.
    pub fn send(
        &mut self,
        flags: u8,
        tisn: u64,
        cs_flags: u8,
        mss: u16,
        header: &[u8],
        data: &[u8],
    ) {
        self.dev.mem.write(DATA, data).unwrap();
        let mut eth = vec![0u8; 4];
        eth.extend([cs_flags, 0]);
        eth.extend(mss.to_be_bytes());
        eth.extend([0; 4]);
        eth.extend((header.len() as u16).to_be_bytes());
        eth.extend(header);
        eth.resize(eth.len().next_multiple_of(16).max(16), 0);
        eth.extend(self.segment(data.len() as u32, DATA));
        self.post(if mss > 0 { 0x0e } else { 0x0a }, 0, flags, tisn, &eth);
        self.ring();
    }

    pub fn segment(&self, len: u32, at: u64) -> Vec<u8> {
        [&len.to_be_bytes()[..], &self.lkey.to_be_bytes(), &at.to_be_bytes()].concat()
    }

    /// Buffers of 2 KiB for the receive queue.
    pub fn buffers(&mut self, count: u32) {
        for n in 0..count.min(16) {
            let at = BUFFERS + u64::from(n) * 2048;
            self.dev.mem.write(RQ + u64::from(n) * 16, &self.segment(2048, at)).unwrap();
        }
        self.dev.mem.write(DOORBELLS + 0x30, &count.to_be_bytes()).unwrap();
    }

    /// The n-th entry of a CQ.
    pub fn cqe(&self, cq: u64, n: u64) -> Vec<u8> {
        self.dev.mem.read_vec(cq + n * 64, 64).unwrap()
    }

    #[track_caller]
    pub fn assert_clean(&self) {
        assert_eq!(self.dev.strict.reports(), [""; 0]);
    }
}
