// SPDX-License-Identifier: GPL-2.0

//! The structures in which programs hand keys in: kTLS's own, from `<linux/tls.h>`.

use kernel::prelude::*;

use super::{Keys, Limits};
use crate::protocol::session::TlsVersion;
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
/// Bytes of the larger of kTLS's two structures: version and cipher 4, IV 8, key 32, salt 4, record
/// sequence number 8. The other one differs in the key's length alone.
const LARGEST: usize = 56;

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
    /// Reads the `crypto_info` that `value` has from byte `offset` on, to its end; the key may be used up to `limits`.
    ///
    /// EINVAL for a size, a version or a cipher that is not ours; EFAULT. The record sequence number must
    /// be zero: ours are made of message ids. So is TLS 1.2's explicit nonce, and its `iv` not used.
    pub(crate) fn read(value: &OptVal<'_>, offset: usize, limits: Limits) -> Result<Self> {
        let info: CryptoInfo = value.read_at(offset)?;
        let version = match info.version {
            TLS_1_2 => TlsVersion::Tls12,
            TLS_1_3 => TlsVersion::Tls13,
            _ => return Err(EINVAL),
        };
        let size = match info.cipher_type {
            AES_GCM_128 => LARGEST - 16,
            AES_GCM_256 => LARGEST,
            _ => return Err(EINVAL),
        };
        if value.len() != offset.saturating_add(size) {
            return Err(EINVAL);
        }
        let mut room: Secret<LARGEST> = Secret::zeroed();
        let raw = room.get_mut(..size).ok_or(EINVAL)?;
        value.read_slice_at(offset, raw)?;
        let (_, rest) = raw.split_first_chunk::<4>().ok_or(EINVAL)?;
        let (iv, rest) = rest.split_first_chunk::<8>().ok_or(EINVAL)?;
        let (rest, rec_seq) = rest.split_last_chunk::<8>().ok_or(EINVAL)?;
        let (key, salt) = rest.split_last_chunk::<4>().ok_or(EINVAL)?;
        if *rec_seq != [0; 8] {
            return Err(EINVAL);
        }
        let mut whole: Secret<12> = Secret::zeroed();
        let (head, tail) = whole.split_at_mut(4);
        head.copy_from_slice(salt);
        tail.copy_from_slice(iv);
        Ok(Self { keys: Keys::new(version, key, whole, limits)? })
    }
}
