// SPDX-License-Identifier: GPL-2.0

//! Generated bindings: the kernel crate's, and what they lack.
//!
//! Not to be used outside of `kernel_ext`: abstract what you need there.

#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]

pub(crate) use kernel::bindings::*;
use kernel::ffi;
use pin_init::MaybeZeroable;

include!(env!("RDAX_BINDINGS"));
