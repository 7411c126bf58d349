// SPDX-License-Identifier: GPL-2.0

//! Lists of bad blocks, of 512 bytes each.
//!
//! C header: [`include/linux/badblocks.h`](srctree/include/linux/badblocks.h)

use crate::kernel_ext::bindings;
use core::{
    marker::PhantomData,
    ops::Range,
    ptr, //
};

/// The number of bytes of a block.
pub(crate) const BLOCK: u64 = bindings::SECTOR_SIZE as u64;

/// The maximum number of blocks in one call of `badblocks_check()`, which counts them in an `int`.
const MOST: u64 = 1 << 30;

/// A `struct badblocks` that C code owns.
///
/// # Invariants
///
/// `raw` is valid and initialised for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Badblocks<'a> {
    raw: *mut bindings::badblocks,
    _list: PhantomData<&'a bindings::badblocks>,
}

impl Badblocks<'_> {
    /// # Safety
    ///
    /// `raw` must be valid and initialised for the lifetime of the result.
    pub(in crate::kernel_ext) unsafe fn from_raw(raw: *mut bindings::badblocks) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            raw,
            _list: PhantomData,
        }
    }

    /// Whether the list is empty. Any context. Lockless: a block that is being added may be missed.
    pub(crate) fn is_empty(self) -> bool {
        // SAFETY: `raw` is valid by the type invariants; the counter is an `int` that only C
        // writes.
        unsafe { ptr::read_volatile(&raw const (*self.raw).count) == 0 }
    }

    /// Returns the first run of bad blocks that reaches into `bytes`, cut to it. Any context.
    ///
    /// Both are in bytes. The result begins and ends at a block, unless `bytes` does not.
    pub(crate) fn first_in(self, bytes: Range<u64>) -> Option<Range<u64>> {
        if self.is_empty() {
            return None;
        }
        let end = bytes.end.div_ceil(BLOCK);
        let mut block = bytes.start / BLOCK;
        while block < end {
            let count = MOST.min(end - block);
            let (mut first, mut bad) = (0, 0);
            // SAFETY: `raw` is valid by the type invariants, and `count` is not 0.
            if unsafe { bindings::badblocks_check(self.raw, block, count, &mut first, &mut bad) }
                != 0
            {
                let start = bytes.start.max(first.saturating_mul(BLOCK));
                let end = bytes
                    .end
                    .min(first.saturating_add(bad).saturating_mul(BLOCK));
                return Some(start..end);
            }
            block += count;
        }
        None
    }

    /// Adds the blocks of `bytes`. Any context but a hard interrupt.
    ///
    /// Returns whether there was room: the list has at most 512 runs.
    pub(crate) fn note(self, bytes: Range<u64>) -> bool {
        let block = bytes.start / BLOCK;
        let count = bytes.end.div_ceil(BLOCK).saturating_sub(block);
        // SAFETY: `raw` is valid by the type invariants.
        count == 0 || unsafe { bindings::badblocks_set(self.raw, block, count, 1) }
    }

    /// Removes the whole blocks in `bytes`. Process context.
    pub(crate) fn forget(self, bytes: Range<u64>) {
        let block = bytes.start.div_ceil(BLOCK);
        let count = (bytes.end / BLOCK).saturating_sub(block);
        if count != 0 {
            // SAFETY: `raw` is valid by the type invariants.
            unsafe { bindings::badblocks_clear(self.raw, block, count) };
        }
    }
}
