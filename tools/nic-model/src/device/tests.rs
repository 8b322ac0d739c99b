// SPDX-License-Identifier: GPL-2.0 OR MIT

use super::bench::*;
use crate::bar;
use crate::cmd::Status;
use crate::packet;
use crate::wq::WqState;
use proptest::prelude::*;

/// Ethernet, IPv4 and TCP headers.
fn headers(payload: usize) -> Vec<u8> {
    let mut h = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    h.extend([0x45, 0]);
    h.extend(((40 + payload) as u16).to_be_bytes());
    h.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    h.extend([0x12, 0x34, 0, 80, 0, 0, 0, 100, 0, 0, 0, 0, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    h
}

#[test]
fn a_packet_goes_out_and_comes_back() {
    let mut b = Bench::new(config());
    b.buffers(4);
    b.send(0x08, 0, 0xc0, 0, &headers(100), &[7; 100]);
    let frame = b.dev.outgoing.pop_front().unwrap();
    assert_eq!((frame.len(), &frame[54..], b.dev.outgoing.len()), (154, &[7; 100][..], 0));
    let parsed = packet::parse(&frame).unwrap();
    assert_eq!(packet::check(&frame, &parsed), packet::Checks { l3_ok: true, l4_ok: true });
    let cqe = b.cqe(CQ_TX, 0);
    assert_eq!((cqe[0x3f], &cqe[0x38..0x3e]), (0, &[0x0a, 0, 0, b.sqn as u8, 0, 0][..]));

    b.dev.receive(&frame);
    let cqe = b.cqe(CQ_RX, 0);
    assert_eq!(cqe[0x3f], 2 << 4);
    assert_eq!(cqe[0x2c..0x30], 154u32.to_be_bytes());
    assert_eq!((cqe[0x1c], cqe[0x1d]), (7, (4 << 4) | (2 << 2)));
    assert_eq!(cqe[0x14..0x16], packet::checksum_complete(&frame).to_be_bytes());
    assert_eq!(b.dev.mem.read_vec(BUFFERS, 154).unwrap(), frame);
    assert_eq!((b.dev.port.sent.packets(), b.dev.port.received.packets()), (1, 1));
    b.assert_clean();
}

#[test]
fn large_sends_and_small_frames() {
    let mut b = Bench::new(config());
    b.send(0x08, 0, 0xc0, 1000, &headers(2500), &[9; 2500]);
    assert_eq!(b.dev.outgoing.drain(..).map(|f| f.len()).collect::<Vec<_>>(), [1054, 1054, 554]);
    b.send(0, 0, 0xc0, 0, &headers(1), &[9; 1]);
    assert_eq!(b.dev.outgoing[0].len(), 60, "padded");
    b.assert_clean();
    b.send(0, 0, 0xc0, 0, &headers(1500), &[9; 1500]);
    assert_eq!(b.dev.strict.count(), 1, "longer than the MTU");
}

#[test]
fn no_buffer_no_packet() {
    let mut b = Bench::new(config());
    let mut frame = headers(10);
    frame.extend([0; 10]);
    b.dev.receive(&frame);
    b.buffers(1);
    b.dev.receive(&frame);
    b.dev.receive(&frame);
    assert_eq!(b.dev.out_of_buffer.values().sum::<u64>(), 2);
    assert_eq!(b.cqe(CQ_RX, 0)[0x3f], 0x20);
    b.assert_clean();
    b.buffers(100);
    b.dev.receive(&frame);
    assert_eq!(b.dev.strict.count(), 1, "more buffers than the ring has");
}

#[test]
fn errors_stop_a_queue_until_it_is_reset() {
    let mut b = Bench::new(config());
    b.lkey += 1;
    b.send(0, 0, 0, 0, &headers(10), &[1; 10]);
    b.lkey -= 1;
    b.post(0, 0, 0, 0, &[]);
    b.ring();
    assert_eq!(b.cqe(CQ_TX, 0)[0x3f], 13 << 4);
    assert_eq!(
        (b.cqe(CQ_TX, 0)[0x37], b.cqe(CQ_TX, 1)[0x37]),
        (4, 5),
        "protection error, then flushed"
    );
    assert_eq!(b.dev.strict.count(), 1);
    assert!(b.dev.outgoing.is_empty());

    let sqn = b.sqn;
    let modify = |b: &mut Bench, from, to| {
        command(
            &mut b.dev,
            "MODIFY_SQ",
            "modify_sq_in",
            &[("sqn", sqn), ("sq_state", from), ("ctx.state", to)],
        )
    };
    assert_eq!(modify(&mut b, 1, 0), Err(Status::BadResourceState as u8));
    modify(&mut b, 3, 0).unwrap();
    modify(&mut b, 0, 1).unwrap();
    b.producer = 0;
    b.send(0x08, 0, 0xc0, 0, &headers(10), &[1; 10]);
    assert_eq!(b.dev.outgoing.len(), 1);
}

#[test]
fn doorbells_of_strangers() {
    let mut b = Bench::new(config());
    let uar = b.uar;
    let mut strange = |at: u64, data: &[u8]| {
        let before = b.dev.strict.count();
        bar::write(&mut b.dev, at, data);
        assert_eq!(b.dev.strict.count(), before + 1, "{at:#x}");
    };
    strange(0x99 * 4096 + 0x800, &[0; 8]);
    strange(uar * 4096 + 0x800, &[0, 0, 0, 0, 0, 0, 0x77, 1]);
    strange(uar * 4096 + 0x804, &[0; 8]);
    strange(uar * 4096 + 0x40, &[0x99, 0, 0, 0]);
    strange(uar * 4096 + 0x20, &[0; 8]);
    strange(0x500, &[0; 4]);
    strange(0x18, &[0; 2]);
}

#[test]
fn what_is_used_stays_and_what_is_left_is_told() {
    let mut b = Bench::new(config());
    let busy = Err(Status::ResourceBusy as u8);
    let (pd, cqn, eqn, rqn) = (b.pd, b.cq_tx, b.eqn, b.rqn);
    assert_eq!(command(&mut b.dev, "DEALLOC_PD", "dealloc_pd_in", &[("pd", pd)]), busy);
    assert_eq!(command(&mut b.dev, "DESTROY_CQ", "destroy_cq_in", &[("cqn", cqn)]), busy);
    assert_eq!(command(&mut b.dev, "DESTROY_EQ", "destroy_eq_in", &[("eq_number", eqn)]), busy);
    assert_eq!(command(&mut b.dev, "DESTROY_RQ", "destroy_rq_in", &[("rqn", rqn)]), busy);
    let none = Err(Status::BadResource as u8);
    assert_eq!(command(&mut b.dev, "DESTROY_RQ", "destroy_rq_in", &[("rqn", 0x123)]), none);
    let before = b.dev.strict.count();
    assert_eq!(before, 5);
    b.run("TEARDOWN_HCA", "teardown_hca_in", &[]);
    assert!(b.dev.strict.count() > before + 10);
    let late = command(&mut b.dev, "ALLOC_PD", "alloc_pd_in", &[]);
    assert_eq!(late, Err(Status::BadSystemState as u8));
}

/// A record of TLS 1.2 as the driver hands it over: header, explicit nonce, text, room for the tag.
fn record(nonce: u64, text: &[u8]) -> Vec<u8> {
    let mut record = vec![23, 3, 3];
    record.extend((text.len() as u16 + 24).to_be_bytes());
    record.extend(nonce.to_be_bytes());
    record.extend(text);
    record.extend([0; 16]);
    record
}

fn decrypt(key: &[u8; 16], salt: [u8; 4], number: u64, record: &[u8]) -> Vec<u8> {
    use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM};
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&[&salt[..], &record[5..13]].concat()).unwrap();
    let mut aad = number.to_be_bytes().to_vec();
    aad.extend(&record[..3]);
    aad.extend((record.len() as u16 - 29).to_be_bytes());
    let mut text = record[13..].to_vec();
    key.open_in_place(nonce, Aad::from(aad), &mut text)
        .expect("a record that cannot be decrypted")
        .to_vec()
}

