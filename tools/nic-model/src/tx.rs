// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Execution of send WQEs.

use std::time::Instant;

use crate::cq::{opcode, syndrome, Cqe};
use crate::device::Device;
use crate::lso::{self, ChecksumFlags};
use crate::packet::protocol;
use crate::strict::note;
use crate::tls::{Post, StaticParams, Version, Violation};
use crate::wq::{DataSegment, WqState};
use crate::wqe::{self, Control, Packet, Part, Wqe};

/// Frames shorter than this are padded by the hardware.
const MIN_FRAME: usize = 60;
/// More than LSO can carry at once is a broken WQE.
const MAX_PAYLOAD: usize = 1 << 20;

/// Why a WQE ends in an error CQE, and with which syndrome.
#[derive(Debug)]
struct Failure {
    syndrome: u8,
    why: String,
}

impl Failure {
    fn operation(why: impl ToString) -> Failure {
        Failure { syndrome: syndrome::LOCAL_QP_OP_ERR, why: why.to_string() }
    }

    fn length(why: impl ToString) -> Failure {
        Failure { syndrome: syndrome::LOCAL_LENGTH_ERR, why: why.to_string() }
    }

    fn protection(why: impl ToString) -> Failure {
        Failure { syndrome: syndrome::LOCAL_PROT_ERR, why: why.to_string() }
    }
}

impl Device {
    /// A doorbell of a send queue.
    pub fn sq_doorbell(&mut self, uar: u32, sqn: u32) {
        let Some(sq) = self.sqs.get_mut(&sqn) else {
            self.strict.violation(format_args!("a doorbell of SQ {sqn:#x}, which does not exist"));
            return;
        };
        if sq.uar != uar {
            self.strict.violation(format_args!("SQ {sqn:#x} has UAR {:#x}, not {uar:#x}", sq.uar));
        }
        if sq.state == WqState::Reset {
            self.strict.violation(format_args!("a doorbell of SQ {sqn:#x}, which is in reset"));
            return;
        }
        if let Err(error) = sq.update(&self.mem) {
            self.strict.violation(format_args!("SQ {sqn:#x}: {error}"));
            sq.skip_all();
        }
        if sq.has_work() {
            self.scheduler.ready(Instant::now(), sqn);
        }
    }

    /// Executes the next WQE of a send queue.
    pub fn run_wqe(&mut self, sqn: u32) {
        self.next_wqe(sqn);
        if !self.sqs.get(&sqn).is_some_and(|sq| sq.has_work()) {
            self.scheduler.remove(sqn);
        }
    }

    fn next_wqe(&mut self, sqn: u32) {
        let Some(sq) = self.sqs.get_mut(&sqn).filter(|sq| sq.has_work()) else { return };
        let index = sq.next();
        let (control, bytes) = match sq.fetch(&self.mem, sqn) {
            Ok(found) => found,
            Err(error) => {
                // Where the next WQE would begin is not known.
                self.strict.violation(format_args!("SQ {sqn:#x}: {error}"));
                sq.skip_all();
                self.fail(sqn, index, 0, syndrome::LOCAL_QP_OP_ERR);
                return;
            }
        };
        sq.advance(control.blocks());
        if sq.state == WqState::Error {
            if sq.flush_in_error {
                self.complete(sqn, index, control.opcode, opcode::REQ_ERR, syndrome::WR_FLUSH_ERR);
            }
            return;
        }
        if self.faults.sq_error(Instant::now()) || self.fails_for_test(&control) {
            note(format_args!("SQ {sqn:#x}, WQE {index:#x}: an error on purpose"));
            self.fail(sqn, index, control.opcode, syndrome::LOCAL_QP_OP_ERR);
            return;
        }
        match self.wqe(sqn, &control, &bytes) {
            Ok(()) if control.completion => {
                self.complete(sqn, index, control.opcode, opcode::REQ, 0)
            }
            Ok(()) => {}
            Err(failure) => {
                self.strict.violation(format_args!("SQ {sqn:#x}, WQE {index:#x}: {}", failure.why));
                self.fail(sqn, index, control.opcode, failure.syndrome);
            }
        }
    }

    fn fails_for_test(&mut self, control: &Control) -> bool {
        let fails = self.fail_wqes > 0 && control.is_packet();
        self.fail_wqes -= u32::from(fails);
        fails
    }

    /// An error CQE; the queue stops until the driver has dealt with it.
    pub fn fail(&mut self, sqn: u32, index: u16, wqe_opcode: u8, syndrome: u8) {
        if let Some(sq) = self.sqs.get_mut(&sqn) {
            sq.state = WqState::Error;
        }
        self.complete(sqn, index, wqe_opcode, opcode::REQ_ERR, syndrome);
    }

