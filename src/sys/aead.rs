// SPDX-License-Identifier: GPL-2.0

//! AES-GCM with tags of 16 bytes, on the kernel's library: synchronous, no allocation, any context but hard interrupts.

use super::secret::{wipe, SecretBuf};
use ::core::{marker::PhantomData, mem, ptr};
use homa_bindings as bindings;
use kernel::{alloc::Flags, error::to_result, prelude::*, types::Opaque};

/// Bytes of a tag.
pub const TAG_LEN: usize = 16;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;

/// A tag.
pub type Tag = [u8; TAG_LEN];
/// A nonce. No two seals under one key may use the same.
pub type Nonce = [u8; NONCE_LEN];

/// The tag did not fit: nothing of what was decrypted may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadTag;

/// An expanded key; wiped on drop.
///
/// # Invariants
///
/// The box holds a key that aes_gcm_preparekey made, for tags of 16 bytes.
pub struct AeadKey(KBox<Opaque<bindings::aes_gcm_key>>);

// SAFETY: the key is only read once it was made.
unsafe impl Send for AeadKey {}
// SAFETY: as above.
unsafe impl Sync for AeadKey {}

impl AeadKey {
    /// From 16, 24 or 32 bytes; EINVAL otherwise.
    pub fn new(key: &[u8], flags: Flags) -> Result<Self> {
        let this = KBox::new(Opaque::uninit(), flags)?;
        // SAFETY: the box is valid for writes, the slice for reads.
        to_result(unsafe {
            bindings::aes_gcm_preparekey(this.get(), key.as_ptr(), key.len(), TAG_LEN)
        })?;
        // INVARIANT: just made.
        Ok(Self(this))
    }

    /// Encrypts one contiguous piece in place.
    #[inline]
    pub fn seal(&self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Tag {
        let mut tag = [0; TAG_LEN];
        let p = data.as_mut_ptr();
        // SAFETY: all pointers are valid for their lengths; source and destination are the same.
        unsafe {
            bindings::aes_gcm_encrypt(
                p,
                p,
                data.len(),
                tag.as_mut_ptr(),
                aad.as_ptr(),
                aad.len(),
                nonce.as_ptr(),
                self.0.get(),
            )
        };
        tag
    }

    /// Decrypts one contiguous piece in place. If the tag does not fit, then `data` is rubbish.
    #[inline]
    pub fn open(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        data: &mut [u8],
        tag: &Tag,
    ) -> Result<(), BadTag> {
        let p = data.as_mut_ptr();
        // SAFETY: all pointers are valid for their lengths; source and destination are the same.
        unsafe { self.open_raw(nonce, aad, p, p, data.len(), tag) }
    }

    /// Decrypts one contiguous piece to the end of `dst`. BadTag, and `dst` as it was, if the tag does not fit (or there is no room).
    pub fn open_append(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        src: &[u8],
        dst: &mut SecretBuf,
        tag: &Tag,
    ) -> Result<(), BadTag> {
        let before = dst.len();
        let mut ret = Err(BadTag);
        // SAFETY: aes_gcm_decrypt writes all of the destination, which cannot overlap the source.
        unsafe {
            dst.append_with(src.len(), |to| {
                ret = self.open_raw(nonce, aad, src.as_ptr(), to, src.len(), tag);
            })
        };
        if ret.is_err() {
            dst.truncate(before);
        }
        ret
    }

    /// # Safety
    ///
    /// `src` must be valid for reads and `dst` for writes of `len` bytes; they are the same or do not overlap.
    unsafe fn open_raw(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        src: *const u8,
        dst: *mut u8,
        len: usize,
        tag: &Tag,
    ) -> Result<(), BadTag> {
        // SAFETY: by the caller's promise; the rest is valid for its length.
        let ret = unsafe {
            bindings::aes_gcm_decrypt(
                dst,
                src,
                len,
                tag.as_ptr(),
                aad.as_ptr(),
                aad.len(),
                nonce.as_ptr(),
                self.0.get(),
            )
        };
        if ret == 0 {
            Ok(())
        } else {
            Err(BadTag)
        }
    }

    /// Encrypts several pieces: `let mut s = key.sealer(..); for run in runs { s.update(run) } let tag = s.finish();`
    #[inline]
    pub fn sealer(&self, nonce: &Nonce, aad: &[u8]) -> Sealer<'_> {
        Sealer(Ctx::new(self, nonce, aad))
    }

