// SPDX-License-Identifier: GPL-2.0

//! A limit on what user space can make the module log.
//!
//! C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use super::bindings;

/// Whether a message caused by user space may be printed now (`__ratelimit()`).
///
/// Any context.
pub(crate) fn ratelimit() -> bool {
    // SAFETY: The C function takes nothing and may be called in any context.
    unsafe { bindings::log_ratelimit() }
}
