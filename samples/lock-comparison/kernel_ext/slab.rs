// SPDX-License-Identifier: GPL-2.0

//! How much memory the kernel's slabs take.
//!
//! C header: [`include/linux/vmstat.h`](srctree/include/linux/vmstat.h)

use super::bindings;

/// The bytes of all slabs. Others allocate too, and each CPU sums up a few pages before it tells.
pub(crate) fn bytes() -> usize {
    // SAFETY: The C function takes nothing and only reads counters.
    unsafe { bindings::slab_bytes() }
}
