// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Any calls to an RPC, in any order and at any time.

#![no_main]

use arbitrary::Arbitrary;
use homa_core::config::Config;
use homa_core::msgin::{MsgIn, Range};
use homa_core::msgout::MsgOut;
use homa_core::rpc::{Action, Data, Phase, Role, Rpc};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Call {
    Data { length: u32, incoming: u32, start: u32, len: u16, sealed: bool },
    Near { start: u16, len: u16, sealed: bool },
    Prove,
    Forget { start: u16, len: u16 },
    ForgetMessage,
    Deliver,
    Reply { length: u32 },
    Advance { to: u32 },
    Grant { to: u32 },
    PollGrant,
    Resend { offset: u32, len: u32 },
    Unknown,
    Busy,
    NeedAck,
    Ack,
    Timer,
    Wait { time: u64 },
}

const LENGTH: u32 = 20_000;

fuzz_target!(|input: (bool, Vec<Call>)| {
    let (is_client, calls) = input;
    let config = Config::default();
    let mut now = 0u64;
    let mut rpc = if is_client {
        Rpc::client(now, &config, MsgOut::new(LENGTH, 10_000))
    } else {
        Rpc::server(now, &config, MsgIn::new(LENGTH, 10_000))
    };
    let role = if is_client { Role::Client } else { Role::Server };
    for call in calls {
        let was = rpc.phase();
        let data = |rpc: &mut Rpc, length, incoming, start: u32, len: u16, sealed| {
            let payload = Range { start, end: start.saturating_add(u32::from(len)) };
            let kept = rpc.handle_data(now, &config, length, incoming, payload, sealed);
            if let Data::Keep(kept) = kept {
                assert!(was != Phase::Done && rpc.has(kept) && kept.len() > 0);
                assert!(payload.start <= kept.start && kept.end <= payload.end);
            }
        };
        let action = match call {
            Call::Data { length, incoming, start, len, sealed } => {
                data(&mut rpc, length, incoming, start, len, sealed);
                Action::None
            }
            Call::Near { start, len, sealed } => {
                data(&mut rpc, LENGTH, LENGTH, u32::from(start), len % 3000, sealed);
                Action::None
            }
            Call::Prove => {
                if rpc.msgin().is_some() {
                    rpc.prove(now);
                }
                Action::None
            }
            Call::Forget { start, len } => {
                let start = u32::from(start);
                rpc.forget(Range { start, end: start + u32::from(len) });
                Action::None
            }
            Call::ForgetMessage => {
                rpc.forget_message();
                Action::None
            }
            Call::Deliver => {
                if rpc.is_deliverable() {
                    rpc.deliver();
                }
                Action::None
            }
            Call::Reply { length } => {
                let replied = rpc.reply(now, &config, MsgOut::new(length, 10_000));
                assert_eq!(replied, role == Role::Server && was == Phase::InService);
                Action::None
            }
            Call::Advance { to } => {
                if let Some(out) = rpc.out_mut() {
                    out.advance(to);
                }
                Action::None
            }
            Call::Grant { to } => rpc.handle_grant(now, to),
            Call::PollGrant => {
                rpc.poll_grant(&config);
                Action::None
            }
            Call::Resend { offset, len } => rpc.handle_resend(now, offset, len),
            Call::Unknown => rpc.handle_unknown(now, &config),
            Call::Busy => rpc.handle_busy(now, &config),
            Call::NeedAck => rpc.handle_need_ack(now),
            Call::Ack => rpc.handle_ack(),
            Call::Timer => rpc.poll_timer(now, &config),
            Call::Wait { time } => {
                now = now.saturating_add(time);
                Action::None
            }
        };
        match action {
            Action::Retransmit(range) => {
                let out = rpc.out().unwrap();
                assert!(range.start < range.end && range.end <= out.sent());
            }
            Action::Fail(_) => assert!(is_client && was != Phase::Done),
            Action::Free => assert!(!is_client),
            Action::None | Action::Send(_) => {}
        }
        assert!(was != Phase::Done || rpc.phase() == Phase::Done);
        assert!(rpc.phase() != Phase::Done || rpc.deadline().is_none());
        assert_eq!(rpc.role(), role);
    }
});
