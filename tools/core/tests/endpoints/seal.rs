// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A session of the test: real AES-GCM, and a ledger in which every nonce is entered once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce, Tag};
use homa_core::layout::{Layout, Record};
use homa_core::session::control::{ControlSender, ControlWindow};
use homa_core::session::epoch::Epoch;
use homa_core::session::ids::Ids;
use homa_core::session::replay::ReplayWindow;
use homa_core::session::seq::{aad_tls12, record_header, MessageId, SequenceNumber};
use homa_core::session::TlsVersion;
use homa_core::wire::SealFlags;

/// All (key, nonce) pairs that ever encrypted something.
pub type Ledger = Rc<RefCell<HashSet<([u8; 16], [u8; 12])>>>;

/// The keys of one direction.
#[derive(Clone)]
pub struct Keys {
    pub version: TlsVersion,
    key: [u8; 16],
    iv: [u8; 12],
    cipher: Aes128Gcm,
    ledger: Ledger,
}

impl Keys {
    pub fn new(version: TlsVersion, key: [u8; 16], iv: [u8; 12], ledger: &Ledger) -> Self {
        let cipher = Aes128Gcm::new(&key.into());
        Self { version, key, iv, cipher, ledger: ledger.clone() }
    }

    pub fn flags(&self) -> SealFlags {
        SealFlags { epoch: Epoch::new(0), version: self.version }
    }

    fn nonce(&self, number: SequenceNumber) -> [u8; 12] {
        number.nonce(self.version, &self.iv)
    }

    fn encrypt(&self, number: SequenceNumber, aad: &[u8], bytes: &mut [u8]) -> [u8; 16] {
        let nonce = self.nonce(number);
        let first = self.ledger.borrow_mut().insert((self.key, nonce));
        assert!(first, "nonce used twice: {number:x?}");
        let nonce = Nonce::from(nonce);
        self.cipher.encrypt_in_place_detached(&nonce, aad, bytes).unwrap().into()
    }

    fn decrypt(&self, number: SequenceNumber, aad: &[u8], bytes: &mut [u8], tag: &[u8]) -> bool {
        let nonce = Nonce::from(self.nonce(number));
        self.cipher.decrypt_in_place_detached(&nonce, aad, bytes, Tag::from_slice(tag)).is_ok()
    }

    /// The stream of the message `id` with this plaintext.
    pub fn seal(&self, layout: &Layout, id: MessageId, plaintext: &[u8]) -> Vec<u8> {
        let mut stream = vec![];
        for record in layout.records_in(layout.stream()) {
            let range = record.plaintext.start as usize..record.plaintext.end as usize;
            let number = SequenceNumber::record(id, record.index);
            let mut bytes = plaintext[range].to_vec();
            let len = bytes.len() as u16;
            let header = record_header(self.version, len);
            stream.extend(header);
            let tag = match self.version {
                TlsVersion::Tls12 => {
                    stream.extend(number.get().to_be_bytes());
                    self.encrypt(number, &aad_tls12(number, len), &mut bytes)
                }
                TlsVersion::Tls13 => {
                    bytes.push(23);
                    self.encrypt(number, &header, &mut bytes)
                }
            };
            stream.extend(bytes);
            stream.extend(tag);
            assert_eq!(stream.len() as u32, record.stream.end);
        }
        stream
    }

    /// The plaintext of a record of the message `id`, if its bytes `sealed` are true.
    pub fn open(&self, record: &Record, id: MessageId, sealed: &[u8]) -> Option<Vec<u8>> {
        let number = SequenceNumber::record(id, record.index);
        let len = record.plaintext.len() as u16;
        // The header is authenticated too: in TLS 1.2 by the length in the AAD.
        let header = record_header(self.version, len);
        if sealed.get(..5)? != header {
            return None;
        }
        let (rest, tag) = sealed.get(5..)?.split_at_checked(sealed.len().checked_sub(21)?)?;
        match self.version {
            TlsVersion::Tls12 => {
                let (explicit, rest) = rest.split_at_checked(8)?;
                if explicit != number.get().to_be_bytes() {
                    return None;
                }
                let mut bytes = rest.to_vec();
                self.decrypt(number, &aad_tls12(number, len), &mut bytes, tag).then_some(bytes)
            }
            TlsVersion::Tls13 => {
                let mut bytes = rest.to_vec();
                if !self.decrypt(number, &header, &mut bytes, tag) {
                    return None;
                }
                (bytes.pop() == Some(23)).then_some(bytes)
            }
        }
    }

    /// The tag of a control packet.
    pub fn tag(&self, counter: u64, aad: &[u8]) -> [u8; 16] {
        self.encrypt(SequenceNumber::control(counter).unwrap(), aad, &mut [])
    }

    /// Is that the tag of a control packet?
    pub fn verify(&self, counter: u64, aad: &[u8], tag: &[u8]) -> bool {
        let number = SequenceNumber::control(counter);
        number.is_some_and(|number| self.decrypt(number, aad, &mut [], tag))
    }
}

/// One end of a session.
pub struct Session {
    pub tx: Keys,
    pub rx: Keys,
    pub ids: Ids,
    pub seen: ReplayWindow,
    pub control_tx: ControlSender,
    pub control_rx: ControlWindow,
}

impl Session {
    pub fn new(tx: Keys, rx: Keys) -> Self {
        Self {
            tx,
            rx,
            ids: Ids::new(),
            seen: ReplayWindow::new(),
            control_tx: ControlSender::new(),
            control_rx: ControlWindow::new(),
        }
    }
}
