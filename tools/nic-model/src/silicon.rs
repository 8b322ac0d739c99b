// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What is not known of the silicon, and what the model does wrong on purpose, as one option.

use std::str::FromStr;

use crate::tls::{BrokenFraming, StaticParamsCount, Unready};
use crate::{lso, spec, tls};

/// How the card behaves where nobody knows how it does. Written as a list: of what is not the pessimistic default,
/// `static=with-progress,unready=garbage,framing=pass,lso-ipv6`, and of what is wrong, `ignore-dump,ignore-resync,wrong-salt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silicon {
    /// The TLS engine.
    pub tls: tls::Silicon,
    /// Segmentation.
    pub lso: lso::Silicon,
}

impl FromStr for Silicon {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let mut silicon = Silicon::default();
        let tls = &mut silicon.tls;
        for pair in spec::pairs(s) {
            match pair {
                ("static", "at-once") => tls.static_params = StaticParamsCount::AtOnce,
                ("static", "with-progress") => tls.static_params = StaticParamsCount::WithProgress,
                ("unready", "pass") => tls.unready = Unready::Pass,
                ("unready", "garbage") => tls.unready = Unready::Garbage,
                ("framing", "believe") => tls.framing = BrokenFraming::Believe,
                ("framing", "pass") => tls.framing = BrokenFraming::Pass,
                ("lso-ipv6", "") => silicon.lso.other_over_ipv6 = true,
                ("ignore-dump", "") => tls.controls.ignore_dump = true,
                ("ignore-resync", "") => tls.controls.ignore_resync = true,
                ("wrong-salt", "") => tls.controls.wrong_salt = true,
                (key, value) => return Err(format!("silicon has no '{key}' that is '{value}'")),
            }
        }
        Ok(silicon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        assert_eq!("".parse(), Ok(Silicon::default()));
        let s: Silicon =
            "static=with-progress,unready=garbage,framing=pass,lso-ipv6".parse().unwrap();
        assert_eq!(
            (s.tls.static_params, s.tls.unready, s.tls.framing, s.lso.other_over_ipv6),
            (StaticParamsCount::WithProgress, Unready::Garbage, BrokenFraming::Pass, true)
        );
        assert_eq!(s.tls.controls, tls::Controls::default());
        let s: Silicon = "ignore-dump,ignore-resync,wrong-salt".parse().unwrap();
        assert!(
            s.tls.controls.ignore_dump && s.tls.controls.ignore_resync && s.tls.controls.wrong_salt
        );
        for bad in ["x", "static", "static=x", "ignore-dump=1"] {
            assert!(bad.parse::<Silicon>().is_err(), "{bad}");
        }
    }
}
