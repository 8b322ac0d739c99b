// SPDX-License-Identifier: GPL-2.0

//! System calls on a socket: `struct proto` and `struct proto_ops`.

use super::{epoll, put_state, sock_of, state, take_state, DatagramProtocol, Object};
use crate::sys::{
    addr::{Family, SockAddr},
    sock::{write_space, Sock, SHUT_RCV, SHUT_SEND},
    uio::MsgHdr,
    user::{OptOut, OptVal},
};
use ::core::{
    mem::{offset_of, size_of},
    slice,
    sync::atomic::{AtomicI32, Ordering},
};
use homa_bindings as bindings;
use kernel::{
    error::from_result,
    ffi::{c_char, c_int, c_long, c_uint, c_ulong},
    prelude::*,
};

pub(super) fn proto<P: DatagramProtocol>(module: &'static ThisModule, v6: bool) -> bindings::proto {
    let mut p: bindings::proto = pin_init::zeroed();
    let suffix = if v6 { "v6" } else { "" };
    let name = Iterator::chain(P::NAME.bytes(), suffix.bytes());
    for (to, from) in p.name.iter_mut().take(31).zip(name) {
        *to = from as c_char;
    }
    p.owner = module.as_ptr().cast();
    p.init = Some(init::<P>);
    p.close = Some(close);
    p.destroy = Some(destroy::<P>);
    p.unhash = Some(unhash);
    p.hash = Some(hash);
    p.get_port = Some(get_port);
    p.no_autobind = true;
    p.obj_size = size_of::<Object>() as c_uint;
    if v6 {
        p.setsockopt = Some(bindings::ipv6_setsockopt);
        p.getsockopt = Some(bindings::ipv6_getsockopt);
        p.ipv6_pinfo_offset = offset_of!(Object, inet6) as c_uint;
    } else {
        p.setsockopt = Some(bindings::ip_setsockopt);
        p.getsockopt = Some(bindings::ip_getsockopt);
        p.obj_size = offset_of!(Object, inet6) as c_uint;
    }
    p
}

pub(super) fn ops<P: DatagramProtocol>(
    module: &'static ThisModule,
    v6: bool,
) -> bindings::proto_ops {
    let mut o: bindings::proto_ops = pin_init::zeroed();
    o.owner = module.as_ptr().cast();
    o.socketpair = Some(bindings::sock_no_socketpair);
    o.accept = Some(bindings::sock_no_accept);
    o.listen = Some(bindings::sock_no_listen);
    o.mmap = Some(bindings::sock_no_mmap);
    o.gettstamp = Some(bindings::sock_gettstamp);
    o.bind = Some(bind::<P>);
    o.connect = Some(connect::<P>);
    o.sendmsg = Some(sendmsg::<P>);
    o.recvmsg = Some(recvmsg::<P>);
    o.poll = Some(poll::<P>);
    o.shutdown = Some(shutdown::<P>);
    o.setsockopt = Some(setsockopt::<P>);
    o.getsockopt = Some(getsockopt::<P>);
    o.ioctl = Some(ioctl::<P>);
    if v6 {
        o.family = bindings::AF_INET6 as c_int;
        o.release = Some(bindings::inet6_release);
        o.getname = Some(bindings::inet6_getname);
    } else {
        o.family = bindings::AF_INET as c_int;
        o.release = Some(bindings::inet_release);
        o.getname = Some(bindings::inet_getname);
    }
    o
}

pub(super) fn protosw<P: DatagramProtocol>() -> bindings::inet_protosw {
    let mut sw: bindings::inet_protosw = pin_init::zeroed();
    sw.type_ = bindings::sock_type_SOCK_DGRAM as u16;
    sw.protocol = u16::from(P::PROTOCOL);
    sw
}

// struct proto.

/// # Safety
///
/// `sk` must be a new socket of `P`, complete but for its state, that nobody else uses yet.
unsafe extern "C" fn init<P: DatagramProtocol>(sk: *mut bindings::sock) -> c_int {
    // SAFETY: a new socket of ours, complete but for this.
    let sock = unsafe { Sock::from_raw(sk) };
    // The sock, and with it the reference to the module, goes a grace period after its last user.
    // SAFETY: nobody else uses the socket yet.
    unsafe {
        bindings::shim_sock_set_rcu_free(sk);
        (*sk).sk_write_space = Some(write_space);
    }
    from_result(|| {
        let state = P::init(sock.get_ref())?;
        // SAFETY: nobody else uses the socket yet.
        unsafe {
            put_state::<P>(sk, state);
            // The column "sockets" of /proc/net/protocols.
            bindings::shim_sock_inuse_add(sk, 1);
        }
        Ok(0)
    })
}

/// # Safety
///
/// `sk` must be a valid socket of ours. Its file's reference goes: it must not be used or closed again.
unsafe extern "C" fn close(sk: *mut bindings::sock, _timeout: c_long) {
    // Calls `destroy`, then drops the reference of the file.
    // SAFETY: called once, by inet_release, with a valid socket.
    unsafe { bindings::sk_common_release(sk) }
}

