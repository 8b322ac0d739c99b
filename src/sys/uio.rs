// SPDX-License-Identifier: GPL-2.0

//! `struct msghdr`: the bytes, address and control data of one sendmsg or recvmsg. Process context.

/// The message of one sendmsg or recvmsg call.
pub struct MsgHdr;   // used as &mut MsgHdr
impl MsgHdr {
    /// msg_name as passed to sendmsg (already in kernel memory); empty if there is none.
    pub fn name(&self) -> &[u8];
    /// True if recvmsg's caller wants the sender's address.
    pub fn wants_name(&self) -> bool;
    /// Sets msg_name and its length (recvmsg).
    pub fn set_name(&mut self, family: Family, addr: &SockAddr);
    /// msg_flags: MSG_* as passed.
    pub fn flags(&self) -> u32;
    /// Adds to msg_flags, e.g. MSG_TRUNC.
    pub fn set_flags(&mut self, flags: u32);
    /// MSG_DONTWAIT was given.
    pub fn dont_wait(&self) -> bool;

    /// The control pointer and length as the program gave them. In recvmsg it is always user memory; in sendmsg the
    /// kernel copies control data into its own memory, except when... see `control_user`.
    pub fn control_user(&self) -> Option<(UserPtr, usize)>;
    /// In sendmsg: the raw control bytes (kernel copy), whatever they are.
    pub fn control(&self) -> &[u8];
    /// The well-formed control messages (level, type, data) of a sendmsg; an ill-formed one ends it with Err(EINVAL).
    pub fn cmsgs(&self) -> Cmsgs<'_>;   // Iterator<Item = Result<Cmsg<'_>>>, Cmsg { level: i32, kind: i32, data: &[u8] }
    /// In recvmsg: appends a control message (sets MSG_CTRUNC by itself if there is no room).
    pub fn put_cmsg<T: Plain>(&mut self, level: i32, kind: i32, data: &T) -> Result;

    /// Bytes left in the iovec.
    pub fn remaining(&self) -> usize;
    /// Copies exactly `out.len()` bytes in, advancing. EFAULT.
    pub fn copy_from(&mut self, out: &mut [u8]) -> Result;
    /// Copies out, advancing. EFAULT.
    pub fn copy_to(&mut self, data: &[u8]) -> Result;
    /// The iovec of a sendmsg / recvmsg as an iterator for `skb`, `builder` and `secret`.
    pub fn iter(&mut self) -> &mut IovIter;
}

/// `struct iov_iter` (both directions: a copy in the wrong one returns EFAULT).
pub struct IovIter;
impl IovIter {
    pub fn len(&self) -> usize;
    pub fn copy_from(&mut self, out: &mut [u8]) -> Result;
    pub fn copy_to(&mut self, data: &[u8]) -> Result;
    pub fn advance(&mut self, bytes: usize);
}

/// A destination in the current process's memory: for a receive pool that the program mapped.
/// Must be used in the process context of the program it belongs to.
pub struct UserDest;
impl UserDest {
    /// EFAULT if the range is not user address space.
    pub fn new(address: usize, len: usize) -> Result<Self>;
    pub fn iter(&mut self) -> &mut IovIter;
}
