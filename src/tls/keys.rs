// SPDX-License-Identifier: GPL-2.0

//! One direction's key, and records sealed and opened with it on the CPU.

use ::core::ops::Range;

use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed, Release};
use kernel::sync::Arc;

#[cfg(homa_audit)]
use super::audit::Audit;
use super::usage::{Limits, Usage};
use super::OpenError;
use crate::protocol::session::epoch::Epoch;
use crate::protocol::session::seq::{
    aad_tls12, record_header, MessageId, SequenceNumber, APPLICATION_DATA,
};
use crate::protocol::session::TlsVersion;
use crate::protocol::wire::{SealFlags, TAG_LEN};
use crate::sys::aead::AeadKey;
use crate::sys::builder::SkbBuilder;
use crate::sys::secret::{Secret, SecretBytes};
use crate::sys::uio::IovIter;

/// Bytes of a record before its ciphertext, at most (TLS 1.2).
const LONGEST_PREFIX: usize = 13;

/// What a record has around its ciphertext.
struct Frame {
    /// What stands before it.
    prefix: [u8; LONGEST_PREFIX],
    /// What stands there while the cipher works, which wants its associated data before the text, in one
    /// piece of memory with it. In both versions that is as long as the prefix.
    aad: [u8; LONGEST_PREFIX],
    /// How many bytes of both count.
    len: usize,
    /// Bytes between the plaintext and the tag: TLS 1.3's content type, which is encrypted too.
    kind: usize,
}

impl Frame {
    /// Of a record of `plaintext` bytes.
    #[inline]
    fn new(version: TlsVersion, plaintext: u16, number: SequenceNumber) -> Self {
        let [a, b, c, d, e] = record_header(version, plaintext);
        match version {
            TlsVersion::Tls13 => {
                let prefix = [a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0];
                Self { prefix, aad: prefix, len: 5, kind: 1 }
            }
            TlsVersion::Tls12 => {
                let [s, t, u, v, w, x, y, z] = number.get().to_be_bytes();
                let prefix = [a, b, c, d, e, s, t, u, v, w, x, y, z];
                Self { prefix, aad: aad_tls12(number, plaintext), len: 13, kind: 0 }
            }
        }
    }

    /// Bytes of the whole record. (All of it is short.)
    #[inline]
    fn whole(&self, plaintext: u16) -> usize {
        usize::from(plaintext).wrapping_add(self.len).wrapping_add(self.kind).wrapping_add(TAG_LEN)
    }

    fn prefix(&self) -> &[u8] {
        self.prefix.get(..self.len).unwrap_or(&[])
    }

    fn aad(&self) -> &[u8] {
        self.aad.get(..self.len).unwrap_or(&[])
    }

    /// What stands behind the plaintext while the cipher works: the content type, if it is encrypted, and room for the tag.
    fn tail(&self) -> &'static [u8] {
        const TAIL: [u8; 1 + TAG_LEN] = {
            let mut tail = [0; 1 + TAG_LEN];
            tail[0] = APPLICATION_DATA;
            tail
        };
        TAIL.get(1usize.wrapping_sub(self.kind)..).unwrap_or(&TAIL)
    }

    /// Must the associated data make room for the prefix, and the other way round? (TLS 1.3 authenticates the
    /// prefix itself.)
    fn is_swapped(&self) -> bool {
        self.kind == 0
    }
}

/// Does `bytes` begin with `prefix`? (For few bytes: `starts_with` is two calls.)
#[inline]
fn begins_with(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.len() >= prefix.len() && bytes.iter().zip(prefix).all(|(a, b)| a == b)
}

/// What two keys have in common only if they are the same, whatever their IVs. It tells nothing about them.
pub(super) type Fingerprint = [u8; TAG_LEN];

/// Counts the keys of a direction that are not wiped yet.
struct Alive(Arc<Atomic<u32>>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1u32, Release);
    }
}

/// An expanded key with its static IV. Wiped when dropped.
pub(crate) struct Keys {
    aead: AeadKey,
    iv: Secret<12>,
    version: TlsVersion,
    long: bool,
    epoch: Epoch,
    usage: Usage,
    #[cfg(homa_audit)]
    audit: Arc<Audit>,
    // Last, so that it goes when the others are wiped.
    alive: Option<Alive>,
}

impl Keys {
    /// A key of 16 or 32 bytes.
    pub(super) fn new(
        version: TlsVersion,
        key: &[u8],
        iv: Secret<12>,
        limits: Limits,
    ) -> Result<KBox<Self>> {
        let aead = AeadKey::new(key, GFP_KERNEL)?;
        let (long, epoch) = (key.len() == 32, Epoch::new(0));
        let usage = Usage::new(limits);
        #[cfg(homa_audit)]
        let audit = Audit::new()?;
        let keys = Self {
            aead,
            iv,
            version,
            long,
            epoch,
            usage,
            #[cfg(homa_audit)]
            audit,
            alive: None,
        };
        Ok(KBox::new(keys, GFP_KERNEL)?)
    }

