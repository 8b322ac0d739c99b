// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The checker on streams that the model's engine encrypts: right ones pass, each kind of wrong one does not.

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;
use crate::tls::{Context, Controls, Key, Silicon, StaticParams, Version};

const PREAMBLE: usize = 100;

fn connection(version: Version, bytes: u64) -> Connection {
    Connection {
        src_port: 40000,
        dst_port: 4433,
        version,
        key: (0..32).collect(),
        salt: [1, 2, 3, 4],
        iv: [5; 8],
        seq: 77,
        offset: PREAMBLE,
        bytes,
        seed: 12345,
    }
}

/// The connection's stream: a preamble, then records, by the model's engine.
fn stream(c: &Connection, controls: Controls) -> Vec<u8> {
    let mut tis = Context::new(Silicon { controls, ..Silicon::default() });
    let params = StaticParams {
        version: c.version,
        initial_record_number: c.seq,
        gcm_iv: c.salt,
        implicit_iv: c.iv,
    };
    assert_eq!(tis.set_static_params(params, Key::new(&c.key)), []);
    assert_eq!(tis.set_progress_params(), []);
    let mut records = vec![];
    let mut at = 0;
    while at < c.bytes {
        let len = (at % 5000 + 1).min(c.bytes - at);
        let mut text: Vec<u8> = (at..at + len).map(|i| pattern(c.seed, i)).collect();
        let explicit = match c.version {
            Version::Tls12 => at.to_be_bytes().to_vec(),
            Version::Tls13 => {
                text.push(23);
                vec![]
            }
        };
        let length = (explicit.len() + text.len() + 16) as u16;
        records
            .extend([&[23, 3, 3], &length.to_be_bytes()[..], &explicit, &text, &[0; 16]].concat());
        at += len;
    }
    assert_eq!(tis.transmit(None, &mut records), []);
    [&[b'p'; PREAMBLE][..], &records].concat()
}

fn frame(seq: u32, syn: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![];
    let tcp = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9)
        .tcp(40000, 4433, seq, 100);
    let tcp = if syn { tcp.syn() } else { tcp };
    tcp.write(&mut frame, payload).unwrap();
    frame
}

/// A capture of a stream in segments that begin at these places; the stream's last byte is far beyond 2^32.
fn capture(stream: &[u8], segments: &[(usize, usize)]) -> Capture {
    let start = u32::MAX - 1000;
    let mut capture = Capture::default();
    capture.add(&frame(start, true, &[]));
    for (from, to) in segments {
        capture.add(&frame(start.wrapping_add(1 + *from as u32), false, &stream[*from..*to]));
    }
    capture
}

fn in_order(stream: &[u8]) -> Vec<(usize, usize)> {
    (0..stream.len()).step_by(1448).map(|at| (at, stream.len().min(at + 1448))).collect()
}

fn log(c: &Connection) -> KeyLog {
    KeyLog { connections: vec![c.clone()] }
}

#[test]
fn right_streams_are_right() {
    for version in [Version::Tls12, Version::Tls13] {
        let c = connection(version, 100_000);
        let stream = stream(&c, Controls::default());
        let report = check(&capture(&stream, &in_order(&stream)), &log(&c));
        assert_eq!(report.errors, [""; 0]);
        assert_eq!((report.connections, report.bytes, report.resent), (1, 100_000, 0));
        assert!(report.records > 20);
    }
}

