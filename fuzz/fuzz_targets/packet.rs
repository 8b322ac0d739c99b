// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Any bytes: a packet within bounds, or malformed. What was read is written back as the same
//! values.

#![no_main]

use homa_core::wire::{Body, Packet, SealedControl, MAX_HEADER, MAX_STREAM};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u16, u16)| {
    let (bytes, more, ip_id) = input;
    let head = &bytes[..bytes.len().min(MAX_HEADER)];
    let len = bytes.len() + usize::from(more);
    let Ok(packet) = Packet::parse(head, len) else { return };
    assert!(packet.header_len <= len);
    let common = packet.common;
    match packet.body {
        Body::Data(data) => {
            assert!(data.payload > 0 && data.offset + data.payload <= data.message_length);
            assert_eq!(Packet::parse(&data.emit(&common), len), Ok(packet));
        }
        Body::SealedData(data) => {
            let length = data.layout().unwrap().stream_length();
            assert!(length <= MAX_STREAM && data.incoming <= length);
            if let Ok(offset) = data.stream_offset(Some(ip_id)) {
                assert!(offset + data.payload <= length);
            }
            assert_eq!(Packet::parse(&data.emit(&common), len), Ok(packet));
        }
        Body::Control(control) => {
            let header = control.emit(&common);
            let again = Packet::parse(header.as_slice(), header.as_slice().len());
            assert_eq!(again.map(|packet| packet.body), Ok(packet.body));
        }
        Body::SealedControl(control) => {
            let SealedControl { inner, flags, counter, tag, aad_len } = control;
            let untagged = SealedControl::emit(&inner, &common, flags, counter);
            assert_eq!(untagged.aad().len(), aad_len);
            let header = untagged.finish(&tag);
            assert_eq!(Packet::parse(header.as_slice(), len), Ok(packet));
        }
    }
});
