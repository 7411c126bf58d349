// SPDX-License-Identifier: GPL-2.0

//! What QEMU's plugin is to record of this CPU.
//!
//! C header: [`scripts/plugin/marks.h`](../../../scripts/plugin/marks.h)

use super::bindings;

/// Calls `operation`, and lets the plugin record it. A `warm_up` is not counted. Without the plugin
/// the marks are instructions that do nothing.
pub(crate) fn recorded<R>(warm_up: bool, operation: impl FnOnce() -> R) -> R {
    if warm_up {
        // SAFETY: The C function takes nothing and does nothing.
        unsafe { bindings::mark_warm_up() };
    } else {
        // SAFETY: The C function takes nothing and does nothing.
        unsafe { bindings::mark_operation() };
    }
    let result = operation();
    // SAFETY: The C function takes nothing and does nothing.
    unsafe { bindings::mark_end() };
    result
}
