// SPDX-License-Identifier: GPL-2.0 OR MIT

//! tools/nic-model: the TLS engine takes any bytes and parameters in any order; and cutting a stream elsewhere never changes
//! what comes out of it.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nic_model::tls::{
    BrokenFraming, Context, Key, Silicon, StaticParams, StaticParamsCount, Unready, Version,
};

#[derive(Debug, Arbitrary)]
enum Step {
    Static { tls13: bool, number: u64, long_key: bool, dead_key: bool },
    Progress,
    Dump(Vec<u8>),
    Data(Vec<u8>),
    Record { length: u16, text: Vec<u8> },
}

fn run(silicon: Silicon, steps: &[Step], piece: usize) -> Vec<u8> {
    let mut tis = Context::new(silicon);
    let mut out = Vec::new();
    let mut send = |tis: &mut Context, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        for piece in bytes.chunks_mut(piece) {
            let _ = tis.transmit(None, piece);
        }
        out.extend(bytes);
    };
    for step in steps {
        match step {
            Step::Static { tls13, number, long_key, dead_key } => {
                let version = if *tls13 { Version::Tls13 } else { Version::Tls12 };
                let key =
                    Key::new(if *long_key { &[7; 32] } else { &[7; 16] }).filter(|_| !dead_key);
                let params = StaticParams {
                    version,
                    initial_record_number: *number,
                    gcm_iv: [1; 4],
                    implicit_iv: [2; 8],
                };
                let _ = tis.set_static_params(params, key);
            }
            Step::Progress => drop(tis.set_progress_params()),
            Step::Dump(bytes) => {
                for piece in bytes.chunks(piece) {
                    let _ = tis.dump(piece);
                }
            }
            Step::Data(bytes) => send(&mut tis, bytes),
            Step::Record { length, text } => {
                send(&mut tis, &[23, 3, 3]);
                send(&mut tis, &length.to_be_bytes());
                send(&mut tis, text);
            }
        }
    }
    out
}

fuzz_target!(|input: (bool, bool, bool, u8, Vec<Step>)| {
    let (late, garbage, pass, piece, steps) = input;
    let silicon = Silicon {
        static_params: if late {
            StaticParamsCount::WithProgress
        } else {
            StaticParamsCount::AtOnce
        },
        unready: if garbage { Unready::Garbage } else { Unready::Pass },
        framing: if pass { BrokenFraming::Pass } else { BrokenFraming::Believe },
        ..Silicon::default()
    };
    let whole = run(silicon, &steps, usize::MAX);
    // The garbage of a context that is not ready has no state, so it depends on where it is cut.
    if garbage {
        assert_eq!(run(silicon, &steps, 1 + usize::from(piece)).len(), whole.len());
    } else {
        assert_eq!(run(silicon, &steps, 1 + usize::from(piece)), whole);
    }
});