/// # Safety
///
/// `sk` must be a valid socket of `P`, with no call under way on it or to come.
unsafe extern "C" fn destroy<P: DatagramProtocol>(sk: *mut bindings::sock) {
    // SAFETY: called once, when no call is under way any more, or none was yet. (There is no state if `init` failed.)
    if let Some(state) = unsafe { take_state::<P>(sk) } {
        P::close(&state);
        // SAFETY: the sock is alive; `init` added one.
        unsafe { bindings::shim_sock_inuse_add(sk, -1) };
    }
}

/// # Safety
///
/// None: it does nothing.
unsafe extern "C" fn unhash(_sk: *mut bindings::sock) {
    // The protocol has tables of its own.
}

/// # Safety
///
/// None: it does nothing.
unsafe extern "C" fn hash(_sk: *mut bindings::sock) -> c_int {
    0
}

/// # Safety
///
/// None: it does nothing.
unsafe extern "C" fn get_port(_sk: *mut bindings::sock, _port: u16) -> c_int {
    // Nobody binds but through proto_ops.
    1
}

// struct proto_ops. All are called with a valid socket of ours whose file is held: neither goes while the call lasts.

/// The bytes of a sockaddr.
///
/// # Safety
///
/// `addr` must be valid for reads of `len` bytes during `'a`.
unsafe fn name<'a>(addr: *const bindings::sockaddr_unsized, len: c_int) -> &'a [u8] {
    match usize::try_from(len) {
        // SAFETY: by the caller's promise.
        Ok(len) if !addr.is_null() => unsafe { slice::from_raw_parts(addr.cast(), len) },
        _ => &[],
    }
}

/// # Safety
///
/// `socket` must be a socket of `P` whose file is held during the call; `addr` must be null or
/// valid for reads of `len` bytes until it returns.
unsafe extern "C" fn bind<P: DatagramProtocol>(
    socket: *mut bindings::socket,
    addr: *mut bindings::sockaddr_unsized,
    len: c_int,
) -> c_int {
    // SAFETY: see above; the address is in kernel memory by now.
    let (sock, name) = unsafe { (state::<P>((*socket).sk), name(addr, len)) };
    from_result(|| P::bind(sock, name).map(|()| 0))
}

/// # Safety
///
/// As for [`bind`].
unsafe extern "C" fn connect<P: DatagramProtocol>(
    socket: *mut bindings::socket,
    addr: *mut bindings::sockaddr_unsized,
    len: c_int,
    _flags: c_int,
) -> c_int {
    // SAFETY: see above; the address is in kernel memory by now.
    let (sock, name) = unsafe { (state::<P>((*socket).sk), name(addr, len)) };
    from_result(|| {
        if SockAddr::family_of(name).ok_or(EINVAL)? == bindings::AF_UNSPEC as u16 {
            P::disconnect(sock)?;
        } else {
            P::connect(sock, name)?;
        }
        Ok(0)
    })
}

/// # Safety
///
/// `socket` must be a socket of `P` whose file is held during the call; `msg` must be a
/// message to send, valid, and used by nobody else until it returns.
unsafe extern "C" fn sendmsg<P: DatagramProtocol>(
    socket: *mut bindings::socket,
    msg: *mut bindings::msghdr,
    len: usize,
) -> c_int {
    // SAFETY: see above; the message is ours during the call.
    let (sock, mut msg) =
        unsafe { (state::<P>((*socket).sk), MsgHdr::from_raw(msg, sock_of(socket))) };
    count(P::sendmsg(sock, &mut msg, len))
}

/// # Safety
///
/// As for [`sendmsg`], with a message to receive into.
unsafe extern "C" fn recvmsg<P: DatagramProtocol>(
    socket: *mut bindings::socket,
    msg: *mut bindings::msghdr,
    len: usize,
    flags: c_int,
) -> c_int {
    // SAFETY: see above; the message is ours during the call.
    let (sock, mut msg) =
        unsafe { (state::<P>((*socket).sk), MsgHdr::from_raw(msg, sock_of(socket))) };
    count(P::recvmsg(sock, &mut msg, len, flags as u32))
}

