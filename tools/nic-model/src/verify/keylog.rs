// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the sending program tells of its connections, a line each:
//!
//! ```text
//! ktls-key SPORT DPORT VERSION KEY SALT IV SEQ OFFSET BYTES SEED
//! ```
//!
//! The ports; `1.2` or `1.3`; key, salt (4 bytes) and IV (8 bytes) in hexadecimal digits; the first record's number; how many
//! bytes of the stream were sent before TLS began; how many bytes of plaintext were sent; and the seed of their pattern. The
//! line may stand anywhere in a program's output, after `# ` or a mark such as `1| `.

use std::io::{self, BufRead};

use crate::tls::Version;

/// One connection's keys, and what was sent on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// The version of TLS.
    pub version: Version,
    /// 16 or 32 bytes.
    pub key: Vec<u8>,
    /// The nonce's first four bytes.
    pub salt: [u8; 4],
    /// TLS 1.3: the other eight.
    pub iv: [u8; 8],
    /// The number of the first record.
    pub seq: u64,
    /// How many bytes of the stream are not TLS.
    pub offset: usize,
    /// How many bytes of plaintext were sent.
    pub bytes: u64,
    /// The pattern's seed.
    pub seed: u64,
}

/// All lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLog {
    /// In the order of the log.
    pub connections: Vec<Connection>,
}

impl KeyLog {
    /// Reads all lines that are of this kind. One that begins like it and is not whole is an error.
    pub fn read(log: impl BufRead) -> io::Result<Self> {
        let mut keys = KeyLog::default();
        for line in log.split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            if let Some((_, fields)) = line.split_once("ktls-key ") {
                let connection = parse(fields).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("not a key: '{line}'"))
                })?;
                keys.connections.push(connection);
            }
        }
        Ok(keys)
    }
}

fn parse(fields: &str) -> Option<Connection> {
    let mut fields = fields.split_whitespace();
    let connection = Connection {
        src_port: fields.next()?.parse().ok()?,
        dst_port: fields.next()?.parse().ok()?,
        version: match fields.next()? {
            "1.2" => Version::Tls12,
            "1.3" => Version::Tls13,
            _ => return None,
        },
        key: hex(fields.next()?).filter(|key| key.len() == 16 || key.len() == 32)?,
        salt: hex(fields.next()?)?.try_into().ok()?,
        iv: hex(fields.next()?)?.try_into().ok()?,
        seq: fields.next()?.parse().ok()?,
        offset: fields.next()?.parse().ok()?,
        bytes: fields.next()?.parse().ok()?,
        seed: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(connection)
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    if digits.len() % 2 != 0 || !digits.is_ascii() {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(digits.get(i..i + 2)?, 16).ok())
        .collect()
}

/// Byte number `at` of the pattern that programs send: little-endian words of splitmix64.
pub fn pattern(seed: u64, at: u64) -> u8 {
    let mut z = seed.wrapping_add((at / 8).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> (at % 8 * 8)) as u8
}
