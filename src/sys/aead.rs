// SPDX-License-Identifier: GPL-2.0

//! AES-GCM with tags of 16 bytes: synchronous, any context but hard interrupts.
//!
//! Bytes are worked on by the crypto API's `gcm(aes)`, whose code for x86 does whole runs at once, and
//! by the kernel's AES-GCM library where that is not there, or where there are no bytes, only associated
//! data. (Measured on 7.3: 2.2 instructions per byte against 15; see `docs/performance.md`.)

use super::{linear::Linear, secret::wipe};
use ::core::{
    mem::{self, MaybeUninit},
    ptr::{self, NonNull},
};
use homa_bindings as bindings;
use kernel::{
    alloc::Flags,
    error::{from_err_ptr, to_result},
    ffi::c_void,
    prelude::*,
    types::Opaque,
};

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

/// Most pieces of memory that a message to be sealed may lie in.
const MAX_PIECES: usize = 8;

/// Room on the stack for a request and what the implementation adds to it.
const REQUEST_ROOM: usize = 256;

/// An expanded key; wiped on drop.
///
/// # Invariants
///
/// `library` holds a key that aes_gcm_preparekey made, for tags of 16 bytes. `tfm`, if there is one, is a
/// synchronous `gcm(aes)` with the same key, whose requests fit [`REQUEST_ROOM`].
pub struct AeadKey {
    library: KBox<Opaque<bindings::aes_gcm_key>>,
    tfm: Option<NonNull<bindings::crypto_aead>>,
}

// SAFETY: the keys are only read once they were made.
unsafe impl Send for AeadKey {}
// SAFETY: as above.
unsafe impl Sync for AeadKey {}

impl AeadKey {
    /// From 16, 24 or 32 bytes; EINVAL otherwise. Process context: may load a module.
    pub fn new(key: &[u8], flags: Flags) -> Result<Self> {
        let library = KBox::new(Opaque::uninit(), flags)?;
        // SAFETY: the box is valid for writes, the slice for reads.
        to_result(unsafe {
            bindings::aes_gcm_preparekey(library.get(), key.as_ptr(), key.len(), TAG_LEN)
        })?;
        // INVARIANT: just made.
        Ok(Self { library, tfm: Self::transform(key) })
    }

    /// A `gcm(aes)` with that key, if there is one that suits.
    fn transform(key: &[u8]) -> Option<NonNull<bindings::crypto_aead>> {
        // SAFETY: the name is a C string.
        let tfm = unsafe {
            bindings::crypto_alloc_aead(c"gcm(aes)".as_char_ptr(), 0, bindings::CRYPTO_ALG_ASYNC)
        };
        let tfm = NonNull::new(from_err_ptr(tfm).ok()?)?;
        // SAFETY: `tfm` is ours alone; the slice is valid for its length.
        let ok = unsafe {
            mem::size_of::<bindings::aead_request>() + (*tfm.as_ptr()).reqsize as usize
                <= REQUEST_ROOM
                && bindings::crypto_aead_setkey(tfm.as_ptr(), key.as_ptr(), key.len() as u32) == 0
                && bindings::crypto_aead_setauthsize(tfm.as_ptr(), TAG_LEN as u32) == 0
        };
        if ok {
            Some(tfm)
        } else {
            // SAFETY: ours, and not used.
            unsafe { Self::free_transform(tfm) };
            None
        }
    }

    /// # Safety
    ///
    /// `tfm` must be owned, and not used any more. Its memory, the key in it included, is wiped.
    unsafe fn free_transform(tfm: NonNull<bindings::crypto_aead>) {
        // SAFETY: by the caller's promise.
        unsafe { bindings::crypto_destroy_tfm(tfm.as_ptr().cast(), &raw mut (*tfm.as_ptr()).base) };
    }

    /// The tag of associated data without a message.
    pub fn tag(&self, nonce: &Nonce, aad: &[u8]) -> Tag {
        let mut ctx = Ctx::new(self, nonce, aad);
        ctx.seal_final()
    }

    /// Is that the tag of associated data without a message?
    pub fn check_tag(&self, nonce: &Nonce, aad: &[u8], tag: &Tag) -> Result<(), BadTag> {
        Ctx::new(self, nonce, aad).open_final(tag)
    }

