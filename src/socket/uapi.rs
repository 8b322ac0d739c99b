// SPDX-License-Identifier: GPL-2.0

//! The structures and numbers of `<linux/homa.h>`, byte for byte.

use crate::sys::user::plain;

/// `SOL_TLS`.
pub(super) const SOL_TLS: i32 = 282;
/// `TLS_TX`.
pub(super) const TLS_TX: i32 = 1;
/// `TLS_RX`.
pub(super) const TLS_RX: i32 = 2;

/// `IPPROTO_HOMA`: level of options and control messages.
pub(super) const SOL_HOMA: i32 = 146;
/// Register a receive pool.
pub(super) const SO_HOMA_RCVBUF: i32 = 10;
/// Take requests or not.
pub(super) const SO_HOMA_SERVER: i32 = 11;
/// Refuse plain messages or not.
pub(super) const SO_HOMA_SEALED: i32 = 12;
/// Hide how long messages are.
pub(super) const SO_HOMA_PADDING: i32 = 13;
/// Answer with what has no destination, or do not.
pub(super) const SO_HOMA_REPLY: i32 = 14;

/// `cmsg_type` of [`RpcCmsg`].
pub(super) const HOMA_CMSG_RPC: i32 = 1;
/// Bytes of [`RpcCmsg`] that are enough for sendmsg: up to its flags.
pub(super) const HOMA_CMSG_SHORT: usize = ::core::mem::offset_of!(RpcCmsg, error);
/// The message came under a session.
pub(super) const HOMA_CMSG_SEALED: u32 = 1;
/// There is no message: the RPC failed.
pub(super) const HOMA_CMSG_FAILED: u32 = 2;

/// `cmsg_type` of [`KeyCmsg`].
pub(super) const HOMA_CMSG_KEY: i32 = 2;

/// The response goes only to a recvmsg that names its RPC.
pub(super) const HOMA_SENDMSG_PRIVATE: u32 = 1;

/// `HOMAIOCINFO`: `_IOWR('h', 0x90, struct homa_info)`.
pub(super) const HOMAIOCINFO: u32 = iowr(0x90, ::core::mem::size_of::<Info>());
/// `HOMAIOCABORT`: `_IOWR('h', 0x91, struct homa_abort_args)`.
pub(super) const HOMAIOCABORT: u32 = iowr(0x91, ::core::mem::size_of::<AbortArgs>());

const fn iowr(number: u32, size: usize) -> u32 {
    3 << 30 | (size as u32) << 16 | (b'h' as u32) << 8 | number
}

/// Bytes of a `struct __kernel_sockaddr_storage`.
pub(super) const SOCKADDR_STORAGE: usize = 128;

/// `HOMA_ERROR_MSG_SIZE`.
pub(super) const ERROR_MSG_SIZE: usize = 104;

plain! {
    /// `struct homa_rpc_cmsg`.
    pub(super) struct RpcCmsg {
        pub(super) id: u64,
        pub(super) cookie: u64,
        pub(super) flags: u32,
        pub(super) error: i32,
        pub(super) peer: [u8; 28],
        pub(super) reserved: u32,
    }

    /// `struct homa_key_cmsg`.
    pub(super) struct KeyCmsg {
        pub(super) used: u64,
        pub(super) limit: u64,
        pub(super) direction: u32,
        pub(super) peer: [u8; 28],
    }

    /// `struct homa_sendmsg_args`.
    pub(super) struct SendmsgArgs {
        pub(super) id: u64,
        pub(super) completion_cookie: u64,
        pub(super) flags: u32,
        pub(super) reserved: u32,
    }

    /// `struct homa_recvmsg_args`.
    pub(super) struct RecvmsgArgs {
        pub(super) id: u64,
        pub(super) completion_cookie: u64,
        pub(super) num_bpages: u32,
        pub(super) reserved: u32,
        pub(super) bpage_offsets: [u32; 16],
    }

    /// `struct homa_rcvbuf_args`.
    pub(super) struct RcvbufArgs {
        pub(super) start: u64,
        pub(super) length: u64,
    }

    /// `struct homa_abort_args`.
    pub(super) struct AbortArgs {
        pub(super) id: u64,
        pub(super) error: u32,
        pub(super) pad1: u32,
        pub(super) pad2: [u64; 2],
    }

    /// `struct homa_rpc_info`.
    pub(super) struct RpcInfo {
        pub(super) id: u64,
        pub(super) peer: [u8; SOCKADDR_STORAGE],
        pub(super) completion_cookie: u64,
        pub(super) tx_length: i32,
        pub(super) tx_sent: u32,
        pub(super) tx_granted: u32,
        pub(super) tx_prio: u32,
        pub(super) rx_length: i32,
        pub(super) rx_remaining: u32,
        pub(super) rx_gaps: u32,
        pub(super) rx_gap_bytes: u32,
        pub(super) rx_granted: u32,
        pub(super) flags: u16,
        pub(super) pad: u16,
    }

    /// `struct homa_info`.
    pub(super) struct Info {
        pub(super) rpc_info: u64,
        pub(super) rpc_info_length: u64,
        pub(super) bpool_avail_bytes: u64,
        pub(super) port: u32,
        pub(super) num_rpcs: u32,
        pub(super) error_msg: [u8; ERROR_MSG_SIZE],
    }
}
