// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Which sabotage is on: `scripts/sim --sabotage` puts this file and the patches beside it into a copy of the core.

use std::sync::OnceLock;

/// Is it this one? The environment says so.
pub fn is(name: &str) -> bool {
    static NAME: OnceLock<std::string::String> = OnceLock::new();
    NAME.get_or_init(|| std::env::var("HOMA_SABOTAGE").unwrap_or_default()) == name
}