    /// Decrypts several pieces.
    #[inline]
    pub fn opener(&self, nonce: &Nonce, aad: &[u8]) -> Opener<'_> {
        Opener(Ctx::new(self, nonce, aad))
    }
}

impl Drop for AeadKey {
    fn drop(&mut self) {
        // SAFETY: the box is ours, and nobody reads the key any more.
        unsafe { wipe(self.0.get().cast(), mem::size_of::<bindings::aes_gcm_key>()) };
    }
}

/// A message half done; wiped on drop.
struct Ctx<'k>(bindings::aes_gcm_ctx, PhantomData<&'k AeadKey>);

impl<'k> Ctx<'k> {
    #[inline]
    fn new(key: &'k AeadKey, nonce: &Nonce, aad: &[u8]) -> Self {
        let mut ctx = mem::MaybeUninit::uninit();
        // SAFETY: aes_gcm_init initialises all of it; the key outlives it. The slice is valid for its length.
        unsafe {
            bindings::aes_gcm_init(ctx.as_mut_ptr(), nonce.as_ptr(), key.0.get());
            let mut ctx = ctx.assume_init();
            bindings::aes_gcm_auth_update(&mut ctx, aad.as_ptr(), aad.len());
            Self(ctx, PhantomData)
        }
    }
}

impl Drop for Ctx<'_> {
    fn drop(&mut self) {
        // SAFETY: it is ours, and not used any more. (The `final` functions wiped it, too; it is small.)
        unsafe { wipe(ptr::from_mut(&mut self.0).cast(), mem::size_of_val(&self.0)) };
    }
}

/// Encrypts a message piece by piece.
pub struct Sealer<'k>(Ctx<'k>);

impl Sealer<'_> {
    /// The next piece, in place.
    #[inline]
    pub fn update(&mut self, data: &mut [u8]) {
        let p = data.as_mut_ptr();
        // SAFETY: the slice is valid; source and destination are the same.
        unsafe { bindings::aes_gcm_encrypt_update(&mut self.0 .0, p, p, data.len()) }
    }

    /// The end.
    #[inline]
    pub fn finish(mut self) -> Tag {
        let mut tag = [0; TAG_LEN];
        // SAFETY: the key was made for tags of this length.
        unsafe { bindings::aes_gcm_encrypt_final(&mut self.0 .0, tag.as_mut_ptr()) };
        tag
    }
}

/// Decrypts a message piece by piece. What comes out is not to be trusted before [`Self::finish`].
pub struct Opener<'k>(Ctx<'k>);

impl Opener<'_> {
    /// The next piece, in place.
    #[inline]
    pub fn update(&mut self, data: &mut [u8]) {
        let p = data.as_mut_ptr();
        // SAFETY: the slice is valid; source and destination are the same.
        unsafe { bindings::aes_gcm_decrypt_update(&mut self.0 .0, p, p, data.len()) }
    }

    /// The next piece, to `dst`. Of different lengths, the shorter counts.
    #[inline]
    pub fn update_into(&mut self, src: &[u8], dst: &mut [u8]) {
        let len = src.len().min(dst.len());
        // SAFETY: the slices are valid for that length, and do not overlap.
        unsafe {
            bindings::aes_gcm_decrypt_update(&mut self.0 .0, dst.as_mut_ptr(), src.as_ptr(), len)
        }
    }

    /// The next piece, to the end of `dst`; false, and nothing done, if it does not fit.
    #[inline]
    pub fn append_to(&mut self, src: &[u8], dst: &mut SecretBuf) -> bool {
        // SAFETY: the destination has as many bytes as the source, is all written, and does not overlap it.
        unsafe {
            dst.append_with(src.len(), |to| {
                bindings::aes_gcm_decrypt_update(&mut self.0 .0, to, src.as_ptr(), src.len());
            })
        }
    }

    /// Whether it was all genuine.
    #[inline]
    pub fn finish(mut self, tag: &Tag) -> Result<(), BadTag> {
        // SAFETY: the key was made for tags of this length.
        if unsafe { bindings::aes_gcm_decrypt_final(&mut self.0 .0, tag.as_ptr()) } == 0 {
            Ok(())
        } else {
            Err(BadTag)
        }
    }
}
