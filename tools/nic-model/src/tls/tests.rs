// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The engine against `ring`, which shares no code with it.

use proptest::prelude::*;
use ring::aead;

use super::*;

const SEQ: u32 = u32::MAX - 1000;

fn key(bits: usize) -> Vec<u8> {
    (0..bits / 8).map(|i| (i * 37 + 11) as u8).collect()
}

fn params(version: Version, number: u64) -> StaticParams {
    StaticParams {
        version,
        initial_record_number: number,
        gcm_iv: [0xa1, 2, 3, 4],
        implicit_iv: [9, 8, 7, 6, 5, 4, 3, 2],
    }
}

/// The plaintext of a record as the driver hands it over: header, explicit nonce, text, room for a tag.
fn plain(version: Version, text: &[u8], nonce: u64) -> Vec<u8> {
    let explicit = nonce.to_be_bytes();
    let explicit = &explicit[..version.explicit_nonce_len()];
    let length = (explicit.len() + text.len() + TAG_LEN) as u16;
    [&[23, 3, 3], &length.to_be_bytes()[..], explicit, text, &[0xee; TAG_LEN]].concat()
}

/// The same, encrypted by ring.
fn sealed(
    version: Version,
    key: &[u8],
    p: &StaticParams,
    number: u64,
    text: &[u8],
    nonce: u64,
) -> Vec<u8> {
    let algorithm = if key.len() == 16 { &aead::AES_128_GCM } else { &aead::AES_256_GCM };
    let cipher = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, key).unwrap());
    let record = plain(version, text, nonce);
    let (iv, aad, start) = match version {
        Version::Tls12 => {
            let iv = [&p.gcm_iv[..], &nonce.to_be_bytes()].concat();
            let aad = [&number.to_be_bytes()[..], &record[..3], &(text.len() as u16).to_be_bytes()]
                .concat();
            (iv, aad, 13)
        }
        Version::Tls13 => {
            let iv = [&p.gcm_iv[..], &(u64::from_be_bytes(p.implicit_iv) ^ number).to_be_bytes()]
                .concat();
            (iv, record[..5].to_vec(), 5)
        }
    };
    let mut body = text.to_vec();
    let nonce = aead::Nonce::try_assume_unique_for_key(&iv).unwrap();
    cipher.seal_in_place_append_tag(nonce, aead::Aad::from(aad), &mut body).unwrap();
    [&record[..start], &body].concat()
}

fn context(version: Version, key: &[u8], number: u64) -> Context {
    context_with(Silicon::default(), version, key, number)
}

fn context_with(silicon: Silicon, version: Version, key: &[u8], number: u64) -> Context {
    let mut tis = Context::new(silicon);
    assert_eq!(tis.set_static_params(params(version, number), Key::new(key)), []);
    assert_eq!(tis.set_progress_params(), []);
    tis
}

/// Records of a stream, plain and as they should be on the wire.
struct Stream {
    version: Version,
    key: Vec<u8>,
    first: u64,
    plain: Vec<u8>,
    sealed: Vec<u8>,
    starts: Vec<usize>,
}

fn stream(version: Version, bits: usize, first: u64, texts: &[Vec<u8>]) -> Stream {
    let key = key(bits);
    let mut s = Stream { version, key, first, plain: vec![], sealed: vec![], starts: vec![] };
    for (i, text) in texts.iter().enumerate() {
        let number = first.wrapping_add(i as u64);
        s.starts.push(s.plain.len());
        s.plain.extend(plain(version, text, number ^ 0x5555));
        s.sealed.extend(sealed(
            version,
            &s.key,
            &params(version, first),
            number,
            text,
            number ^ 0x5555,
        ));
    }
    s
}

impl Stream {
    /// Sends bytes from..to as if for the first time.
    fn send(&self, tis: &mut Context, from: usize, to: usize) -> (Vec<u8>, Vec<Violation>) {
        let mut bytes = self.plain[from..to].to_vec();
        let violations = tis.transmit(Some(SEQ.wrapping_add(from as u32)), &mut bytes);
        (bytes, violations)
    }

    fn record_of(&self, at: usize) -> usize {
        self.starts.iter().rposition(|s| *s <= at).unwrap()
    }

