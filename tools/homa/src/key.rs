// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Keys of sealed sessions.

use crate::uapi::{
    tls12_crypto_info_aes_gcm_128, tls12_crypto_info_aes_gcm_256, tls_crypto_info, TLS_1_2_VERSION,
    TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256,
};

/// The TLS version whose records and nonces a session uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// An AES-GCM key with the static part of its nonce.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// AES-128-GCM.
    Aes128Gcm {
        /// The key.
        key: [u8; 16],
        /// TLS 1.3: the static IV. TLS 1.2: the salt, then 8 bytes that are not used.
        iv: [u8; 12],
    },
    /// AES-256-GCM.
    Aes256Gcm {
        /// The key.
        key: [u8; 32],
        /// As for AES-128-GCM.
        iv: [u8; 12],
    },
}

/// The key of one direction of a session, as a TLS handshake makes it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The version of TLS.
    pub version: Version,
    /// The cipher and its key.
    pub cipher: Cipher,
}

/// Says which kind of key it is, and not the key.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cipher = match self.cipher {
            Cipher::Aes128Gcm { .. } => "AES-128-GCM",
            Cipher::Aes256Gcm { .. } => "AES-256-GCM",
        };
        write!(f, "Key({:?}, {cipher})", self.version)
    }
}

/// What `setsockopt` takes for a key on a connected socket: kTLS's structures.
pub(crate) enum CryptoInfo {
    Aes128Gcm(tls12_crypto_info_aes_gcm_128),
    Aes256Gcm(tls12_crypto_info_aes_gcm_256),
}

impl From<&Key> for CryptoInfo {
    fn from(key: &Key) -> Self {
        let version = match key.version {
            Version::Tls12 => TLS_1_2_VERSION,
            Version::Tls13 => TLS_1_3_VERSION,
        };
        let split = |iv: &[u8; 12]| {
            let (mut salt, mut rest) = ([0; 4], [0; 8]);
            salt.copy_from_slice(&iv[..4]);
            rest.copy_from_slice(&iv[4..]);
            (salt, rest)
        };
        match key.cipher {
            Cipher::Aes128Gcm { key, iv } => {
                let info = tls_crypto_info { version, cipher_type: TLS_CIPHER_AES_GCM_128 };
                let (salt, iv) = split(&iv);
                let rec_seq = [0; 8];
                Self::Aes128Gcm(tls12_crypto_info_aes_gcm_128 { info, iv, key, salt, rec_seq })
            }
            Cipher::Aes256Gcm { key, iv } => {
                let info = tls_crypto_info { version, cipher_type: TLS_CIPHER_AES_GCM_256 };
                let (salt, iv) = split(&iv);
                let rec_seq = [0; 8];
                Self::Aes256Gcm(tls12_crypto_info_aes_gcm_256 { info, iv, key, salt, rec_seq })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_iv_is_split_as_the_kernel_joins_it() {
        let iv: [u8; 12] = std::array::from_fn(|i| i as u8);
        let cipher = Cipher::Aes128Gcm { key: [9; 16], iv };
        let CryptoInfo::Aes128Gcm(info) = (&Key { version: Version::Tls13, cipher }).into() else {
            panic!("the other cipher");
        };
        assert_eq!(info.salt, [0, 1, 2, 3]);
        assert_eq!(info.iv, [4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(info.info.version, 0x304);
    }

    #[test]
    fn debug_shows_no_key() {
        let cipher = Cipher::Aes256Gcm { key: [0xab; 32], iv: [0xcd; 12] };
        let shown = format!("{:?}", Key { version: Version::Tls12, cipher });
        assert_eq!(shown, "Key(Tls12, AES-256-GCM)");
    }
}