struct Tls {
    b: Bench,
    tis: u64,
    dek: u64,
}

const KEY: [u8; 16] = *b"0123456789abcdef";
const SALT: [u8; 4] = [1, 2, 3, 4];
/// Of `fm_ce_se`.
const FENCE: u8 = 1 << 5;

impl Tls {
    fn new() -> Tls {
        let mut b = Bench::new(config());
        let tis = b.tis(true);
        let layout = "create_encryption_key_in";
        let fields = [
            ("general_obj_in_cmd_hdr.obj_type", 0xc),
            ("encryption_key_object.key_purpose", 1),
            ("encryption_key_object.pd", b.pd),
        ];
        let mut input = encode(&b.dev, "CREATE_GENERAL_OBJECT", layout, &fields);
        let at = b
            .dev
            .ifc
            .field("create_encryption_key_in.encryption_key_object.key")
            .unwrap()
            .byte_offset();
        input[at + 16..at + 32].copy_from_slice(&KEY);
        let out = b.dev.execute(&input, 16);
        let dek = b.dev.ifc.get(&out, "general_obj_out_cmd_hdr.obj_id").unwrap();
        assert_eq!(out[0], 0);
        Tls { b, tis, dek }
    }

    fn params(&mut self, number: u64) {
        let mut umr = vec![0u8; 112];
        umr[0] = 0x80;
        let mut params = [0u8; 64];
        for (field, value) in [
            ("const_2", 2),
            ("tls_version", 2),
            ("const_1", 1),
            ("encryption_standard", 1),
            ("initial_record_number", number),
            ("gcm_iv", u32::from_be_bytes(SALT).into()),
            ("dek_index", self.dek),
        ] {
            self.b.dev.ifc.set(&mut params, &format!("tls_static_params.{field}"), value).unwrap();
        }
        umr.extend(params);
        self.b.post(0x25, 1, 0, self.tis, &umr);
        let mut psv = (self.tis as u32).to_be_bytes().to_vec();
        psv.resize(16, 0);
        self.b.post(0x20, 1, FENCE, 0, &psv);
        self.b.post(0x00, 0, FENCE, 0, &[]);
    }

