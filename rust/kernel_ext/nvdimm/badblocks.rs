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

/// The bytes of a block.
pub(crate) const BLOCK: u64 = bindings::SECTOR_SIZE as u64;

/// Blocks that `badblocks_check()` is asked for at once: it counts them in an `int`.
const MOST: u64 = 1 << 30;

/// A `struct badblocks` of somebody else.
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

    /// Whether there is none. Any context; without a lock: one that is being noted is seen, or not.
    pub(crate) fn is_empty(self) -> bool {
        // SAFETY: `raw` is valid by the type invariants; the counter is an `int` that only C writes.
        unsafe { ptr::read_volatile(&raw const (*self.raw).count) == 0 }
    }

    /// The first run of bad blocks that reaches into `bytes`, cut to it. Any context.
    ///
    /// Both in bytes; the result begins and ends at a block, unless `bytes` does not.
    pub(crate) fn first_in(self, bytes: Range<u64>) -> Option<Range<u64>> {
        if self.is_empty() {
            return None;
        }
        let end = bytes.end.div_ceil(BLOCK);
        let mut block = bytes.start / BLOCK;
        while block < end {
            let count = MOST.min(end - block);
            let (mut first, mut bad) = (0, 0);
            // SAFETY: `raw` is valid by the type invariants, `count` is not 0.
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

    /// Notes the blocks of `bytes` as bad. Any context but a hard interrupt.
    ///
    /// Returns whether there was room for it: the list has at most 512 runs.
    pub(crate) fn note(self, bytes: Range<u64>) -> bool {
        let block = bytes.start / BLOCK;
        let count = bytes.end.div_ceil(BLOCK).saturating_sub(block);
        // SAFETY: `raw` is valid by the type invariants.
        count == 0 || unsafe { bindings::badblocks_set(self.raw, block, count, 1) }
    }

    /// Forgets the whole blocks in `bytes`. Process context.
    pub(crate) fn forget(self, bytes: Range<u64>) {
        let block = bytes.start.div_ceil(BLOCK);
        let count = (bytes.end / BLOCK).saturating_sub(block);
        if count != 0 {
            // SAFETY: `raw` is valid by the type invariants.
            unsafe { bindings::badblocks_clear(self.raw, block, count) };
        }
    }
}
