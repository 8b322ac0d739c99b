// SPDX-License-Identifier: GPL-2.0 OR MIT

//! AES-GCM encryption of one record that arrives in pieces of any size.
//!
//! Crates for AES-GCM want a message whole. Here the two halves of the mode, counter mode and GHASH, are kept running
//! between the pieces, as an offload engine keeps them in a connection's context.

use std::fmt;

use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use ctr::Ctr32BE;
use ghash::universal_hash::UniversalHash;
use ghash::GHash;

/// Bytes of an authentication tag.
pub const TAG_LEN: usize = 16;

/// A nonce as TLS uses it: the counter has the other four bytes of a block.
pub type Nonce = [u8; 12];

const BLOCK: usize = 16;

/// A data encryption key (DEK).
#[derive(Clone, PartialEq, Eq)]
pub enum Key {
    /// AES-128.
    Aes128([u8; 16]),
    /// AES-256.
    Aes256([u8; 32]),
}

impl Key {
    /// A key of 16 or 32 bytes; `None` for any other length.
    pub fn new(bytes: &[u8]) -> Option<Key> {
        match bytes.len() {
            16 => bytes.try_into().ok().map(Key::Aes128),
            32 => bytes.try_into().ok().map(Key::Aes256),
            _ => None,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Key::Aes128(_) => "Aes128(..)",
            Key::Aes256(_) => "Aes256(..)",
        })
    }
}

// A box would have to be allocated for each record.
#[allow(clippy::large_enum_variant)]
enum KeyStream {
    Aes128(Ctr32BE<Aes128>),
    Aes256(Ctr32BE<Aes256>),
}

/// The state of one record's encryption.
pub struct Gcm {
    stream: KeyStream,
    ghash: GHash,
    /// Ciphertext that does not fill a block of GHASH yet.
    partial: [u8; BLOCK],
    /// E(K, J0), which masks the tag.
    mask: [u8; TAG_LEN],
    aad_len: u64,
    text_len: u64,
}

impl Gcm {
    /// Starts a record: `nonce` and additional data are known before its first byte.
    pub fn new(key: &Key, nonce: &Nonce, aad: &[u8]) -> Self {
        let mut counter = [0; BLOCK];
        for (to, from) in counter.iter_mut().zip(nonce) {
            *to = *from;
        }
        counter[BLOCK - 1] = 1;
        let (mut hash_key, mut mask) = (GenericArray::from([0; BLOCK]), [0; TAG_LEN]);
        // The key stream's first block masks the tag; what follows is for the text.
        let stream = match key {
            Key::Aes128(key) => {
                Aes128::new(key.into()).encrypt_block(&mut hash_key);
                let mut stream = Ctr32BE::<Aes128>::new(key.into(), &counter.into());
                stream.apply_keystream(&mut mask);
                KeyStream::Aes128(stream)
            }
            Key::Aes256(key) => {
                Aes256::new(key.into()).encrypt_block(&mut hash_key);
                let mut stream = Ctr32BE::<Aes256>::new(key.into(), &counter.into());
                stream.apply_keystream(&mut mask);
                KeyStream::Aes256(stream)
            }
        };
        let mut ghash = GHash::new(&hash_key);
        ghash.update_padded(aad);
        Gcm { stream, ghash, partial: [0; BLOCK], mask, aad_len: aad.len() as u64, text_len: 0 }
    }

    /// Encrypts the text's next bytes in place.
    pub fn encrypt(&mut self, text: &mut [u8]) {
        match &mut self.stream {
            KeyStream::Aes128(stream) => stream.apply_keystream(text),
            KeyStream::Aes256(stream) => stream.apply_keystream(text),
        }
        self.hash(text);
    }

    /// The tag of all that was encrypted.
    pub fn tag(mut self) -> [u8; TAG_LEN] {
        let used = (self.text_len % BLOCK as u64) as usize;
        self.ghash.update_padded(&self.partial[..used]);
        let mut lengths = [0; BLOCK];
        lengths[..8].copy_from_slice(&(self.aad_len * 8).to_be_bytes());
        lengths[8..].copy_from_slice(&(self.text_len * 8).to_be_bytes());
        self.ghash.update(&[lengths.into()]);
        let mut tag: [u8; TAG_LEN] = self.ghash.finalize().into();
        for (t, m) in tag.iter_mut().zip(self.mask) {
            *t ^= m;
        }
        tag
    }

    fn hash(&mut self, mut text: &[u8]) {
        let used = (self.text_len % BLOCK as u64) as usize;
        self.text_len += text.len() as u64;
        if used > 0 {
            let (fill, rest) = text.split_at(text.len().min(BLOCK - used));
            self.partial[used..used + fill.len()].copy_from_slice(fill);
            if used + fill.len() < BLOCK {
                return;
            }
            self.ghash.update(&[self.partial.into()]);
            text = rest;
        }
        let blocks = text.chunks_exact(BLOCK);
        let rest = blocks.remainder();
        self.ghash.update_padded(&text[..text.len() - rest.len()]);
        self.partial[..rest.len()].copy_from_slice(rest);
    }
}
