// SPDX-License-Identifier: GPL-2.0

//! `struct msghdr`: the bytes, the address and the control data of one sendmsg or recvmsg. Process context.

use super::{
    addr::{Family, SockAddr},
    secret::wipe,
    sock::{Sock, Timeout},
    user::{Plain, UserPtr},
};
use ::core::{marker::PhantomPinned, mem, ptr, slice};
use homa_bindings as bindings;
use kernel::{
    prelude::*,
    types::{NotThreadSafe, Opaque},
};

/// The message of one sendmsg or recvmsg call, while the call lasts.
///
/// # Invariants
///
/// `raw` is the msghdr of a call on `sock`, in this thread; nobody else touches it.
pub struct MsgHdr<'call> {
    raw: *mut bindings::msghdr,
    sock: &'call Sock,
    _here: NotThreadSafe,
}

impl<'call> MsgHdr<'call> {
    /// # Safety
    ///
    /// `raw` must be the msghdr that a call on `sock` was given, and `'call` end with that call.
    #[inline]
    pub(super) unsafe fn from_raw(raw: *mut bindings::msghdr, sock: &'call Sock) -> Self {
        // INVARIANT: by the caller's promise.
        Self { raw, sock, _here: NotThreadSafe }
    }

    #[inline]
    fn raw(&self) -> &bindings::msghdr {
        // SAFETY: by the invariant.
        unsafe { &*self.raw }
    }

    #[inline]
    fn raw_mut(&mut self) -> &mut bindings::msghdr {
        // SAFETY: by the invariant.
        unsafe { &mut *self.raw }
    }

    /// msg_name as it was passed to sendmsg (in the kernel's memory by now); empty if there is none.
    #[inline]
    pub fn name(&self) -> &[u8] {
        let raw = self.raw();
        match usize::try_from(raw.msg_namelen) {
            // SAFETY: in sendmsg, msg_name is NULL or points at msg_namelen bytes; in recvmsg msg_namelen is 0.
            Ok(len) if !raw.msg_name.is_null() => unsafe {
                slice::from_raw_parts(raw.msg_name.cast(), len)
            },
            _ => &[],
        }
    }

    /// Whether recvmsg's caller wants to know the sender's address.
    #[inline]
    pub fn wants_name(&self) -> bool {
        !self.raw().msg_name.is_null()
    }

    /// Tells recvmsg's caller the sender's address, if it wants to know, as sockets of `family` do.
    pub fn set_name(&mut self, family: Family, addr: &SockAddr) {
        if !self.wants_name() {
            return;
        }
        let mut bytes = [0; 28];
        let len = addr.write(family, &mut bytes);
        // SAFETY: in recvmsg, msg_name is NULL or has room for a sockaddr_storage.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.raw_mut().msg_name.cast(), len) };
        // At most 28.
        self.raw_mut().msg_namelen = len as i32;
    }

    /// MSG_* as passed.
    #[inline]
    pub fn flags(&self) -> u32 {
        self.raw().msg_flags
    }

    /// Adds to msg_flags, such as MSG_TRUNC.
    pub fn set_flags(&mut self, flags: u32) {
        self.raw_mut().msg_flags |= flags;
    }

    /// MSG_DONTWAIT was given (to sendmsg; recvmsg gets its flags as an argument).
    #[inline]
    pub fn dont_wait(&self) -> bool {
        self.flags() & bindings::MSG_DONTWAIT != 0
    }

    /// The socket's timeout for sending; zero with MSG_DONTWAIT.
    pub fn send_timeout(&self) -> Timeout {
        self.sock.send_timeout(self.dont_wait())
    }

    /// The socket's timeout for receiving; zero with MSG_DONTWAIT in `flags`.
    pub fn recv_timeout(&self, flags: u32) -> Timeout {
        self.sock.recv_timeout(flags & bindings::MSG_DONTWAIT != 0)
    }