    fn complete(&mut self, sqn: u32, index: u16, wqe_opcode: u8, kind: u8, syndrome: u8) {
        let Some(cqn) = self.sqs.get(&sqn).map(|sq| sq.cqn) else { return };
        let mut cqe: Cqe = [0; 64];
        if kind == opcode::REQ {
            cqe[0x30..0x38].copy_from_slice(&self.timer().to_be_bytes());
        } else {
            cqe[0x37] = syndrome;
        }
        cqe[0x38..0x3c].copy_from_slice(&((u32::from(wqe_opcode) << 24) | sqn).to_be_bytes());
        cqe[0x3c..0x3e].copy_from_slice(&index.to_be_bytes());
        cqe[0x3f] = kind << 4;
        self.post_cqe(cqn, cqe);
    }

    fn wqe(&mut self, sqn: u32, control: &Control, bytes: &[u8]) -> Result<(), Failure> {
        let wqe = wqe::parse(control, bytes).map_err(Failure::operation)?;
        self.check_fences(sqn, control, &wqe);
        match wqe {
            Wqe::Nop => Ok(()),
            Wqe::Packet(packet) => self.packet(control, packet),
            Wqe::StaticParams(params) => self.static_params(control.tisn, &params),
            Wqe::ProgressParams { tisn, params } => self.progress_params(tisn, &params),
            Wqe::Dump(segment) => self.dump(control.tisn, segment),
        }
    }

    fn check_fences(&mut self, sqn: u32, control: &Control, wqe: &Wqe) {
        let Some(sq) = self.sqs.get_mut(&sqn) else { return };
        let (post, tisn) = match wqe {
            Wqe::StaticParams(_) => (Post::StaticParams, control.tisn),
            Wqe::ProgressParams { tisn, .. } => (Post::ProgressParams, *tisn),
            Wqe::Dump(_) => (Post::Dump, control.tisn),
            Wqe::Packet(_) if control.tisn != 0 => (Post::Data, control.tisn),
            Wqe::Packet(_) | Wqe::Nop => {
                sq.fences.other(control.fenced);
                return;
            }
        };
        if let Some(violation) = sq.fences.post(post, tisn, control.fenced) {
            self.strict.violation(format_args!("SQ {sqn:#x}: {violation}"));
        }
    }

    /// Reads what a data segment names.
    fn gather(&self, segment: DataSegment) -> Result<Vec<u8>, Failure> {
        if !self.mkeys.contains(&segment.lkey) {
            return Err(Failure::protection(format_args!(
                "there is no memory key {:#x}",
                segment.lkey
            )));
        }
        if segment.byte_count as usize > MAX_PAYLOAD {
            return Err(Failure::length(format_args!("{} bytes of data", segment.byte_count)));
        }
        self.mem.read_vec(segment.addr, segment.byte_count as usize).map_err(Failure::protection)
    }

    fn packet(&mut self, control: &Control, packet: Packet) -> Result<(), Failure> {
        let mut payload = Vec::new();
        for part in packet.parts {
            match part {
                Part::Memory(segment) => payload.extend(self.gather(segment)?),
                Part::Inline(bytes) => payload.extend(bytes),
            }
            if payload.len() > MAX_PAYLOAD {
                return Err(Failure::length("too much payload"));
            }
        }
        if control.tisn != 0 {
            self.encrypt(control.tisn, &packet.header, &mut payload)?;
        }
        let flags = ChecksumFlags { l3: packet.checksums.l3, l4: packet.checksums.l4 };
        match packet.mss {
            Some(mss) => {
                let frames =
                    lso::segment(&packet.header, &payload, mss.into(), flags, self.config.lso)
                        .map_err(Failure::operation)?
                        .collect::<Vec<_>>();
                for frame in frames {
                    self.transmit(frame, packet.vlan);
                }
            }
            None => {
                let mut frame = packet.header;
                frame.extend(payload);
                if frame.len() < crate::packet::ETH_LEN {
                    return Err(Failure::length(format_args!("a packet of {} bytes", frame.len())));
                }
                lso::checksums(&mut frame, flags);
                self.transmit(frame, packet.vlan);
            }
        }
        Ok(())
    }

    /// A frame leaves the vport, and the port if there is a link.
    fn transmit(&mut self, mut frame: Vec<u8>, vlan: Option<(u16, u16)>) {
        if let Some((ethertype, tci)) = vlan {
            let tag = [ethertype.to_be_bytes(), tci.to_be_bytes()].concat();
            frame.splice(12..12, tag);
        }
        self.vport_sent.count(&frame);
        if frame.len() < MIN_FRAME {
            frame.resize(MIN_FRAME, 0);
        }
        if !self.port.is_up() {
            return;
        }
        if !self.port.fits(&frame) {
            self.strict.violation(format_args!(
                "a frame of {} bytes, the MTU is {}",
                frame.len(),
                self.port.mtu
            ));
            return;
        }
        self.port.sent.count(&frame);
        self.outgoing.push_back(frame);
    }

    fn encrypt(&mut self, tisn: u32, header: &[u8], payload: &mut [u8]) -> Result<(), Failure> {
        self.check_key(tisn);
        let context = self.tls_context(tisn)?;
        let sequence = match tls_header(header) {
            Ok(sequence) => sequence,
            Err(why) => return Err(Failure::operation(format_args!("TIS {tisn:#x}: {why}"))),
        };
        let violations = context.transmit(sequence, payload);
        self.report(tisn, &violations);
        Ok(())
    }

