// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What is measured: the part that both sides must know.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Udp,
    Tcp,
    Ktls,
    Homa,
    Sealed,
}

impl Transport {
    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Ktls => "ktls",
            Self::Homa => "homa",
            Self::Sealed => "sealed",
        }
    }
}

/// How Homa's system calls are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// Ordinary control messages: sendmsg and recvmsg with struct homa_rpc_cmsg
    #[default]
    Cmsg,
    /// send and recv: the client is connected, the server's socket has SO_HOMA_REPLY
    Plain,
    /// sendmsg with struct homa_sendmsg_args, recvmsg with ordinary control messages
    Args,
    /// HomaModule's way: struct homa_sendmsg_args, struct homa_recvmsg_args and a receive pool
    Pool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub transport: Transport,
    pub api: Api,
    /// Bytes in a request and in a response.
    pub size: usize,
    pub response: usize,
    /// Requests under way at a time.
    pub outstanding: u32,
    pub expect_no_pad: bool,
    /// Requests have all kinds of lengths, up to `size`.
    pub load: bool,
    /// Of the client's socket, for the transports whose server has to know it in advance.
    pub client_port: Option<u16>,
    /// For encrypted transports.
    pub keys: Option<Keys>,
}

/// AES-128-GCM keys for both directions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keys {
    pub client: KeyIv,
    pub server: KeyIv,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct KeyIv {
    pub key: [u8; 16],
    pub iv: [u8; 12],
}
