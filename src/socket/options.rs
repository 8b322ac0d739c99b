// SPDX-License-Identifier: GPL-2.0

//! setsockopt and getsockopt: our own level, and kTLS's for keys.

use kernel::prelude::*;

use super::names::destination;
use super::pool::Pool;
use super::uapi::{
    RcvbufArgs, SOCKADDR_STORAGE, SOL_HOMA, SOL_TLS, SO_HOMA_PADDING, SO_HOMA_RCVBUF,
    SO_HOMA_REPLY, SO_HOMA_SEALED, SO_HOMA_SERVER, TLS_RX, TLS_TX,
};
use super::Socket;
use crate::protocol::session::preamble::Padding;
use crate::sys::user::{OptOut, OptVal};
use crate::tls::{Direction, KeySetting};

/// ENOPROTOOPT for an option that there is not; EINVAL, EFAULT, EBUSY for a second pool, and what the
/// keys say.
pub(super) fn set(sock: &Socket, level: i32, name: i32, value: &OptVal<'_>) -> Result {
    match (level, name) {
        (SOL_HOMA, SO_HOMA_RCVBUF) => {
            if value.len() != ::core::mem::size_of::<RcvbufArgs>() {
                return Err(sock.because(EINVAL, "optlen is not the size of homa_rcvbuf_args"));
            }
            let pool = Pool::new(value.read()?).map_err(|e| {
                sock.because(e, "the pool is not page-aligned, smaller than a bpage, or not mapped")
            })?;
            let mut slot = sock.pool.lock();
            if slot.is_some() {
                return Err(sock.because(EBUSY, "the socket has a receive pool already"));
            }
            *slot = Some(pool);
            sock.pooled.store(true);
            Ok(())
        }
        (SOL_HOMA, SO_HOMA_SERVER) => {
            sock.endpoint.set_server(value.read::<i32>()? != 0);
            Ok(())
        }
        (SOL_HOMA, SO_HOMA_SEALED) => match value.read::<i32>()? {
            on @ 0..=1 => {
                sock.endpoint.set_sealed_only(on == 1);
                Ok(())
            }
            _ => Err(sock.because(EINVAL, "SO_HOMA_SEALED is 0 or 1")),
        },
        (SOL_HOMA, SO_HOMA_PADDING) => match Padding::to_multiple_of(value.read()?) {
            Some(padding) => {
                sock.endpoint.set_padding(padding);
                Ok(())
            }
            None => {
                Err(sock.because(EINVAL, "SO_HOMA_PADDING is 0 or a power of two, 2^20 at most"))
            }
        },
        (SOL_HOMA, SO_HOMA_REPLY) => {
            let on = match value.read::<i32>()? {
                on @ 0..=1 => on == 1,
                _ => return Err(sock.because(EINVAL, "SO_HOMA_REPLY is 0 or 1")),
            };
            sock.replies.store(on);
            if !on {
                drop(sock.asked.take());
            }
            Ok(())
        }
        (SOL_TLS, TLS_TX) => set_key(sock, Direction::Tx, value).map_err(|e| key_error(sock, e)),
        (SOL_TLS, TLS_RX) => set_key(sock, Direction::Rx, value).map_err(|e| key_error(sock, e)),
        _ => Err(sock.because(ENOPROTOOPT, "Homa has no such option")),
    }
}

/// ENOPROTOOPT for an option that there is not, or that cannot be read.
pub(super) fn get(sock: &Socket, level: i32, name: i32, out: &mut OptOut<'_>) -> Result {
    match (level, name) {
        (SOL_HOMA, SO_HOMA_RCVBUF) => {
            let none = RcvbufArgs { start: 0, length: 0 };
            let args = sock.pool.lock().as_ref().map_or(none, Pool::args);
            out.write(&args)
        }
        (SOL_HOMA, SO_HOMA_SERVER) => write_int(out, i32::from(sock.endpoint.is_server())),
        (SOL_HOMA, SO_HOMA_SEALED) => write_int(out, i32::from(sock.endpoint.is_sealed_only())),
        (SOL_HOMA, SO_HOMA_PADDING) => write_int(out, sock.endpoint.padding().multiple() as i32),
        (SOL_HOMA, SO_HOMA_REPLY) => write_int(out, i32::from(sock.is_replying())),
        _ => Err(ENOPROTOOPT),
    }
}

/// EINVAL if there is no room for it.
fn write_int(out: &mut OptOut<'_>, value: i32) -> Result {
    if out.len() < ::core::mem::size_of::<i32>() {
        return Err(EINVAL);
    }
    out.write(&value)
}

fn key_error(sock: &Socket, error: Error) -> Error {
    let words = match error {
        e if e == EINVAL => "the key's length, version, cipher type, rec_seq or peer is not valid, or it is of another kind",
        e if e == EBUSY => "messages under the key before the current one are still under way",
        e if e == ENOTUNIQ => "the key is the current or the previous one",
        e if e == ENOSPC => "too many sessions on this socket",
        _ => "the key could not be set",
    };
    sock.because(error, words)
}

/// A key: kTLS's structure on a connected socket, the peer's address and then that structure on one
/// that is not.
fn set_key(sock: &Socket, direction: Direction, value: &OptVal<'_>) -> Result {
    let endpoint = &sock.endpoint;
    let (peer, offset) = match endpoint.sk.peer() {
        Some(peer) => (peer, 0),
        None => {
            if value.len() <= SOCKADDR_STORAGE {
                return Err(EINVAL);
            }
            let mut name = [0; SOCKADDR_STORAGE];
            value.read_slice_at(0, &mut name)?;
            (destination(&endpoint.sk, &name).map_err(|_| EINVAL)?, SOCKADDR_STORAGE)
        }
    };
    let limits = endpoint.ns.config.limits().tls();
    let setting = KeySetting::read(value, offset, limits)?;
    endpoint.install_key(peer, direction, setting.keys)
}
