// SPDX-License-Identifier: GPL-2.0 OR MIT

//! RPCs at one end: what each packet and each silence means. (Both ends together: `endpoints`.)

use homa_core::config::{Config, MS};
use homa_core::grant::{Grants, Limits};
use homa_core::msgin::{MsgIn, Range};
use homa_core::msgout::MsgOut;
use homa_core::peer::Pulse;
use homa_core::rpc::{Action, Arrival, Control, Data, Failure, Phase, Role, Rpc};
use homa_core::window::News;
use proptest::prelude::*;

const CONFIG: Config = Config {
    unscheduled: 10_000,
    grant_window: 20_000,
    resend_first: 10 * MS,
    need_ack_first: 20 * MS,
    resend_max: 80 * MS,
    timeout: 1000 * MS,
    ..Config::DEFAULT
};

const fn range(start: u32, end: u32) -> Range {
    Range { start, end }
}

fn message(length: u32) -> MsgOut {
    MsgOut::new(length, CONFIG.unscheduled)
}

/// A client that sent its whole request of `length` bytes at time 0.
fn client(length: u32) -> Rpc {
    let mut out = message(length);
    out.advance(length);
    Rpc::client(0, &CONFIG, out)
}

/// A server with a whole request, in service since time 0.
fn server() -> Rpc {
    let mut rpc = Rpc::server(0, &CONFIG, MsgIn::new(100, 100));
    let data = rpc.handle_data(0, &CONFIG, 100, 100, range(0, 100), false);
    assert_eq!(data, Data::Keep(range(0, 100)));
    assert!(rpc.is_deliverable());
    rpc.deliver();
    rpc
}

/// A server that replied with `length` bytes at time 0 and sent as much as it may.
fn replying(length: u32) -> Rpc {
    let mut rpc = server();
    assert!(rpc.reply(0, &CONFIG, message(length)));
    let out = rpc.out_mut().unwrap();
    out.advance(out.granted());
    rpc
}

#[test]
fn a_client_completes() {
    let mut rpc = client(500);
    assert_eq!((rpc.role(), rpc.phase()), (Role::Client, Phase::Sending));
    let first = rpc.handle_data(1, &CONFIG, 2000, 2000, range(0, 1400), false);
    assert_eq!((first, rpc.phase()), (Data::Keep(range(0, 1400)), Phase::Receiving));
    assert_eq!(rpc.handle_data(2, &CONFIG, 2000, 2000, range(0, 1400), false), Data::Duplicate);
    assert_eq!(rpc.handle_data(2, &CONFIG, 1999, 1999, range(1400, 1999), false), Data::Refused);
    assert!(!rpc.is_deliverable());
    rpc.handle_data(3, &CONFIG, 2000, 2000, range(1400, 2000), false);
    assert!(rpc.is_deliverable());
    assert_eq!(rpc.deadline(), None);
    rpc.deliver();
    assert_eq!(rpc.phase(), Phase::Done);
    assert_eq!(rpc.handle_data(4, &CONFIG, 2000, 2000, range(0, 1400), false), Data::Duplicate);
    assert_eq!(rpc.handle_need_ack(5), Action::Send(Control::Ack));
}

#[test]
fn a_server_replies_once_and_goes_when_acknowledged() {
    let mut rpc = server();
    assert_eq!((rpc.phase(), rpc.deadline()), (Phase::InService, None));
    assert!(rpc.reply(0, &CONFIG, message(10)));
    assert!(!rpc.reply(0, &CONFIG, message(10)));
    // The request again: it is not executed again.
    assert_eq!(rpc.handle_data(1, &CONFIG, 100, 100, range(0, 100), false), Data::Duplicate);
    assert!(!rpc.is_deliverable());
    assert_eq!(rpc.handle_ack(), Action::Free);
    assert_eq!(rpc.phase(), Phase::Done);
}

#[test]
fn a_client_is_never_freed_by_an_ack() {
    let mut rpc = client(10);
    assert_eq!((rpc.handle_ack(), rpc.phase()), (Action::None, Phase::Sending));
}

