// SPDX-License-Identifier: GPL-2.0

//! Reader-writer semaphores.
//!
//! C header: [`include/linux/rwsem.h`](srctree/include/linux/rwsem.h)

use super::bindings;
use kernel::{
    error::to_result,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// A `struct rw_semaphore`.
///
/// # Invariants
///
/// `inner` is initialised by `init_rwsem()`.
#[pin_data]
pub(crate) struct RwSemaphore {
    #[pin]
    inner: Opaque<bindings::rw_semaphore>,
}

// SAFETY: A semaphore is made to be used from any thread.
unsafe impl Send for RwSemaphore {}
// SAFETY: As above.
unsafe impl Sync for RwSemaphore {}

impl RwSemaphore {
    /// A semaphore that nobody holds.
    pub(crate) fn new(name: &'static CStr) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Initialised here.
            inner <- Opaque::ffi_init(move |slot| {
                // SAFETY: `slot` is valid for writes and pinned; name and class key are static.
                unsafe {
                    bindings::__init_rwsem(
                        slot,
                        name.as_char_ptr(),
                        kernel::static_lock_class!().as_ptr(),
                    )
                }
            }),
        })
    }

    /// Holds it shared. Sleeps.
    pub(crate) fn read(&self) -> ReadGuard<'_> {
        // SAFETY: `inner` is initialised by the type invariants.
        unsafe { bindings::down_read(self.inner.get()) };
        // INVARIANT: Taken just above.
        ReadGuard {
            semaphore: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Holds it alone. Sleeps, uninterruptibly.
    pub(crate) fn write(&self) -> WriteGuard<'_> {
        // SAFETY: `inner` is initialised by the type invariants.
        unsafe { bindings::down_write(self.inner.get()) };
        // INVARIANT: Taken just above.
        WriteGuard {
            semaphore: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Holds it alone. Sleeps.
    ///
    /// Errors: `EINTR` when the task is being killed.
    pub(crate) fn write_killable(&self) -> Result<WriteGuard<'_>> {
        // SAFETY: `inner` is initialised by the type invariants.
        to_result(unsafe { bindings::down_write_killable(self.inner.get()) })?;
        // INVARIANT: Taken just above.
        Ok(WriteGuard {
            semaphore: self,
            _not_send: NotThreadSafe,
        })
    }
}

/// A semaphore held shared.
///
/// # Invariants
///
/// This task holds `semaphore` for read.
#[must_use = "the semaphore is released immediately when the guard is unused"]
pub(crate) struct ReadGuard<'a> {
    semaphore: &'a RwSemaphore,
    _not_send: NotThreadSafe,
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: Held by the type invariants.
        unsafe { bindings::up_read(self.semaphore.inner.get()) };
    }
}

/// A semaphore held alone.
///
/// # Invariants
///
/// This task holds `semaphore` for write.
#[must_use = "the semaphore is released immediately when the guard is unused"]
pub(crate) struct WriteGuard<'a> {
    semaphore: &'a RwSemaphore,
    _not_send: NotThreadSafe,
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: Held by the type invariants.
        unsafe { bindings::up_write(self.semaphore.inner.get()) };
    }
}
