// SPDX-License-Identifier: GPL-2.0

//! Bytes of a message in a page, shared by those who keep them and the packets that carry them.

use super::{gfp, uio::IovIter};
use ::core::{ops::Deref, ptr, ptr::NonNull, slice};
use homa_bindings as bindings;
use kernel::prelude::*;

/// Bytes that nobody changes any more, in one piece. They cost neither an allocation (many share a page), nor clearing it, nor a copy for each
/// packet: [`SkbBuilder::append_page`](super::builder::SkbBuilder::append_page).
///
/// # Invariants
///
/// Holds a reference to `page`, in which `at .. at + len` is, initialised. Nobody writes there.
pub struct PageBytes {
    page: NonNull<bindings::page>,
    at: NonNull<u8>,
    len: u32,
}

// SAFETY: a page belongs to no thread; its references are counted atomically.
unsafe impl Send for PageBytes {}
// SAFETY: shared ones can only be read.
unsafe impl Sync for PageBytes {}

impl PageBytes {
    /// Takes `len` bytes of a program, a few pages at most. EFAULT, ENOMEM. Process context.
    #[inline]
    pub fn from_iter(from: &mut IovIter, len: usize) -> Result<Self> {
        // SAFETY: the closure writes all bytes if it returns Ok.
        unsafe { Self::with(len, |to| from.copy_from_raw(to, len)) }
    }

    /// A copy. ENOMEM. Process context.
    #[inline]
    pub fn copy_of(bytes: &[u8]) -> Result<Self> {
        // SAFETY: the closure writes all bytes, at a place that is nobody else's.
        unsafe {
            Self::with(bytes.len(), |to| {
                ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
                Ok(())
            })
        }
    }

    /// # Safety
    ///
    /// `fill(to)` must write all `len` bytes at `to` if it returns Ok. Process context.
    #[inline]
    unsafe fn with(len: usize, fill: impl FnOnce(*mut u8) -> Result) -> Result<Self> {
        let size = u32::try_from(len).map_err(|_| EMSGSIZE)?;
        // SAFETY: the current thread's; nobody else uses it, and we do not keep it. (NULL in softirq.)
        let pfrag = unsafe { bindings::shim_task_frag() };
        if pfrag.is_null() {
            return Err(EMSGSIZE);
        }
        // SAFETY: `pfrag` is valid; process context. From `offset` to `size` its page is ours to hand out; if there is no large one,
        // it may have less than was asked for.
        unsafe {
            let room = bindings::skb_page_frag_refill(size, pfrag, gfp(GFP_KERNEL))
                && (*pfrag).size.checked_sub((*pfrag).offset) >= Some(size);
            let (page, offset) = match room {
                true => ((*pfrag).page, (*pfrag).offset),
                false => (bindings::shim_alloc_compound(size), 0),
            };
            let page = NonNull::new(page).ok_or(ENOMEM)?;
            let start = bindings::shim_page_address(page.as_ptr()).cast::<u8>();
            let at = NonNull::new(start.add(offset as usize)).ok_or(ENOMEM)?;
            if room {
                bindings::shim_get_page(page.as_ptr());
            }
            // INVARIANT: one reference was taken, or is the new page's first. If `fill` fails, the bytes are never looked at.
            let bytes = Self { page, at, len: size };
            fill(at.as_ptr())?;
            if room {
                (*pfrag).offset = (*pfrag).offset.saturating_add(size);
            }
            Ok(bytes)
        }
    }

    /// A fragment of a packet with these bytes, and with a reference of its own.
    #[inline]
    pub(super) fn to_frag(&self) -> bindings::skb_frag_t {
        // SAFETY: both point into memory that the page describes.
        let offset = unsafe {
            let start = bindings::shim_page_address(self.page.as_ptr()).cast::<u8>();
            bindings::shim_get_page(self.page.as_ptr());
            self.at.as_ptr().offset_from(start)
        };
        // The page pointer is the netmem reference of an ordinary page. The offset is one of a u32.
        let netmem = self.page.as_ptr() as bindings::netmem_ref;
        bindings::skb_frag_t { netmem, len: self.len, offset: offset as u32 }
    }
}

impl Deref for PageBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: by the invariant.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.len as usize) }
    }
}

impl Drop for PageBytes {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { bindings::shim_put_page(self.page.as_ptr()) }
    }
}