    /// Encrypts in place what `pieces` have, one after the other: `aad` bytes of associated data, which stay, the
    /// message, and [`TAG_LEN`] bytes for the tag.
    ///
    /// EINVAL if they are shorter than that, E2BIG if there are more than eight (then nothing was changed).
    pub fn seal<'a>(
        &self,
        nonce: &Nonce,
        aad: usize,
        pieces: impl Iterator<Item = Linear<'a>>,
    ) -> Result {
        let mut list = Pieces::new();
        for piece in pieces {
            list.push(piece)?;
        }
        let text = list.len.checked_sub(aad.saturating_add(TAG_LEN)).ok_or(EINVAL)?;
        if let (Some(tfm), Some(sg)) = (self.tfm, list.scatterlist()) {
            // SAFETY: the pieces are valid, and stay borrowed while `list` is there.
            return to_result(unsafe { request(tfm, nonce, sg, aad, text, true) });
        }
        self.seal_by_library(nonce, &list, aad, text)
    }

    /// The same for one piece.
    pub fn seal_piece(&self, nonce: &Nonce, aad: usize, piece: &mut Linear<'_>) -> Result {
        let text = piece.len().checked_sub(aad.saturating_add(TAG_LEN)).ok_or(EINVAL)?;
        if let Some(tfm) = self.tfm {
            let mut sg = only_piece(piece);
            // SAFETY: the piece is valid, and borrowed.
            return to_result(unsafe { request(tfm, nonce, &mut sg, aad, text, true) });
        }
        let mut list = Pieces::new();
        list.push(piece.reborrow())?;
        self.seal_by_library(nonce, &list, aad, text)
    }

    #[cold]
    fn seal_by_library(&self, nonce: &Nonce, list: &Pieces<'_>, aad: usize, text: usize) -> Result {
        let mut ctx = Ctx::begin(self, nonce);
        list.for_each(0, aad, |p, len| {
            // SAFETY: a piece of a piece.
            unsafe { bindings::aes_gcm_auth_update(&mut ctx.0, p, len) }
        });
        list.for_each(aad, text, |p, len| {
            // SAFETY: a piece of a piece.
            unsafe { bindings::aes_gcm_encrypt_update(&mut ctx.0, p, p, len) }
        });
        let tag = ctx.seal_final();
        let mut rest = &tag[..];
        list.for_each(aad.saturating_add(text), TAG_LEN, |p, len| {
            let (now, later) = rest.split_at(len.min(rest.len()));
            // SAFETY: a piece of a piece.
            unsafe { ptr::copy_nonoverlapping(now.as_ptr(), p, now.len()) };
            rest = later;
        });
        Ok(())
    }

    /// Decrypts in place what `buf` has: `aad` bytes of associated data, the message, its tag. Without an error
    /// the message is in the same place, and the tag still behind it.
    pub fn open(&self, nonce: &Nonce, aad: usize, mut buf: Linear<'_>) -> Result<(), BadTag> {
        let text = buf.len().checked_sub(aad.saturating_add(TAG_LEN)).ok_or(BadTag)?;
        if let Some(tfm) = self.tfm {
            let mut sg = only_piece(&buf);
            let crypt = text.saturating_add(TAG_LEN);
            // SAFETY: the buffer is valid, and borrowed.
            return match unsafe { request(tfm, nonce, &mut sg, aad, crypt, false) } {
                0 => Ok(()),
                _ => Err(BadTag),
            };
        }
        let (head, tag) = buf.split_last_chunk_mut::<TAG_LEN>().ok_or(BadTag)?;
        let (aad, text) = head.split_at_mut_checked(aad).ok_or(BadTag)?;
        let mut ctx = Ctx::new(self, nonce, aad);
        let p = text.as_mut_ptr();
        // SAFETY: the slice is valid for its length.
        unsafe { bindings::aes_gcm_decrypt_update(&mut ctx.0, p, p, text.len()) };
        ctx.open_final(tag)
    }
}

impl Drop for AeadKey {
    fn drop(&mut self) {
        if let Some(tfm) = self.tfm {
            // SAFETY: it is ours, and nobody uses the key any more.
            unsafe { Self::free_transform(tfm) };
        }
        // SAFETY: as above.
        unsafe { wipe(self.library.get().cast(), mem::size_of::<bindings::aes_gcm_key>()) };
    }
}

/// Memory that a message lies in.
struct Pieces<'a> {
    list: [MaybeUninit<bindings::scatterlist>; MAX_PIECES],
    at: [Linear<'a>; MAX_PIECES],
    count: usize,
    len: usize,
}

impl<'a> Pieces<'a> {
    #[inline]
    fn new() -> Self {
        Self {
            list: [const { MaybeUninit::uninit() }; MAX_PIECES],
            at: Default::default(),
            count: 0,
            len: 0,
        }
    }

