// SPDX-License-Identifier: GPL-2.0

//! Sets of numbers.

use crate::kernel_ext::bindings;
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// A set of numbers, each of which is in use or free. Only those in use take memory.
///
/// # Invariants
///
/// `inner` is initialised.
#[pin_data(PinnedDrop)]
pub(crate) struct Ida {
    #[pin]
    inner: Opaque<bindings::ida>,
}

// SAFETY: An `ida` may be used from any thread.
unsafe impl Send for Ida {}
// SAFETY: Its functions take its lock.
unsafe impl Sync for Ida {}

impl Ida {
    /// Makes a set in which all numbers are free.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Initialised here.
            //
            // SAFETY: The slot is valid for writes, and pinned.
            inner <- Opaque::ffi_init(|slot| unsafe { bindings::ida_init(slot) }),
        })
    }

    /// Takes the smallest free number in `first..=last` (`ida_alloc_range()`). Sleeps.
    ///
    /// Errors: `ENOSPC` if none is free, or `first` is above `i32::MAX`; `ENOMEM`.
    pub(crate) fn take(&self, first: u32, last: u32) -> Result<u32> {
        // The C function would warn.
        if first > i32::MAX as u32 {
            return Err(ENOSPC);
        }
        // SAFETY: Initialised by the type invariants.
        let number = unsafe {
            bindings::ida_alloc_range(self.inner.get(), first, last, bindings::GFP_KERNEL)
        };
        match u32::try_from(number) {
            Ok(number) => Ok(number),
            Err(_) => Err(Error::from_errno(number)),
        }
    }

    /// Frees a `number` that was taken. Any context.
    pub(crate) fn give(&self, number: u32) {
        // SAFETY: Initialised by the type invariants. For a number that is not taken, the C
        // function only warns.
        unsafe { bindings::ida_free(self.inner.get(), number) };
    }
}

#[pinned_drop]
impl PinnedDrop for Ida {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialised by the type invariants.
        unsafe { bindings::ida_destroy(self.inner.get()) };
    }
}
