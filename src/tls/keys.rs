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
use crate::protocol::session::preamble::Preamble;
use crate::protocol::session::seq::{
    aad_tls12, record_header, MessageId, SequenceNumber, APPLICATION_DATA,
};
use crate::protocol::session::TlsVersion;
use crate::protocol::wire::{SealFlags, TAG_LEN};
use crate::sys::aead::AeadKey;
use crate::sys::builder::SkbBuilder;
use crate::sys::secret::{Secret, SecretBytes};
use crate::sys::uio::IovIter;

/// What stands behind a TLS 1.3 record's plaintext while the cipher works: the content type, which is encrypted too, and room for the tag.
const TAIL_TLS13: [u8; 1 + TAG_LEN] = {
    let mut tail = [0; 1 + TAG_LEN];
    tail[0] = APPLICATION_DATA;
    tail
};

/// The same for TLS 1.2.
const TAIL_TLS12: [u8; TAG_LEN] = [0; TAG_LEN];

/// Bytes of a TLS 1.2 record before its ciphertext: header and number. (As long as its associated data, which stand there while the cipher works: it wants
/// them in one piece of memory with the text. In TLS 1.3 the header is both.)
const PREFIX_TLS12: usize = 13;

/// Those of record `number`.
#[inline]
fn prefix_tls12(number: SequenceNumber, plaintext: u16) -> [u8; PREFIX_TLS12] {
    joined(record_header(TlsVersion::Tls12, plaintext), number.get().to_be_bytes())
}

/// `a` and then `b`.
#[inline]
fn joined<const A: usize, const B: usize, const N: usize>(a: [u8; A], b: [u8; B]) -> [u8; N] {
    const { assert!(A + B == N) };
    let mut both = [0; N];
    if let Some((first, second)) = both.split_first_chunk_mut() {
        *first = a;
        if let Some(second) = second.first_chunk_mut() {
            *second = b;
        }
    }
    both
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

    /// Appends a whole record, sealed as record `index` of message `id`: its plaintext is the preamble, if it is the first, and then `len` bytes
    /// of a program. False, and nothing was done, if `builder` has not enough linear room. EFAULT.
    #[inline]
    pub(crate) fn append_record(
        &self,
        builder: &mut SkbBuilder,
        preamble: Option<&[u8; Preamble::LEN]>,
        from: &mut IovIter,
        len: u32,
        id: MessageId,
        index: u16,
    ) -> Result<bool> {
        const LEN: usize = Preamble::LEN;
        const BOTH: usize = PREFIX_TLS12 + LEN;
        let number = SequenceNumber::record(id, index);
        let plaintext = len.saturating_add(if preamble.is_some() { LEN as u32 } else { 0 }) as u16;
        let header = record_header(self.version, plaintext);
        let aad = aad_tls12(number, plaintext);
        let (aad, record) = match (self.version, preamble) {
            (TlsVersion::Tls13, Some(preamble)) => {
                let head: [u8; 5 + LEN] = joined(header, *preamble);
                (5, builder.append_linear(&head, from, len as usize, &TAIL_TLS13)?)
            }
            (TlsVersion::Tls13, None) => {
                (5, builder.append_linear(&header, from, len as usize, &TAIL_TLS13)?)
            }
            (TlsVersion::Tls12, Some(preamble)) => {
                let head: [u8; BOTH] = joined(aad, *preamble);
                (PREFIX_TLS12, builder.append_linear(&head, from, len as usize, &TAIL_TLS12)?)
            }
            (TlsVersion::Tls12, None) => {
                (PREFIX_TLS12, builder.append_linear(&aad, from, len as usize, &TAIL_TLS12)?)
            }
        };
        let Some(mut record) = record else {
            return Ok(false);
        };
        self.aead.seal_piece(&self.nonce(number), aad, &mut record)?;
        if let (TlsVersion::Tls12, Some(place)) = (self.version, record.first_chunk_mut()) {
            *place = prefix_tls12(number, plaintext);
        }
        #[cfg(homa_audit)]
        if let Some(tag) = record.last_chunk() {
            self.audit.sealed(number, tag);
        }
        Ok(true)
    }

    /// Makes room for what the record that comes next begins with.
    pub(crate) fn begin_record(&self, builder: &mut SkbBuilder) -> Result {
        builder.append_zeros(self.version.record_prefix() as usize)
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
        let (there, aad) = match self.version {
            TlsVersion::Tls13 => {
                builder.append(&TAIL_TLS13)?;
                let header = record_header(self.version, plaintext);
                (builder.write_at(at, &header), header.len())
            }
            TlsVersion::Tls12 => {
                builder.append(&TAIL_TLS12)?;
                (builder.write_at(at, &aad_tls12(number, plaintext)), PREFIX_TLS12)
            }
        };
        if !there {
            return Err(EMSGSIZE);
        }
        let whole = usize::from(plaintext).wrapping_add(self.version.record_overhead() as usize);
        self.aead.seal(&self.nonce(number), aad, builder.runs_mut(at, whole))?;
        if self.version == TlsVersion::Tls12
            && !builder.write_at(at, &prefix_tls12(number, plaintext))
        {
            return Err(EMSGSIZE);
        }
        #[cfg(homa_audit)]
        self.audit
            .sealed(number, &tag_at(builder, at.saturating_add(whole.saturating_sub(TAG_LEN))));
        Ok(())
    }

    /// Opens record `index` of message `id`, whose bytes `buf` has, in place.
    #[inline]
    pub(crate) fn open_record(
        &self,
        mut buf: SecretBytes,
        plaintext: u16,
        id: MessageId,
        index: u16,
    ) -> Result<Opened, OpenError> {
        let number = SequenceNumber::record(id, index);
        let whole = usize::from(plaintext).wrapping_add(self.version.record_overhead() as usize);
        let mut bytes = buf.as_linear();
        if bytes.len() != whole {
            return Err(OpenError::BadRecord);
        }
        let aad = match self.version {
            TlsVersion::Tls13 => {
                let header = record_header(self.version, plaintext);
                if bytes.first_chunk() != Some(&header) {
                    return Err(OpenError::BadRecord);
                }
                header.len()
            }
            TlsVersion::Tls12 => {
                let prefix = prefix_tls12(number, plaintext);
                let place = bytes.first_chunk_mut().filter(|place| **place == prefix);
                *place.ok_or(OpenError::BadRecord)? = aad_tls12(number, plaintext);
                PREFIX_TLS12
            }
        };
        self.aead.open(&self.nonce(number), aad, bytes.reborrow()).map_err(|_| {
            self.usage.failed();
            OpenError::BadRecord
        })?;
        let text = aad..aad.wrapping_add(usize::from(plaintext));
        if self.version == TlsVersion::Tls13 && bytes.get(text.end) != Some(&APPLICATION_DATA) {
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
