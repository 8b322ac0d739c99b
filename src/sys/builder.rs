// SPDX-License-Identifier: GPL-2.0

//! A packet under construction: the only place where payload is written.

/// A packet that nobody else has seen: header room in front, payload appended (into the linear part while it fits there whole,
/// then into page fragments shared with nobody), encrypted in place, then [`finish`](Self::finish)ed.
pub struct SkbBuilder;

impl SkbBuilder {
    /// `headroom` bytes for headers below (see [`Dst::headroom`](super::route::Dst::headroom)) and our own, `linear` bytes of payload kept linear.
    /// `fclone`: it will be kept and clones of it sent.
    pub fn new(headroom: usize, linear: usize, fclone: bool, flags: Flags) -> Result<Self>;
    pub fn len(&self) -> usize;
    pub fn truesize(&self) -> usize;
    pub fn tailroom(&self) -> usize;
    /// Bytes from a program. EFAULT, ENOMEM; EMSGSIZE if the packet has no fragment slot left. Process context.
    pub fn append_iter(&mut self, from: &mut IovIter, len: usize) -> Result;
    pub fn append(&mut self, bytes: &[u8]) -> Result;
    /// Zeros (room for a tag, say). Any context (softirq: the fragments come from a per-CPU cache).
    pub fn append_zeroed(&mut self, len: usize) -> Result;
    /// Overwrites bytes that are there; false beyond the end.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> bool;
    /// Contiguous mutable runs of what is there, to encrypt it in place.
    pub fn runs_mut(&mut self, offset: usize, len: usize) -> RunsMut<'_>;   // Iterator<Item = &mut [u8]>
    pub fn runs(&self, offset: usize, len: usize) -> Runs<'_>;
    /// Puts a header in front. ENOBUFS without headroom.
    pub fn push(&mut self, header: &[u8]) -> Result;
    pub fn as_skb(&mut self) -> &mut Skb;      // metadata
    pub fn finish(self) -> SkBuff;
    /// How many fragments it can take before EMSGSIZE, in bytes, at 32 KiB each.
    pub fn frag_slots_left(&self) -> usize;
}
