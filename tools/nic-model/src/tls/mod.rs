// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The TLS transmit offload: what becomes of the bytes that are sent through a TIS with `tls_en`.
//!
//! The engine is autonomous, as the hardware's is: it has a key and a record number, sees the bytes that pass, finds the
//! records in them by their headers, encrypts, and puts the tag where the driver left room for it. Nobody tells it where
//! a packet belongs. So bytes in another order than the stream's get **wrong ciphertext, never an error**: the driver must
//! post parameters and DUMP what the engine has to see again. What a driver must not do is returned as [`Violation`]s
//! beside the result, for a test to fail on.
//!
//! One [`Context`] belongs to one TIS. Its bytes begin where a packet's inlined headers end; the IP protocol and the
//! contents of the L4 header are nothing that it looks at.
//!
//! ```
//! use nic_model::tls::{Context, Key, Silicon, StaticParams, Version};
//!
//! let mut tis = Context::new(Silicon::default());
//! let key = Key::new(&[7; 16]).unwrap();
//! let params = StaticParams { version: Version::Tls12, initial_record_number: 0, gcm_iv: [1; 4], implicit_iv: [0; 8] };
//! assert!(tis.set_static_params(params, Some(key)).is_empty());
//! assert!(tis.set_progress_params().is_empty());
//! let mut record = [&[23, 3, 3, 0, 29][..], &[0; 8], b"hello", &[0; 16]].concat();
//! assert!(tis.transmit(Some(1000), &mut record).is_empty());
//! assert_eq!(record[..13], [23, 3, 3, 0, 29, 0, 0, 0, 0, 0, 0, 0, 0]);
//! assert_ne!(&record[13..18], b"hello");
//! ```

mod context;
mod fence;
mod gcm;
mod record;

pub use context::Context;
pub use fence::{FenceRules, Post};
pub use gcm::{Gcm, Key, Nonce, TAG_LEN};
pub use record::{Version, HEADER_LEN};

#[cfg(test)]
mod tests;

/// What the driver sets once for a connection, and again to resynchronise: `tls_static_params` of the UMR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticParams {
    /// `tls_version`.
    pub version: Version,
    /// The number of the record that begins with the next progress parameters.
    pub initial_record_number: u64,
    /// `gcm_iv`: TLS 1.2's salt, the first four bytes of TLS 1.3's IV.
    pub gcm_iv: [u8; 4],
    /// `implicit_iv`: the other eight bytes of TLS 1.3's IV.
    pub implicit_iv: [u8; 8],
}

/// What is not known of the silicon. The defaults are what a driver can least well live with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silicon {
    /// From when on static parameters count.
    pub static_params: StaticParamsCount,
    /// What happens to bytes of a context without parameters.
    pub unready: Unready,
    /// What happens where no record header is that looks like one.
    pub framing: BrokenFraming,
    /// What the model does wrong on purpose.
    pub controls: Controls,
}

/// From when on static parameters count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaticParamsCount {
    /// At once: what is left of a record that has begun is lost.
    #[default]
    AtOnce,
    /// From the next progress parameters on.
    WithProgress,
}

/// What happens to bytes of a context without parameters, or whose key is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unready {
    /// They are sent as they are: in the clear, for everybody to read.
    #[default]
    Pass,
    /// They are encrypted with a key of zeros.
    Garbage,
}

/// What happens where a record should begin and no such header is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrokenFraming {
    /// The bytes are taken for a header whatever they are, and encryption goes on with the length they give.
    #[default]
    Believe,
    /// Everything is sent as it is until the next progress parameters.
    Pass,
}

/// Negative controls: ways to break the model, each of which a test of a driver must notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// DUMP does nothing.
    pub ignore_dump: bool,
    /// Only the first parameters of a context count.
    pub ignore_resync: bool,
    /// A bit of the salt is wrong.
    pub wrong_salt: bool,
}

/// What a driver did that it must not do. The engine goes on all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Data before static parameters.
    #[error("data without static parameters")]
    NoStaticParams,
    /// Data after static parameters, before progress parameters.
    #[error("data without progress parameters")]
    NoProgressParams,
    /// The static parameters name a key that is not there.
    #[error("static parameters without a live key")]
    NoKey,
    /// Progress parameters of a context that has no static ones.
    #[error("progress parameters without static parameters")]
    ProgressFirst,
    /// A packet does not continue the stream.
    #[error("TCP sequence number {got:#x} where the stream goes on at {expected:#x}")]
    Sequence {
        /// Where the stream goes on.
        expected: u32,
        /// What the packet's header says.
        got: u32,
    },
    /// A record of a type that TLS does not have.
    #[error("record of type {0}")]
    RecordType(u8),
    /// A record with a version other than 3.3.
    #[error("record of version {0:#06x}")]
    RecordVersion(u16),
    /// A record that is shorter than its overhead, or longer than TLS allows.
    #[error("record of length {0}")]
    RecordLength(u16),
    /// A packet longer than 4 GiB cannot be.
    #[error("data of {0} bytes")]
    DataLength(usize),
    /// Parameters without the fence that keeps them in order with what was posted before.
    #[error("{0:?} without a fence")]
    NoFence(Post),
    /// Data or DUMP of a context before a fenced NOP after its parameters.
    #[error("{0:?} of TIS {1:#x} without a fenced NOP after its parameters")]
    NoFenceAfterParams(Post, u32),
}
