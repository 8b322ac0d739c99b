// SPDX-License-Identifier: GPL-2.0

//! A list of owned packets, linked through the packets themselves. Not locked.

pub struct SkbQueue;   // Send; dropping it frees the packets
impl SkbQueue {
    pub const fn new() -> Self;
    pub fn is_empty(&self) -> bool;
    pub fn len(&self) -> usize;
    pub fn push_back(&mut self, skb: SkBuff);
    pub fn push_front(&mut self, skb: SkBuff);
    pub fn pop_front(&mut self) -> Option<SkBuff>;
    pub fn pop_back(&mut self) -> Option<SkBuff>;
    pub fn front(&self) -> Option<&Skb>;
    pub fn front_mut(&mut self) -> Option<&mut Skb>;
    pub fn back(&self) -> Option<&Skb>;
    pub fn iter(&self) -> Iter<'_>;            // Item = &Skb
    pub fn for_each_mut(&mut self, f: impl FnMut(&mut Skb));
    /// Inserts by ascending `key(skb)` (searches from the back: in-order arrivals are O(1)).
    pub fn insert_by(&mut self, skb: SkBuff, key: impl Fn(&Skb) -> u32);
    /// Takes all, leaving it empty.
    pub fn take(&mut self) -> SkbQueue;
    pub fn append(&mut self, other: SkbQueue);
    /// Takes out those for which `f` is true.
    pub fn extract_if(&mut self, f: impl FnMut(&Skb) -> bool) -> SkbQueue;
}