    /// What `mlx5e_ktls_tx_handle_ooo` does before it sends from `at`.
    fn resync(&self, tis: &mut Context, at: usize) {
        let record = self.record_of(at);
        let number = self.first.wrapping_add(record as u64);
        assert_eq!(tis.set_static_params(params(self.version, number), Key::new(&self.key)), []);
        assert_eq!(tis.set_progress_params(), []);
        for piece in self.plain[self.starts[record]..at].chunks(1522) {
            assert_eq!(tis.dump(piece), []);
        }
    }
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::Tls12), Just(Version::Tls13)]
}

fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let length = prop_oneof![1..40_usize, 1..2000_usize, Just(1 << 14)];
    prop::collection::vec(length.prop_flat_map(|n| prop::collection::vec(any::<u8>(), n)), 1..6)
}

/// Places to cut a stream at.
fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..30)
}

fn pieces(cuts: &[prop::sample::Index], len: usize) -> Vec<(usize, usize)> {
    let mut at: Vec<usize> = cuts.iter().map(|c| c.index(len)).collect();
    at.extend([0, len]);
    at.sort_unstable();
    at.dedup();
    at.windows(2).map(|w| (w[0], w[1])).collect()
}

/// Cases 3 and 4, and 15 and 16, of the GCM specification; in three pieces.
#[test]
fn known_answers_of_gcm() {
    let text = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255");
    let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let iv = hex("cafebabefacedbaddecaf888").try_into().unwrap();
    for (key, len, aad, tag) in [
        ("feffe9928665731c6d6a8f9467308308", 64, &[][..], "4d5c2af327cd64a62cf35abd2ba6fab4"),
        ("feffe9928665731c6d6a8f9467308308", 60, &aad, "5bc94fbc3221a5db94fae95ae7121a47"),
        (
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            64,
            &[],
            "b094dac5d93471bdec1a502270e3cc6c",
        ),
        (
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            60,
            &aad,
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ] {
        let mut gcm = Gcm::new(&Key::new(&hex(key)).unwrap(), &iv, aad);
        let mut text = text[..len].to_vec();
        for piece in [0..5, 5..50, 50..len] {
            gcm.encrypt(&mut text[piece]);
        }
        assert_eq!(gcm.tag()[..], hex(tag));
    }
}

fn hex(s: &str) -> Vec<u8> {
    s.as_bytes()
        .chunks(2)
        .map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn a_key_has_16_or_32_bytes_and_is_not_shown() {
    for len in 0..70 {
        assert_eq!(Key::new(&vec![1; len]).is_some(), len == 16 || len == 32);
    }
    assert_eq!(format!("{:?}", Key::new(&[0x77; 32])), "Some(Aes256(..))");
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_what_ring_gives(
        version in version(), bits in prop_oneof![Just(128_usize), Just(256)], first in any::<u64>(), texts in texts(),
        cuts in cuts(),
    ) {
        let s = stream(version, bits, first, &texts);
        let mut tis = context(version, &s.key, first);
        let mut wire = vec![];
        for (from, to) in pieces(&cuts, s.plain.len()) {
            let (bytes, violations) = s.send(&mut tis, from, to);
            prop_assert_eq!(violations, []);
            wire.extend(bytes);
        }
        prop_assert_eq!(wire, s.sealed);
    }

    #[test]
    fn retransmissions_after_a_resync_are_the_same_bytes(
        version in version(), texts in texts(), first in any::<u64>(),
        resent in prop::collection::vec((any::<prop::sample::Index>(), 1..3000_usize), 1..6),
    ) {
        let s = stream(version, 128, first, &texts);
        let len = s.plain.len();
        let mut tis = context(version, &s.key, first);
        prop_assert_eq!(s.send(&mut tis, 0, len), (s.sealed.clone(), vec![]));
        for (from, count) in resent {
            let from = from.index(len);
            let to = len.min(from + count);
            s.resync(&mut tis, from);
            prop_assert_eq!(s.send(&mut tis, from, to), (s.sealed[from..to].to_vec(), vec![]));
        }
    }

    /// Whatever comes, there is an answer, and it does not panic.
    #[test]
    fn any_bytes_in_any_order(
        steps in prop::collection::vec((0..4_u8, prop::collection::vec(any::<u8>(), 0..80), any::<u32>()), 0..40),
        framing in prop_oneof![Just(BrokenFraming::Believe), Just(BrokenFraming::Pass)],
        unready in prop_oneof![Just(Unready::Pass), Just(Unready::Garbage)],
        count in prop_oneof![Just(StaticParamsCount::AtOnce), Just(StaticParamsCount::WithProgress)],
    ) {
        let mut tis = Context::new(Silicon { framing, unready, static_params: count, ..Silicon::default() });
        for (what, mut bytes, n) in steps {
            let version = if n & 1 == 0 { Version::Tls12 } else { Version::Tls13 };
            let _ = match what {
                0 => tis.set_static_params(params(version, n.into()), Key::new(&key(128)).filter(|_| n & 2 == 0)),
                1 => tis.set_progress_params(),
                2 => tis.dump(&bytes),
                _ => tis.transmit((n & 4 == 0).then_some(n), &mut bytes),
            };
        }
    }
}

/// A stream of three records, of which the second is sent again.
fn three() -> Stream {
    stream(Version::Tls12, 128, 7, &[vec![1; 3000], vec![2; 5000], vec![3; 100]])
}

#[test]
fn progress_params_alone_reset_the_running_number() {
    let s = three();
    let mut tis = context(s.version, &s.key, s.first);
    let (first, _) = s.send(&mut tis, 0, 4000);
    assert_eq!(first, s.sealed[..4000]);
    assert_eq!(tis.set_progress_params(), []);
    assert_eq!(s.send(&mut tis, 0, 3100), (s.sealed[..3100].to_vec(), vec![]));
}

#[test]
fn retransmission_without_a_resync_is_wrong_and_reported() {
    let s = three();
    let mut tis = context(s.version, &s.key, s.first);
    let _ = s.send(&mut tis, 0, 4000);
    let (bytes, violations) = s.send(&mut tis, 1000, 2000);
    assert_ne!(bytes, s.sealed[1000..2000]);
    assert_eq!(
        violations,
        [Violation::Sequence { expected: SEQ.wrapping_add(4000), got: SEQ.wrapping_add(1000) }]
    );
    // One gap, one violation; but the ciphertext stays wrong.
    let (bytes, violations) = s.send(&mut tis, 2000, 2500);
    assert_ne!(bytes, s.sealed[2000..2500]);
    assert_eq!(violations, []);
}

#[test]
fn a_protocol_without_sequence_numbers_gets_no_check_of_them() {
    let s = three();
    let mut tis = context(s.version, &s.key, s.first);
    let mut bytes = s.plain.clone();
    assert_eq!(tis.transmit(None, &mut bytes[..100]), []);
    assert_eq!(tis.transmit(None, &mut bytes[100..]), []);
    assert_eq!(bytes, s.sealed);
}

#[test]
fn two_queues_that_share_a_context_spoil_each_others_records() {
    let s = three();
    let mut tis = context(s.version, &s.key, s.first);
    let record = s.starts[1];
    // Queue one has sent a part of record 0; queue two retransmits in between; queue one goes on.
    let _ = s.send(&mut tis, 0, 1000);
    s.resync(&mut tis, record + 100);
    let _ = s.send(&mut tis, record + 100, record + 200);
    let (bytes, _) = s.send(&mut tis, 1000, 2000);
    assert_ne!(bytes, s.sealed[1000..2000]);
}

#[test]
fn broken_framing_is_reported_and_ends_with_the_next_params() {
    for (header, violation) in [
        ([0, 3, 3, 0, 100], Violation::RecordType(0)),
        ([23, 3, 1, 0, 100], Violation::RecordVersion(0x0301)),
        ([23, 3, 3, 0, 23], Violation::RecordLength(23)),
        ([23, 3, 3, 0, 0], Violation::RecordLength(0)),
        ([23, 3, 3, 0x40, 25], Violation::RecordLength(0x4019)),
    ] {
        for framing in [BrokenFraming::Believe, BrokenFraming::Pass] {
            let s = three();
            let mut tis =
                context_with(Silicon { framing, ..Silicon::default() }, s.version, &s.key, s.first);
            let mut bytes = [&header[..], &[0; 60]].concat();
            let before = bytes.clone();
            let violations = tis.transmit(None, &mut bytes);
            assert_eq!(violations[0], violation, "{header:?}");
            assert_eq!(bytes[..5], header);
            assert_eq!(
                framing == BrokenFraming::Pass,
                bytes == before && violations.len() == 1,
                "{header:?}"
            );
            s.resync(&mut tis, 50);
            assert_eq!(s.send(&mut tis, 50, 900), (s.sealed[50..900].to_vec(), vec![]));
        }
    }
}

#[test]
fn without_params_or_key_everything_is_sent_as_it_is_or_as_garbage() {
    for unready in [Unready::Pass, Unready::Garbage] {
        let silicon = Silicon { unready, ..Silicon::default() };
        let s = three();
        let mut tis = Context::new(silicon);
        assert_eq!(tis.set_progress_params(), [Violation::ProgressFirst]);
        let (bytes, violations) = s.send(&mut tis, 0, 500);
        assert_eq!(violations, [Violation::NoStaticParams]);
        assert_eq!(bytes == s.plain[..500], unready == Unready::Pass);

        assert_eq!(tis.set_static_params(params(s.version, s.first), Key::new(&s.key)), []);
        let (bytes, violations) = s.send(&mut tis, 500, 900);
        assert_eq!(violations, [Violation::NoProgressParams]);
        assert_eq!(bytes == s.plain[500..900], unready == Unready::Pass);

        assert_eq!(tis.set_static_params(params(s.version, s.first), None), [Violation::NoKey]);
        assert_eq!(tis.set_progress_params(), []);
        let (bytes, _) = s.send(&mut tis, 0, 900);
        assert_eq!(bytes == s.plain[..900], unready == Unready::Pass);
        assert_ne!(bytes, s.sealed[..900]);
    }
}

#[test]
fn static_params_count_at_once_or_with_progress() {
    for count in [StaticParamsCount::AtOnce, StaticParamsCount::WithProgress] {
        let s = three();
        let mut tis = context_with(
            Silicon { static_params: count, ..Silicon::default() },
            s.version,
            &s.key,
            s.first,
        );
        let _ = s.send(&mut tis, 0, 1000);
        assert_eq!(tis.set_static_params(params(s.version, s.first + 1), Key::new(&s.key)), []);
        let (bytes, violations) = s.send(&mut tis, 1000, 2000);
        assert_eq!(violations, [Violation::NoProgressParams]);
        assert_eq!(bytes == s.sealed[1000..2000], count == StaticParamsCount::WithProgress);
        assert_eq!(tis.set_progress_params(), []);
        let second = s.starts[1];
        assert_eq!(s.send(&mut tis, second, second + 700).0, s.sealed[second..second + 700]);
    }
}

#[test]
fn each_control_breaks_what_it_names() {
    let s = three();
    let broken = |controls| {
        context_with(Silicon { controls, ..Silicon::default() }, s.version, &s.key, s.first)
    };
    let right = s.sealed.clone();

    let mut tis = broken(Controls { wrong_salt: true, ..Controls::default() });
    assert_ne!(s.send(&mut tis, 0, 500).0, right[..500]);

    // The others are right until there is a resync.
    for controls in [
        Controls { ignore_dump: true, ..Controls::default() },
        Controls { ignore_resync: true, ..Controls::default() },
    ] {
        let mut tis = broken(controls);
        assert_eq!(s.send(&mut tis, 0, 4000).0, right[..4000]);
        s.resync_without_checks(&mut tis, 1000);
        assert_ne!(s.send(&mut tis, 1000, 2000).0, right[1000..2000], "{controls:?}");
    }
}

impl Stream {
    /// [`Stream::resync`], for a model that was broken on purpose.
    fn resync_without_checks(&self, tis: &mut Context, at: usize) {
        let record = self.record_of(at);
        let _ = tis.set_static_params(
            params(self.version, self.first + record as u64),
            Key::new(&self.key),
        );
        let _ = tis.set_progress_params();
        let _ = tis.dump(&self.plain[self.starts[record]..at]);
    }
}
