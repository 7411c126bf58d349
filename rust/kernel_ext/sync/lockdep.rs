// SPDX-License-Identifier: GPL-2.0

//! Locks of one's own making, shown to lockdep, as `fs/kernfs/dir.c` shows its active references.
//!
//! Without `CONFIG_LOCKDEP` all of it is nothing: no bytes, no instructions.
//!
//! C header: [`include/linux/lockdep.h`](srctree/include/linux/lockdep.h)

#[cfg(CONFIG_LOCKDEP)]
use crate::kernel_ext::bindings;
use kernel::prelude::*;
#[cfg(CONFIG_LOCKDEP)]
use kernel::types::Opaque;

/// What lockdep knows of a lock (or of many: all that are one class, of which a task holds one at a
/// time) that sleeps and is held alone.
///
/// # Invariants
///
/// `inner` is initialised by `lockdep_init_map()`.
#[pin_data]
pub(crate) struct LockdepMap {
    #[cfg(CONFIG_LOCKDEP)]
    #[pin]
    inner: Opaque<bindings::lockdep_map>,
}

// SAFETY: lockdep is made to be told from any thread.
unsafe impl Send for LockdepMap {}
// SAFETY: As above, in parallel.
unsafe impl Sync for LockdepMap {}

impl LockdepMap {
    /// A lock of the class of all that are made here.
    #[cfg(CONFIG_LOCKDEP)]
    pub(crate) fn new(name: &'static CStr) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Initialised here.
            inner <- Opaque::ffi_init(move |slot| {
                // SAFETY: `slot` is valid for writes and pinned; name and class key are static.
                unsafe {
                    bindings::lockdep_init_map(
                        slot,
                        name.as_char_ptr(),
                        kernel::static_lock_class!().as_ptr(),
                    )
                }
            }),
        })
    }

    /// A lock of the class of all that are made here.
    #[cfg(not(CONFIG_LOCKDEP))]
    pub(crate) fn new(_name: &'static CStr) -> impl PinInit<Self> {
        pin_init!(Self {})
    }

    /// This task may take the lock here, if it comes to that (`might_lock()`).
    #[inline(always)]
    pub(crate) fn might_lock(&self) {
        // SAFETY: `inner` is initialised by the type invariants.
        #[cfg(CONFIG_LOCKDEP)]
        unsafe {
            bindings::might_lock(self.inner.get())
        };
    }

    /// This task has taken the lock.
    #[inline(always)]
    pub(crate) fn acquire(&self) {
        // SAFETY: `inner` is initialised by the type invariants.
        #[cfg(CONFIG_LOCKDEP)]
        unsafe {
            bindings::rwsem_acquire(self.inner.get())
        };
    }

    /// This task gives the lock back.
    #[inline(always)]
    pub(crate) fn release(&self) {
        // SAFETY: `inner` is initialised by the type invariants.
        #[cfg(CONFIG_LOCKDEP)]
        unsafe {
            bindings::rwsem_release(self.inner.get())
        };
    }
}
