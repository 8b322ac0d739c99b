// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a driver must not do, reported loudly: a run in which something was reported has failed.

use std::fmt::Display;

/// Reports of one run. They go to standard error as they come; a flood is cut off there, not in the count.
#[derive(Debug, Default)]
pub struct Strict {
    count: u64,
    first: Vec<String>,
}

const SHOWN: usize = 100;

impl Strict {
    pub fn violation(&mut self, what: impl Display) {
        self.count += 1;
        if self.first.len() < SHOWN {
            let text = what.to_string();
            say(format_args!("VIOLATION: {text}"));
            self.first.push(text);
        } else if self.count == SHOWN as u64 + 1 {
            say("more violations are only counted");
        }
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first ones.
    pub fn reports(&self) -> &[String] {
        &self.first
    }
}

/// A note for whoever reads the log: nothing is wrong.
pub fn note(what: impl Display) {
    say(what);
}

/// Fuzzers, which have the feature, make the model say the same a million times.
fn say(what: impl Display) {
    if !cfg!(feature = "bench") {
        eprintln!("nic-model: {what}");
    }
}
