// SPDX-License-Identifier: GPL-2.0

//! The kernel's C as bindgen sees it through `bindings.h`: raw, unsafe, and for `src/sys` only
//! (which calls this crate `bindings`).
//!
//! These types are not those of `kernel::bindings` (the module's bindgen run is its own), though they
//! are laid out alike: cast pointers when one must become the other.

#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]

use pin_init::{MaybeZeroable, Zeroable};

// Named in the C headers, blocked in bindgen_parameters so that they become `usize`.
type __kernel_size_t = usize;
type __kernel_ssize_t = isize;
type __kernel_ptrdiff_t = isize;

// SAFETY: `__BindgenBitfieldUnit<Storage>` is a newtype around `Storage`.
unsafe impl<Storage> Zeroable for __BindgenBitfieldUnit<Storage> where Storage: Zeroable {}

use kernel::ffi;

include!(env!("HOMA_BINDINGS"));
