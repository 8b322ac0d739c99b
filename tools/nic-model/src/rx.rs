// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Reception: from the wire through steering to a queue.

use std::time::Instant;

use crate::cq::{opcode, syndrome, Cqe};
use crate::device::Device;
use crate::packet::{self, protocol, Headers};
use crate::rss::{Dispatch, Hash};
use crate::steering::{Flow, IpFlow};
use crate::wq::{scatter, WqState};

/// Bits of `hds_ip_ext`.
const L2_OK: u8 = 1 << 0;
const L3_OK: u8 = 1 << 1;
const L4_OK: u8 = 1 << 2;

impl Device {
    /// A frame from the wire.
    pub fn receive(&mut self, frame: &[u8]) {
        if !self.port.is_up() {
            return;
        }
        let Some(headers) = packet::parse(frame) else { return };
        if !self.port.fits(frame) {
            self.port.oversize += 1;
            return;
        }
        self.port.received.count(frame);
        let flow = flow(frame, &headers);
        let verdict = self.steering.receive(&self.flow_fields.encode(&flow));
        if !verdict.tirs.is_empty() {
            self.vport_received.count(frame);
        }
        for tirn in verdict.tirs {
            let Some(tir) = self.tirs.get(&tirn) else { continue };
            let hash = tir.hash(&flow);
            let rqn = match tir.dispatch {
                Dispatch::Direct(rqn) => Some(rqn),
                Dispatch::Indirect(rqt) => self.rqts.get(&rqt).and_then(|rqns| {
                    let n = (hash.value as usize).checked_rem(rqns.len())?;
                    rqns.get(n).copied()
                }),
            };
            if let Some(rqn) = rqn {
                self.deliver(rqn, frame, &headers, hash, verdict.tag);
            }
        }
    }

    /// Writes a frame to the next buffer of a queue.
    fn deliver(&mut self, rqn: u32, frame: &[u8], headers: &Headers, hash: Hash, tag: u32) {
        let Some(rq) = self.rqs.get_mut(&rqn).filter(|rq| rq.state == WqState::Ready) else {
            return;
        };
        let available = match self.faults.no_buffer(Instant::now()) {
            true => Ok(0),
            false => rq.available(&self.mem),
        };
        let taken = match available {
            Ok(0) => {
                *self.out_of_buffer.entry(rq.counter_set).or_default() += 1;
                return;
            }
            Ok(posted) if posted > rq.ring.entries() => {
                self.strict.violation(format_args!(
                    "RQ {rqn:#x}: {posted} buffers in a ring of {}",
                    rq.ring.entries()
                ));
                return;
            }
            Ok(_) => rq.take(&self.mem),
            Err(error) => Err(error),
        };
        let (counter, wqe) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                self.strict.violation(format_args!("RQ {rqn:#x}: {error}"));
                return;
            }
        };
        let cqn = rq.cqn;
        let (data, vlan) = match headers.vlan[0].filter(|_| rq.strip_vlan) {
            Some((packet::ethertype::VLAN, tci)) => {
                ([&frame[..12], &frame[16..]].concat(), Some(tci))
            }
            _ => (frame.to_vec(), None),
        };
        let lkey = |key| self.mkeys.contains(&key);
        let mut cqe = match scatter(&self.mem, &wqe, &lkey, &data) {
            Ok(len) if len == data.len() => {
                let mut cqe = good_cqe(&data, headers, frame);
                cqe[0x0c..0x10].copy_from_slice(&hash.value.to_be_bytes());
                cqe[0x10] = hash.kind;
                if let Some(tci) = vlan {
                    cqe[0x1d] |= 1;
                    cqe[0x1e..0x20].copy_from_slice(&tci.to_be_bytes());
                }
                cqe
            }
            Ok(len) => {
                let of = data.len();
                self.strict.violation(format_args!("RQ {rqn:#x}: room for {len} of {of} bytes"));
                self.broken_rq(rqn, syndrome::LOCAL_LENGTH_ERR)
            }
            Err(error) => {
                self.strict.violation(format_args!("RQ {rqn:#x}, WQE {counter:#x}: {error}"));
                self.broken_rq(rqn, syndrome::LOCAL_PROT_ERR)
            }
        };
        cqe[0x18..0x1c].copy_from_slice(&rqn.to_be_bytes());
        if cqe[0x3f] >> 4 == opcode::RESP_SEND {
            cqe[0x30..0x38].copy_from_slice(&self.timer().to_be_bytes());
            cqe[0x38..0x3c].copy_from_slice(&(tag & 0xff_ffff).to_be_bytes());
        }
        cqe[0x3c..0x3e].copy_from_slice(&counter.to_be_bytes());
        self.post_cqe(cqn, cqe);
    }

    fn broken_rq(&mut self, rqn: u32, syndrome: u8) -> Cqe {
        if let Some(rq) = self.rqs.get_mut(&rqn) {
            rq.state = WqState::Error;
        }
        let mut cqe = [0; 64];
        cqe[0x37] = syndrome;
        cqe[0x3f] = opcode::RESP_ERR << 4;
        cqe
    }
}

/// What is said of a packet's contents: `data` is what the driver gets, `frame` what was on the wire.
fn good_cqe(data: &[u8], headers: &Headers, frame: &[u8]) -> Cqe {
    const IPV6: u8 = 1 << 2;
    const IPV4: u8 = 2 << 2;
    const UDP: u8 = 2 << 4;
    const TCP: u8 = 4 << 4;
    let mut cqe = [0; 64];
    let checks = packet::check(frame, headers);
    cqe[0x14..0x16].copy_from_slice(&packet::checksum_complete(data).to_be_bytes());
    cqe[0x1c] = L2_OK | if checks.l3_ok { L3_OK } else { 0 } | if checks.l4_ok { L4_OK } else { 0 };
    if let Some(ip) = &headers.ip {
        cqe[0x1d] |= if ip.src.is_ipv4() { IPV4 } else { IPV6 };
        cqe[0x1d] |= match (ip.protocol, &headers.l4) {
            (protocol::TCP, Some(_)) => TCP,
            (protocol::UDP, Some(_)) => UDP,
            _ => 0,
        };
    }
    let len = u32::try_from(data.len()).unwrap_or(0);
    cqe[0x2c..0x30].copy_from_slice(&len.to_be_bytes());
    cqe[0x3f] = opcode::RESP_SEND << 4;
    cqe
}

/// What steering and hashing see of a packet.
fn flow(frame: &[u8], headers: &Headers) -> Flow {
    let byte = |at: usize| frame.get(at).copied().unwrap_or(0);
    let ip = headers.ip.as_ref().map(|ip| IpFlow {
        source: ip.src,
        destination: ip.dst,
        protocol: ip.protocol,
        tos: ip.traffic_class,
        ttl: byte(headers.l3 + if ip.src.is_ipv4() { 8 } else { 7 }),
        fragment: ip.fragment,
        ports: headers.l4.as_ref().map(|l4| (l4.src_port, l4.dst_port)),
        tcp_flags: match (ip.protocol, &headers.l4) {
            (protocol::TCP, Some(_)) => {
                u16::from_be_bytes([byte(ip.l4 + 12) & 1, byte(ip.l4 + 13)])
            }
            _ => 0,
        },
    });
    Flow {
        dmac: headers.dst_mac,
        smac: headers.src_mac,
        ethertype: headers.ethertype,
        vlan: headers.vlan[0]
            .map(|(ethertype, tci)| (tci, ethertype == packet::ethertype::SERVICE_VLAN)),
        ip,
    }
}