#[test]
fn what_is_wrong_is_found() {
    let c = connection(Version::Tls12, 100_000);
    let right = stream(&c, Controls::default());
    let error = |stream: &[u8], c: &Connection, segments: &[(usize, usize)]| {
        check(&capture(stream, segments), &log(c)).errors.join(", ")
    };
    let all = in_order(&right);

    let broken = stream(&c, Controls { wrong_salt: true, ..Controls::default() });
    assert!(error(&broken, &c, &all).contains("record 0, after 0 bytes: it does not decrypt"));
    let mut flipped = right.clone();
    flipped[50_000] ^= 1;
    assert!(error(&flipped, &c, &all).contains("does not decrypt"));
    assert!(error(&right, &Connection { seq: 78, ..c.clone() }, &all).contains("does not decrypt"));
    assert!(error(&right, &Connection { seed: 1, ..c.clone() }, &all)
        .contains("byte 0 is not what was sent"));
    assert!(error(&right, &Connection { offset: 99, ..c.clone() }, &all).contains("no header"));
    assert!(error(&right, &Connection { bytes: 100_001, ..c.clone() }, &all)
        .contains("the capture ends"));
    assert!(error(&right, &Connection { bytes: 99_999, ..c.clone() }, &all)
        .contains("where 99999 were sent"));
    assert!(error(&right, &Connection { dst_port: 1, ..c.clone() }, &all)
        .contains("not in the capture"));
    // In the clear.
    let clear = [&right[..PREAMBLE + 13], &[7; 3000]].concat();
    assert!(!error(&clear, &c, &in_order(&clear)).is_empty());
    // A gap.
    let gap = [&all[..10], &all[11..]].concat();
    assert!(error(&right, &c, &gap).contains("the capture ends"));
    assert_eq!(check(&Capture::default(), &KeyLog::default()).errors, ["the log has no keys"]);
}

#[test]
fn bytes_that_change_when_sent_again_are_found_though_all_decrypts() {
    let c = connection(Version::Tls12, 20_000);
    let right = stream(&c, Controls::default());
    let mut wrong = right.clone();
    wrong[5000] ^= 0xff;
    let start = u32::MAX - 1000;
    let mut capture = Capture::default();
    capture.add(&frame(start, true, &[]));
    capture.add(&frame(start.wrapping_add(1 + 4000), false, &wrong[4000..6000]));
    for (from, to) in in_order(&right) {
        capture.add(&frame(start.wrapping_add(1 + from as u32), false, &right[from..to]));
    }
    let report = check(&capture, &log(&c));
    assert_eq!(report.errors, ["40000 -> 4433: 1 bytes were others when they were sent again"]);
    assert_eq!(report.resent, 2000);
}

proptest! {
    /// Segments in any order, overlapping, repeated.
    #[test]
    fn streams_are_put_together(
        len in 1..20_000_usize,
        extra in prop::collection::vec((any::<prop::sample::Index>(), 1..3000_usize), 0..30),
        seed in any::<u64>(),
    ) {
        let stream: Vec<u8> = (0..len as u64).map(|i| pattern(seed, i)).collect();
        let mut segments = in_order(&stream);
        for (at, count) in extra {
            let at = at.index(len);
            segments.push((at, len.min(at + count)));
        }
        let order = |s: &(usize, usize)| (s.0 as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        segments.sort_by_key(order);
        let total: usize = segments.iter().map(|(a, b)| b - a).sum();
        let capture = capture(&stream, &segments);
        let [stream_read] = &capture.streams.values().next().unwrap()[..] else { panic!() };
        prop_assert_eq!(stream_read.bytes(), &stream[..]);
        prop_assert_eq!(stream_read.resent as usize, total - len);
        prop_assert_eq!((stream_read.changed, stream_read.strays, stream_read.after_gap()), (0, 0, 0));
    }

    #[test]
    fn any_frames(frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..100), any::<u32>()), 0..20)) {
        let mut capture = Capture::default();
        for (payload, seq) in &frames {
            capture.add(payload);
            capture.add(&frame(*seq, seq & 1 == 0, payload));
        }
        check(&capture, &log(&connection(Version::Tls12, 5)));
    }
}

#[test]
fn a_log_is_found_among_other_output() {
    let text = "ok 1\n1| # ktls-key 40000 4433 1.2 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 01020304 \
                0505050505050505 77 100 9 12345\nktls-keys are fun\n";
    assert_eq!(KeyLog::read(text.as_bytes()).unwrap(), log(&connection(Version::Tls12, 9)));
    for bad in
        ["ktls-key ", "ktls-key 1 2 1.2 00 01020304 0505050505050505 77 100 9 1", "ktls-key x"]
    {
        assert!(KeyLog::read(bad.as_bytes()).is_err(), "{bad}");
    }
}

/// The words of splitmix64 for seed 1234567, as its author's code gives them.
#[test]
fn the_pattern_is_splitmix64() {
    let word =
        |n: u64| u64::from_le_bytes(std::array::from_fn(|i| pattern(1_234_567, n * 8 + i as u64)));
    assert_eq!(
        [word(0), word(1), word(2)],
        [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
    );
}