    fn send(&mut self, sequence: u32, mss: u16, data: &[u8]) -> Vec<u8> {
        let mut header = headers(data.len());
        header[38..42].copy_from_slice(&sequence.to_be_bytes());
        let tis = self.tis;
        self.b.send(0x08, tis, 0xc0, mss, &header, data);
        self.b.dev.outgoing.drain(..).flat_map(|frame| frame[54..].to_vec()).collect()
    }
}

#[test]
fn what_a_driver_cannot_do_without_does_not_fail() {
    let dev = device(config());
    let removes = |name| dev.removes(dev.commands.opcode(name).unwrap());
    for name in ["DESTROY_RQ", "DEALLOC_PD", "DELETE_FLOW_TABLE_ENTRY", "MODIFY_RQT"] {
        assert!(removes(name), "{name}");
    }
    for name in ["CREATE_RQ", "MODIFY_RQ", "SET_FLOW_TABLE_ENTRY", "QUERY_PAGES"] {
        assert!(!removes(name), "{name}");
    }
}

#[test]
fn tls_records_over_several_packets() {
    let mut t = Tls::new();
    t.params(5);
    let stream = [record(77, b"hello"), record(78, &[3; 3000]), record(79, b"end")].concat();
    let mut sent = t.send(100, 0, &stream[..20]);
    sent.extend(t.send(120, 1000, &stream[20..]));
    assert_eq!(sent.len(), stream.len());
    assert_eq!(decrypt(&KEY, SALT, 5, &sent[..34]), b"hello");
    assert_eq!(decrypt(&KEY, SALT, 6, &sent[34..34 + 3029]), [3; 3000]);
    assert_eq!(decrypt(&KEY, SALT, 7, &sent[34 + 3029..]), b"end");
    t.b.assert_clean();
}

