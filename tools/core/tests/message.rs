// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Incoming and outgoing messages beside naive models: a flag for every byte.

use homa_core::acks::{PendingAcks, MAX_ACKS};
use homa_core::config::Config;
use homa_core::msgin::{Accept, MsgIn, Range, MAX_GAPS};
use homa_core::msgout::MsgOut;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Accept { offset: u32, len: u32 },
    Forget { start: u32, len: u32 },
    Incoming(u32),
    Grant,
}

fn step(length: u32) -> impl Strategy<Value = Step> {
    let reach = length + length / 8 + 2;
    prop_oneof![
        8 => (0..reach, 0..=length / 4 + 1).prop_map(|(offset, len)| Step::Accept { offset, len }),
        2 => (0..length, 0..=length / 4 + 1).prop_map(|(start, len)| Step::Forget { start, len }),
        1 => (0..reach).prop_map(Step::Incoming),
        1 => Just(Step::Grant),
    ]
}

fn history() -> impl Strategy<Value = (u32, u32, Vec<Step>)> {
    (1..3000u32).prop_flat_map(|length| {
        let steps = proptest::collection::vec(step(length), 0..200);
        (Just(length), 0..=length + 10, steps)
    })
}

/// The first run of bytes that are not here, up to the first that is or to `granted`.
fn first_missing(here: &[bool], granted: u32) -> Option<Range> {
    let end = here.iter().rposition(|here| *here).map_or(0, |last| last + 1);
    let start = here.iter().position(|here| !here)?;
    if start < end {
        let len = here[start..].iter().position(|here| *here)?;
        return Some(Range { start: start as u32, end: (start + len) as u32 });
    }
    (end < granted as usize).then_some(Range { start: end as u32, end: granted })
}

