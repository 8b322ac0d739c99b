// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Options of the command line that a test changes from inside the guest: one boot serves for many settings.

use crate::caps::{Caps, Profile};
use crate::device::Device;
use crate::faults::Faults;
use crate::silicon::Silicon;
use std::time::Instant;

impl Device {
    /// Takes `NAME VALUE`: an option without its dashes, and what may follow it. What cannot be taken is a violation, for a
    /// test that tries something else than it thinks is worth nothing.
    pub fn tune(&mut self, text: &str) {
        let (name, value) = text.split_once(' ').unwrap_or((text, ""));
        let done = match name {
            "sched" => value.parse().map(|policy| self.scheduler.set_policy(policy)),
            "impair" => value.parse().map(|impair| self.impair = Some(impair)),
            "silicon" => value.parse().map(|silicon| self.set_silicon(silicon)),
            "faults" => self.set_faults(value),
            "cap" => self.set_cap(value),
            _ => Err("there is no such option to change".to_owned()),
        };
        if let Err(why) = done {
            self.strict.violation(format_args!("'{text}' from the guest: {why}"));
        }
    }

    /// Contexts that there are change with the card.
    fn set_silicon(&mut self, silicon: Silicon) {
        self.config.silicon = silicon.tls;
        self.config.lso = silicon.lso;
        for context in self.tises.values_mut().filter_map(|tis| tis.tls.as_mut()) {
            context.set_silicon(silicon.tls);
        }
    }

    fn set_faults(&mut self, plan: &str) -> Result<(), String> {
        self.faults = Faults::new(self.plan(plan)?, Instant::now());
        self.port.faulted_down = false;
        Ok(())
    }

    /// `NAME=VALUE`, or `default` for all as they are in the table. Drivers ask when they are loaded.
    fn set_cap(&mut self, setting: &str) -> Result<(), String> {
        if setting == "default" {
            self.caps = Caps::new(Profile::Default);
            return Ok(());
        }
        let (name, value) = setting.split_once('=').ok_or("it is not NAME=VALUE")?;
        let value = value.parse().map_err(|_| format!("'{value}' is no number"))?;
        let ifc = self.ifc.clone();
        self.caps.set(&ifc, name, value)
    }
}

#[cfg(test)]
mod tests {
    use crate::caps::Group;
    use crate::device::bench::{config, Bench};
    use crate::sched::Policy;

    #[test]
    fn options_change() {
        let mut b = Bench::new(config());
        b.tis(true);
        for text in [
            "sched seed=7",
            "impair loss=2%",
            "silicon wrong-salt",
            "faults sq-error=1%",
            "cap tls_tx=0",
        ] {
            b.dev.tune(text);
        }
        b.assert_clean();
        assert_eq!(b.dev.scheduler.policy(), Policy::adversarial(7));
        assert_eq!(b.dev.impair, Some("loss=2%".parse().unwrap()));
        assert!(b.dev.config.silicon.controls.wrong_salt);
        assert_eq!(b.dev.caps.get(Group::General, "tls_tx"), 0);
        b.dev.tune("cap default");
        assert_eq!(b.dev.caps.get(Group::General, "tls_tx"), 1);
        b.dev.tune("impair ");
        assert_eq!(b.dev.impair, Some(Default::default()));
        b.assert_clean();
    }

    #[test]
    fn nonsense_is_told() {
        let mut b = Bench::new(config());
        let bad = [
            "",
            "sched",
            "sched sead=1",
            "impair dup=1%",
            "silicon x",
            "faults x",
            "cap x=1",
            "cap tls_tx",
            "mac 1",
        ];
        for text in bad {
            b.dev.tune(text);
        }
        assert_eq!(b.dev.strict.count(), bad.len() as u64, "{:?}", b.dev.strict.reports());
    }
}
