// SPDX-License-Identifier: GPL-2.0

//! One direction's key, and records sealed and opened with it on the CPU.

use kernel::prelude::*;

use super::OpenError;
use crate::protocol::session::epoch::Epoch;
use crate::protocol::session::seq::{
    record_header, MessageId, SequenceNumber, APPLICATION_DATA,
};
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
        let mut sealer = self.aead.sealer(&nonce, &header);
        for run in builder.runs_mut(at + HEADER, len + 1) {
            sealer.update(run);
        }
        let tag = sealer.finish();
        if !builder.write_at(at + HEADER + len + 1, &tag) {
            return Err(EMSGSIZE);
        }
        Ok(())
    }

    /// Opens record `index` of message `id`, whose bytes `runs` are, into memory of its own: the
    /// plaintext and, after it, its content type.
    pub(crate) fn open_record<'a>(
        &self,
        runs: impl Iterator<Item = &'a [u8]>,
        plaintext: u16,
        id: MessageId,
        index: u16,
    ) -> Result<SecretBuf, OpenError> {
        let header = record_header(self.version, plaintext);
        let nonce = self.nonce(SequenceNumber::record(id, index));
        let inner = usize::from(plaintext) + 1;
        let mut opened =
            SecretBuf::with_capacity(inner, GFP_ATOMIC).map_err(|_| OpenError::NoMemory)?;
        let mut opener = self.aead.opener(&nonce, &header);
        let mut seen = [0; HEADER];
        let mut tag = [0; TAG_LEN];
        // Each run goes, in turn, where the next bytes belong.
        let (mut to_header, mut to_tag): (&mut [u8], &mut [u8]) = (&mut seen, &mut tag);
        for mut run in runs {
            copy_some(&mut to_header, &mut run);
            let (text, rest) = run.split_at(run.len().min(inner - opened.len()));
            opener.append_to(text, &mut opened);
            run = rest;
            copy_some(&mut to_tag, &mut run);
        }
        let whole = to_tag.is_empty() && opened.len() == inner;
        if opener.finish(&tag).is_err() || !whole || seen != header {
            return Err(OpenError::BadRecord);
        }
        if opened.last() != Some(&APPLICATION_DATA) {
            return Err(OpenError::BadRecord);
        }
        Ok(opened)
    }

    /// The tag of a control packet; `None` for a counter that is none.
    pub(crate) fn tag_control(&self, counter: u64, aad: &[u8]) -> Option<[u8; TAG_LEN]> {
        let nonce = self.nonce(SequenceNumber::control(counter)?);
        Some(self.aead.seal(&nonce, aad, &mut []))
    }

    /// Is this the tag of that control packet?
    pub(crate) fn check_control(&self, counter: u64, aad: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        let Some(number) = SequenceNumber::control(counter) else {
            return false;
        };
        self.aead.open(&self.nonce(number), aad, &mut [], tag).is_ok()
    }
}

/// Copies the beginning of `src` to `dst`, as much as fits; both then begin after it.
fn copy_some(dst: &mut &mut [u8], src: &mut &[u8]) {
    let n = dst.len().min(src.len());
    if n == 0 {
        return;
    }
    let (now, later) = ::core::mem::take(dst).split_at_mut(n);
    let (head, rest) = src.split_at(n);
    now.copy_from_slice(head);
    *dst = later;
    *src = rest;
}