#[test]
fn silence_leads_to_questions_and_then_to_the_end() {
    let mut rpc = client(500);
    let mut asked = vec![];
    let (end, now) = loop {
        let now = rpc.deadline().expect("a client waits");
        assert_eq!(rpc.poll_timer(now - 1, &CONFIG), Action::None);
        match rpc.poll_timer(now, &CONFIG) {
            Action::Send(control) => {
                // All may be lost, so little is asked for.
                assert_eq!(control, Control::Resend(range(0, 1400)));
                asked.push(now / MS);
            }
            action => break (action, now),
        }
    };
    assert_eq!(asked[..5], [10, 30, 70, 150, 230]);
    assert_eq!(end, Action::Fail(Failure::TimedOut));
    assert!((1000 * MS..=1000 * MS + CONFIG.resend_max).contains(&now));
    assert_eq!((rpc.phase(), rpc.deadline()), (Phase::Done, None));
}

#[test]
fn a_machine_that_stood_still_asks_before_it_gives_up() {
    for peer_asked in [false, true] {
        let mut rpc = client(500);
        let mut pulse = Pulse::new();
        let later = 7 * CONFIG.timeout;
        if peer_asked {
            pulse.heard(CONFIG.resend_first);
        }
        assert!(matches!(rpc.poll_timer_of(later, &CONFIG, &mut pulse), Action::Send(_)));
        rpc.handle_busy(later + 1, &CONFIG);
        assert_eq!(rpc.phase(), Phase::Sending);
        // It is silent from then on.
        let end = loop {
            let now = rpc.deadline().unwrap();
            if let action @ Action::Fail(_) = rpc.poll_timer_of(now, &CONFIG, &mut pulse) {
                break (action, now);
            }
        };
        assert_eq!(end.0, Action::Fail(Failure::TimedOut));
        assert!((later + CONFIG.timeout..later + 2 * CONFIG.timeout).contains(&end.1));
    }
}

#[test]
fn a_busy_server_may_take_its_time() {
    let mut rpc = client(500);
    for n in 0..100 {
        let now = rpc.deadline().unwrap();
        assert!(matches!(rpc.poll_timer(now, &CONFIG), Action::Send(_)));
        // It is asked now and then only whether it lives.
        assert_eq!(now, 10 * MS + n * CONFIG.timeout / 5);
        rpc.handle_busy(now, &CONFIG);
    }
    assert_eq!(rpc.phase(), Phase::Sending);
    // And the server says so when asked.
    assert_eq!(server().handle_resend(1, 0, u32::MAX), Action::Send(Control::Busy));
}

#[test]
fn a_client_that_asks_all_the_time_does_not_keep_the_server_from_asking() {
    let mut rpc = Rpc::server(0, &CONFIG, MsgIn::new(5000, 5000));
    rpc.handle_data(0, &CONFIG, 5000, 5000, range(0, 1000), false);
    let asked = (1..100).filter(|ms| {
        let now = ms * MS;
        assert_eq!(rpc.handle_resend(now, 0, u32::MAX), Action::Send(Control::Busy));
        rpc.poll_timer(now, &CONFIG) == Action::Send(Control::Resend(range(1000, 2400)))
    });
    assert_eq!(asked.collect::<Vec<_>>(), [10, 30, 70]);
}

#[test]
fn a_server_without_room_is_asked_soon() {
    let mut rpc = client(500);
    rpc.handle_busy(MS, &CONFIG);
    assert_eq!(rpc.deadline(), Some(MS + CONFIG.resend_first));
    let now = rpc.deadline().unwrap();
    assert!(matches!(rpc.poll_timer(now, &CONFIG), Action::Send(_)));
    assert!(matches!(rpc.handle_unknown(now, &CONFIG), Action::Retransmit(_)));
    rpc.handle_busy(now, &CONFIG);
    assert!(rpc.deadline() <= Some(now + 2 * CONFIG.resend_first));
}

