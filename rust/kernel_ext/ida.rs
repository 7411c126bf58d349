// SPDX-License-Identifier: GPL-2.0

//! Numbers that are taken and given back.
//!
//! C header: [`include/linux/idr.h`](srctree/include/linux/idr.h)

use crate::kernel_ext::bindings;
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// A set of numbers of which each is taken or free. Its memory is for those that are taken.
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
    /// All numbers are free.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Initialised here.
            //
            // SAFETY: The slot is valid for writes, and pinned.
            inner <- Opaque::ffi_init(|slot| unsafe { bindings::ida_init(slot) }),
        })
    }

    /// Takes the smallest free number of `first..=last` (`ida_alloc_range()`). Sleeps.
    ///
    /// Errors: `ENOSPC` when none is free, or `first` is above `i32::MAX`; `ENOMEM`.
    pub(crate) fn take(&self, first: u32, last: u32) -> Result<u32> {
        // C warns of it.
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

    /// Gives back a `number` that was taken. Any context.
    pub(crate) fn give(&self, number: u32) {
        // SAFETY: Initialised by the type invariants. For a number that is not taken, C warns.
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
