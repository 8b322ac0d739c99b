// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The system calls: all `unsafe` of this crate but the unions of `uapi.rs`.
//!
//! Control messages are laid out by hand, in a structure of their own: `CMSG_SPACE` and its relatives are
//! arithmetic on a struct cmsghdr followed by the payload.

use crate::uapi::{
    homa_peer, homa_recvmsg_args, homa_rpc_cmsg, homa_sendmsg_args, HOMA_CMSG_RPC, HOMA_CMSG_SHORT,
    IPPROTO_HOMA, NO_PEER,
};
use libc::{c_int, c_void, cmsghdr, iovec, msghdr, socklen_t};
use std::io::{self, IoSlice};
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// The first [`HOMA_CMSG_SHORT`] bytes of a `struct homa_rpc_cmsg`, with its header: what `sendmsg` needs. There may be bytes behind it.
#[repr(C)]
pub struct SendControl {
    header: cmsghdr,
    id: u64,
    cookie: u64,
    flags: u32,
}

/// `struct homa_rpc_cmsg` with its header, as `recvmsg` puts it in `msg_control`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RpcControl {
    header: cmsghdr,
    rpc: homa_rpc_cmsg,
}

/// `CMSG_SPACE` is what we think it is: nothing between header and payload, nothing behind.
const _: () = {
    // SAFETY: these are arithmetic only.
    let (len, space) = unsafe { (libc::CMSG_LEN(56), libc::CMSG_SPACE(56)) };
    assert!(size_of::<homa_rpc_cmsg>() == 56);
    assert!(len as usize == size_of::<RpcControl>() && space as usize == size_of::<RpcControl>());
    assert!(offset_of!(homa_rpc_cmsg, error) == HOMA_CMSG_SHORT);
    assert!(offset_of!(SendControl, flags) + 4 == SendControl::LEN);
};

impl SendControl {
    /// `CMSG_LEN(HOMA_CMSG_SHORT)`.
    const LEN: usize = size_of::<cmsghdr>() + HOMA_CMSG_SHORT;

    /// A control message for `sendmsg`.
    pub fn new(id: u64, cookie: u64, flags: u32) -> Self {
        let header =
            cmsghdr { cmsg_len: Self::LEN, cmsg_level: IPPROTO_HOMA, cmsg_type: HOMA_CMSG_RPC };
        Self { header, id, cookie, flags }
    }
}

impl RpcControl {
    /// Room for `recvmsg` to put one.
    fn room() -> Self {
        Self {
            header: cmsghdr { cmsg_len: 0, cmsg_level: 0, cmsg_type: 0 },
            rpc: homa_rpc_cmsg { id: 0, cookie: 0, flags: 0, error: 0, peer: NO_PEER, reserved: 0 },
        }
    }

    /// Did the kernel put one here?
    fn is_there(&self) -> bool {
        self.header.cmsg_len >= size_of::<Self>()
            && self.header.cmsg_level == IPPROTO_HOMA
            && self.header.cmsg_type == HOMA_CMSG_RPC
    }
}

/// What `recvmsg` returned; `rpc` is also there for an RPC that failed.
pub struct Received {
    pub result: io::Result<usize>,
    pub flags: c_int,
    pub rpc: Option<homa_rpc_cmsg>,
}

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The `iovec` of a message that is only read.
fn iovec_of(message: &[u8]) -> iovec {
    iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() }
}

fn msghdr_of(
    name: *mut c_void,
    namelen: usize,
    iov: *mut iovec,
    control: *mut c_void,
    len: usize,
) -> msghdr {
    msghdr {
        msg_name: name,
        msg_namelen: namelen as socklen_t,
        msg_iov: iov,
        msg_iovlen: 1,
        msg_control: control,
        msg_controllen: len,
        msg_flags: 0,
    }
}

/// `socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_HOMA)`.
pub fn socket(domain: c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(domain, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, IPPROTO_HOMA) };
    check(fd as isize)?;
    // SAFETY: the kernel just gave us this descriptor; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `bind`.
pub fn bind(fd: BorrowedFd<'_>, address: &homa_peer) -> io::Result<()> {
    let len = address.len() as socklen_t;
    // SAFETY: `len` bytes at the pointer are the union's.
    let result = unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(address).cast(), len) };
    check(result as isize).map(drop)
}

/// `connect`.
pub fn connect(fd: BorrowedFd<'_>, address: &homa_peer) -> io::Result<()> {
    let len = address.len() as socklen_t;
    // SAFETY: as in `bind`.
    let result = unsafe { libc::connect(fd.as_raw_fd(), ptr::from_ref(address).cast(), len) };
    check(result as isize).map(drop)
}

/// `getsockname`.
pub fn local_address(fd: BorrowedFd<'_>) -> io::Result<homa_peer> {
    let mut address = NO_PEER;
    let mut len = size_of::<homa_peer>() as socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, the size of the union.
    let result =
        unsafe { libc::getsockname(fd.as_raw_fd(), ptr::from_mut(&mut address).cast(), &mut len) };
    check(result as isize).map(|_| address)
}

/// `setsockopt` with the first `len` bytes of `value`.
///
/// `T` is plain data: whatever the kernel makes of its bytes, it only reads them.
pub fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    value: &T,
    len: usize,
) -> io::Result<()> {
    assert!(len <= size_of::<T>());
    // SAFETY: `len` bytes at the pointer belong to `value`.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            ptr::from_ref(value).cast(),
            len as socklen_t,
        )
    };
    check(result as isize).map(drop)
}

