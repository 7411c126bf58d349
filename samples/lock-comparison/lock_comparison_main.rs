// SPDX-License-Identifier: GPL-2.0

//! Ways to lock the pages of a mapping against each other's faults, measured beside each other.
//!
//! The threads that led to the entry locks of `fs/dax.c`, and of rdax, proposed half a dozen. Each
//! is here behind one trait, [`comparison::scheme::Scheme`]; the one of rdax is not a copy but the
//! driver's own files. `Documentation/performance/locks.rst` has the results.
//!
//! A measurement is a line that is written to `/sys/kernel/debug/lock_comparison/run`, its result
//! what can be read there afterwards. `comparison/request.rs` says what the line may have.

mod comparison;
mod dax;
mod kernel_ext;

use kernel::prelude::*;

module! {
    type: comparison::Module,
    name: "lock_comparison",
    authors: ["The rdax developers"],
    description: "Comparison of locks for the pages of a mapping",
    license: "GPL v2",
}
