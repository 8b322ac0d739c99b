// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Decrypts a stream and compares what comes out.

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM, AES_256_GCM};

use super::{pattern, Capture, Connection, KeyLog, Stream};
use crate::tls::Version;

/// What was found in a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Connections of the log.
    pub connections: usize,
    /// Records that could be decrypted, and have what was sent.
    pub records: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Bytes that were sent more than once.
    pub resent: u64,
    /// What is wrong.
    pub errors: Vec<String>,
}

/// Looks for each connection of the log, and decrypts all of it.
pub fn check(capture: &Capture, log: &KeyLog) -> Report {
    let mut report = Report { connections: log.connections.len(), ..Report::default() };
    if log.connections.is_empty() {
        report.errors.push("the log has no keys".to_string());
    }
    for connection in &log.connections {
        let ports = (connection.src_port, connection.dst_port);
        let mut streams = capture
            .streams
            .iter()
            .filter(|((_, src, _, dst), _)| (*src, *dst) == ports)
            .flat_map(|(_, streams)| streams)
            .peekable();
        if streams.peek().is_none() {
            report.errors.push(format!("{} -> {}: not in the capture", ports.0, ports.1));
        }
        // If ports were used again, one of the streams must be it.
        let results: Vec<_> = streams.map(|s| (s, decrypt(s, connection))).collect();
        let good = results.iter().find(|(_, (_, error))| error.is_none());
        if let Some((stream, (counts, error))) = good.or(results.first()) {
            report.records += counts.0;
            report.bytes += counts.1;
            report.resent += stream.resent;
            let mut complain =
                |text: String| report.errors.push(format!("{} -> {}: {text}", ports.0, ports.1));
            if let Some(error) = error {
                complain(error.clone());
            }
            if stream.changed > 0 {
                complain(format!("{} bytes were others when they were sent again", stream.changed));
            }
            if stream.strays > 0 {
                complain(format!("{} segments are not of this stream", stream.strays));
            }
        }
    }
    report
}

/// Records and bytes that are right, and what is wrong after them.
fn decrypt(stream: &Stream, connection: &Connection) -> ((u64, u64), Option<String>) {
    let algorithm = if connection.key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
    let Ok(key) = UnboundKey::new(algorithm, &connection.key).map(LessSafeKey::new) else {
        return ((0, 0), Some("the log's key is none".to_string()));
    };
    let (mut records, mut bytes) = (0, 0);
    let mut rest = stream.bytes().get(connection.offset..).unwrap_or_default();
    while bytes < connection.bytes {
        let wrong = |what: &str| Some(format!("record {records}, after {bytes} bytes: {what}"));
        let Some((header, body)) = rest.split_first_chunk::<5>() else {
            return (
                (records, bytes),
                wrong(&format!("the capture ends ({} bytes after a gap)", stream.after_gap())),
            );
        };
        let [kind, high, low, l1, l0] = *header;
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        if (kind, high, low) != (23, 3, 3) {
            return (
                (records, bytes),
                wrong(&format!("no header of application data: {header:02x?}")),
            );
        }
        let Some((body, next)) = body.split_at_checked(length) else {
            return ((records, bytes), wrong("the capture ends within it"));
        };
        let Some(text) = open(&key, connection, connection.seq.wrapping_add(records), header, body)
        else {
            return ((records, bytes), wrong("it does not decrypt"));
        };
        if let Some(i) = (0..text.len())
            .find(|i| text.get(*i) != Some(&pattern(connection.seed, bytes + *i as u64)))
        {
            return ((records, bytes), wrong(&format!("byte {i} is not what was sent")));
        }
        records += 1;
        bytes += text.len() as u64;
        rest = next;
    }
    let error = (bytes > connection.bytes)
        .then(|| format!("{bytes} bytes, where {} were sent", connection.bytes));
    ((records, bytes), error)
}

/// A record's text; of TLS 1.3 without its inner type and padding.
fn open(
    key: &LessSafeKey,
    c: &Connection,
    number: u64,
    header: &[u8; 5],
    body: &[u8],
) -> Option<Vec<u8>> {
    const TAG: usize = 16;

    let mut nonce = [0; 12];
    let (salt, low) = nonce.split_first_chunk_mut::<4>()?;
    *salt = c.salt;
    let (mut text, aad) = match c.version {
        Version::Tls12 => {
            let (explicit, text) = body.split_first_chunk::<8>()?;
            low.copy_from_slice(explicit);
            let length = u16::try_from(text.len().checked_sub(TAG)?).ok()?;
            let aad = [&number.to_be_bytes()[..], header.get(..3)?, &length.to_be_bytes()].concat();
            (text.to_vec(), aad)
        }
        Version::Tls13 => {
            low.copy_from_slice(&(u64::from_be_bytes(c.iv) ^ number).to_be_bytes());
            (body.to_vec(), header.to_vec())
        }
    };
    let len = key
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut text)
        .ok()?
        .len();
    text.truncate(len);
    if c.version == Version::Tls13 {
        let end = text.iter().rposition(|b| *b != 0)?;
        if text.get(end) != Some(&23) {
            return None;
        }
        text.truncate(end);
    }
    Some(text)
}