    /// Sleeps until `cond` returns something, woken by [`Sock::data_ready`], which wakes one of those who wait here.
    ///
    /// `cond` runs without locks, may sleep, and is tried at once, before anything else. EAGAIN when `timeout` is over, EINTR or
    /// ERESTARTSYS on a signal. `timeout` becomes what is left of it.
    #[inline]
    pub fn wait_readable<R>(
        &self,
        timeout: &mut Timeout,
        mut cond: impl FnMut() -> Option<R>,
    ) -> Result<R> {
        match cond() {
            Some(r) => Ok(r),
            // SAFETY: by the invariant, this is a call on the socket.
            None => unsafe { self.sock.wait(timeout, true, &mut cond) },
        }
    }

    /// The same for those who wait for something of their own: woken each time anybody is.
    #[inline]
    pub fn wait_readable_shared<R>(
        &self,
        timeout: &mut Timeout,
        mut cond: impl FnMut() -> Option<R>,
    ) -> Result<R> {
        match cond() {
            Some(r) => Ok(r),
            // SAFETY: by the invariant, this is a call on the socket.
            None => unsafe { self.sock.wait(timeout, false, &mut cond) },
        }
    }

    /// The same for room to send: sk_write_space wakes all who wait here. After EAGAIN, those who poll are woken, too.
    #[inline]
    pub fn wait_writable<R>(
        &self,
        timeout: &mut Timeout,
        mut cond: impl FnMut() -> Option<R>,
    ) -> Result<R> {
        if let Some(r) = cond() {
            return Ok(r);
        }
        let mut cond = || {
            // SAFETY: by the invariant, this is a call on the socket.
            unsafe { self.sock.want_space() };
            cond()
        };
        match cond() {
            Some(r) => Ok(r),
            // SAFETY: as above.
            None => unsafe { self.sock.wait(timeout, false, &mut cond) },
        }
    }

    /// The control pointer and its length as the program gave them, when they are still in its memory. In recvmsg that
    /// is always so (io_uring included); in sendmsg only with msg_controllen 0: the kernel copies the rest for [`Self::control`].
    pub fn control_user(&self) -> Option<(UserPtr, usize)> {
        let raw = self.raw();
        if !raw.msg_control_is_user() {
            return None;
        }
        // SAFETY: both variants of the union are one pointer.
        let at = unsafe { raw.__bindgen_anon_1.msg_control_user };
        (!at.is_null()).then(|| (UserPtr::new(at as usize), raw.msg_controllen))
    }

    /// In sendmsg: the control bytes, whatever they are.
    pub fn control(&self) -> &[u8] {
        let raw = self.raw();
        // SAFETY: both variants of the union are one pointer.
        let at = unsafe { raw.__bindgen_anon_1.msg_control };
        if raw.msg_control_is_user() || at.is_null() {
            return &[];
        }
        // SAFETY: if it is not in user memory, then the kernel made it, of this length.
        unsafe { slice::from_raw_parts(at.cast(), raw.msg_controllen) }
    }

    /// The control messages of a sendmsg. An ill-formed one ends it, with EINVAL.
    pub fn cmsgs(&self) -> Cmsgs<'_> {
        Cmsgs(self.control())
    }

    /// In recvmsg: appends a control message. Without room for it sets MSG_CTRUNC, as is the custom, and goes on.
    pub fn put_cmsg<T: Plain>(&mut self, level: i32, kind: i32, data: &T) -> Result {
        let data = data.as_bytes();
        let len = i32::try_from(data.len()).map_err(|_| EINVAL)?;
        // SAFETY: `raw` is the message of a call; put_cmsg copies `len` bytes.
        let ret = unsafe {
            bindings::put_cmsg(self.raw, level, kind, len, data.as_ptr().cast_mut().cast())
        };
        kernel::error::to_result(ret)
    }

    /// The iovec, for `builder`, `skb` and `secret`.
    #[inline]
    pub fn iter(&mut self) -> &mut IovIter {
        // SAFETY: by the invariant.
        unsafe { IovIter::from_raw(&raw mut (*self.raw).msg_iter) }
    }
}

/// A control message.
pub struct Cmsg<'a> {
    /// SOL_*
    pub level: i32,
    /// What it is, by its level.
    pub kind: i32,
    /// The data.
    pub data: &'a [u8],
}

/// Iterates over control messages.
pub struct Cmsgs<'a>(&'a [u8]);

