// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Any bytes: a preamble, or none.

#![no_main]

use homa_core::session::preamble::Preamble;
use homa_core::session::seq::record_plaintext;
use homa_core::session::TlsVersion;
use homa_core::wire::MAX_SEALED_MESSAGE;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(preamble) = Preamble::parse(bytes) {
        assert_eq!(preamble.emit(), bytes[..8]);
        assert!(preamble.agrees_with(preamble.message_length()));
        assert!(preamble.message_length() <= MAX_SEALED_MESSAGE);
    }
    if let Some(header) = bytes.first_chunk() {
        for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
            assert!(record_plaintext(version, header).is_none_or(|len| len <= 1 << 14));
        }
    }
});
