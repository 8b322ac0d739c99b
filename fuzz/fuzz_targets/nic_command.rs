// SPDX-License-Identifier: GPL-2.0 OR MIT

//! tools/nic-model: commands with any contents, in any order, then traffic. Nothing panics, and DMA stays in the guest's memory,
//! which the memory itself sees to.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nic_model::device::bench::{config, Bench};

/// The opcodes that the driver knows, so that few commands are unknown ones.
static OPCODES: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let bench = Bench::new(config());
    let mut opcodes: Vec<u16> =
        bench.dev.ifc.constants("MLX5_CMD_OP_").map(|(_, op)| op as u16).collect();
    opcodes.sort_unstable();
    opcodes
});

fuzz_target!(|commands: Vec<(u8, u8, u16, Vec<(u8, u8)>)>| {
    let mut bench = Bench::new(config());
    let mut input = vec![0; 4096];
    for (opcode, op_mod, outlen, bytes) in commands.iter().take(40) {
        input.fill(0);
        let opcode = OPCODES[usize::from(*opcode) % OPCODES.len()];
        input[..2].copy_from_slice(&opcode.to_be_bytes());
        input[7] = *op_mod;
        // Sparse contents, as commands are: a distance and a byte.
        let mut at = 8;
        for (distance, byte) in bytes {
            at = (at + usize::from(*distance)) % input.len();
            input[at] = *byte;
        }
        let len = (at + 1).max(16).next_multiple_of(16);
        let output = bench.dev.execute(&input[..len], usize::from(*outlen % 4113));
        assert!(output.len() >= 8);
    }
    bench.buffers(4);
    bench.send(8, 0, 0, 0, &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0], &[0; 60]);
    bench.dev.receive(&[0xff; 64]);
});