proptest! {
    #[test]
    fn an_incoming_message_is_a_set_of_bytes((length, incoming, steps) in history()) {
        let config = Config { grant_window: 400, ..Config::default() };
        let mut message = MsgIn::new(length, incoming);
        let mut here = vec![false; length as usize];
        let mut granted = incoming.min(length);
        for step in steps {
            match step {
                Step::Accept { offset, len } => {
                    let end = offset + len;
                    match message.accept(offset, len) {
                        Accept::New(new) => {
                            prop_assert!(offset <= new.start && new.end <= end && new.len() > 0);
                            for byte in &mut here[new.start as usize..new.end as usize] {
                                prop_assert!(!*byte);
                                *byte = true;
                            }
                            granted = granted.max(new.end);
                        }
                        Accept::Duplicate => {
                            let bytes = &here[offset as usize..end as usize];
                            prop_assert!(bytes.iter().all(|here| *here));
                        }
                        Accept::Refused => {
                            let full = message.gaps().0 as usize == MAX_GAPS;
                            prop_assert!(len == 0 || end > length || full);
                        }
                    }
                }
                Step::Forget { start, len } => {
                    let range = Range { start, end: start + len };
                    let all = len > 0 && range.end <= length
                        && here[start as usize..range.end as usize].iter().all(|here| *here);
                    prop_assert_eq!(message.forget(range), all);
                    if all {
                        here[start as usize..range.end as usize].fill(false);
                    }
                }
                Step::Incoming(to) => {
                    message.note_incoming(to);
                    granted = granted.max(to.min(length));
                }
                Step::Grant => {
                    let received = here.iter().filter(|here| **here).count() as u32;
                    if let Some(to) = message.poll_grant(&config) {
                        prop_assert!(to > granted && to <= length);
                        prop_assert!(to <= received + config.grant_window);
                        granted = to;
                        // One at a time.
                        prop_assert_eq!(message.poll_grant(&config), None);
                    } else if granted < length {
                        prop_assert!(granted > received);
                    }
                }
            }
            let received = here.iter().filter(|here| **here).count() as u32;
            prop_assert_eq!(message.remaining(), length - received);
            prop_assert_eq!(message.is_complete(), received == length);
            prop_assert_eq!(message.granted(), granted);
            prop_assert_eq!(message.missing(), first_missing(&here, granted));
            let end = here.iter().rposition(|here| *here).map_or(0, |last| last + 1);
            let missing = here[..end].iter().filter(|here| !**here).count() as u32;
            prop_assert_eq!(message.gaps().1, missing);
        }
    }

    /// Whatever comes and goes: asking for what is missing, and getting it, ends with all of it.
    #[test]
    fn asking_for_what_is_missing_completes((length, incoming, steps) in history()) {
        let config = Config { grant_window: 400, ..Config::default() };
        let mut message = MsgIn::new(length, incoming);
        for step in steps {
            if let Step::Accept { offset, len } = step {
                message.accept(offset, len);
            }
        }
        let mut asked = 0;
        while !message.is_complete() {
            if let Some(range) = message.missing() {
                prop_assert_eq!(message.accept(range.start, range.len()), Accept::New(range));
            } else {
                prop_assert!(message.poll_grant(&config).is_some());
            }
            asked += 1;
            prop_assert!(asked < 2000);
        }
        prop_assert_eq!((message.missing(), message.poll_grant(&config)), (None, None));
    }

    #[test]
    fn no_arguments_break_an_incoming_message(
        length in any::<u32>(), incoming in any::<u32>(),
        calls in proptest::collection::vec(any::<(u32, u32, u8)>(), 0..300),
    ) {
        let mut message = MsgIn::new(length, incoming);
        for (a, b, what) in calls {
            match what % 4 {
                0 => { message.accept(a, b); }
                1 => { message.accept(a % length.max(1), b % 100); }
                2 => { message.forget(Range { start: a, end: b }); }
                _ => message.note_incoming(a),
            }
            prop_assert!(message.gaps().0 as usize <= MAX_GAPS + 128);
            prop_assert!(message.remaining() <= length && message.granted() <= length);
        }
    }

    #[test]
    fn an_outgoing_message_sends_what_is_granted_and_no_more_again(
        length in 1..100_000u32, unscheduled in any::<u32>(),
        calls in proptest::collection::vec((0..4u8, any::<u32>(), any::<u32>()), 0..100),
    ) {
        let mut message = MsgOut::new(length, unscheduled);
        let (mut sent, mut granted) = (0u32, unscheduled.min(length));
        for (what, a, b) in calls {
            let (offset, len) = (a % (length + 10), b % (length + 10));
            match what {
                0 => {
                    message.grant(offset);
                    granted = granted.max(offset.min(length));
                }
                1 => {
                    message.advance(offset);
                    sent = sent.max(offset.min(length));
                }
                2 => {
                    let again = message.resend(offset, len);
                    // To ask is to grant.
                    granted = granted.max((offset + len).min(length));
                    let end = (offset + len).min(sent);
                    let expected = (offset < end).then_some(Range { start: offset, end });
                    prop_assert_eq!(again, expected);
                }
                _ => {
                    let all = (sent > 0).then_some(Range { start: 0, end: sent });
                    prop_assert_eq!(message.resend(0, u32::MAX), all);
                }
            }
            prop_assert_eq!((message.sent(), message.granted()), (sent, granted));
            prop_assert_eq!(message.can_send(), sent < granted);
            prop_assert_eq!(message.is_sent(), sent == length);
            message.resend(a, b);
            granted = message.granted();
            prop_assert!(granted <= length);
        }
        // Of what was sent, only a little again; the rest needs grants.
        message.set_probe(700);
        let again = message.restart();
        prop_assert_eq!(again, Range { start: 0, end: sent.min(700) });
        // What was never sent was not lost.
        let granted = if sent == 0 { granted } else { again.end };
        prop_assert_eq!((message.sent(), message.granted()), (again.end, granted));
        prop_assert_eq!(message.incoming(again.end), granted);
    }

    #[test]
    fn every_ack_leaves_once(steps in proptest::collection::vec(0..4u8, 0..100)) {
        let mut acks = PendingAcks::new();
        let (mut waiting, mut next) = (vec![], 0);
        for step in steps {
            match step {
                0 => prop_assert_eq!(acks.pop(), waiting.pop()),
                1 => {
                    let (ids, count) = acks.take();
                    prop_assert_eq!(&ids[..count], &waiting[..]);
                    waiting.clear();
                }
                _ => {
                    next += 2;
                    waiting.push(next);
                    match acks.push(next) {
                        Some(ids) => {
                            prop_assert_eq!(&ids[..], &waiting[..]);
                            waiting.clear();
                        }
                        None => prop_assert!(waiting.len() < MAX_ACKS),
                    }
                }
            }
        }
    }
}

#[test]
fn gaps_are_bounded() {
    let mut message = MsgIn::new(1000, 1000);
    for n in 1..=MAX_GAPS as u32 {
        assert!(matches!(message.accept(2 * n - 1, 1), Accept::New(_)));
    }
    assert_eq!(message.accept(900, 1), Accept::Refused);
    // In order still goes, and makes room.
    assert_eq!(message.accept(0, 1), Accept::New(Range { start: 0, end: 1 }));
    assert!(matches!(message.accept(900, 1), Accept::New(_)));
}