    /// Makes it the key of `epoch`.
    pub(super) fn begin(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Counts it in `alive` until it is wiped.
    pub(super) fn count_in(&mut self, alive: &Arc<Atomic<u32>>) {
        alive.fetch_add(1u32, Relaxed);
        self.alive = Some(Alive(alive.clone()));
    }

    /// What kind of records it is for: the version, and whether it has 32 bytes.
    pub(super) fn kind(&self) -> (TlsVersion, bool) {
        (self.version, self.long)
    }

    /// How far it was used.
    #[inline]
    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Of which epoch it is.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// See [`Fingerprint`]. (What is encrypted for it is never sent, so it does no harm that the nonce may come again.)
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.aead.tag(&[0; 12], b"which key")
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

    /// Appends a whole record, sealed as record `index` of message `id`: its plaintext is `preamble` and then `len` bytes of a
    /// program. False, and nothing was done, if `builder` has not enough linear room. EFAULT.
    pub(crate) fn append_record(
        &self,
        builder: &mut SkbBuilder,
        preamble: &[u8],
        from: &mut IovIter,
        len: u32,
        id: MessageId,
        index: u16,
    ) -> Result<bool> {
        let number = SequenceNumber::record(id, index);
        let plaintext = (preamble.len() as u32).saturating_add(len) as u16;
        let frame = Frame::new(self.version, plaintext, number);
        let heads = [frame.aad(), preamble];
        let Some(mut record) = builder.append_linear(heads, from, len as usize, frame.tail())?
        else {
            return Ok(false);
        };
        self.aead.seal_piece(&self.nonce(number), frame.len, &mut record)?;
        if frame.is_swapped() {
            for (to, from) in record.iter_mut().zip(frame.prefix()) {
                *to = *from;
            }
        }
        #[cfg(homa_audit)]
        if let Some(tag) = record.last_chunk() {
            self.audit.sealed(number, tag);
        }
        Ok(true)
    }

    /// Makes room for what the record that comes next begins with.
    pub(crate) fn begin_record(&self, builder: &mut SkbBuilder) -> Result {
        let prefix = [0; LONGEST_PREFIX];
        builder.append(prefix.get(..self.version.record_prefix() as usize).unwrap_or(&prefix))
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
        let number = SequenceNumber::record(id, index);
        let frame = Frame::new(self.version, plaintext, number);
        builder.append(frame.tail())?;
        if !builder.write_at(at, frame.aad()) {
            return Err(EMSGSIZE);
        }
        let whole = frame.whole(plaintext);
        self.aead.seal(&self.nonce(number), frame.len, builder.runs_mut(at, whole))?;
        if frame.is_swapped() && !builder.write_at(at, frame.prefix()) {
            return Err(EMSGSIZE);
        }
        #[cfg(homa_audit)]
        self.audit
            .sealed(number, &tag_at(builder, at.saturating_add(whole.saturating_sub(TAG_LEN))));
        Ok(())
    }

    /// Opens record `index` of message `id`, whose bytes `buf` has, in place.
    pub(crate) fn open_record(
        &self,
        mut buf: SecretBytes,
        plaintext: u16,
        id: MessageId,
        index: u16,
    ) -> Result<Opened, OpenError> {
        let number = SequenceNumber::record(id, index);
        let frame = Frame::new(self.version, plaintext, number);
        let text = frame.len..frame.len.wrapping_add(usize::from(plaintext));
        if buf.len() != frame.whole(plaintext) || !begins_with(&buf, frame.prefix()) {
            return Err(OpenError::BadRecord);
        }
        if frame.is_swapped() {
            for (to, from) in buf.iter_mut().zip(frame.aad()) {
                *to = *from;
            }
        }
        let nonce = self.nonce(number);
        self.aead.open(&nonce, frame.len, buf.as_linear()).map_err(|_| {
            self.usage.failed();
            OpenError::BadRecord
        })?;
        if frame.kind != 0 && buf.get(text.end) != Some(&APPLICATION_DATA) {
            return Err(OpenError::BadRecord);
        }
        Ok(Opened { buf, text })
    }

    /// The tag of a control packet; `None` for a counter that is none.
    pub(crate) fn tag_control(&self, counter: u64, aad: &[u8]) -> Option<[u8; TAG_LEN]> {
        let number = SequenceNumber::control(counter)?;
        let tag = self.aead.tag(&self.nonce(number), aad);
        #[cfg(homa_audit)]
        self.audit.sealed(number, &tag);
        Some(tag)
    }

    /// Is this the tag of that control packet?
    pub(crate) fn check_control(&self, counter: u64, aad: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        let Some(number) = SequenceNumber::control(counter) else {
            return false;
        };
        let good = self.aead.check_tag(&self.nonce(number), aad, tag).is_ok();
        if !good {
            self.usage.failed();
        }
        good
    }
}

/// The bytes at `at`.
#[cfg(homa_audit)]
fn tag_at(builder: &mut SkbBuilder, at: usize) -> [u8; TAG_LEN] {
    let mut tag = [0; TAG_LEN];
    let mut place = tag.iter_mut();
    for run in builder.as_skb().runs(at, TAG_LEN) {
        for (from, to) in run.iter().zip(place.by_ref()) {
            *to = *from;
        }
    }
    tag
}

/// A record's plaintext. Wiped when dropped.
pub(crate) struct Opened {
    buf: SecretBytes,
    text: Range<usize>,
}

impl Opened {
    /// The plaintext.
    pub(crate) fn text(&self) -> &[u8] {
        self.buf.get(self.text.clone()).unwrap_or(&[])
    }
}