    fn tls_context(&mut self, tisn: u32) -> Result<&mut crate::tls::Context, Failure> {
        match self.tises.get_mut(&tisn) {
            None => Err(Failure::operation(format_args!("there is no TIS {tisn:#x}"))),
            Some(tis) => tis
                .tls
                .as_mut()
                .ok_or_else(|| Failure::operation(format_args!("TIS {tisn:#x} has no TLS"))),
        }
    }

    /// The key of a TIS that sends must still be there.
    fn check_key(&mut self, tisn: u32) {
        let dek = self.tises.get(&tisn).and_then(|tis| tis.dek);
        if let Some(dek) = dek.filter(|dek| !self.deks.contains_key(dek)) {
            self.strict.violation(format_args!(
                "TIS {tisn:#x} sends with DEK {dek:#x}, which was destroyed"
            ));
        }
    }

    fn report(&mut self, tisn: u32, violations: &[Violation]) {
        for violation in violations {
            self.strict.violation(format_args!("TIS {tisn:#x}: {violation}"));
        }
    }

    fn static_params(&mut self, tisn: u32, params: &[u8; 64]) -> Result<(), Failure> {
        let ifc = self.ifc.clone();
        let field = |name: &str| {
            ifc.get(params, &format!("tls_static_params.{name}")).map_err(Failure::operation)
        };
        for (name, expected) in [("const_2", 2), ("const_1", 1), ("encryption_standard", 1)] {
            let value = field(name)?;
            if value != expected {
                return Err(Failure::operation(format_args!(
                    "{name} of static parameters is {value}"
                )));
            }
        }
        let version = match field("tls_version")? {
            2 => Version::Tls12,
            3 => Version::Tls13,
            other => return Err(Failure::operation(format_args!("TLS version {other}"))),
        };
        let dek = field("dek_index")? as u32;
        let key = self.deks.get(&dek).cloned();
        let parsed = StaticParams {
            version,
            initial_record_number: field("initial_record_number")?,
            gcm_iv: (field("gcm_iv")? as u32).to_be_bytes(),
            implicit_iv: field("implicit_iv")?.to_be_bytes(),
        };
        let violations = self.tls_context(tisn)?.set_static_params(parsed, key);
        if let Some(tis) = self.tises.get_mut(&tisn) {
            tis.dek = Some(dek);
        }
        self.report(tisn, &violations);
        Ok(())
    }

    fn progress_params(&mut self, tisn: u32, params: &[u8; 12]) -> Result<(), Failure> {
        let ifc = self.ifc.clone();
        for name in ["next_record_tcp_sn", "hw_resync_tcp_sn", "record_tracker_state"] {
            let value = ifc
                .get(params, &format!("tls_progress_params.{name}"))
                .map_err(Failure::operation)?;
            if value != 0 {
                self.strict.violation(format_args!(
                    "TIS {tisn:#x}: {name} of progress parameters is {value:#x}"
                ));
            }
        }
        let violations = self.tls_context(tisn)?.set_progress_params();
        self.report(tisn, &violations);
        Ok(())
    }

    fn dump(&mut self, tisn: u32, segment: DataSegment) -> Result<(), Failure> {
        if segment.byte_count > u32::from(self.port.mtu) {
            self.strict.violation(format_args!(
                "a DUMP of {} bytes, the MTU is {}",
                segment.byte_count, self.port.mtu
            ));
        }
        let data = self.gather(segment)?;
        self.check_key(tisn);
        let violations = self.tls_context(tisn)?.dump(&data);
        self.report(tisn, &violations);
        Ok(())
    }
}

/// Checks the inlined headers of a packet whose payload is encrypted, which begins where they end; the sequence number
/// of TCP.
fn tls_header(header: &[u8]) -> Result<Option<u32>, String> {
    let mut l3 = crate::packet::ETH_LEN;
    let half = |at: usize| header.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    while matches!(half(l3 - 2), Some(0x8100 | 0x88a8)) {
        l3 += 4;
    }
    let byte = |at: usize| header.get(at).copied().ok_or("the headers are not inlined");
    let (l4, ip_protocol) = match half(l3 - 2) {
        Some(0x0800) => (l3 + usize::from(byte(l3)? & 0xf) * 4, byte(l3 + 9)?),
        Some(0x86dd) => (l3 + 40, byte(l3 + 6)?),
        _ => return Err("TLS over something other than IP".into()),
    };
    // Other protocols have a header of TCP's shape.
    let end = l4 + usize::from(byte(l4 + 12)? >> 4) * 4;
    if end != header.len() {
        return Err(format!(
            "{} bytes of headers are inlined, the L4 header ends after {end}",
            header.len()
        ));
    }
    let sequence = header.get(l4 + 4..l4 + 8).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    Ok(sequence.filter(|_| ip_protocol == protocol::TCP))
}
