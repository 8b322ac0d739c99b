// SPDX-License-Identifier: GPL-2.0

//! Placeholder: proves that a Rust module with our bindings builds and loads.

use kernel::prelude::*;

use homa_bindings as bindings;

module! {
    type: Homa,
    name: "homa",
    authors: ["The homa.ko authors"],
    description: "Homa transport",
    license: "GPL",
}

struct Homa;

impl kernel::Module for Homa {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: no arguments, callable from any context.
        let now = unsafe { bindings::ktime_get() };
        pr_info!("hello {} {}\n", now, ::core::mem::size_of::<bindings::sk_buff>());
        Ok(Homa)
    }
}

impl Drop for Homa {
    fn drop(&mut self) {
        pr_info!("bye\n");
    }
}
