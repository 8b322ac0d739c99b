// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The engine's state for one TIS.

use super::record::{Header, HEADER_LEN};
use super::{
    BrokenFraming, Gcm, Key, Silicon, StaticParams, StaticParamsCount, Unready, Violation, TAG_LEN,
};

/// The engine's state for one TIS: key, parameters, and where in which record the stream is.
pub struct Context {
    silicon: Silicon,
    active: Option<Active>,
    /// Static parameters that wait for progress parameters.
    pending: Option<Active>,
    position: Position,
    /// The number of the record that the stream is in, or that comes next.
    record: u64,
    expected: Expected,
    /// For [`super::Controls::ignore_resync`].
    synced: bool,
}

#[derive(Clone)]
struct Active {
    params: StaticParams,
    /// `None`: it named none that was there.
    key: Option<Key>,
}

/// Where in a record the next byte belongs.
enum Position {
    /// Progress parameters are missing.
    Nowhere,
    Header {
        bytes: [u8; HEADER_LEN],
        have: usize,
    },
    Nonce {
        header: Header,
        bytes: [u8; 8],
        have: usize,
    },
    Text {
        gcm: Box<Gcm>,
        left: usize,
        /// What the record's length leaves for the tag: 16, but for broken lengths.
        room: usize,
    },
    Tag {
        tag: [u8; TAG_LEN],
        at: usize,
        room: usize,
    },
    /// The framing broke, and with it went everything.
    Lost,
}

const START: Position = Position::Header { bytes: [0; HEADER_LEN], have: 0 };

/// What TCP sequence number comes next. DUMPed bytes have none, so right after parameters it is not known.
enum Expected {
    Unknown,
    Seq(u32),
}

impl Context {
    /// A context without parameters.
    pub fn new(silicon: Silicon) -> Self {
        Context {
            silicon,
            active: None,
            pending: None,
            position: Position::Nowhere,
            record: 0,
            expected: Expected::Unknown,
            synced: false,
        }
    }

    /// The card changes, for a test.
    pub fn set_silicon(&mut self, silicon: Silicon) {
        self.silicon = silicon;
    }

    /// Takes the static parameters of a UMR. `key` is what `dek_index` names at that moment, `None` if that is no live
    /// key of a kind that fits.
    #[must_use]
    pub fn set_static_params(
        &mut self,
        mut params: StaticParams,
        key: Option<Key>,
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        if key.is_none() {
            violations.push(Violation::NoKey);
        }
        if self.silicon.controls.ignore_resync && self.synced {
            return violations;
        }
        if self.silicon.controls.wrong_salt {
            params.gcm_iv[3] ^= 1;
        }
        let new = Active { params, key };
        match self.silicon.static_params {
            StaticParamsCount::AtOnce => {
                self.active = Some(new);
                self.position = Position::Nowhere;
            }
            StaticParamsCount::WithProgress => self.pending = Some(new),
        }
        violations
    }

    /// Takes progress parameters: the next bytes begin the record with the last posted initial record number.
    #[must_use]
    pub fn set_progress_params(&mut self) -> Vec<Violation> {
        if self.silicon.controls.ignore_resync && self.synced {
            return Vec::new();
        }
        if let Some(pending) = self.pending.take() {
            self.active = Some(pending);
        }
        let Some(active) = &self.active else {
            return vec![Violation::ProgressFirst];
        };
        self.record = active.params.initial_record_number;
        self.position = START;
        self.expected = Expected::Unknown;
        self.synced = true;
        Vec::new()
    }

    /// Encrypts what a SEND or LSO carries after its headers, in place. `seq` is the TCP sequence number of its first byte,
    /// `None` for a protocol that is not TCP, whose header the engine does not look at.
    #[must_use]
    pub fn transmit(&mut self, seq: Option<u32>, data: &mut [u8]) -> Vec<Violation> {
        let mut violations = Vec::new();
        if let Some(got) = seq {
            match self.expected {
                Expected::Seq(expected) if expected != got => {
                    violations.push(Violation::Sequence { expected, got })
                }
                _ => {}
            }
            // From there on it is what follows this: one violation for one gap.
            self.expected = Expected::Seq(got);
        }
        self.pass(data, &mut violations);
        violations
    }

    /// Runs the data of a DUMP through the state. It is not transmitted.
    #[must_use]
    pub fn dump(&mut self, data: &[u8]) -> Vec<Violation> {
        let mut violations = Vec::new();
        if !self.silicon.controls.ignore_dump {
            self.pass(&mut data.to_vec(), &mut violations);
        }
        violations
    }

