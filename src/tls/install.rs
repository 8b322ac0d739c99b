// SPDX-License-Identifier: GPL-2.0

//! The structures in which programs hand keys in: kTLS's own, from `<linux/tls.h>`.

use kernel::prelude::*;

use super::Keys;
use crate::sys::secret::Secret;
use crate::sys::user::{plain, OptVal};

/// `TLS_1_2_VERSION`.
const TLS_1_2: u16 = 0x0303;
/// `TLS_1_3_VERSION`.
const TLS_1_3: u16 = 0x0304;
/// `TLS_CIPHER_AES_GCM_128`.
const AES_GCM_128: u16 = 51;
/// `TLS_CIPHER_AES_GCM_256`.
const AES_GCM_256: u16 = 52;
/// Bytes of `struct tls12_crypto_info_aes_gcm_128`: version and cipher 4, IV 8, key 16, salt 4,
/// record sequence number 8.
const AES_GCM_128_SIZE: usize = 40;
/// Bytes of `struct tls12_crypto_info_aes_gcm_256`.
const AES_GCM_256_SIZE: usize = 56;

plain! {
    /// `struct tls_crypto_info`.
    struct CryptoInfo {
        version: u16,
        cipher_type: u16,
    }
}

/// A key as a program handed it in.
pub(crate) struct KeySetting {
    /// Ready for use.
    pub(crate) keys: KBox<Keys>,
}

impl KeySetting {
    /// Reads the `crypto_info` that `value` has from byte `offset` on, to its end.
    ///
    /// EINVAL for a size, a version or a cipher that is none; EOPNOTSUPP for one that kTLS has and
    /// we do not; EFAULT. The record sequence number must be zero: ours are made of message ids.
    pub(crate) fn read(value: &OptVal<'_>, offset: usize) -> Result<Self> {
        let info: CryptoInfo = value.read_at(offset)?;
        let size = match info.cipher_type {
            AES_GCM_128 => AES_GCM_128_SIZE,
            AES_GCM_256 => AES_GCM_256_SIZE,
            _ => return Err(EINVAL),
        };
        if value.len() != offset.saturating_add(size) {
            return Err(EINVAL);
        }
        match (info.version, info.cipher_type) {
            (TLS_1_3, AES_GCM_128) => {}
            (TLS_1_2 | TLS_1_3, _) => return Err(EOPNOTSUPP),
            _ => return Err(EINVAL),
        }
        let mut raw: Secret<AES_GCM_128_SIZE> = Secret::zeroed();
        value.read_slice_at(offset, &mut *raw)?;
        let (_, rest) = raw.split_first_chunk::<4>().ok_or(EINVAL)?;
        let (iv, rest) = rest.split_first_chunk::<8>().ok_or(EINVAL)?;
        let (key, rest) = rest.split_first_chunk::<16>().ok_or(EINVAL)?;
        let (salt, rec_seq) = rest.split_first_chunk::<4>().ok_or(EINVAL)?;
        if rec_seq != [0; 8] {
            return Err(EINVAL);
        }
        let mut whole: Secret<12> = Secret::zeroed();
        let (head, tail) = whole.split_at_mut(4);
        head.copy_from_slice(salt);
        tail.copy_from_slice(iv);
        Ok(Self { keys: Keys::tls13(key, whole)? })
    }
}
