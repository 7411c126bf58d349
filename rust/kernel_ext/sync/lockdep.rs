// SPDX-License-Identifier: GPL-2.0

//! Lockdep annotations for locks of the module's own, as `fs/kernfs/dir.c` has them for active
//! references.
//!
//! Without `CONFIG_LOCKDEP` this costs no bytes and no instructions.
//!
//! C header: [`include/linux/lockdep.h`](srctree/include/linux/lockdep.h)

#[cfg(CONFIG_LOCKDEP)]
use crate::kernel_ext::bindings;
use kernel::prelude::*;
#[cfg(CONFIG_LOCKDEP)]
use kernel::types::Opaque;

/// Lockdep's record of a lock that sleeps and is held exclusively. It may stand for many locks of
/// one class, of which a task holds one at a time.
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

// SAFETY: Lockdep may be called from any thread.
unsafe impl Send for LockdepMap {}
// SAFETY: Lockdep's functions may run in parallel on one map.
unsafe impl Sync for LockdepMap {}

impl LockdepMap {
    /// Makes a map. All maps made here have one class.
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

    /// Makes a map. All maps made here have one class.
    #[cfg(not(CONFIG_LOCKDEP))]
    pub(crate) fn new(_name: &'static CStr) -> impl PinInit<Self> {
        pin_init!(Self {})
    }

    /// Tells lockdep that this task may take the lock here (`might_lock()`).
    #[inline(always)]
    pub(crate) fn might_lock(&self) {
        // SAFETY: `inner` is initialised by the type invariants.
        #[cfg(CONFIG_LOCKDEP)]
        unsafe {
            bindings::might_lock(self.inner.get())
        };
    }

    /// Tells lockdep that this task has taken the lock.
    #[inline(always)]
    pub(crate) fn acquire(&self) {
        // SAFETY: `inner` is initialised by the type invariants.
        #[cfg(CONFIG_LOCKDEP)]
        unsafe {
            bindings::rwsem_acquire(self.inner.get())
        };
    }

    /// Tells lockdep that this task releases the lock.
    #[inline(always)]
    pub(crate) fn release(&self) {
        // SAFETY: `inner` is initialised by the type invariants.
        #[cfg(CONFIG_LOCKDEP)]
        unsafe {
            bindings::rwsem_release(self.inner.get())
        };
    }
}