/// `getsockopt` of an int.
pub fn int_option(fd: BorrowedFd<'_>, level: c_int, option: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>() as socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, the size of `value`.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, option, ptr::from_mut(&mut value).cast(), &mut len)
    };
    check(result as isize).map(|_| value)
}

/// `send`, on a connected socket.
pub fn send(fd: BorrowedFd<'_>, message: &[u8], flags: c_int) -> io::Result<usize> {
    // SAFETY: the pointer and length are a slice's.
    check(unsafe { libc::send(fd.as_raw_fd(), message.as_ptr().cast(), message.len(), flags) })
}

/// `recv`.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: c_int) -> io::Result<usize> {
    // SAFETY: the pointer and length are a mutable slice's.
    check(unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) })
}

/// `sendmsg` with an ordinary control message.
pub fn send_control(
    fd: BorrowedFd<'_>,
    to: &homa_peer,
    control: &SendControl,
    message: &[u8],
    flags: c_int,
) -> io::Result<usize> {
    let mut iov = iovec_of(message);
    let control = ptr::from_ref(control).cast_mut().cast();
    let name = ptr::from_ref(to).cast_mut().cast();
    let header = msghdr_of(name, to.len(), &mut iov, control, SendControl::LEN);
    // SAFETY: `header` points to `to`, `iov` and `control`, which live and have those sizes at least; the kernel
    // only reads them.
    check(unsafe { libc::sendmsg(fd.as_raw_fd(), &header, flags) })
}

/// `sendmsg` with `struct homa_sendmsg_args`, whose id the kernel writes.
pub fn send_args(
    fd: BorrowedFd<'_>,
    to: &homa_peer,
    args: &mut homa_sendmsg_args,
    parts: &[IoSlice<'_>],
    flags: c_int,
) -> io::Result<()> {
    let name = ptr::from_ref(to).cast_mut().cast();
    // An IoSlice is an iovec, as its documentation promises.
    let parts_pointer: *mut iovec = parts.as_ptr().cast_mut().cast();
    let mut header = msghdr_of(name, to.len(), parts_pointer, ptr::from_mut(args).cast(), 0);
    header.msg_iovlen = parts.len();
    // SAFETY: `header` points to `to`, `parts` and `args`, which live; the kernel writes only to `args`,
    // which it knows the size of.
    check(unsafe { libc::sendmsg(fd.as_raw_fd(), &header, flags) }).map(drop)
}

/// `recvmsg` with room for an ordinary control message.
pub fn receive_control(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: c_int) -> Received {
    let mut control = RpcControl::room();
    let mut iov = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let room = ptr::from_mut(&mut control).cast();
    let mut header = msghdr_of(ptr::null_mut(), 0, &mut iov, room, size_of::<RpcControl>());
    // SAFETY: `header` points to `iov`, to the bytes of `buffer` through it, and to `control`, all of
    // which live and may be written in the sizes given; any bytes are valid in them.
    let result = check(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut header, flags) });
    let rpc = control.is_there().then_some(control.rpc);
    Received { result, flags: header.msg_flags, rpc }
}

/// `recvmsg` with `struct homa_recvmsg_args`, for sockets with a pool; also returns the sender.
pub fn receive_args(
    fd: BorrowedFd<'_>,
    args: &mut homa_recvmsg_args,
    flags: c_int,
) -> (io::Result<usize>, homa_peer) {
    let mut from = NO_PEER;
    let mut iov = iovec { iov_base: ptr::null_mut(), iov_len: 0 };
    let (name, control) = (ptr::from_mut(&mut from).cast(), ptr::from_mut(args).cast());
    let mut header =
        msghdr_of(name, size_of::<homa_peer>(), &mut iov, control, size_of::<homa_recvmsg_args>());
    header.msg_iovlen = 0;
    // SAFETY: `header` points to `from` and `args`, which live and may be written in the sizes given.
    // The message itself goes to the pool.
    let result = check(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut header, flags) });
    (result, from)
}

/// `ioctl` with a pointer to a structure that the kernel reads and writes.
///
/// # Safety
///
/// `T` must be what `request` works on, and point to no memory that the kernel may not write.
pub unsafe fn ioctl<T>(fd: BorrowedFd<'_>, request: u64, argument: &mut T) -> io::Result<()> {
    // SAFETY: the pointer is a unique reference's, and the caller vouches for the type.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, ptr::from_mut(argument)) };
    check(result as isize).map(drop)
}

/// A mapping of anonymous memory that the kernel writes messages to.
pub struct Region {
    start: *mut u8,
    len: usize,
}

// SAFETY: it is memory like a Vec's; `bytes` says who may look at which part when.
unsafe impl Send for Region {}
// SAFETY: as above; nothing can be written through it.
unsafe impl Sync for Region {}

impl Region {
    /// `len` zero bytes, none of which takes up memory before it is used.
    pub fn new(len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), len })
    }

    /// Address of the first byte.
    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Part of it, `None` if it is not inside.
    ///
    /// # Safety
    ///
    /// The kernel does not write there as long as the slice lives: the program owns these bpages.
    pub unsafe fn bytes(&self, offset: usize, len: usize) -> Option<&[u8]> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: inside the mapping, which lives as long as `self` and is initialised; that nobody
        // writes is the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(self.start.add(offset), len) })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `new` made this mapping, and no slice of it outlives `self`.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}
