// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What options are made of: lists such as `loss=2%,delay=1ms,rate=100mbit`.

use std::str::FromStr;
use std::time::Duration;

/// A probability, from 0 to 1, written `2%` or `0.02`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Probability(f64);

impl Probability {
    /// That which never happens.
    pub const NEVER: Probability = Probability(0.0);

    /// `None` if it is none.
    pub fn new(p: f64) -> Option<Self> {
        (0.0..=1.0).contains(&p).then_some(Probability(p))
    }

    /// Throws the dice. Takes nothing from `rng` for what never happens, so that turning one thing on leaves the others'
    /// course as it was before.
    pub fn happens(self, rng: &mut impl rand::Rng) -> bool {
        self.0 > 0.0 && rng.random_bool(self.0)
    }
}

impl FromStr for Probability {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (number, scale) = match s.strip_suffix('%') {
            Some(percent) => (percent, 100.0),
            None => (s, 1.0),
        };
        let p =
            number.parse::<f64>().map_err(|_| format!("'{s}' is not a probability, such as 2%"))?;
        Probability::new(p / scale).ok_or_else(|| format!("'{s}' is not between 0 and 1"))
    }
}

/// The pairs of a list; a word without `=` has an empty value.
pub fn pairs(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.split(',')
        .filter(|item| !item.is_empty())
        .map(|item| item.split_once('=').unwrap_or((item, "")))
}

/// A number with one of these units.
fn with_unit(s: &str, what: &str, units: &[(&str, f64)]) -> Result<f64, String> {
    let digits = s.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(s.len());
    let (number, unit) = s.split_at(digits);
    let scale = units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    match (number.parse::<f64>(), scale) {
        (Ok(number), Some(scale)) => Ok(number * scale),
        _ => Err(format!("'{s}' is not {what}")),
    }
}

/// A duration with a unit: `10us`, `1.5ms`, `2s`.
pub fn duration(s: &str) -> Result<Duration, String> {
    let what = "a duration, such as 1ms";
    let seconds = with_unit(s, what, &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0)])?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("'{s}' is not {what}"))
}

/// A rate in bits per second: `100mbit`, `1gbit`.
pub fn rate(s: &str) -> Result<u64, String> {
    let bits = with_unit(
        s,
        "a rate, such as 100mbit",
        &[("bit", 1.0), ("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)],
    )?;
    if bits < 1.0 {
        return Err(format!("'{s}' is no rate at all"));
    }
    Ok(bits as u64)
}

/// A whole number.
pub fn number<T: FromStr>(s: &str) -> Result<T, String> {
    s.parse().map_err(|_| format!("'{s}' is not a number that fits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(duration("10us"), Ok(Duration::from_micros(10)));
        assert_eq!(duration("1.5ms"), Ok(Duration::from_micros(1500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(rate("100mbit"), Ok(100_000_000));
        assert_eq!(rate("1gbit"), Ok(1_000_000_000));
        for bad in ["", "1", "ms", "-1ms", "1h", "1.2.3s", "9999999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "0mbit", "5", "1Mbit"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn probabilities() {
        assert_eq!("2%".parse(), Ok(Probability(0.02)));
        assert_eq!("0.5".parse(), Ok(Probability(0.5)));
        assert_eq!("100%".parse(), Ok(Probability(1.0)));
        for bad in ["", "%", "101%", "-1%", "2", "NaN", "x"] {
            assert!(bad.parse::<Probability>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lists() {
        assert_eq!(
            pairs("a=1,b,,c=d=e").collect::<Vec<_>>(),
            [("a", "1"), ("b", ""), ("c", "d=e")]
        );
    }
}
