// SPDX-License-Identifier: GPL-2.0

//! One direction's key, and records sealed and opened with it on the CPU.

use ::core::ops::Range;

use kernel::prelude::*;

use super::OpenError;
use crate::protocol::session::epoch::Epoch;
use crate::protocol::session::seq::{record_header, MessageId, SequenceNumber, APPLICATION_DATA};
use crate::protocol::session::TlsVersion;
use crate::protocol::wire::{SealFlags, TAG_LEN};
use crate::sys::aead::AeadKey;
use crate::sys::builder::SkbBuilder;
use crate::sys::secret::{Secret, SecretBuf};

/// Bytes of a record before its ciphertext (TLS 1.3).
const HEADER: usize = 5;

/// An expanded key with its static IV. Wiped when dropped.
pub(crate) struct Keys {
    aead: AeadKey,
    iv: Secret<12>,
    version: TlsVersion,
    epoch: Epoch,
}

impl Keys {
    /// A TLS 1.3 key of 16 or 32 bytes.
    pub(crate) fn tls13(key: &[u8], iv: Secret<12>) -> Result<KBox<Self>> {
        let aead = AeadKey::new(key, GFP_KERNEL)?;
        let epoch = Epoch::new(0);
        Ok(KBox::new(Self { aead, iv, version: TlsVersion::Tls13, epoch }, GFP_KERNEL)?)
    }

    /// Version of the records.
    pub(crate) fn version(&self) -> TlsVersion {
        self.version
    }

    /// What packets say about how they were sealed.
    pub(crate) fn flags(&self) -> SealFlags {
        SealFlags { epoch: self.epoch, version: self.version }
    }

    fn nonce(&self, number: SequenceNumber) -> [u8; 12] {
        number.nonce(self.version, &self.iv)
    }

    /// Makes room for the header of the record that comes next.
    pub(crate) fn begin_record(&self, builder: &mut SkbBuilder) -> Result {
        builder.append(&[0; HEADER])
    }

    /// Seals the record of which `plaintext` bytes are the last in `builder` and which began at
    /// byte `at` of it, as record `index` of message `id`. EMSGSIZE if there is no room.
    pub(crate) fn seal_record(
        &self,
        builder: &mut SkbBuilder,
        at: usize,
        plaintext: u16,
        id: MessageId,
        index: u16,
    ) -> Result {
        let len = usize::from(plaintext);
        let mut tail = [0; 1 + TAG_LEN];
        if let Some(kind) = tail.first_mut() {
            *kind = APPLICATION_DATA;
        }
        builder.append(&tail)?;
        let header = record_header(self.version, plaintext);
        if !builder.write_at(at, &header) {
            return Err(EMSGSIZE);
        }
        let nonce = self.nonce(SequenceNumber::record(id, index));
        let whole = HEADER + len + 1 + TAG_LEN;
        self.aead.seal(&nonce, HEADER, builder.runs_mut(at, whole))
    }

    /// Opens record `index` of message `id`, whose bytes `buf` has, in place.
    pub(crate) fn open_record(
        &self,
        mut buf: SecretBuf,
        plaintext: u16,
        id: MessageId,
        index: u16,
    ) -> Result<Opened, OpenError> {
        let header = record_header(self.version, plaintext);
        let nonce = self.nonce(SequenceNumber::record(id, index));
        let text = HEADER..HEADER + usize::from(plaintext);
        if buf.len() != text.end + 1 + TAG_LEN || buf.first_chunk() != Some(&header) {
            return Err(OpenError::BadRecord);
        }
        self.aead.open(&nonce, HEADER, &mut buf).map_err(|_| OpenError::BadRecord)?;
        if buf.get(text.end) != Some(&APPLICATION_DATA) {
            return Err(OpenError::BadRecord);
        }
        Ok(Opened { buf, text })
    }

    /// The tag of a control packet; `None` for a counter that is none.
    pub(crate) fn tag_control(&self, counter: u64, aad: &[u8]) -> Option<[u8; TAG_LEN]> {
        let nonce = self.nonce(SequenceNumber::control(counter)?);
        Some(self.aead.tag(&nonce, aad))
    }

    /// Is this the tag of that control packet?
    pub(crate) fn check_control(&self, counter: u64, aad: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        let Some(number) = SequenceNumber::control(counter) else {
            return false;
        };
        self.aead.check_tag(&self.nonce(number), aad, tag).is_ok()
    }
}

/// A record's plaintext. Wiped when dropped.
pub(crate) struct Opened {
    buf: SecretBuf,
    text: Range<usize>,
}

impl Opened {
    /// The plaintext.
    pub(crate) fn text(&self) -> &[u8] {
        self.buf.get(self.text.clone()).unwrap_or(&[])
    }
}
