// SPDX-License-Identifier: GPL-2.0

//! Warnings about bugs of the module.
//!
//! C header: [`include/asm-generic/bug.h`](srctree/include/asm-generic/bug.h)

use crate::kernel_ext::bindings;
use core::panic::Location;

/// Logs a warning with the caller's file and line and a backtrace, if `condition` is true:
/// `WARN_ON()`. Any context.
///
/// The kernel crate's `warn_on!` includes files of the kernel's build directory
/// (`rust/kernel/generated_arch_*.rs`), which packages with Rust metadata lack.
#[track_caller]
pub(crate) fn warn_on(condition: bool) {
    if condition {
        warn_at(Location::caller());
    }
}

#[cold]
fn warn_at(place: &Location<'_>) {
    let file = place.file();
    // SAFETY: `file` is valid for reads of its length for the duration of the call.
    unsafe { bindings::warn_at(file.as_ptr(), file.len(), place.line()) };
}
