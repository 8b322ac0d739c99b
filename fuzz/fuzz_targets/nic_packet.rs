// SPDX-License-Identifier: GPL-2.0 OR MIT

//! tools/nic-model: any frame is parsed and given checksums within its bounds; what LSO makes of any headers has all of the
//! payload, in order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nic_model::lso::{segment, ChecksumFlags, Silicon};
use nic_model::packet::{check, fill_l3_checksum, fill_l4_checksum, parse, protocol, Checks};

const BOTH: ChecksumFlags = ChecksumFlags { l3: true, l4: true };

fuzz_target!(|input: (&[u8], &[u8], u16)| {
    let (header, payload, mss) = input;
    let mut frame = [header, payload].concat();
    if let Some(headers) = parse(&frame) {
        let checks = check(&frame, &headers);
        fill_l3_checksum(&mut frame, &headers);
        fill_l4_checksum(&mut frame, &headers);
        let after = check(&frame, &headers);
        // Of a truncated packet the checksum cannot be judged.
        let whole = headers.ip.as_ref().is_some_and(|ip| !ip.truncated);
        assert_eq!(after.l3_ok, headers.ip.is_some());
        assert_eq!(after.l4_ok, headers.l4.is_some() && whole);
        assert!(!checks.l4_ok || after.l4_ok);
    }
    if let Ok(frames) =
        segment(header, payload, mss.into(), BOTH, Silicon { other_over_ipv6: true })
    {
        let mut sent = Vec::new();
        for frame in frames {
            sent.extend_from_slice(&frame[header.len()..]);
            let headers = parse(&frame).unwrap();
            let ip = headers.ip.as_ref().unwrap();
            if ip.protocol == protocol::TCP && headers.l4.is_some() {
                assert_eq!(check(&frame, &headers), Checks { l3_ok: true, l4_ok: true });
            }
        }
        assert_eq!(sent, payload);
    }
});