    #[inline]
    fn push(&mut self, piece: Linear<'a>) -> Result {
        let entry = self.list.get_mut(self.count).ok_or(E2BIG)?;
        let at = self.at.get_mut(self.count).ok_or(E2BIG)?;
        set(entry.write(pin_init::zeroed()), &piece);
        self.len = self.len.saturating_add(piece.len());
        *at = piece;
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// All of them for the crypto API. None if there are none.
    #[inline]
    fn scatterlist(&mut self) -> Option<*mut bindings::scatterlist> {
        let last = self.list.get_mut(self.count.checked_sub(1)?)?;
        // SAFETY: entries below `count` are initialised.
        unsafe { bindings::shim_sg_mark_end(last.as_mut_ptr()) };
        Some(self.list.as_mut_ptr().cast())
    }

    /// Calls `f` with pointers to the `len` bytes from `skip` on.
    fn for_each(&self, mut skip: usize, mut len: usize, mut f: impl FnMut(*mut u8, usize)) {
        for piece in self.at.iter().take(self.count) {
            let from = skip.min(piece.len());
            let n = len.min(piece.len().saturating_sub(from));
            if n != 0 {
                f(piece.as_ptr().cast_mut().wrapping_add(from), n);
            }
            skip = skip.saturating_sub(from);
            len = len.saturating_sub(n);
        }
    }
}

/// Makes `sg` an entry for `piece`, which whoever uses the entry must have borrowed.
#[inline]
fn set(sg: &mut bindings::scatterlist, piece: &Linear<'_>) {
    let p = piece.as_ptr().cast_mut().cast::<c_void>();
    // SAFETY: the entry is initialised; the piece is valid, of that length, and in the linear map.
    unsafe { bindings::shim_sg_set(sg, p, piece.len() as u32) }
}

/// A list of `piece` alone, which whoever uses it must have borrowed.
#[inline]
fn only_piece(piece: &Linear<'_>) -> bindings::scatterlist {
    let mut sg = pin_init::zeroed();
    // SAFETY: the entry is initialised.
    unsafe { bindings::shim_sg_mark_end(&mut sg) };
    set(&mut sg, piece);
    sg
}

/// One pass of `gcm(aes)`, in place.
///
/// # Safety
///
/// `sg` must be a list of memory that is valid for writes, of `aad + crypt` bytes (and a tag's more to encrypt).
unsafe fn request(
    tfm: NonNull<bindings::crypto_aead>,
    nonce: &Nonce,
    sg: *mut bindings::scatterlist,
    aad: usize,
    crypt: usize,
    encrypt: bool,
) -> i32 {
    #[repr(C, align(64))]
    struct Room(MaybeUninit<[u8; REQUEST_ROOM]>);
    let mut room = Room(MaybeUninit::uninit());
    let req = room.0.as_mut_ptr().cast::<bindings::aead_request>();
    let mut iv = *nonce;
    // SAFETY: the room is large enough (invariant of the key) and aligned. The request, the IV and the list outlive the
    // call, as the implementation is synchronous.
    unsafe {
        ptr::write_bytes(req, 0, 1);
        (*req).base.tfm = &raw mut (*tfm.as_ptr()).base;
        (*req).assoclen = aad as u32;
        (*req).cryptlen = crypt as u32;
        (*req).iv = iv.as_mut_ptr();
        (*req).src = sg;
        (*req).dst = sg;
        if encrypt {
            bindings::crypto_aead_encrypt(req)
        } else {
            bindings::crypto_aead_decrypt(req)
        }
    }
}

/// The library's state of a message half done; wiped by the `final` functions.
struct Ctx(bindings::aes_gcm_ctx);

impl Ctx {
    fn begin(key: &AeadKey, nonce: &Nonce) -> Self {
        let mut ctx = MaybeUninit::uninit();
        // SAFETY: aes_gcm_init initialises all of it; the key outlives it, as contexts do not leave this file's functions.
        unsafe {
            bindings::aes_gcm_init(ctx.as_mut_ptr(), nonce.as_ptr(), key.library.get());
            Self(ctx.assume_init())
        }
    }

    fn new(key: &AeadKey, nonce: &Nonce, aad: &[u8]) -> Self {
        let mut ctx = Self::begin(key, nonce);
        // SAFETY: the slice is valid for its length.
        unsafe { bindings::aes_gcm_auth_update(&mut ctx.0, aad.as_ptr(), aad.len()) };
        ctx
    }

    fn seal_final(&mut self) -> Tag {
        let mut tag = [0; TAG_LEN];
        // SAFETY: the key was made for tags of this length.
        unsafe { bindings::aes_gcm_encrypt_final(&mut self.0, tag.as_mut_ptr()) };
        tag
    }

    fn open_final(mut self, tag: &Tag) -> Result<(), BadTag> {
        // SAFETY: as above.
        match unsafe { bindings::aes_gcm_decrypt_final(&mut self.0, tag.as_ptr()) } {
            0 => Ok(()),
            _ => Err(BadTag),
        }
    }
}
