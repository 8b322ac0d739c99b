// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel's structures and numbers, as in `include/uapi/linux/homa.h`, where each is explained.
//!
//! For programs that make the system calls themselves. `tests/layout.rs` compares every size, offset
//! and number with what a C compiler makes of the header.

#![allow(missing_docs)]

use libc::{c_int, in6_addr, in_addr, sockaddr_in, sockaddr_in6, sockaddr_storage};

pub const IPPROTO_HOMA: c_int = 146;
pub const SOL_TLS: c_int = 282;
pub const TLS_TX: c_int = 1;
pub const TLS_RX: c_int = 2;
pub const TLS_1_2_VERSION: u16 = 0x0303;
pub const TLS_1_3_VERSION: u16 = 0x0304;
pub const TLS_CIPHER_AES_GCM_128: u16 = 51;
pub const TLS_CIPHER_AES_GCM_256: u16 = 52;

pub const HOMA_MAX_MESSAGE_LENGTH: usize = 1_000_000;
pub const HOMA_BPAGE_SHIFT: u32 = 16;
pub const HOMA_BPAGE_SIZE: usize = 1 << HOMA_BPAGE_SHIFT;
pub const HOMA_MAX_BPAGES: usize =
    (HOMA_MAX_MESSAGE_LENGTH + HOMA_BPAGE_SIZE - 1) >> HOMA_BPAGE_SHIFT;
pub const HOMA_MIN_DEFAULT_PORT: u16 = 0x8000;

pub const HOMA_CMSG_RPC: c_int = 1;
pub const HOMA_CMSG_SHORT: usize = 20;
pub const HOMA_CMSG_SEALED: u32 = 0x1;
pub const HOMA_CMSG_FAILED: u32 = 0x2;

pub const HOMA_SENDMSG_PRIVATE: u32 = 0x1;

pub const SO_HOMA_RCVBUF: c_int = 10;
pub const SO_HOMA_SERVER: c_int = 11;
pub const SO_HOMA_SEALED: c_int = 12;
pub const SO_HOMA_REPLY: c_int = 14;

pub const HOMA_RPC_BUF_STALL: u16 = 1;
pub const HOMA_RPC_PRIVATE: u16 = 2;
pub const HOMA_RPC_RX_READY: u16 = 4;
pub const HOMA_RPC_RX_COPY: u16 = 8;

pub const HOMA_ERROR_MSG_SIZE: usize = 104;

pub const HOMAIOCINFO: u64 = ioc(3, 0x90, size_of::<homa_info>());
pub const HOMAIOCABORT: u64 = ioc(3, 0x91, size_of::<homa_abort_args>());
pub const HOMAIOCFREEZE: u64 = ioc(0, 0x92, 0);

/// An ioctl number of type `'h'`, as `_IOC` makes it on the architectures that Homa runs on.
const fn ioc(direction: u64, number: u64, size: usize) -> u64 {
    (direction << 30) | ((size as u64) << 16) | ((b'h' as u64) << 8) | number
}

/// An IPv4 or IPv6 address; `family` of either member tells which.
#[repr(C)]
#[derive(Clone, Copy)]
pub union homa_peer {
    pub in4: sockaddr_in,
    pub in6: sockaddr_in6,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct homa_rpc_cmsg {
    pub id: u64,
    pub cookie: u64,
    pub flags: u32,
    pub error: i32,
    pub peer: homa_peer,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct homa_sendmsg_args {
    pub id: u64,
    pub completion_cookie: u64,
    pub flags: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct homa_recvmsg_args {
    pub id: u64,
    pub completion_cookie: u64,
    pub num_bpages: u32,
    pub reserved: u32,
    pub bpage_offsets: [u32; HOMA_MAX_BPAGES],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct homa_rcvbuf_args {
    pub start: u64,
    pub length: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct tls_crypto_info {
    pub version: u16,
    pub cipher_type: u16,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct tls12_crypto_info_aes_gcm_128 {
    pub info: tls_crypto_info,
    pub iv: [u8; 8],
    pub key: [u8; 16],
    pub salt: [u8; 4],
    pub rec_seq: [u8; 8],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct tls12_crypto_info_aes_gcm_256 {
    pub info: tls_crypto_info,
    pub iv: [u8; 8],
    pub key: [u8; 32],
    pub salt: [u8; 4],
    pub rec_seq: [u8; 8],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union homa_tls_key_crypto {
    pub info: tls_crypto_info,
    pub aes_gcm_128: tls12_crypto_info_aes_gcm_128,
    pub aes_gcm_256: tls12_crypto_info_aes_gcm_256,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct homa_tls_key {
    pub peer: sockaddr_storage,
    pub crypto: homa_tls_key_crypto,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct homa_abort_args {
    pub id: u64,
    pub error: u32,
    pub _pad1: u32,
    pub _pad2: [u64; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union homa_rpc_info_peer {
    pub storage: sockaddr_storage,
    pub in4: sockaddr_in,
    pub in6: sockaddr_in6,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct homa_rpc_info {
    pub id: u64,
    pub peer: homa_rpc_info_peer,
    pub completion_cookie: u64,
    pub tx_length: i32,
    pub tx_sent: u32,
    pub tx_granted: u32,
    pub tx_prio: u32,
    pub rx_length: i32,
    pub rx_remaining: u32,
    pub rx_gaps: u32,
    pub rx_gap_bytes: u32,
    pub rx_granted: u32,
    pub flags: u16,
    pub reserved: u16,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct homa_info {
    pub rpc_info: u64,
    pub rpc_info_length: u64,
    pub bpool_avail_bytes: u64,
    pub port: u32,
    pub num_rpcs: u32,
    pub error_msg: [u8; HOMA_ERROR_MSG_SIZE],
}

/// No address.
pub(crate) const NO_PEER: homa_peer = homa_peer {
    in6: sockaddr_in6 {
        sin6_family: libc::AF_UNSPEC as u16,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: in6_addr { s6_addr: [0; 16] },
        sin6_scope_id: 0,
    },
};

impl homa_peer {
    /// The address family, `AF_UNSPEC` if there is no address.
    pub fn family(&self) -> c_int {
        // SAFETY: both members begin with the family, and any bytes are a valid one.
        c_int::from(unsafe { self.in4.sin_family })
    }

    /// The length of the `sockaddr` in it, 0 if there is no address.
    pub fn len(&self) -> usize {
        match self.family() {
            libc::AF_INET => size_of::<sockaddr_in>(),
            libc::AF_INET6 => size_of::<sockaddr_in6>(),
            _ => 0,
        }
    }

    /// Is there no address?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<std::net::SocketAddr> for homa_peer {
    fn from(address: std::net::SocketAddr) -> Self {
        // The bytes behind an in4 are zero.
        let mut peer = NO_PEER;
        match address {
            std::net::SocketAddr::V4(v4) => {
                peer.in4 = sockaddr_in {
                    sin_family: libc::AF_INET as u16,
                    sin_port: v4.port().to_be(),
                    sin_addr: in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                }
            }
            std::net::SocketAddr::V6(v6) => {
                peer.in6 = sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as u16,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                }
            }
        }
        peer
    }
}

impl From<&homa_peer> for Option<std::net::SocketAddr> {
    fn from(peer: &homa_peer) -> Self {
        use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
        match peer.family() {
            libc::AF_INET => {
                // SAFETY: the family says that this is the member; any bytes are valid in it.
                let v4 = unsafe { peer.in4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let v6 = unsafe { peer.in6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}
