// SPDX-License-Identifier: GPL-2.0

//! Memory that is wiped when it is freed.

use super::uio::IovIter;
use ::core::{
    arch::asm,
    ops::{Deref, DerefMut},
    ptr,
};
use homa_bindings as bindings;
use kernel::{alloc::Flags, prelude::*};

/// Wipes memory in a way that the compiler must not leave out.
///
/// # Safety
///
/// `p` must be valid for writes of `len` bytes, and zeros be fine there.
pub(super) unsafe fn wipe(p: *mut u8, len: usize) {
    // SAFETY: by the caller's promise.
    unsafe { ptr::write_bytes(p, 0, len) };
    // SAFETY: no instruction. It may read all memory for all that the compiler knows, so that the zeros must be there.
    unsafe { asm!("/* {0} */", in(reg) p, options(nostack, preserves_flags)) };
}

/// A buffer for secret bytes, of a capacity fixed when it is made; wiped on drop.
pub struct SecretBuf(KVVec<u8>);

impl SecretBuf {
    /// An empty buffer with room for `capacity` bytes. With GFP_KERNEL it may be of any size (process context);
    /// with GFP_ATOMIC keep it small.
    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self> {
        Ok(Self(KVVec::with_capacity(capacity, flags)?))
    }

    /// A buffer of `len` zeros.
    pub fn zeroed(len: usize, flags: Flags) -> Result<Self> {
        Ok(Self(KVVec::zeroed(len, flags)?))
    }

    /// How many bytes still fit.
    pub fn room(&self) -> usize {
        self.0.capacity() - self.0.len()
    }

    /// Appends bytes; false (and nothing changed) if they do not fit.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        // SAFETY: the closure initialises all of it.
        unsafe {
            self.append_with(bytes.len(), |to| {
                ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len())
            })
        }
    }

    /// # Safety
    ///
    /// `f` must initialise the `len` bytes that it gets a pointer to.
    pub(super) unsafe fn append_with(&mut self, len: usize, f: impl FnOnce(*mut u8)) -> bool {
        let Some(to) = self.0.spare_capacity_mut().get_mut(..len) else {
            return false;
        };
        f(to.as_mut_ptr().cast());
        // SAFETY: within the capacity, and initialised by now.
        unsafe { self.0.inc_len(len) };
        true
    }

    /// Forgets (and wipes) what is behind the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        if let Some(tail) = self.0.get_mut(len..) {
            // SAFETY: a slice of bytes.
            unsafe { wipe(tail.as_mut_ptr(), tail.len()) };
        }
        self.0.truncate(len);
    }

    /// Copies a part out. EINVAL if it is not there, EFAULT.
    pub fn copy_to_iter(&self, offset: usize, len: usize, to: &mut IovIter) -> Result {
        let end = offset.checked_add(len).ok_or(EINVAL)?;
        to.copy_to(self.0.get(offset..end).ok_or(EINVAL)?)
    }
}

impl Deref for SecretBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for SecretBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for SecretBuf {
    fn drop(&mut self) {
        // SAFETY: a slice of bytes.
        unsafe { wipe(self.0.as_mut_ptr(), self.0.len()) };
    }
}

/// A small secret by value: a key, an IV. Wiped on drop. (Moving one leaves a copy behind: keep it where it is.)
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes the bytes.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// All zeros.
    pub fn zeroed() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Deref for Secret<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Secret<N> {
    fn deref_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        // SAFETY: an array of bytes.
        unsafe { wipe(self.0.as_mut_ptr(), N) };
    }
}

/// Wipes any value of plain bytes, such as a key that was copied from a program.
pub fn wipe_value<T: super::user::Plain>(value: &mut T) {
    let bytes = super::user::as_mut_bytes(value);
    // SAFETY: a slice of bytes.
    unsafe { wipe(bytes.as_mut_ptr(), bytes.len()) };
}

/// Compares in a time that depends on the lengths only.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // SAFETY: both slices are readable for that length.
    let differ =
        unsafe { bindings::__crypto_memneq(a.as_ptr().cast(), b.as_ptr().cast(), a.len()) };
    differ == 0
}