/// What read and write functions return.
#[inline]
fn count(result: Result<usize>) -> c_int {
    match result {
        // Messages are shorter than 2 GiB: the system call sees to that.
        Ok(n) => n.min(c_int::MAX as usize) as c_int,
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// `socket` must be a socket of `P` whose file is held during the call; `file` must be its file,
/// and `wait` null or a valid table.
unsafe extern "C" fn poll<P: DatagramProtocol>(
    file: *mut bindings::file,
    socket: *mut bindings::socket,
    wait: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // Waits first and looks then, so that nothing comes in between.
    // SAFETY: see above; file and table are valid.
    let (sock, sk) = unsafe {
        bindings::shim_sock_poll_wait(file, socket, wait);
        (state::<P>((*socket).sk), (*socket).sk)
    };
    let mut events = P::poll(sock).0;
    if events & epoll::EPOLLOUT == 0 {
        // SAFETY: see above.
        unsafe { sock_of(socket).want_space() };
        events = P::poll(sock).0;
    }
    // SAFETY: see above; C writes the word in one piece.
    let err = unsafe { AtomicI32::from_ptr(&raw mut (*sk).sk_err) };
    if err.load(Ordering::Relaxed) != 0 {
        events |= epoll::EPOLLERR;
    }
    // SAFETY: see above.
    let shut = unsafe { Sock::from_raw(sk) };
    if shut.is_shutdown_rcv() {
        events |= epoll::EPOLLRDHUP | epoll::EPOLLIN | epoll::EPOLLRDNORM;
        if shut.is_shutdown_send() {
            events |= epoll::EPOLLHUP;
        }
    }
    events
}

/// # Safety
///
/// `socket` must be a socket of `P` whose file is held during the call.
unsafe extern "C" fn shutdown<P: DatagramProtocol>(
    socket: *mut bindings::socket,
    how: c_int,
) -> c_int {
    // SAFETY: see above.
    let (sock, sk) = unsafe { (state::<P>((*socket).sk), sock_of(socket)) };
    from_result(|| {
        let how = match how {
            0 => SHUT_RCV,
            1 => SHUT_SEND,
            2 => SHUT_RCV | SHUT_SEND,
            _ => return Err(EINVAL),
        };
        sk.set_shutdown(how);
        P::shutdown(sock, how)?;
        Ok(0)
    })
}

/// Whether an option is the protocol's, and not IP's.
fn is_own<P: DatagramProtocol>(level: c_int) -> bool {
    level == c_int::from(P::PROTOCOL) || level == bindings::SOL_TLS as c_int
}

/// Options that would put headers between IP's and ours: routes are looked up, and sizes computed, without them.
fn is_extension_header(level: c_int, name: c_int) -> bool {
    let (Ok(level), Ok(name)) = (u32::try_from(level), u32::try_from(name)) else {
        return false;
    };
    match level {
        bindings::SOL_IP => name == bindings::IP_OPTIONS,
        bindings::SOL_IPV6 => matches!(
            name,
            bindings::IPV6_HOPOPTS
                | bindings::IPV6_RTHDRDSTOPTS
                | bindings::IPV6_RTHDR
                | bindings::IPV6_DSTOPTS
                | bindings::IPV6_2292PKTOPTIONS
        ),
        _ => false,
    }
}

/// # Safety
///
/// `socket` must be a socket of `P` whose file is held during the call; `value` must be what
/// the system call got: user memory, or kernel memory that is valid for `len` bytes.
unsafe extern "C" fn setsockopt<P: DatagramProtocol>(
    socket: *mut bindings::socket,
    level: c_int,
    name: c_int,
    value: bindings::sockptr_t,
    len: c_uint,
) -> c_int {
    // SAFETY: see above; the value is what the system call got.
    unsafe {
        let sk = (*socket).sk;
        if is_own::<P>(level) {
            let value = OptVal::from_raw(value, len as usize);
            return from_result(|| P::setsockopt(state::<P>(sk), level, name, value).map(|()| 0));
        }
        if is_extension_header(level, name) {
            return ENOPROTOOPT.to_errno();
        }
        match sock_of(socket).family() {
            Family::V4 => bindings::ip_setsockopt(sk, level, name, value, len),
            Family::V6 => bindings::ipv6_setsockopt(sk, level, name, value, len),
        }
    }
}

/// # Safety
///
/// `socket` must be a socket of `P` whose file is held during the call. (`value` and `len` are
/// into user memory and need not be valid.)
unsafe extern "C" fn getsockopt<P: DatagramProtocol>(
    socket: *mut bindings::socket,
    level: c_int,
    name: c_int,
    value: *mut c_char,
    len: *mut c_int,
) -> c_int {
    // SAFETY: see above; both pointers are into user memory.
    unsafe {
        let sk = (*socket).sk;
        if is_own::<P>(level) {
            return from_result(|| {
                let mut out = OptOut::new(value, len)?;
                P::getsockopt(state::<P>(sk), level, name, &mut out).map(|()| 0)
            });
        }
        match sock_of(socket).family() {
            Family::V4 => bindings::ip_getsockopt(sk, level, name, value, len),
            Family::V6 => bindings::ipv6_getsockopt(sk, level, name, value, len),
        }
    }
}

/// # Safety
///
/// `socket` must be a socket of `P` whose file is held during the call. (`arg` may be anything
/// that a program passes.)
unsafe extern "C" fn ioctl<P: DatagramProtocol>(
    socket: *mut bindings::socket,
    cmd: c_uint,
    arg: c_ulong,
) -> c_int {
    // SAFETY: see above.
    unsafe {
        match P::ioctl(state::<P>((*socket).sk), cmd, arg) {
            Ok(n) => n,
            Err(e) if e != ENOTTY && e != ENOIOCTLCMD => e.to_errno(),
            Err(_) => match sock_of(socket).family() {
                Family::V4 => bindings::inet_ioctl(socket, cmd, arg),
                Family::V6 => bindings::inet6_ioctl(socket, cmd, arg),
            },
        }
    }
}