#[test]
fn how_long_a_busy_server_took_is_known() {
    let whole = |rpc: &mut Rpc, now| {
        rpc.handle_data(now, &CONFIG, 100, 100, range(0, 100), false);
        rpc.rtt_sample(now)
    };
    let asked = || {
        let mut rpc = client(500);
        assert!(matches!(rpc.poll_timer(10 * MS, &CONFIG), Action::Send(_)));
        rpc
    };
    // Nobody knows what the answer belongs to.
    assert_eq!(whole(&mut asked(), 90 * MS), None);
    let mut rpc = asked();
    rpc.handle_busy(11 * MS, &CONFIG);
    assert_eq!(whole(&mut rpc, 90 * MS), Some(90 * MS));
    // Part of the request was lost: that is no measure.
    let mut rpc = asked();
    assert!(matches!(rpc.handle_resend(11 * MS, 0, 100), Action::Retransmit(_)));
    rpc.handle_busy(12 * MS, &CONFIG);
    assert_eq!(whole(&mut rpc, 90 * MS), None);
}

#[test]
fn what_is_missing_is_asked_for() {
    let mut rpc = client(500);
    rpc.handle_data(0, &CONFIG, 5000, 4000, range(0, 1000), false);
    rpc.handle_data(0, &CONFIG, 5000, 4000, range(2000, 3000), false);
    let ask = |rpc: &mut Rpc| rpc.poll_timer(rpc.deadline().unwrap(), &CONFIG);
    assert_eq!(ask(&mut rpc), Action::Send(Control::Resend(range(1000, 2000))));
    rpc.handle_data(0, &CONFIG, 5000, 4000, range(1000, 2000), false);
    assert_eq!(ask(&mut rpc), Action::Send(Control::Resend(range(3000, 4000))));
    rpc.handle_data(0, &CONFIG, 5000, 4000, range(3000, 4000), false);
    // What was granted is here, so the grant was lost.
    let Some(Control::Grant(to)) = rpc.poll_grant(&CONFIG) else { panic!("a grant is due") };
    assert_eq!(to, 5000);
    assert_eq!(ask(&mut rpc), Action::Send(Control::Resend(range(4000, 5000))));
    let now = rpc.deadline().unwrap() - 1;
    assert_eq!(rpc.poll_resend(now), Some(Control::Grant(5000)));
    assert_eq!(rpc.poll_resend(now), None);
    // The sender knows of the grant, and only bytes are missing.
    rpc.handle_data(0, &CONFIG, 5000, 5000, range(4000, 4500), false);
    assert_eq!(ask(&mut rpc), Action::Send(Control::Resend(range(4500, 5000))));
    assert_eq!(rpc.poll_resend(now), None);
}

#[test]
fn resends_are_answered_with_what_was_sent() {
    let mut rpc = replying(50_000);
    assert_eq!(rpc.handle_resend(1, 0, u32::MAX), Action::Retransmit(range(0, 10_000)));
    assert_eq!(rpc.handle_resend(1, 500, 100), Action::Retransmit(range(500, 600)));
    // To ask for more is to grant it; it goes out for the first time then.
    assert_eq!(rpc.handle_resend(1, 20_000, 1000), Action::Send(Control::Busy));
    assert_eq!(rpc.out().unwrap().granted(), 21_000);
    assert!(rpc.out().unwrap().can_send());
}

#[test]
fn grants_let_more_out() {
    let mut rpc = replying(50_000);
    assert!(!rpc.out().unwrap().can_send());
    assert_eq!(rpc.handle_grant(1, 30_000), Action::None);
    assert!(rpc.out().unwrap().can_send());
    rpc.handle_grant(1, u32::MAX);
    assert_eq!(rpc.out().unwrap().granted(), 50_000);
}

#[test]
fn an_unacknowledged_response_is_asked_about_and_then_given_up() {
    let mut rpc = replying(100);
    let mut asked = 0;
    let end = loop {
        match rpc.poll_timer(rpc.deadline().unwrap(), &CONFIG) {
            Action::Send(control) => {
                assert_eq!(control, Control::NeedAck);
                asked += 1;
            }
            action => break action,
        }
    };
    assert!(asked > 5);
    assert_eq!(end, Action::Free);
}

#[test]
fn a_response_that_may_be_lost_is_asked_about_until_the_client_grants() {
    let mut rpc = replying(50_000);
    rpc.out_mut().unwrap().advance(10_000);
    let ask = |rpc: &mut Rpc| rpc.poll_timer(rpc.deadline().unwrap(), &CONFIG);
    assert_eq!(ask(&mut rpc), Action::Send(Control::NeedAck));
    // The client was told that we are busy, and got nothing: it asks now.
    let question = Action::Send(Control::Resend(range(0, 1400)));
    let mut waiting = client(500);
    assert_eq!(ask(&mut waiting), question);
    waiting.handle_busy(0, &CONFIG);
    assert!(waiting.deadline() >= Some(CONFIG.timeout / 5));
    assert_eq!(waiting.handle_need_ack(1), question);
    rpc.handle_grant(1, 30_000);
    assert_eq!(ask(&mut rpc), Action::None);
}

