// SPDX-License-Identifier: GPL-2.0 OR MIT

//! One seed of mixed faults; again with a trace if it fails.

use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::check::Violation;
use crate::faults::plan;
use crate::host::Host;
use crate::trace::Trace;
use crate::world::{Totals, World};

/// Why a seed failed, for people.
#[derive(Debug)]
pub struct Failure {
    /// The violation, and the last events of the RPC concerned.
    pub text: String,
}

/// Runs a seed.
///
/// # Errors
///
/// [`Failure`]: an invariant did not hold, or the code panicked; `lines` of trace are told.
pub fn trial<H: Host>(seed: u64, lines: usize) -> Result<Totals, Failure> {
    match attempt::<H>(seed, None) {
        (Ok(Ok(totals)), _) => Ok(totals),
        _ => {
            let (again, trace) = attempt::<H>(seed, Some(Trace::default()));
            let trace = trace.unwrap_or_default();
            let text = match again {
                Ok(Err(violation)) => {
                    format!("{}\n{violation}", trace.last(violation.rpc, lines))
                }
                Err(panic) => format!("{}\npanic: {panic}", trace.last(None, lines)),
                Ok(Ok(_)) => {
                    "it failed, and not a second time: it does not follow from its seed".into()
                }
            };
            Err(Failure { text })
        }
    }
}

/// A run: its result, or what it panicked with; and the trace.
fn attempt<H: Host>(
    seed: u64,
    trace: Option<Trace>,
) -> (Result<Result<Totals, Violation>, String>, Option<Trace>) {
    let mut world = World::<H>::new(plan::scenario(seed), seed);
    world.trace = trace;
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let result = match result {
        Ok(result) => Ok(result.map(|outcome| outcome.totals)),
        Err(panic) => Err(panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()))
            .unwrap_or_default()),
    };
    (result, world.trace.take())
}
