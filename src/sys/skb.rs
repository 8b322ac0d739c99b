// SPDX-License-Identifier: GPL-2.0

//! `struct sk_buff`: packets.
//!
//! [`Skb`] is a packet that somebody else owns (`&Skb`, `&mut Skb`), [`SkBuff`] an owned one. Payload is not written here: others
//! may see the same pages (clones, taps, the sender on the same machine). A packet under construction is a
//! [`SkbBuilder`](super::builder::SkbBuilder); one that arrived and is nobody else's can become a
//! [`SecretSkb`](super::secret::SecretSkb).

use super::{
    gfp,
    uio::IovIter,
    user::{as_mut_bytes, Plain},
};
use ::core::{
    marker::{PhantomData, PhantomPinned},
    mem,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    slice,
};
use homa_bindings as bindings;
use kernel::{alloc::Flags, error::to_result, prelude::*};

mod meta;
mod origin;
mod runs;

pub use meta::{DropReason, Gso};
pub(super) use runs::RawRuns;
pub use runs::Runs;

/// A packet.
///
/// It has no size that Rust knows, so that nobody can swap two of them.
#[repr(C)]
pub struct Skb {
    _opaque: [u8; 0],
    _pin: PhantomPinned,
}

// SAFETY: a packet belongs to no thread.
unsafe impl Send for Skb {}
// SAFETY: what can be done with `&Skb` only reads.
unsafe impl Sync for Skb {}

/// An owned packet. Dropping it is kfree_skb: a loss, which drop monitors see; see [`Self::consume`].
///
/// # Invariants
///
/// Points at a valid sk_buff, whose only user (`skb->users`) we are.
pub struct SkBuff(NonNull<bindings::sk_buff>);

// SAFETY: a packet belongs to no thread.
unsafe impl Send for SkBuff {}
// SAFETY: what can be done with `&SkBuff` only reads (and clones, which is atomic).
unsafe impl Sync for SkBuff {}

impl Deref for SkBuff {
    type Target = Skb;

    #[inline]
    fn deref(&self) -> &Skb {
        // SAFETY: by the invariant.
        unsafe { &*self.0.as_ptr().cast() }
    }
}

impl DerefMut for SkBuff {
    #[inline]
    fn deref_mut(&mut self) -> &mut Skb {
        // SAFETY: by the invariant.
        unsafe { &mut *self.0.as_ptr().cast() }
    }
}

impl Drop for SkBuff {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe {
            bindings::sk_skb_reason_drop(ptr::null(), self.0.as_ptr(), DropReason::NOT_SPECIFIED.0)
        }
    }
}

impl SkBuff {
    /// # Safety
    ///
    /// `skb` must be valid, and given to us, its only user.
    #[inline]
    pub(super) unsafe fn from_raw(skb: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: by the caller's promise.
        Self(skb)
    }

    /// Frees the packet, which was used up: no drop monitor sees it.
    #[inline]
    pub fn consume(self) {
        // SAFETY: it is ours.
        unsafe { bindings::consume_skb(self.into_raw()) }
    }

