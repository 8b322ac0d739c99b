// SPDX-License-Identifier: GPL-2.0

//! Memory that is wiped when it is freed.

use super::{linear::Linear, skb::SkBuff};
use ::core::{
    arch::asm,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicPtr, Ordering},
};
use homa_bindings as bindings;
use kernel::{alloc::Flags, ffi::c_void, page::PAGE_SIZE, prelude::*, sync::rcu};

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

/// The cache of buffers that are longer than a page, and no longer than [`LONG_SIZE`]: of kmalloc they would be cleared each time.
static LONG: AtomicPtr<bindings::kmem_cache> = AtomicPtr::new(ptr::null_mut());

/// Their length. (Two of them, with SLUB's pointers, share eight pages.)
pub const LONG_SIZE: usize = (16 << 10) - 16;

/// Has the cache of long buffers, without which all are of kmalloc. To be dropped when there are no buffers any more.
pub struct LongBuffers(());

impl LongBuffers {
    /// Makes it, once. Sleeps; ENOMEM.
    pub fn new() -> Result<Self> {
        // SAFETY: process context; the name is a C string.
        let cache = unsafe {
            bindings::shim_uncleared_cache(c"homa_record".as_char_ptr(), LONG_SIZE as u32)
        };
        LONG.store(NonNull::new(cache).ok_or(ENOMEM)?.as_ptr(), Ordering::Release);
        Ok(Self(()))
    }
}

impl Drop for LongBuffers {
    fn drop(&mut self) {
        let cache = LONG.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: process context.
        unsafe { bindings::synchronize_rcu() };
        // SAFETY: it was made by `new`. Nobody allocates from it any more, as that is done under RCU. (Were there buffers left, the kernel would complain, and
        // leave them and the cache alone.)
        unsafe { bindings::kmem_cache_destroy(cache) };
    }
}

/// A buffer for secret bytes, of a capacity fixed when it is made; wiped on drop.
///
/// # Invariants
///
/// `at` is a slab object of at least `capacity` bytes that is ours, of which the first `len` are initialised; `len <= capacity`.
pub struct SecretBuf {
    at: NonNull<u8>,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns its memory.
unsafe impl Send for SecretBuf {}
// SAFETY: a shared one can only be read.
unsafe impl Sync for SecretBuf {}

impl SecretBuf {
    /// An empty buffer with room for `capacity` bytes, in one piece of physical memory: keep it to a few pages. ENOMEM.
    #[inline]
    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self> {
        let at = match capacity > PAGE_SIZE && capacity <= LONG_SIZE {
            true => Self::long(),
            false => ptr::null_mut(),
        };
        let at = match at.is_null() {
            // SAFETY: any size and flags may be asked for. (The allocator of the kernel crate goes through krealloc, which costs half as
            // much again.)
            true => unsafe { bindings::__kmalloc_noprof(capacity.max(1), super::gfp(flags)) },
            false => at,
        };
        let at = NonNull::new(at.cast()).ok_or(ENOMEM)?;
        // INVARIANT: just allocated; nothing is initialised.
        Ok(Self { at, len: 0, capacity })
    }

    /// [`LONG_SIZE`] bytes from their cache, or NULL.
    fn long() -> *mut c_void {
        let _guard = rcu::read_lock();
        match NonNull::new(LONG.load(Ordering::Acquire)) {
            // SAFETY: it is not destroyed before the guard is gone.
            Some(cache) => unsafe {
                bindings::kmem_cache_alloc_noprof(cache.as_ptr(), super::gfp(GFP_ATOMIC))
            },
            None => ptr::null_mut(),
        }
    }

    /// Appends bytes; false (and nothing changed) if they do not fit.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.capacity.saturating_sub(self.len) {
            return false;
        }
        // SAFETY: within the capacity, by the check; memory that is ours alone does not overlap the slice.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.at.as_ptr().add(self.len), bytes.len())
        };
        // INVARIANT: initialised by the copy.
        self.len = self.len.saturating_add(bytes.len());
        true
    }
}

impl Deref for SecretBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: by the invariant.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl DerefMut for SecretBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: by the invariant.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for SecretBuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the memory is ours, and nobody uses it any more.
        unsafe {
            wipe(self.at.as_ptr(), self.len);
            bindings::kfree(self.at.as_ptr().cast());
        }
    }
}

/// A packet of which some bytes are secret from now on, and ours to change; they are wiped on drop.
///
/// # Invariants
///
/// The bytes `at .. at + len` are in the packet's linear part, which nobody else refers to.
pub struct SecretSkb {
    skb: ManuallyDrop<SkBuff>,
    at: usize,
    len: usize,
}

impl SecretSkb {
    /// The bytes `at .. at + len` of `skb`. Gives it back if they are not linear, or others (a clone, a tap) see them, too.
    #[inline]
    pub fn new(skb: SkBuff, at: usize, len: usize) -> Result<Self, SkBuff> {
        let inside = at.checked_add(len).is_some_and(|end| end <= skb.headlen());
        if !inside || skb.is_cloned() {
            return Err(skb);
        }
        // INVARIANT: checked; we are the packet's only user, and clone it no more.
        Ok(Self { skb: ManuallyDrop::new(skb), at, len })
    }
}

impl Deref for SecretSkb {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: by the invariant.
        unsafe { slice::from_raw_parts(self.skb.raw().data.add(self.at), self.len) }
    }
}

impl DerefMut for SecretSkb {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: by the invariant; nobody else reads them.
        unsafe { slice::from_raw_parts_mut(self.skb.raw().data.add(self.at), self.len) }
    }
}

impl Drop for SecretSkb {
    #[inline]
    fn drop(&mut self) {
        let bytes = &mut **self;
        // SAFETY: they are ours.
        unsafe { wipe(bytes.as_mut_ptr(), bytes.len()) };
        // SAFETY: it is taken once, here.
        unsafe { ManuallyDrop::take(&mut self.skb) }.consume();
    }
}

/// Secret bytes, wherever they are.
pub enum SecretBytes {
    /// In memory of their own.
    Buf(SecretBuf),
    /// Where they arrived.
    Packet(SecretSkb),
}

impl SecretBytes {
    /// To work on them.
    #[inline]
    pub fn as_linear(&mut self) -> Linear<'_> {
        // SAFETY: of kmalloc, or in a packet's linear part, which is of kmalloc or a page that the card wrote to.
        unsafe { Linear::new(self) }
    }

    /// What the packet costs in memory, if they are in one.
    #[inline]
    pub fn packet_size(&self) -> usize {
        match self {
            Self::Buf(_) => 0,
            Self::Packet(packet) => packet.skb.truesize(),
        }
    }
}

impl Deref for SecretBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Buf(buf) => buf,
            Self::Packet(skb) => skb,
        }
    }
}

impl DerefMut for SecretBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Buf(buf) => buf,
            Self::Packet(skb) => skb,
        }
    }
}

/// A small secret by value: a key, an IV. Wiped on drop. (Moving one leaves a copy behind: keep it where it is.)
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
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