#[test]
fn a_response_waits_for_grants_as_long_as_the_client_lives() {
    // The client answers others, or nobody but us.
    for (others, patience) in [(true, CONFIG.rpc_timeout / 2), (false, CONFIG.timeout / 2)] {
        let (mut rpc, mut pulse) = (replying(50_000), Pulse::new());
        rpc.handle_grant_at(1, 20_000, 2);
        rpc.out_mut().unwrap().advance(20_000);
        let (mut heard, mut now) = (1, 1);
        while now < 10 * CONFIG.rpc_timeout {
            now = rpc.deadline().unwrap();
            if others {
                pulse.heard(now);
            }
            match rpc.poll_timer_of(now, &CONFIG, &mut pulse) {
                Action::None => {}
                Action::Send(Control::NeedAck) => {
                    assert!(
                        now >= heard + patience && now < heard + patience + 2 * CONFIG.resend_max
                    );
                    // All that it granted is there, and it has others to grant to.
                    heard = now;
                    pulse.heard(now);
                    rpc.handle_grant_at(now, 20_000, 2);
                }
                action => panic!("{action:?}"),
            }
        }
        // It went.
        let end = loop {
            now = rpc.deadline().unwrap();
            match rpc.poll_timer_of(now, &CONFIG, &mut pulse) {
                Action::Free => break now,
                action => assert!(matches!(action, Action::None | Action::Send(Control::NeedAck))),
            }
        };
        assert!(end >= heard + CONFIG.timeout);
        assert!(end < heard + CONFIG.rpc_timeout + CONFIG.timeout);
    }
    // What such a question gets for an answer.
    let mut rpc = client(500);
    rpc.handle_data(1, &CONFIG, 50_000, 10_000, range(0, 10_000), false);
    assert_eq!(rpc.handle_need_ack(2), Action::Send(Control::Grant(10_000)));
}

#[test]
fn unknown_means_again_or_the_end() {
    // Nobody asked.
    let mut rpc = client(20_000);
    assert_eq!(rpc.handle_unknown(1, &CONFIG), Action::None);
    assert_eq!(rpc.out().unwrap().sent(), 20_000);
    // The request was lost altogether: the start of it again, and the server grants the rest.
    rpc.poll_timer(rpc.deadline().unwrap(), &CONFIG);
    assert_eq!(rpc.handle_unknown(1, &CONFIG), Action::Retransmit(range(0, 1400)));
    let out = rpc.out().unwrap();
    assert_eq!((out.sent(), out.granted(), out.incoming(1400)), (1400, 1400, 1400));
    // Once per question.
    assert_eq!(rpc.handle_unknown(1, &CONFIG), Action::None);
    rpc.handle_grant_at(2, 5000, 3);
    let out = rpc.out().unwrap();
    assert_eq!((out.can_send(), out.granted(), out.priority()), (true, 5000, Some(3)));
    // That is no sign of life, or a server without memory would keep it here for ever.
    let end = loop {
        let now = rpc.deadline().unwrap();
        match rpc.poll_timer(now, &CONFIG) {
            Action::Send(_) => drop(rpc.handle_unknown(now, &CONFIG)),
            action => break action,
        }
    };
    assert_eq!(end, Action::Fail(Failure::TimedOut));

    let mut rpc = client(10);
    rpc.handle_data(1, &CONFIG, 5000, 5000, range(0, 1000), false);
    assert_eq!(rpc.handle_unknown(2, &CONFIG), Action::None);
    let question = Action::Send(Control::Resend(range(1000, 2400)));
    assert_eq!(rpc.poll_timer(rpc.deadline().unwrap(), &CONFIG), question);
    // It may be an old answer.
    assert_eq!(rpc.handle_unknown(3, &CONFIG), question);
    assert_eq!(rpc.handle_unknown(4, &CONFIG), Action::Fail(Failure::Reset));

    assert_eq!(replying(10).handle_unknown(1, &CONFIG), Action::Free);
    assert_eq!(server().handle_unknown(1, &CONFIG), Action::None);
}

