// SPDX-License-Identifier: GPL-2.0

//! The audit of nonces, in a build for tests (`make build AUDIT=1`): every number that a key seals with, from when it is set, is
//! remembered with the tag that came out. Two tags for one number are two plaintexts under one nonce. That a program sets the same
//! key for two sessions is its own affair, and not seen here.
//!
//! Identical bytes sealed twice give the same tag, and do no harm. What the kernel's log says then begins with "BUG:", so that
//! `scripts/vm` fails.

use kernel::prelude::*;
use kernel::rbtree::RBTree;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::Arc;

use crate::protocol::session::seq::SequenceNumber;
use crate::protocol::wire::TAG_LEN;
use crate::sys::lock::{new_spinlock_bh, SpinLockBh};

/// Numbers seen with all keys, and how often one came again with another tag.
static SEEN: Atomic<u64> = Atomic::new(0);
static TWICE: Atomic<u64> = Atomic::new(0);

/// The numbers that one key sealed with.
#[pin_data]
pub(super) struct Audit {
    /// The tag's first bytes, by number.
    #[pin]
    tags: SpinLockBh<RBTree<u64, u64>>,
}

impl Audit {
    /// Of a new key.
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self { tags <- new_spinlock_bh!(RBTree::new(), "homa_audit") }),
            GFP_KERNEL,
        )
    }

    /// The key sealed something with `number`, and this is its tag.
    pub(super) fn sealed(&self, number: SequenceNumber, tag: &[u8; TAG_LEN]) {
        if !self.is_new_or_same(number.get(), tag) {
            TWICE.fetch_add(1u64, Relaxed);
            pr_err!("BUG: nonce {:#x} sealed two plaintexts\n", number.get());
        }
    }

    fn is_new_or_same(&self, number: u64, tag: &[u8; TAG_LEN]) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = *tag;
        let tag = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        let mut tags = self.tags.lock();
        if let Some(old) = tags.get(&number) {
            return *old == tag;
        }
        if tags.try_create_and_insert(number, tag, GFP_ATOMIC).is_err() {
            pr_err!("BUG: no memory for the audit: {:#x} is not remembered\n", number);
        }
        SEEN.fetch_add(1u64, Relaxed);
        true
    }
}

/// Shows that it would see what it is there to see.
pub(crate) fn begin() -> Result {
    let audit = Audit::new()?;
    let (one, other) = ([1; TAG_LEN], [2; TAG_LEN]);
    let works = audit.is_new_or_same(5, &one)
        && audit.is_new_or_same(5, &one)
        && audit.is_new_or_same(6, &other)
        && !audit.is_new_or_same(5, &other);
    if !works {
        pr_err!("BUG: the audit of nonces does not work\n");
    }
    SEEN.store(0, Relaxed);
    Ok(())
}

/// Says how much it saw.
pub(crate) fn end() {
    let (seen, twice) = (SEEN.load(Relaxed), TWICE.load(Relaxed));
    pr_info!("audit: {} nonces, {} for two plaintexts\n", seen, twice);
}