#[test]
fn tls_resync_with_dump() {
    let mut t = Tls::new();
    t.params(0);
    let first = record(1, &[1; 500]);
    let sent = t.send(100, 0, &first);
    // Again from byte 300 of the record on: parameters, the bytes before it as a DUMP, and the rest.
    t.params(0);
    t.b.dev.mem.write(DATA + 4096, &first[..300]).unwrap();
    let segment = t.b.segment(300, DATA + 4096);
    let tis = t.tis;
    t.b.post(0x23, 0, 0, tis, &segment);
    assert_eq!(t.send(400, 0, &first[300..]), sent[300..]);
    t.b.assert_clean();
}

#[test]
fn tls_done_wrong() {
    let mut t = Tls::new();
    t.params(0);
    let first = record(1, &[1; 500]);
    let sent = t.send(100, 0, &first);
    t.b.assert_clean();
    // A retransmission without a resync.
    assert_ne!(t.send(100, 0, &first), sent);
    assert_eq!(t.b.dev.strict.count(), 1);
    // The key goes too early.
    let dek = t.dek;
    t.b.run(
        "DESTROY_GENERAL_OBJECT",
        "general_obj_in_cmd_hdr",
        &[("obj_type", 0xc), ("obj_id", dek)],
    );
    t.send(629, 0, &record(2, b"x"));
    assert_eq!(t.b.dev.strict.count(), 2);
    // A TIS without TLS, and headers that are not inlined.
    let plain = t.b.tis(false);
    let tis = std::mem::replace(&mut t.tis, plain);
    t.send(1, 0, b"x");
    assert_eq!(t.b.dev.sqs[&(t.b.sqn as u32)].state, WqState::Error);
    t.tis = tis;
    assert_eq!(t.b.dev.strict.count(), 3);
}

#[test]
fn link_events_reach_the_driver() {
    let mut b = Bench::new(config());
    let uar = b.uar;
    b.make(
        "CREATE_EQ",
        "create_eq",
        "eq_number",
        &[
            ("eq_context_entry.log_eq_size", 4),
            ("eq_context_entry.uar_page", uar),
            ("pas", 0x3000),
            ("event_bitmask", 1 << 9),
        ],
    );
    b.dev.test_command(1 << 24);
    b.dev.update_link();
    let eqe = b.dev.mem.read_vec(0x3000, 64).unwrap();
    assert_eq!((eqe[1], eqe[3], eqe[0x28]), (9, 1, 0x10));
    b.dev.receive(&headers(0));
    assert_eq!(b.dev.port.received.packets(), 0);
    b.dev.test_command((1 << 24) | 1);
    b.dev.update_link();
    assert_eq!(b.dev.mem.read_vec(0x3040 + 3, 1).unwrap(), [4]);
    b.assert_clean();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever a driver writes, nothing panics, and memory outside stays untouched (there is none to touch).
    #[test]
    fn nothing_panics(
        commands in proptest::collection::vec((any::<prop::sample::Index>(), proptest::collection::vec(any::<u8>(), 0..600)), 1..40),
        writes in proptest::collection::vec((0u64..0x20_000, proptest::collection::vec(any::<u8>(), 0..9)), 0..20)
    ) {
        let mut b = Bench::new(config());
        let opcodes: Vec<u16> = b.dev.commands.opcodes();
        for (which, mut input) in commands {
            input.resize(input.len().max(16), 0);
            input[..2].copy_from_slice(&opcodes[which.index(opcodes.len())].to_be_bytes());
            b.dev.execute(&input, 64);
        }
        for (at, data) in writes {
            bar::write(&mut b.dev, at, &data);
        }
        for _ in 0..10 {
            b.dev.work(16);
        }
    }

    #[test]
    fn nor_does_any_wqe(wqes in proptest::collection::vec(
        (prop::sample::select(vec![0u8, 0x0a, 0x0e, 0x20, 0x23, 0x25, 0x77]), 0u8..2, any::<u8>(), 0u64..4,
         proptest::collection::vec(any::<u8>(), 0..200)), 1..10
    )) {
        let mut t = Tls::new();
        for (opcode, opmod, flags, tisn, rest) in wqes {
            t.b.post(opcode, opmod, flags, tisn, &rest);
            t.b.ring();
        }
    }
}
