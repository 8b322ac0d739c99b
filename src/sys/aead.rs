// SPDX-License-Identifier: GPL-2.0

//! AES-GCM (16-byte tags), on the kernel's library: synchronous, no allocation, any context.

/// The tag did not fit: nothing of what was decrypted may be used.
pub struct BadTag;

/// An expanded key (about 700 bytes); wiped on drop.
pub struct AeadKey;   // in a KBox; Send + Sync
impl AeadKey {
    /// 16, 24 or 32 bytes; EINVAL otherwise.
    pub fn new(key: &[u8], flags: Flags) -> Result<Self>;
    /// One contiguous piece, in place.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; 16];
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; 16]) -> Result<(), BadTag>;
    /// `src` to `dst` of the same length (the shorter counts: EINVAL-free by assertion: false if they differ).
    pub fn open_into(&self, nonce: &[u8; 12], aad: &[u8], src: &[u8], dst: &mut [u8], tag: &[u8; 16]) -> Result<(), BadTag>;
    /// Several pieces: `let mut s = key.sealer(&nonce, &aad); for run in .. { s.update(run) }; let tag = s.finish();`
    pub fn sealer(&self, nonce: &[u8; 12], aad: &[u8]) -> Sealer<'_>;
    pub fn opener(&self, nonce: &[u8; 12], aad: &[u8]) -> Opener<'_>;
}
pub struct Sealer<'k>;
impl Sealer<'_> { pub fn update(&mut self, data: &mut [u8]); pub fn update_into(&mut self, src: &[u8], dst: &mut [u8]); pub fn finish(self) -> [u8; 16]; }
pub struct Opener<'k>;
impl Opener<'_> { pub fn update(&mut self, data: &mut [u8]); pub fn update_into(&mut self, src: &[u8], dst: &mut [u8]); pub fn finish(self, tag: &[u8; 16]) -> Result<(), BadTag>; }
