// SPDX-License-Identifier: GPL-2.0

//! Lists of bad blocks, of 512 bytes each.
//!
//! C header: [`include/linux/badblocks.h`](srctree/include/linux/badblocks.h)

use crate::kernel_ext::{
    bindings,
    units::RegionOffset, //
};
use core::{
    marker::PhantomData,
    ops::Range,
    ptr, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// The number of bytes of a block.
pub(crate) const BLOCK: u64 = bindings::SECTOR_SIZE as u64;

/// The maximum number of blocks in one call of `badblocks_check()`, which counts them in an `int`.
const MOST: u64 = 1 << 30;

/// A list of our own.
///
/// # Invariants
///
/// `inner` is initialised by `badblocks_init()`.
#[pin_data(PinnedDrop)]
pub(in crate::kernel_ext) struct OwnBadblocks {
    #[pin]
    inner: Opaque<bindings::badblocks>,
}

// SAFETY: A `struct badblocks` has a lock of its own, and may be used from any thread.
unsafe impl Send for OwnBadblocks {}
// SAFETY: There is no method that changes anything without that lock.
unsafe impl Sync for OwnBadblocks {}

impl OwnBadblocks {
    /// An empty list. Sleeps. Errors: `ENOMEM`.
    pub(in crate::kernel_ext) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Initialised here, or construction fails.
            inner <- Opaque::try_ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes. 1: the list is in use.
                to_result(unsafe { bindings::badblocks_init(slot, 1) })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for OwnBadblocks {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialised by the type invariants, and not used again.
        unsafe { bindings::badblocks_exit(self.inner.get()) };
    }
}

/// The owner of a region's list.
#[derive(Clone)]
pub(in crate::kernel_ext) enum List {
    /// libnvdimm: the list of an enabled namespace.
    Namespace(*mut bindings::badblocks),
    /// The region.
    Own(Arc<OwnBadblocks>),
}

impl List {
    pub(in crate::kernel_ext) fn as_raw(&self) -> *mut bindings::badblocks {
        match self {
            Self::Namespace(raw) => *raw,
            Self::Own(list) => list.inner.get(),
        }
    }
}

/// A `struct badblocks` that something else owns.
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
    /// The result begins and ends at a block, unless `bytes` does not.
    pub(crate) fn first_in(self, bytes: Range<RegionOffset>) -> Option<Range<RegionOffset>> {
        if self.is_empty() {
            return None;
        }
        let (start, end) = (bytes.start.get(), bytes.end.get());
        let mut block = start / BLOCK;
        let last = end.div_ceil(BLOCK);
        while block < last {
            let count = MOST.min(last - block);
            let (mut first, mut bad) = (0, 0);
            // SAFETY: `raw` is valid by the type invariants, and `count` is not 0.
            if unsafe { bindings::badblocks_check(self.raw, block, count, &mut first, &mut bad) }
                != 0
            {
                let start = start.max(first.saturating_mul(BLOCK));
                let end = end.min(first.saturating_add(bad).saturating_mul(BLOCK));
                return Some(RegionOffset::new(start)..RegionOffset::new(end));
            }
            block += count;
        }
        None
    }

    /// Adds the blocks of `bytes`. Any context but a hard interrupt.
    ///
    /// Returns whether there was room: the list has at most 512 runs.
    pub(crate) fn note(self, bytes: Range<RegionOffset>) -> bool {
        let block = bytes.start.get() / BLOCK;
        let count = bytes.end.get().div_ceil(BLOCK).saturating_sub(block);
        // SAFETY: `raw` is valid by the type invariants.
        count == 0 || unsafe { bindings::badblocks_set(self.raw, block, count, 1) }
    }

    /// Removes the whole blocks in `bytes`. Process context.
    pub(crate) fn forget(self, bytes: Range<RegionOffset>) {
        let block = bytes.start.get().div_ceil(BLOCK);
        let count = (bytes.end.get() / BLOCK).saturating_sub(block);
        if count != 0 {
            // SAFETY: `raw` is valid by the type invariants.
            unsafe { bindings::badblocks_clear(self.raw, block, count) };
        }
    }
}
