// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Every structure and number of `uapi.rs` is what a C compiler makes of the header.

use homa::uapi::*;
use std::fmt::Write as _;
use std::mem::offset_of;
use std::process::Command;

/// The C expressions to evaluate, each with the value that Rust has for it.
fn facts() -> Vec<(String, u64)> {
    let mut facts = Vec::new();
    macro_rules! layout {
        ($($name:ident { $($field:ident),* $(,)? })*) => {$(
            facts.push((
                format!("sizeof(struct {})", stringify!($name)),
                size_of::<$name>() as u64,
            ));
            $(
                // `_pad1` and so on are fields of the C structure, too.
                facts.push((
                    format!("offsetof(struct {}, {})", stringify!($name), stringify!($field)),
                    offset_of!($name, $field) as u64,
                ));
            )*
        )*};
    }
    macro_rules! numbers {
        ($($name:ident),* $(,)?) => {$(facts.push((stringify!($name).into(), $name as u64));)*};
    }
    layout! {
        homa_rpc_cmsg { id, cookie, flags, error, peer, reserved }
        homa_sendmsg_args { id, completion_cookie, flags, reserved }
        homa_recvmsg_args { id, completion_cookie, num_bpages, reserved, bpage_offsets }
        homa_rcvbuf_args { start, length }
        tls_crypto_info { version, cipher_type }
        tls12_crypto_info_aes_gcm_128 { info, iv, key, salt, rec_seq }
        tls12_crypto_info_aes_gcm_256 { info, iv, key, salt, rec_seq }
        homa_tls_key { peer, crypto }
        homa_abort_args { id, error, _pad1, _pad2 }
        homa_rpc_info {
            id, peer, completion_cookie, tx_length, tx_sent, tx_granted, tx_prio, rx_length,
            rx_remaining, rx_gaps, rx_gap_bytes, rx_granted, flags, reserved,
        }
        homa_info { rpc_info, rpc_info_length, bpool_avail_bytes, port, num_rpcs, error_msg }
    }
    numbers! {
        IPPROTO_HOMA, SOL_TLS, TLS_TX, TLS_RX, TLS_1_2_VERSION, TLS_1_3_VERSION,
        TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256, HOMA_MAX_MESSAGE_LENGTH, HOMA_BPAGE_SHIFT,
        HOMA_BPAGE_SIZE, HOMA_MAX_BPAGES, HOMA_MIN_DEFAULT_PORT, HOMA_CMSG_RPC, HOMA_CMSG_SHORT, HOMA_CMSG_SEALED,
        HOMA_CMSG_FAILED, HOMA_SENDMSG_PRIVATE, SO_HOMA_RCVBUF, SO_HOMA_SERVER, SO_HOMA_SEALED,
        SO_HOMA_REPLY,
        HOMA_RPC_BUF_STALL, HOMA_RPC_PRIVATE, HOMA_RPC_RX_READY, HOMA_RPC_RX_COPY,
        HOMA_ERROR_MSG_SIZE, HOMAIOCINFO, HOMAIOCABORT, HOMAIOCFREEZE,
    }
    facts
}

/// HomaModule's program must keep working: these are its numbers, not only our header's.
#[test]
fn binary_compatible_with_homamodule() {
    assert_eq!(HOMAIOCINFO, 0xc088_6890);
    assert_eq!(HOMAIOCABORT, 0xc020_6891);
    assert_eq!(HOMAIOCFREEZE, 0x6892);
    assert_eq!(size_of::<homa_sendmsg_args>(), 24);
    assert_eq!(size_of::<homa_recvmsg_args>(), 88);
    assert_eq!(size_of::<homa_rpc_info>(), 184);
    assert_eq!(offset_of!(homa_rpc_info, rx_length), 160);
}

#[test]
fn matches_the_c_header() {
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/../../include/uapi");
    let facts = facts();
    let mut source = String::from(
        "#include <linux/homa.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void)\n{\n",
    );
    for (expression, _) in &facts {
        writeln!(source, "\tprintf(\"%llu\\n\", (unsigned long long)({expression}));").unwrap();
    }
    source.push_str("\treturn 0;\n}\n");

    let dir = std::env::temp_dir().join(format!("homa-layout-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (c_file, program) = (dir.join("layout.c"), dir.join("layout"));
    std::fs::write(&c_file, source).unwrap();
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let compiled = Command::new(&cc)
        .args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-I", include, "-o"])
        .args([&program, &c_file])
        .status()
        .unwrap_or_else(|error| panic!("this test needs a C compiler, {cc}: {error}"));
    assert!(compiled.success(), "the header does not compile");
    let output = Command::new(&program).output().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();

    let values: Vec<u64> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(values.len(), facts.len());
    for ((expression, rust), c) in facts.iter().zip(values) {
        assert_eq!(*rust, c, "{expression}: {rust} in Rust, {c} in C");
    }
}