impl<'a> Iterator for Cmsgs<'a> {
    type Item = Result<Cmsg<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        const HEADER: usize = mem::size_of::<bindings::cmsghdr>();
        // As CMSG_OK and CMSG_NXTHDR: what is shorter than a header is no message, but no mistake either.
        let (header, _) = self.0.split_at_checked(HEADER)?;
        let word = |at: usize| {
            i32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let mut len = [0; 8];
        len.copy_from_slice(&header[..8]);
        let len = usize::from_ne_bytes(len);
        let all = mem::take(&mut self.0);
        if len < HEADER || len > all.len() {
            return Some(Err(EINVAL));
        }
        self.0 = len.checked_next_multiple_of(8).and_then(|end| all.get(end..)).unwrap_or(&[]);
        Some(Ok(Cmsg { level: word(8), kind: word(12), data: &all[HEADER..len] }))
    }
}

/// `struct iov_iter`, in either direction: a copy in the wrong one is EFAULT.
///
/// It has no size that Rust knows, so that nobody can swap two of them, and with them their lifetimes.
#[repr(C)]
pub struct IovIter {
    _opaque: [u8; 0],
    _here: (NotThreadSafe, PhantomPinned),
}

impl IovIter {
    /// # Safety
    ///
    /// `raw` must be a valid iov_iter, usable in this context and not used otherwise, during `'a`.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(raw: *mut bindings::iov_iter) -> &'a mut Self {
        // SAFETY: by the caller's promise; the type has no bytes that Rust could touch.
        unsafe { &mut *raw.cast() }
    }

    #[inline]
    pub(super) fn as_raw(&mut self) -> *mut bindings::iov_iter {
        ptr::from_mut(self).cast()
    }

    #[inline]
    fn get(&self) -> &bindings::iov_iter {
        // SAFETY: by the promise of `from_raw`.
        unsafe { &*ptr::from_ref(self).cast() }
    }

    /// Whether bytes can be taken from it; else they can be put into it.
    #[inline]
    pub(super) fn is_source(&self) -> bool {
        self.get().data_source
    }

    /// # Safety
    ///
    /// `out` must be valid for writes of `len` bytes. They are all initialised if the result is Ok. Part of them may be, with zeros, after EFAULT.
    #[inline]
    pub(super) unsafe fn copy_from_raw(&mut self, out: *mut u8, len: usize) -> Result {
        if !self.is_source() {
            return Err(EFAULT);
        }
        // SAFETY: the iterator is valid, and so is `out`, by the caller's promise.
        match unsafe { bindings::_copy_from_iter(out.cast(), len, self.as_raw()) } {
            n if n == len => Ok(()),
            _ => {
                // What was copied may be a secret, and is where nobody will look for one.
                // SAFETY: by the caller's promise.
                unsafe { wipe(out, len) };
                Err(EFAULT)
            }
        }
    }

    /// Copies bytes out, and steps over their place. EFAULT.
    #[inline]
    pub fn copy_to(&mut self, data: &[u8]) -> Result {
        if self.is_source() {
            return Err(EFAULT);
        }
        // SAFETY: the iterator is valid, and the slice readable.
        match unsafe { bindings::_copy_to_iter(data.as_ptr().cast(), data.len(), self.as_raw()) } {
            n if n == data.len() => Ok(()),
            _ => Err(EFAULT),
        }
    }
}

/// A destination in the memory of the current process: for a receive pool that it mapped.
pub struct UserDest {
    iter: Opaque<bindings::iov_iter>,
    _here: NotThreadSafe,
}

impl UserDest {
    /// EFAULT if the range is not in user address space. Nothing else is known of it before it is used.
    pub fn new(address: usize, len: usize) -> Result<Self> {
        let iter = Opaque::uninit();
        // SAFETY: `iter` is valid for writes, and all written if this succeeds.
        let ret = unsafe {
            bindings::import_ubuf(
                bindings::ITER_DEST as i32,
                address as *mut kernel::ffi::c_void,
                len,
                iter.get(),
            )
        };
        kernel::error::to_result(ret)?;
        Ok(Self { iter, _here: NotThreadSafe })
    }

    /// Where the next bytes go.
    pub fn iter(&mut self) -> &mut IovIter {
        // SAFETY: set up in `new`, and borrowed for as long as the result lives. It holds no kernel pointers.
        unsafe { IovIter::from_raw(self.iter.get()) }
    }
}
