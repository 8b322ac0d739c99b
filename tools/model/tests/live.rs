// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A machine of the core that was rebuilt is the machine.

use homa_core::session::ids::Ids;
use homa_core::session::replay::{ReplayWindow, Verdict};
use homa_core::session::seq::MessageId;
use homa_model::live::{IdsOp, Live, ReplayOp};

fn id(n: u64) -> MessageId {
    MessageId::new(n).expect("a small id")
}

#[test]
fn changes_are_those_of_the_core() {
    let mut ids: Live<Ids> = Live::new(());
    let before = ids.clone();
    assert_eq!(ids.apply(IdsOp::Next), Ok(id(0)));
    assert_eq!(ids.apply(IdsOp::Next), Ok(id(2)));
    assert_ne!(ids, before);
    assert_eq!(before.in_window(), 0);
    let _ = ids.apply(IdsOp::Finish(id(2)));
    assert_eq!(ids.floor(), 0);
    let _ = ids.apply(IdsOp::Finish(id(0)));
    assert_eq!(ids.floor(), 4);
}

#[test]
fn the_same_by_another_way_is_equal() {
    let mut a: Live<ReplayWindow> = Live::new(());
    let mut b = a.clone();
    for (window, order) in [(&mut a, [0, 2]), (&mut b, [2, 0])] {
        for n in order {
            assert_eq!(window.apply(ReplayOp::Mark(id(n))), (None, Ok(())));
        }
    }
    assert_eq!(a, b);
    assert_eq!(a.check(id(2)), Verdict::Seen);
    assert_eq!(a.apply(ReplayOp::Floor(id(4), 0)).0, Some(0..4));
    assert_ne!(a, b);
}