#[test]
fn an_rpc_waits_longer_for_a_peer_that_answers_others() {
    let mut pulse = Pulse::new();
    let mut rpc = client(500);
    let end = loop {
        let now = rpc.deadline().unwrap();
        pulse.heard(now);
        if let action @ Action::Fail(_) = rpc.poll_timer_of(now, &CONFIG, &mut pulse) {
            break (action, now);
        }
    };
    assert_eq!(end.0, Action::Fail(Failure::TimedOut));
    assert!((CONFIG.rpc_timeout..=CONFIG.rpc_timeout + CONFIG.resend_max).contains(&end.1));
}

#[test]
fn who_only_says_that_it_is_busy_does_not_keep_a_response_waiting_for_ever() {
    let mut rpc = client(500);
    rpc.handle_data(0, &CONFIG, 5000, 5000, range(0, 1000), false);
    let end = loop {
        let now = rpc.deadline().unwrap();
        if let action @ Action::Fail(_) = rpc.poll_timer(now, &CONFIG) {
            break (action, now);
        }
        rpc.handle_busy(now, &CONFIG);
    };
    assert_eq!(end.0, Action::Fail(Failure::TimedOut));
    assert!((CONFIG.rpc_timeout..=CONFIG.rpc_timeout + CONFIG.resend_max).contains(&end.1));
}

#[test]
fn hundreds_that_wait_for_a_dead_peer_ask_little() {
    let mut pulse = Pulse::new();
    let mut rpcs: Vec<Rpc> = (0..500).map(|_| client(500)).collect();
    let mut asked = 0;
    loop {
        let Some(now) = rpcs.iter().filter_map(Rpc::deadline).min() else { break };
        for rpc in rpcs.iter_mut().filter(|rpc| rpc.deadline() == Some(now)) {
            match rpc.poll_timer_of(now, &CONFIG, &mut pulse) {
                Action::Send(_) => asked += 1,
                action => assert!(matches!(action, Action::None | Action::Fail(_))),
            }
        }
    }
    assert!((20..100).contains(&asked), "{asked} questions");
}

#[test]
fn a_client_that_gives_up_tells_the_server() {
    let mut rpc = client(500);
    assert_eq!(rpc.cancel(), Action::Send(Control::Ack));
    assert_eq!((rpc.phase(), rpc.cancel()), (Phase::Done, Action::None));
    let mut unsent = Rpc::client(0, &CONFIG, message(500));
    assert_eq!(unsent.cancel(), Action::None);
    assert_eq!(server().cancel(), Action::None);
}

#[test]
fn a_lost_response_comes_back_piece_by_piece() {
    let mut rpc = client(500);
    rpc.set_rto(0, 2 * MS, MS / 10);
    let now = rpc.deadline().unwrap();
    assert_eq!(rpc.poll_timer(now, &CONFIG), Action::Send(Control::Resend(range(0, 1400))));
    let arrive = |rpc: &mut Rpc, payload| {
        let arrival =
            Arrival { length: 50_000, incoming: 9000, payload, sealed: false, again: true };
        assert_eq!(rpc.handle_arrival(now, &CONFIG, &arrival), Data::Keep(payload));
        std::iter::from_fn(|| rpc.poll_resend(now)).collect::<Vec<_>>()
    };
    assert_eq!(arrive(&mut rpc, range(0, 1400)), [Control::Resend(range(1400, 4200))]);
    assert_eq!(arrive(&mut rpc, range(1400, 2800)), []);
    assert_eq!(arrive(&mut rpc, range(2800, 4200)), [Control::Resend(range(4200, 9000))]);
    // What has not come by then is asked for soon.
    assert_eq!(rpc.deadline(), Some(now + 2 * MS));
}

