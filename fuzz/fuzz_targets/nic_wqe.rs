// SPDX-License-Identifier: GPL-2.0 OR MIT

//! tools/nic-model: any WQEs in a send queue, with and without a TLS context, and any receive WQEs. Nothing panics, and DMA
//! stays in the guest's memory, which the memory itself sees to.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nic_model::device::bench::{config, Bench, RQ, SQ};

#[derive(Debug, Arbitrary)]
enum Step {
    /// A WQE with a right control segment and anything behind it.
    Post {
        opcode: u8,
        opmod: u8,
        flags: u8,
        tls: bool,
        rest: Vec<u8>,
    },
    /// A packet that is right but for its headers and flags.
    Send {
        flags: u8,
        tls: bool,
        cs_flags: u8,
        mss: u16,
        header: Vec<u8>,
        data: Vec<u8>,
    },
    /// Anything, anywhere in the queue.
    Scribble {
        at: u16,
        bytes: Vec<u8>,
    },
    Ring,
    /// A receive WQE, and a frame.
    Receive {
        wqe: Vec<u8>,
        buffers: u8,
        frame: Vec<u8>,
    },
}

fuzz_target!(|steps: Vec<Step>| {
    const OPCODES: [u8; 8] = [0x00, 0x0a, 0x0e, 0x20, 0x23, 0x25, 0x0a, 0xff];

    let mut bench = Bench::new(config());
    let context = bench.tis(true);
    for step in steps.iter().take(60) {
        match step {
            Step::Post { opcode, opmod, flags, tls, rest } => {
                let opcode = OPCODES[usize::from(*opcode) % OPCODES.len()];
                let tis = if *tls { context } else { 0 };
                bench.post(opcode, *opmod, *flags, tis, &rest[..rest.len().min(900)]);
            }
            Step::Send { flags, tls, cs_flags, mss, header, data } => {
                let tis = if *tls { context } else { 0 };
                bench.send(*flags, tis, *cs_flags, *mss, &header[..header.len().min(200)], data);
            }
            Step::Scribble { at, bytes } => {
                let at = SQ + u64::from(at % 4096);
                bench.dev.mem.write(at, &bytes[..bytes.len().min(256)]).unwrap();
            }
            Step::Ring => bench.ring(),
            Step::Receive { wqe, buffers, frame } => {
                bench.buffers((*buffers).into());
                bench.dev.mem.write(RQ, &wqe[..wqe.len().min(256)]).unwrap();
                bench.dev.receive(frame);
            }
        }
    }
    bench.ring();
});
