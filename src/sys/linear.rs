// SPDX-License-Identifier: GPL-2.0

//! Memory that the crypto API can work on.

use ::core::ops::{Deref, DerefMut};

/// Bytes in the kernel's linear map, as a scatterlist must have them: what kmalloc and the page allocator give out, neither stacks nor vmalloc.
///
/// # Invariants
///
/// They are.
pub struct Linear<'a>(&'a mut [u8]);

impl<'a> Linear<'a> {
    /// # Safety
    ///
    /// They must be.
    #[inline]
    pub(super) unsafe fn new(bytes: &'a mut [u8]) -> Self {
        // INVARIANT: by the caller's promise.
        Self(bytes)
    }

    /// The same bytes, for a shorter time.
    pub fn reborrow(&mut self) -> Linear<'_> {
        // INVARIANT: the same.
        Linear(self.0)
    }
}

impl Default for Linear<'_> {
    /// None.
    fn default() -> Self {
        // INVARIANT: there are none.
        Self(&mut [])
    }
}

impl Deref for Linear<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl DerefMut for Linear<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0
    }
}
