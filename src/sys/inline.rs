// SPDX-License-Identifier: GPL-2.0

//! Few bytes, kept inside of what they belong to.

use ::core::{mem::MaybeUninit, ops::Deref, ptr, slice};

/// At most `N` bytes, without an allocation.
///
/// # Invariants
///
/// The first `len` bytes are initialised; `len <= N`.
pub struct InlineBytes<const N: usize> {
    len: usize,
    bytes: [MaybeUninit<u8>; N],
}

impl<const N: usize> InlineBytes<N> {
    /// No bytes.
    #[inline]
    pub const fn new() -> Self {
        // INVARIANT: none need be initialised.
        Self { len: 0, bytes: [const { MaybeUninit::uninit() }; N] }
    }

    /// Keeps these bytes instead of those before; false (and nothing changed) if there are too many.
    #[inline]
    pub fn set(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > N {
            return false;
        }
        // SAFETY: there is room, by the check; what is borrowed mutably does not overlap.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes.as_mut_ptr().cast(), bytes.len())
        };
        // INVARIANT: initialised by the copy.
        self.len = bytes.len();
        true
    }
}

impl<const N: usize> Deref for InlineBytes<N> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: by the invariant.
        unsafe { slice::from_raw_parts(self.bytes.as_ptr().cast(), self.len) }
    }
}