#[test]
fn a_server_that_takes_its_time_loses_nothing() {
    let mut rpc = client(500);
    rpc.set_rto(0, 2 * MS, MS / 10);
    for _ in 0..5 {
        let now = rpc.deadline().unwrap();
        assert_eq!(rpc.poll_timer(now, &CONFIG), Action::Send(Control::Resend(range(0, 1400))));
        rpc.handle_busy(now, &CONFIG);
    }
    rpc.handle_data(MS, &CONFIG, 50_000, 9000, range(0, 1400), false);
    assert_eq!(rpc.take_news(), None);
    // Overtaken, asked for, and late.
    rpc.handle_data(60 * MS, &CONFIG, 50_000, 9000, range(2800, 4200), false);
    assert_eq!(rpc.poll_resend(60 * MS + MS / 10), Some(Control::Resend(range(1400, 2800))));
    rpc.handle_data(61 * MS, &CONFIG, 50_000, 9000, range(1400, 2800), false);
    assert_eq!(rpc.take_news(), Some(News { lost: 0, overtaken: MS }));
    // Then silence: something is lost.
    let now = rpc.deadline().unwrap();
    assert_eq!(rpc.poll_timer(now, &CONFIG), Action::Send(Control::Resend(range(4200, 5600))));
    assert_eq!(rpc.take_news(), Some(News { lost: 1400, overtaken: 0 }));
    let payload = range(4200, 5600);
    let arrival = Arrival { length: 50_000, incoming: 9000, payload, sealed: false, again: true };
    assert_eq!(rpc.handle_arrival(now, &CONFIG, &arrival), Data::Keep(payload));
    assert_eq!(rpc.take_news(), Some(News { lost: 1400, overtaken: 0 }));
}

#[test]
fn the_scheduler_hears_of_long_messages_only_and_not_often() {
    let mut grants = Grants::new(Limits::default());
    let mut short = Rpc::server(0, &CONFIG, MsgIn::new(5000, 5000));
    short.handle_data(0, &CONFIG, 5000, 5000, range(0, 1000), false);
    assert!(!short.is_report_due());

    let mut rpc = Rpc::server(0, &CONFIG, MsgIn::new(100_000, 10_000));
    let mut reports = 0;
    for at in (0..100_000).step_by(1000) {
        rpc.handle_data(1, &CONFIG, 100_000, 10_000, range(at, at + 1000), false);
        if rpc.is_report_due() {
            reports += 1;
            rpc.report(&mut grants, || (), 1, 20_000).unwrap();
            while let Some(grant) = grants.poll(1) {
                assert!(rpc.grant(1, grant.offset));
            }
        }
        let ahead = rpc.msgin().map(|m| m.granted() - m.received()).unwrap();
        assert!(ahead > 0 || at == 99_000);
    }
    assert!((15..=25).contains(&reports), "{reports}");
    assert!(rpc.is_deliverable() && !rpc.is_scheduled() && grants.is_empty());
}

#[test]
fn who_waits_for_our_grant_is_not_asked() {
    let mut grants = Grants::new(Limits { max_incoming: 0, ..Limits::default() });
    let mut rpc = Rpc::server(0, &CONFIG, MsgIn::new(100_000, 1000));
    rpc.handle_data(0, &CONFIG, 100_000, 1000, range(0, 1000), false);
    rpc.report(&mut grants, || (), 1, 20_000).unwrap();
    assert!(grants.poll(1).is_none() && rpc.is_scheduled());
    assert_eq!(rpc.deadline(), None);
    // Minutes later it is granted something: then it has time to send that.
    let now = 100 * CONFIG.timeout;
    assert!(rpc.grant(now, 5000) && !rpc.grant(now, 5000));
    let at = rpc.deadline().unwrap();
    assert!(at > now && rpc.take_stalled().is_none());
    assert_eq!(rpc.poll_timer(at, &CONFIG), Action::Send(Control::Resend(range(1000, 2400))));
    let stalled = rpc.take_stalled().unwrap();
    grants.stalled(stalled);
    assert!(rpc.take_stalled().is_none());
    rpc.leave(&mut grants);
    assert!(grants.is_empty());
}

#[test]
fn need_ack_of_what_did_not_come_is_a_question() {
    let mut rpc = client(10);
    assert_eq!(rpc.handle_need_ack(1), Action::Send(Control::Resend(range(0, 1400))));
    rpc.handle_data(1, &CONFIG, 5000, 5000, range(0, 1000), false);
    assert_eq!(rpc.handle_need_ack(2), Action::Send(Control::Resend(range(1000, 2400))));
}