    /// Gives the packet away.
    #[inline]
    pub(super) fn into_raw(self) -> *mut bindings::sk_buff {
        mem::ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Skb {
    /// A clone: metadata of its own; headers and data shared. For sending what one keeps. Fast if the packet was built with
    /// `fclone` and no earlier clone is in flight.
    #[inline]
    pub fn try_clone(&self, flags: Flags) -> Result<SkBuff> {
        // SAFETY: the packet is valid; a clone is its own only user.
        let skb = unsafe { bindings::skb_clone(self.as_raw(), gfp(flags)) };
        // INVARIANT: as above.
        NonNull::new(skb).map(SkBuff).ok_or(ENOMEM)
    }

    /// A copy with a linear part of its own (`headroom` in front of it), and shared fragments: to be sent instead
    /// of a clone while an earlier clone is still in flight ([`Skb::is_cloned`]).
    pub fn copy_linear(&self, headroom: usize, flags: Flags) -> Result<SkBuff> {
        let headroom = i32::try_from(headroom).map_err(|_| EINVAL)?;
        // SAFETY: the packet is valid; a copy is its own only user.
        let skb =
            unsafe { bindings::__pskb_copy_fclone(self.as_raw(), headroom, gfp(flags), false) };
        // INVARIANT: as above.
        NonNull::new(skb).map(SkBuff).ok_or(ENOMEM)
    }

    /// # Safety
    ///
    /// `skb` must be valid during `'a`, and used only through the result.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(skb: *mut bindings::sk_buff) -> &'a mut Skb {
        // SAFETY: by the caller's promise; the type has no bytes that Rust could touch.
        unsafe { &mut *skb.cast() }
    }

    /// The C struct.
    #[inline]
    pub(super) fn as_raw(&self) -> *mut bindings::sk_buff {
        ptr::from_ref(self).cast_mut().cast()
    }

    #[inline]
    pub(super) fn raw(&self) -> &bindings::sk_buff {
        // SAFETY: a `&Skb` is a valid packet.
        unsafe { &*self.as_raw() }
    }

    #[inline]
    pub(super) fn raw_mut(&mut self) -> &mut bindings::sk_buff {
        // SAFETY: a `&mut Skb` is a valid packet that nobody else uses.
        unsafe { &mut *self.as_raw() }
    }

    #[inline]
    pub(super) fn shinfo(&self) -> *mut bindings::skb_shared_info {
        // On 64 bits `end` is an offset.
        self.raw().head.wrapping_add(self.raw().end as usize).cast()
    }

    /// How many bytes, from `data` on.
    #[inline]
    pub fn len(&self) -> usize {
        self.raw().len as usize
    }

    /// How many of them are in the linear part.
    #[inline]
    pub fn headlen(&self) -> usize {
        self.raw().len.saturating_sub(self.raw().data_len) as usize
    }

    /// Whether some are elsewhere (fragments, frag_list).
    #[inline]
    pub fn is_nonlinear(&self) -> bool {
        self.raw().data_len != 0
    }

    /// Room in front of `data`.
    #[inline]
    pub fn headroom(&self) -> usize {
        (self.raw().data as usize).saturating_sub(self.raw().head as usize)
    }

    /// Room behind the linear part, as long as it is all there is.
    #[inline]
    pub fn tailroom(&self) -> usize {
        if self.is_nonlinear() {
            return 0;
        }
        self.raw().end.saturating_sub(self.raw().tail) as usize
    }

    /// How many bytes there are from the distance `at` to `head` on (the headers' offsets are of that kind).
    #[inline]
    pub(super) fn len_from_head(&self, at: usize) -> usize {
        self.headroom().saturating_add(self.len()).saturating_sub(at)
    }

    /// Counts bytes that were added behind the linear part, as skb_len_add().
    #[inline]
    pub(super) fn count_nonlinear(&mut self, bytes: u32, truesize: u32) {
        let raw = self.raw_mut();
        raw.len = raw.len.saturating_add(bytes);
        raw.data_len = raw.data_len.saturating_add(bytes);
        raw.truesize = raw.truesize.saturating_add(truesize);
    }

    /// Counts bytes that were taken away from there.
    pub(super) fn uncount_nonlinear(&mut self, bytes: u32, truesize: u32) {
        let raw = self.raw_mut();
        raw.len = raw.len.saturating_sub(bytes);
        raw.data_len = raw.data_len.saturating_sub(bytes);
        raw.truesize = raw.truesize.saturating_sub(truesize);
    }

    /// What it costs in memory.
    #[inline]
    pub fn truesize(&self) -> usize {
        self.raw().truesize as usize
    }

    /// The linear part.
    #[inline]
    pub fn head(&self) -> &[u8] {
        // SAFETY: `data` points at `headlen` bytes.
        unsafe { slice::from_raw_parts(self.raw().data, self.headlen()) }
    }

    /// The first `n` bytes, made linear if need be. None if there are not so many, or no memory.
    #[inline]
    pub fn pull_head(&mut self, n: usize) -> Option<&[u8]> {
        if n > self.headlen() && !self.pull_head_slow(n) {
            return None;
        }
        self.head().get(..n)
    }

    #[cold]
    fn pull_head_slow(&mut self, n: usize) -> bool {
        if n > self.len() {
            return false;
        }
        let more = n.saturating_sub(self.headlen());
        // SAFETY: the packet is valid, and there are so many bytes behind the linear part.
        let tail = unsafe { bindings::__pskb_pull_tail(self.as_raw(), more as i32) };
        !tail.is_null()
    }

    /// Copies bytes from anywhere in the packet; false if it ends before.
    pub fn copy_bits(&self, offset: usize, out: &mut [u8]) -> bool {
        let (Ok(offset), Ok(len)) = (i32::try_from(offset), i32::try_from(out.len())) else {
            return false;
        };
        // SAFETY: the packet is valid, the slice writable.
        unsafe { bindings::skb_copy_bits(self.as_raw(), offset, out.as_mut_ptr().cast(), len) == 0 }
    }

    /// Drops `n` bytes at the front, which must be linear (see [`Self::pull_head`]); false if they are not.
    #[inline]
    pub fn pull(&mut self, n: usize) -> bool {
        if n > self.headlen() {
            return false;
        }
        let raw = self.raw_mut();
        raw.len = raw.len.saturating_sub(n as u32);
        raw.data = raw.data.wrapping_add(n);
        true
    }

    /// Puts `bytes` in front. ENOBUFS without headroom; EBUSY if others see the headers, or if this is a packet kept for
    /// sending clones (push onto the clone).
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> Result {
        if bytes.len() > self.headroom() {
            return Err(ENOBUFS);
        }
        if self.raw().nohdr() != 0 || self.is_header_cloned() {
            return Err(EBUSY);
        }
        let raw = self.raw_mut();
        raw.data = raw.data.wrapping_sub(bytes.len());
        raw.len = raw.len.saturating_add(bytes.len() as u32);
        // SAFETY: the headroom is there, and nobody else's.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), raw.data, bytes.len()) };
        Ok(())
    }

    /// dataref: all users of the data in the low half, those that promised not to look at headers in the high half.
    #[inline]
    fn dataref(&self) -> u32 {
        // SAFETY: the shared info is valid as long as the packet; C changes the counter atomically.
        let counter = unsafe {
            ::core::sync::atomic::AtomicU32::from_ptr((&raw mut (*self.shinfo()).dataref).cast())
        };
        counter.load(::core::sync::atomic::Ordering::Acquire)
    }

    /// While this is true, a clone shares linear part and fragments.
    #[inline]
    pub fn is_cloned(&self) -> bool {
        self.raw().cloned() != 0 && self.dataref() & 0xffff != 1
    }

    /// While this is true, others may look at the headers.
    #[inline]
    pub fn is_header_cloned(&self) -> bool {
        if self.raw().cloned() == 0 {
            return false;
        }
        let dataref = self.dataref();
        (dataref & 0xffff).wrapping_sub(dataref >> 16) != 1
    }

    /// Makes the linear part private. ENOMEM.
    pub fn make_head_writable(&mut self, flags: Flags) -> Result {
        if !self.is_cloned() {
            return Ok(());
        }
        // SAFETY: the packet is valid, and we are its only user.
        to_result(unsafe { bindings::pskb_expand_head(self.as_raw(), 0, 0, gfp(flags)) })
    }

    /// Makes the linear part private, with at least `room` bytes in front. ENOMEM; EINVAL if no packet could have so many.
    #[cold]
    pub fn make_headroom(&mut self, room: usize, flags: Flags) -> Result {
        let more = room.saturating_sub(self.headroom()).checked_next_multiple_of(64);
        let more = more.and_then(|n| i32::try_from(n).ok()).ok_or(EINVAL)?;
        // SAFETY: the packet is valid, and we are its only user.
        to_result(unsafe { bindings::pskb_expand_head(self.as_raw(), more, 0, gfp(flags)) })
    }

    /// Contiguous runs that make up `len` bytes from `offset` on: linear part, fragments, frag_list, in order. If the packet ends
    /// before, so do they. (Others may see the pages, and a local sender may even change them: never decrypt in place, and
    /// do not read twice what must not change.)
    #[inline]
    pub fn runs(&self, offset: usize, len: usize) -> Runs<'_> {
        // SAFETY: the packet is valid while it is borrowed.
        Runs(unsafe { RawRuns::new(self.as_raw(), offset, len) }, PhantomData)
    }

