// SPDX-License-Identifier: GPL-2.0

//! Generated bindings: those of the kernel crate, and those that it lacks.
//!
//! Only `kernel_ext` may use them. Add an abstraction here for what else is needed.

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