#[test]
fn sealed_data_is_believed_when_it_is_proven() {
    let mut rpc = client(10);
    let keep = rpc.handle_data(5 * MS, &CONFIG, 3000, 3000, range(0, 1000), true);
    assert_eq!((keep, rpc.phase()), (Data::Keep(range(0, 1000)), Phase::Sending));
    // It cannot stop the client from sending its request.
    assert!(matches!(rpc.handle_resend(6 * MS, 0, u32::MAX), Action::Retransmit(_)));
    rpc.prove(7 * MS);
    assert_eq!(rpc.phase(), Phase::Receiving);
    assert_eq!(rpc.handle_data(8, &CONFIG, 99, 99, range(0, 99), true), Data::Refused);
    // A false record is asked for again.
    assert!(rpc.has(range(0, 500)));
    assert!(rpc.forget(range(0, 500)));
    let ask = rpc.poll_timer(rpc.deadline().unwrap(), &CONFIG);
    assert_eq!(ask, Action::Send(Control::Resend(range(0, 500))));
}

#[test]
fn a_forged_length_does_not_stick() {
    let mut rpc = client(10);
    rpc.handle_data(1, &CONFIG, 500_000, 500_000, range(0, 100), true);
    // The truth comes, and replaces it.
    let keep = rpc.handle_data(2, &CONFIG, 3000, 3000, range(0, 1000), true);
    assert_eq!(keep, Data::Keep(range(0, 1000)));
    assert_eq!(rpc.msgin().unwrap().length(), 3000);
    // Before anything is proven, the question is for all of the first record.
    rpc.handle_data(3, &CONFIG, 500_000, 500_000, range(0, 100), true);
    let ask = rpc.poll_timer(rpc.deadline().unwrap(), &CONFIG);
    let Action::Send(Control::Resend(asked)) = ask else { panic!("{ask:?}") };
    assert!(asked.start == 0 && asked.end >= 16_384 + 29);
}

#[test]
fn forged_packets_do_not_put_the_end_off() {
    let mut rpc = client(10);
    let mut now = 0;
    let mut asked = 0;
    let end = loop {
        now += MS;
        let at = (now / MS) as u32;
        rpc.handle_data(now, &CONFIG, 500_000, 500_000, range(at, at + 1), true);
        match rpc.poll_timer(now, &CONFIG) {
            Action::None => {}
            Action::Send(_) => asked += 1,
            action => break action,
        }
        assert!(now < 2 * CONFIG.timeout);
    };
    assert_eq!(end, Action::Fail(Failure::TimedOut));
    assert!(asked >= 5);
}

/// Any call that a caller may make.
#[derive(Clone, Debug)]
enum Call {
    Data { length: u32, incoming: u32, start: u32, len: u32, sealed: bool },
    Prove,
    Forget(u32, u32),
    Deliver,
    Reply(u32),
    Advance(u32),
    Grant(u32),
    PollGrant,
    Resend(u32, u32),
    Unknown,
    Busy,
    NeedAck,
    Ack,
    Cancel,
    PollResend,
    Timer,
    Wait(u64),
}

fn call() -> impl Strategy<Value = Call> {
    let length = || prop_oneof![Just(5000u32), 1..9000u32];
    let offset = || prop_oneof![0..9000u32, any::<u32>()];
    prop_oneof![
        6 => (length(), offset(), 0..9000u32, 0..2000u32, any::<bool>()).prop_map(
            |(length, incoming, start, len, sealed)| Call::Data {
                length, incoming, start, len, sealed
            }
        ),
        1 => Just(Call::Prove),
        1 => (offset(), offset()).prop_map(|(a, b)| Call::Forget(a, b)),
        1 => Just(Call::Deliver),
        1 => length().prop_map(Call::Reply),
        2 => offset().prop_map(Call::Advance),
        1 => offset().prop_map(Call::Grant),
        2 => Just(Call::PollGrant),
        1 => (offset(), offset()).prop_map(|(a, b)| Call::Resend(a, b)),
        1 => Just(Call::Unknown),
        1 => Just(Call::Busy),
        1 => Just(Call::NeedAck),
        1 => Just(Call::Ack),
        1 => Just(Call::Cancel),
        2 => Just(Call::PollResend),
        3 => Just(Call::Timer),
        3 => prop_oneof![0..100 * MS, any::<u64>()].prop_map(Call::Wait),
    ]
}