    /// Copies payload out. EFAULT.
    pub fn copy_to_iter(&self, offset: usize, to: &mut IovIter, len: usize) -> Result {
        let (Ok(offset), Ok(len)) = (i32::try_from(offset), i32::try_from(len)) else {
            return Err(EINVAL);
        };
        if to.is_source() {
            return Err(EFAULT);
        }
        // SAFETY: packet and iterator are valid.
        to_result(unsafe {
            bindings::skb_copy_datagram_iter(self.as_raw(), offset, to.as_raw(), len)
        })
    }

    /// A value of at most 48 bytes in skb->cb, the scratch space of whoever owns the packet: lost when it is passed on, and arbitrary
    /// before it was set.
    #[inline]
    pub fn cb<T: Plain>(&self) -> T {
        const { assert!(mem::size_of::<T>() <= 48) };
        let mut value = T::new_zeroed();
        let bytes = as_mut_bytes(&mut value);
        // SAFETY: the size was checked.
        unsafe {
            ptr::copy_nonoverlapping(self.raw().cb.as_ptr().cast(), bytes.as_mut_ptr(), bytes.len())
        };
        value
    }

    /// Sets it.
    #[inline]
    pub fn set_cb<T: Plain>(&mut self, value: &T) {
        const { assert!(mem::size_of::<T>() <= 48) };
        let bytes = value.as_bytes();
        // SAFETY: the size was checked.
        unsafe {
            ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.raw_mut().cb.as_mut_ptr().cast(),
                bytes.len(),
            )
        };
    }
}
