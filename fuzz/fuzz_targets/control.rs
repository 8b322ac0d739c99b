// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Control counters in any order, beside a set.

#![no_main]

use std::collections::BTreeSet;

use homa_core::session::control::ControlWindow;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: Vec<(bool, u64)>| {
    let (mut window, mut seen) = (ControlWindow::new(), BTreeSet::new());
    for (near, counter) in steps {
        let newest = seen.last().copied();
        let counter = match newest {
            Some(newest) if near => u64::saturating_sub(newest + 100, counter % 400),
            _ => counter,
        };
        let old = newest.is_some_and(|n| n >= counter && n - counter >= ControlWindow::SIZE);
        let fresh = counter >> 63 == 0 && !old && !seen.contains(&counter);
        assert_eq!(window.check(counter), fresh);
        assert_eq!(window.mark(counter), fresh);
        if fresh {
            seen.insert(counter);
        }
    }
});
