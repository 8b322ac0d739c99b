// SPDX-License-Identifier: GPL-2.0

//! A list of owned packets, linked through the packets themselves. Not locked.

use super::skb::{SkBuff, Skb};
use ::core::{marker::PhantomData, mem, ptr, ptr::NonNull};
use homa_bindings as bindings;

/// A list of packets. Dropping it frees them as used up, not as a loss.
///
/// # Invariants
///
/// From `first` to `last` packets are linked by `next` and `prev` (NULL at the ends); all are ours alone; there are `len`.
pub struct SkbQueue {
    first: *mut bindings::sk_buff,
    last: *mut bindings::sk_buff,
    len: usize,
}

// SAFETY: it owns its packets, which belong to no thread.
unsafe impl Send for SkbQueue {}
// SAFETY: a shared one can only be read.
unsafe impl Sync for SkbQueue {}

type Links = bindings::sk_buff__bindgen_ty_1__bindgen_ty_1;

/// # Safety
///
/// `skb` must be valid.
#[inline]
unsafe fn links(skb: *mut bindings::sk_buff) -> *mut Links {
    // SAFETY: by the caller's promise.
    unsafe { &raw mut (*skb).__bindgen_anon_1.__bindgen_anon_1 }
}

impl SkbQueue {
    /// An empty list.
    pub const fn new() -> Self {
        // INVARIANT: there is nothing to link.
        Self { first: ptr::null_mut(), last: ptr::null_mut(), len: 0 }
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Links `skb` in behind `after` (NULL: in front).
    ///
    /// # Safety
    ///
    /// `after` must be NULL or on the list.
    #[inline]
    unsafe fn link(&mut self, after: *mut bindings::sk_buff, skb: SkBuff) {
        let skb = skb.into_raw();
        // SAFETY: all of these are on the list, ours, or checked.
        unsafe {
            let next = if after.is_null() { self.first } else { (*links(after)).next };
            (*links(skb)).prev = after;
            (*links(skb)).next = next;
            match after.is_null() {
                true => self.first = skb,
                false => (*links(after)).next = skb,
            }
            match next.is_null() {
                true => self.last = skb,
                false => (*links(next)).prev = skb,
            }
        }
        self.len = self.len.wrapping_add(1);
    }

    /// Takes a packet out.
    ///
    /// # Safety
    ///
    /// It must be on the list.
    #[inline]
    unsafe fn unlink(&mut self, skb: NonNull<bindings::sk_buff>) -> SkBuff {
        // SAFETY: it and its neighbours are on the list.
        unsafe {
            let l = links(skb.as_ptr());
            let next = mem::replace(&mut (*l).next, ptr::null_mut());
            let prev = mem::replace(&mut (*l).prev, ptr::null_mut());
            match prev.is_null() {
                true => self.first = next,
                false => (*links(prev)).next = next,
            }
            match next.is_null() {
                true => self.last = prev,
                false => (*links(next)).prev = prev,
            }
            self.len = self.len.wrapping_sub(1);
            SkBuff::from_raw(skb)
        }
    }

    /// Adds at the end.
    #[inline]
    pub fn push_back(&mut self, skb: SkBuff) {
        // SAFETY: NULL or on the list.
        unsafe { self.link(self.last, skb) }
    }

    /// Takes the first.
    #[inline]
    pub fn pop_front(&mut self) -> Option<SkBuff> {
        // SAFETY: on the list.
        NonNull::new(self.first).map(|skb| unsafe { self.unlink(skb) })
    }

    /// The first.
    #[inline]
    pub fn front_mut(&mut self) -> Option<&mut Skb> {
        // SAFETY: NULL or on the list, which is ours alone here.
        (!self.first.is_null()).then(|| unsafe { Skb::from_raw(self.first) })
    }

    /// Takes the last.
    #[inline]
    pub fn pop_back(&mut self) -> Option<SkBuff> {
        // SAFETY: on the list.
        NonNull::new(self.last).map(|skb| unsafe { self.unlink(skb) })
    }

    /// All, in order.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.first, PhantomData)
    }

    /// Calls `f` on all, in order.
    pub fn for_each_mut(&mut self, mut f: impl FnMut(&mut Skb)) {
        let mut skb = self.first;
        while !skb.is_null() {
            // SAFETY: on the list, which is ours alone here.
            unsafe {
                f(Skb::from_raw(skb));
                skb = (*links(skb)).next;
            }
        }
    }

    /// Inserts in ascending order of `key`, behind equal ones. It looks from the back: what arrives in order costs one step.
    pub fn insert_by(&mut self, skb: SkBuff, key: impl Fn(&Skb) -> u32) {
        let k = key(&skb);
        let mut after = self.last;
        // SAFETY: on the list.
        unsafe {
            while !after.is_null() && key(Skb::from_raw(after)) > k {
                after = (*links(after)).prev;
            }
            self.link(after, skb);
        }
    }

    /// Takes out those for which `f` holds.
    pub fn extract_if(&mut self, mut f: impl FnMut(&Skb) -> bool) -> SkbQueue {
        let mut out = SkbQueue::new();
        let mut at = self.first;
        while let Some(skb) = NonNull::new(at) {
            // SAFETY: on the list.
            unsafe {
                at = (*links(at)).next;
                if f(Skb::from_raw(skb.as_ptr())) {
                    out.push_back(self.unlink(skb));
                }
            }
        }
        out
    }
}

impl Drop for SkbQueue {
    #[inline]
    fn drop(&mut self) {
        while let Some(skb) = self.pop_front() {
            skb.consume();
        }
    }
}

/// Iterates over a list.
pub struct Iter<'a>(*mut bindings::sk_buff, PhantomData<&'a SkbQueue>);

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Skb;

    #[inline]
    fn next(&mut self) -> Option<&'a Skb> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: on the list, which is borrowed.
        unsafe {
            let skb: &Skb = Skb::from_raw(self.0);
            self.0 = (*links(self.0)).next;
            Some(skb)
        }
    }
}