proptest! {
    /// No calls in any order break an RPC; once it is done, it stays so and is silent.
    #[test]
    fn any_calls(is_client in any::<bool>(), calls in proptest::collection::vec(call(), 0..120)) {
        let mut now = 0u64;
        let mut rpc = if is_client {
            Rpc::client(now, &CONFIG, message(5000))
        } else {
            Rpc::server(now, &CONFIG, MsgIn::new(5000, 5000))
        };
        for call in calls {
            let was_done = rpc.phase() == Phase::Done;
            let action = match call {
                Call::Data { length, incoming, start, len, sealed } => {
                    let payload = range(start, start + len);
                    match rpc.handle_data(now, &CONFIG, length, incoming, payload, sealed) {
                        Data::Keep(kept) => {
                            prop_assert!(!was_done);
                            prop_assert!(start <= kept.start && kept.end <= start + len);
                            prop_assert!(kept.end <= length && kept.len() > 0);
                            prop_assert!(rpc.has(kept));
                        }
                        Data::Duplicate | Data::Refused => {}
                    }
                    Action::None
                }
                Call::Prove => {
                    if rpc.msgin().is_some() { rpc.prove(now) }
                    Action::None
                }
                Call::Forget(a, b) => {
                    rpc.forget(range(a, b));
                    Action::None
                }
                Call::Deliver => {
                    if rpc.is_deliverable() { rpc.deliver() }
                    Action::None
                }
                Call::Reply(length) => {
                    let may = rpc.phase() == Phase::InService;
                    prop_assert_eq!(rpc.reply(now, &CONFIG, message(length)), may);
                    Action::None
                }
                Call::Advance(to) => {
                    if let Some(out) = rpc.out_mut() { out.advance(to) }
                    Action::None
                }
                Call::Grant(to) => rpc.handle_grant(now, to),
                Call::PollGrant => {
                    rpc.poll_grant(&CONFIG);
                    Action::None
                }
                Call::Resend(a, b) => rpc.handle_resend(now, a, b),
                Call::Unknown => rpc.handle_unknown(now, &CONFIG),
                Call::Busy => rpc.handle_busy(now, &CONFIG),
                Call::NeedAck => rpc.handle_need_ack(now),
                Call::Ack => rpc.handle_ack(),
                Call::Cancel => rpc.cancel(),
                Call::PollResend => {
                    for n in 0.. {
                        match rpc.poll_resend(now) {
                            Some(Control::Resend(asked)) => {
                                let msgin = rpc.msgin().expect("part of it is missing");
                                prop_assert_eq!(msgin.missing_in(asked), Some(asked));
                            }
                            Some(Control::Grant(to)) => {
                                prop_assert_eq!(rpc.msgin().map(MsgIn::granted), Some(to));
                            }
                            control => {
                                prop_assert_eq!(control, None);
                                break;
                            }
                        }
                        prop_assert!(n < 8);
                    }
                    Action::None
                }
                Call::Timer => rpc.poll_timer(now, &CONFIG),
                Call::Wait(time) => {
                    now = now.saturating_add(time);
                    Action::None
                }
            };
            match action {
                Action::Retransmit(range) => {
                    let out = rpc.out().expect("what is sent again was sent");
                    prop_assert!(range.start < range.end && range.end <= out.sent());
                }
                Action::Fail(_) => prop_assert!(is_client && rpc.phase() == Phase::Done),
                Action::Free => prop_assert!(!is_client && rpc.phase() == Phase::Done),
                Action::Send(_) | Action::None => {}
            }
            if was_done {
                prop_assert_eq!(rpc.phase(), Phase::Done);
                prop_assert!(!matches!(action, Action::Fail(_) | Action::Retransmit(_)));
            }
            if rpc.phase() == Phase::Done {
                prop_assert_eq!(rpc.deadline(), None);
                prop_assert_eq!(rpc.poll_timer(u64::MAX, &CONFIG), Action::None);
            }
            if let Some(out) = rpc.out() {
                prop_assert!(out.sent() <= out.length() && out.granted() <= out.length());
            }
        }
    }
}
