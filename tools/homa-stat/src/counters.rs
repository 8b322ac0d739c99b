// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Counters: names and numbers.

use anyhow::{Context, Result};
use std::io::{self, Write};

/// Counters in the order of the file.
pub struct Counters(Vec<(String, i64)>);

impl Counters {
    /// Reads lines of a name and a number.
    ///
    /// # Errors
    ///
    /// A line is something else.
    pub fn parse(text: &str) -> Result<Self> {
        let line = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_string(), value.trim().parse().ok()?))
        };
        let all = text.lines().map(|l| line(l).with_context(|| format!("not a counter: {l}")));
        Ok(Self(all.collect::<Result<_>>()?))
    }

    /// How much they grew since `before`; what there is now, of those that say that.
    pub fn since(&self, before: &Self) -> Self {
        let grown = |(name, value): &(String, i64)| {
            let old = before.0.iter().find(|(old, _)| old == name).map_or(0, |(_, old)| *old);
            let now = name.starts_with("live_") || name.starts_with("memory_");
            (name.clone(), if now { *value } else { value.wrapping_sub(old) })
        };
        Self(self.0.iter().map(grown).collect())
    }

    /// Prints them; those that are zero only on request.
    ///
    /// # Errors
    ///
    /// As for writing.
    pub fn print(&self, all: bool, out: &mut impl Write) -> io::Result<()> {
        for (name, value) in self.0.iter().filter(|(_, value)| all || *value != 0) {
            writeln!(out, "{name:<24} {value:>12}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_of_counters_and_what_there_is() {
        let before = Counters::parse("acks_sent   5\ndata_sent 7\nlive_rpcs 3\n").unwrap();
        let now = Counters::parse("acks_sent   9\ndata_sent 7\nlive_rpcs 2\nnew 1\n").unwrap();
        let mut out = Vec::new();
        now.since(&before).print(false, &mut out).unwrap();
        let words: Vec<String> =
            String::from_utf8(out).unwrap().split_whitespace().map(String::from).collect();
        assert_eq!(words, ["acks_sent", "4", "live_rpcs", "2", "new", "1"]);
    }

    #[test]
    fn other_lines_are_errors() {
        assert!(Counters::parse("acks_sent many\n").is_err());
        assert!(Counters::parse("acks_sent\n").is_err());
    }
}
