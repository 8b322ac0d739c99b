// SPDX-License-Identifier: GPL-2.0

//! Tracepoints: for perf, ftrace and BPF; a no-op instruction each while nobody looks.
//!
//! The kernel crate's `declare_trace!` is for tracepoints in its own bindings, which a module's are not; this is the
//! same on ours. `shim/trace.h` declares them in C.

use super::{
    addr::{Addr, SockAddr},
    netns::Net,
};
use homa_bindings as bindings;

/// What all events tell.
pub struct Event<'a>(bindings::shim_event, ::core::marker::PhantomData<&'a str>);

impl<'a> Event<'a> {
    /// Something of the kind `what` about `id`, between the local `port` and `peer`.
    pub fn new(net: &Net, what: &'a str, id: u64, port: u16, peer: &SockAddr) -> Self {
        let Addr(addr) = peer.addr;
        let event = bindings::shim_event {
            netns: net.cookie(),
            id,
            offset: 0,
            length: 0,
            port,
            peer_port: peer.port,
            peer: addr,
            what: what.as_ptr().cast(),
            what_len: what.len() as u32,
        };
        Self(event, ::core::marker::PhantomData)
    }

    /// It concerns `length` bytes at `offset`.
    pub fn at(mut self, offset: u32, length: u32) -> Self {
        self.0.offset = offset;
        self.0.length = length;
        self
    }

    /// The C struct.
    #[doc(hidden)]
    pub fn as_raw(&self) -> *const bindings::shim_event {
        &raw const self.0
    }
}

/// `tracepoints! { name; }`: the functions `name_enabled()`, whether somebody looks at the tracepoint `homa_name`, and
/// `name(&Event)`, which shows it the event.
///
/// Ask first: only that costs next to nothing. What makes the event belongs in a cold function that takes values, not
/// references to what the fast path keeps in registers.
macro_rules! tracepoints {
    ($($name:ident;)*) => { ::kernel::macros::paste! { $(
        pub(crate) fn $name(event: &$crate::sys::trace::Event<'_>) {
            #[cfg(CONFIG_TRACEPOINTS)]
            // SAFETY: the event is valid during the call, and so is the text that it points to.
            unsafe { ::homa_bindings::[<rust_do_trace_homa_ $name>](event.as_raw()) };
            #[cfg(not(CONFIG_TRACEPOINTS))]
            let _ = event;
        }

        #[inline(always)]
        pub(crate) fn [<$name _enabled>]() -> bool {
            #[cfg(all(CONFIG_TRACEPOINTS, CONFIG_JUMP_LABEL))]
            // SAFETY: the tracepoint is a static of C's, with a static key in it.
            unsafe {
                ::kernel::jump_label::arch_static_branch! {
                    ::homa_bindings::[<__tracepoint_homa_ $name>],
                    ::homa_bindings::tracepoint,
                    key,
                    false
                }
            }
            #[cfg(all(CONFIG_TRACEPOINTS, not(CONFIG_JUMP_LABEL)))]
            // SAFETY: as above; the count is read as C does, atomically.
            unsafe {
                let count = &raw mut ::homa_bindings::[<__tracepoint_homa_ $name>].key.key.enabled.counter;
                ::core::sync::atomic::AtomicI32::from_ptr(count).load(::core::sync::atomic::Ordering::Relaxed) > 0
            }
            #[cfg(not(CONFIG_TRACEPOINTS))]
            false
        }
    )* } };
}
pub(crate) use tracepoints;