    fn pass(&mut self, mut data: &mut [u8], violations: &mut Vec<Violation>) {
        if let Expected::Seq(seq) = &mut self.expected {
            match u32::try_from(data.len()) {
                Ok(len) => *seq = seq.wrapping_add(len),
                Err(_) => violations.push(Violation::DataLength(data.len())),
            }
        }
        if !data.is_empty() {
            if self.active.is_none() && self.pending.is_none() {
                violations.push(Violation::NoStaticParams);
            } else if self.pending.is_some() || matches!(self.position, Position::Nowhere) {
                violations.push(Violation::NoProgressParams);
            }
        }
        while !data.is_empty() {
            let done = self.step(data, violations);
            data = data.split_at_mut(done).1;
        }
    }

    /// Takes some bytes, at least one, and says how many.
    fn step(&mut self, data: &mut [u8], violations: &mut Vec<Violation>) -> usize {
        let Some(active) = &self.active else { return self.unready(data) };
        match &mut self.position {
            Position::Nowhere => self.unready(data),
            Position::Lost => data.len(),
            Position::Header { bytes, have } => {
                let done = collect(bytes, have, data);
                if *have == HEADER_LEN {
                    let header = Header::new(*bytes);
                    if let Some(violation) = header.check(active.params.version) {
                        violations.push(violation);
                        if self.silicon.framing == BrokenFraming::Pass {
                            self.position = Position::Lost;
                            return done;
                        }
                    }
                    let explicit = active.params.version.explicit_nonce_len();
                    self.position = if explicit > 0 && header.length() > 0 {
                        Position::Nonce { header, bytes: [0; 8], have: 0 }
                    } else {
                        self.text(header, [0; 8], 0)
                    };
                    self.skip_what_is_empty();
                }
                done
            }
            Position::Nonce { header, bytes, have } => {
                // A broken length may end within the nonce.
                let len = bytes.len().min(usize::from(header.length()));
                let Some(place) = bytes.get_mut(..len) else { return data.len() };
                let done = collect(place, have, data);
                if *have == len {
                    let (header, bytes) = (*header, *bytes);
                    self.position = self.text(header, bytes, len);
                    self.skip_what_is_empty();
                }
                done
            }
            Position::Text { gcm, left, .. } => {
                let done = data.len().min(*left);
                gcm.encrypt(data.split_at_mut(done).0);
                *left -= done;
                self.skip_what_is_empty();
                done
            }
            Position::Tag { tag, at, room } => {
                let done = data.len().min(*room);
                for (to, from) in data.iter_mut().zip(tag.iter().skip(*at)).take(done) {
                    *to = *from;
                }
                *at += done;
                *room -= done;
                self.skip_what_is_empty();
                done
            }
        }
    }

    /// Without parameters there is no position: everything there is shares one fate.
    fn unready(&self, data: &mut [u8]) -> usize {
        if self.silicon.unready == Unready::Garbage {
            Gcm::new(&Key::Aes128([0; 16]), &[0; 12], &[]).encrypt(data);
        }
        data.len()
    }

    /// The state after a header, and a nonce of which `nonce_len` bytes were there.
    fn text(&self, header: Header, nonce: [u8; 8], nonce_len: usize) -> Position {
        let Some(active) = &self.active else { return Position::Nowhere };
        let left = header.text_len(active.params.version);
        let room = usize::from(header.length()).saturating_sub(left).saturating_sub(nonce_len);
        match &active.key {
            Some(key) => Position::Text {
                gcm: Box::new(header.gcm(&active.params, key, self.record, nonce)),
                left,
                room,
            },
            None if self.silicon.unready == Unready::Pass => Position::Lost,
            None => {
                let zeros = Key::Aes128([0; 16]);
                Position::Text {
                    gcm: Box::new(header.gcm(&active.params, &zeros, self.record, nonce)),
                    left,
                    room,
                }
            }
        }
    }

    /// Goes on to the next state that takes bytes.
    fn skip_what_is_empty(&mut self) {
        if let Position::Text { left: 0, .. } = self.position {
            if let Position::Text { gcm, room, .. } =
                std::mem::replace(&mut self.position, Position::Nowhere)
            {
                self.position = Position::Tag { tag: gcm.tag(), at: 0, room };
            }
        }
        if let Position::Tag { room: 0, .. } = self.position {
            self.record = self.record.wrapping_add(1);
            self.position = START;
        }
    }
}

/// Adds bytes to `place`, of which `have` are there, and says how many.
fn collect(place: &mut [u8], have: &mut usize, data: &[u8]) -> usize {
    let mut done = 0;
    for (to, from) in place.iter_mut().skip(*have).zip(data) {
        *to = *from;
        done += 1;
    }
    *have += done;
    done
}
