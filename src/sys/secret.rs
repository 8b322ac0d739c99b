// SPDX-License-Identifier: GPL-2.0

//! Memory that is wiped when it is freed.

/// A fixed-size buffer of secret bytes (kvmalloc above a page; wiped on drop). Send.
pub struct SecretBuf;     // Deref<Target = [u8]>, DerefMut
impl SecretBuf { pub fn zeroed(len: usize, flags: Flags) -> Result<Self>; pub fn copy_to_iter(&self, offset: usize, len: usize, to: &mut IovIter) -> Result; }

/// A small secret by value (keys, IVs); wiped on drop.
pub struct Secret<const N: usize>;  // Deref [u8; N]; new([u8; N]); zeroed()
/// Constant-time comparison.
pub fn equal(a: &[u8], b: &[u8]) -> bool;
