// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The system calls that the standard library does not have.

use homa::uapi::{
    tls12_crypto_info_aes_gcm_128, tls_crypto_info, SOL_TLS, TLS_1_3_VERSION,
    TLS_CIPHER_AES_GCM_128, TLS_RX, TLS_TX,
};
use libc::{c_int, pid_t, socklen_t};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::spec::KeyIv;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// `setsockopt` of plain data, which the kernel only reads.
fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    value: &T,
) -> io::Result<()> {
    let (value, len) = (ptr::from_ref(value).cast(), size_of::<T>() as socklen_t);
    // SAFETY: `len` bytes at `value` are the caller's.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value, len) }).map(drop)
}

/// Room for so many bytes in flight in either direction, beyond the system's limits if we may.
pub fn set_buffers(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    // What the kernel counts is packets with all that surrounds them; half of it is ours.
    let bytes = c_int::try_from(bytes * 2).unwrap_or(c_int::MAX);
    for (force, polite) in
        [(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF), (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)]
    {
        set_option(fd, libc::SOL_SOCKET, force, &bytes)
            .or_else(|_| set_option(fd, libc::SOL_SOCKET, polite, &bytes))?;
    }
    Ok(())
}

/// Calls that would have to wait fail instead (EAGAIN).
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(drop)
}

/// Make a TCP connection a kTLS one: its upper-layer protocol, and a key for each direction.
pub fn enable_ktls(
    fd: BorrowedFd<'_>,
    tx: &KeyIv,
    rx: &KeyIv,
    expect_no_pad: bool,
) -> io::Result<()> {
    const TCP_ULP: c_int = 31;
    const TLS_RX_EXPECT_NO_PAD: c_int = 4;
    set_option(fd, libc::IPPROTO_TCP, TCP_ULP, b"tls").map_err(|error| {
        match error.raw_os_error() {
            Some(libc::ENOENT) => {
                io::Error::other("the kernel has no TLS: 'modprobe tls' on both hosts")
            }
            _ => error,
        }
    })?;
    set_option(fd, SOL_TLS, TLS_TX, &crypto_info(tx))?;
    set_option(fd, SOL_TLS, TLS_RX, &crypto_info(rx))?;
    if expect_no_pad {
        set_option(fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, &1_i32)?;
    }
    Ok(())
}

fn crypto_info(key: &KeyIv) -> tls12_crypto_info_aes_gcm_128 {
    let mut info = tls12_crypto_info_aes_gcm_128 {
        info: tls_crypto_info { version: TLS_1_3_VERSION, cipher_type: TLS_CIPHER_AES_GCM_128 },
        key: key.key,
        ..Default::default()
    };
    info.salt.copy_from_slice(&key.iv[..4]);
    info.iv.copy_from_slice(&key.iv[4..]);
    info
}

/// Call this at SIGALRM, which interrupts system calls.
pub fn on_alarm(handler: extern "C" fn(i32)) -> io::Result<()> {
    // SAFETY: all zeros are a valid sigaction: no flags (so no SA_RESTART), empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    // SAFETY: `action` lives during the call; `handler` has the type that a handler without SA_SIGINFO
    // must have, and is a function, so lives for ever.
    check(unsafe { libc::sigaction(libc::SIGALRM, &action, ptr::null_mut()) }).map(drop)
}

/// SIGALRM at this interval; 0 for never.
pub fn set_alarm(seconds: f64) -> io::Result<()> {
    let interval = libc::timeval {
        tv_sec: seconds.trunc() as libc::time_t,
        tv_usec: (seconds.fract() * 1e6) as libc::suseconds_t,
    };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: `timer` lives during the call.
    check(unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) }).map(drop)
}

/// Random bytes, good enough for keys.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the kernel writes at most the N bytes that are there.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    if got == N as isize {
        Ok(bytes)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A child process.
pub struct Child {
    pid: pid_t,
}

/// Run `child` in a process of its own, which then exits. It is killed when this process dies.
///
/// Both processes stay single-threaded, so that system calls need not count references of files.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<Child> {
    // SAFETY: this program has one thread, so the child may do all that the parent may.
    match check(unsafe { libc::fork() })? {
        0 => {
            // SAFETY: no pointers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            std::process::exit(child());
        }
        pid => Ok(Child { pid }),
    }
}

impl Drop for Child {
    /// Kills it and waits for its end.
    fn drop(&mut self) {
        // SAFETY: no pointers but a null one. The process is our child and not yet waited for, so the
        // number is still its.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, ptr::null_mut(), 0);
        }
    }
}
