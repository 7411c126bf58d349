// SPDX-License-Identifier: GPL-2.0

//! Reader-writer semaphores.
//!
//! C header: [`include/linux/rwsem.h`](srctree/include/linux/rwsem.h)

use crate::kernel_ext::bindings;
use core::{
    cell::UnsafeCell,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    prelude::*,
    sync::LockClassKey,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// A value behind a `struct rw_semaphore`.
///
/// # Invariants
///
/// `inner` is initialised by `init_rwsem()`.
#[pin_data]
pub(crate) struct RwSemaphore<T> {
    #[pin]
    inner: Opaque<bindings::rw_semaphore>,
    value: UnsafeCell<T>,
}

// SAFETY: A semaphore may be used from any thread, and the value may move to one.
unsafe impl<T: Send> Send for RwSemaphore<T> {}
// SAFETY: All methods take `&self` and may run in parallel. Several readers may share the value
// (`Sync`), and a writer may move it to its thread (`Send`).
unsafe impl<T: Send + Sync> Sync for RwSemaphore<T> {}

impl<T> RwSemaphore<T> {
    /// Makes an unlocked semaphore of the lock class `key`.
    pub(crate) fn new(
        value: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            value: UnsafeCell::new(value),
            // INVARIANT: Initialised here.
            inner <- Opaque::ffi_init(move |slot| {
                // SAFETY: `slot` is valid for writes and pinned; name and class key are static.
                unsafe { bindings::__init_rwsem(slot, name.as_char_ptr(), key.as_ptr()) }
            }),
        })
    }

    /// Takes the semaphore shared. Sleeps.
    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        // SAFETY: `inner` is initialised by the type invariants.
        unsafe { bindings::down_read(self.inner.get()) };
        // INVARIANT: Taken just above.
        ReadGuard {
            semaphore: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Takes the semaphore exclusively. Sleeps uninterruptibly.
    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        // SAFETY: `inner` is initialised by the type invariants.
        unsafe { bindings::down_write(self.inner.get()) };
        // INVARIANT: Taken just above.
        WriteGuard {
            semaphore: self,
            _not_send: NotThreadSafe,
        }
    }
}

/// A semaphore held shared.
///
/// # Invariants
///
/// This task holds `semaphore` for read.
#[must_use = "the semaphore is released immediately when the guard is unused"]
pub(crate) struct ReadGuard<'a, T> {
    semaphore: &'a RwSemaphore<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariants the semaphore is held for read, so the value does not
        // change.
        unsafe { &*self.semaphore.value.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this task holds the semaphore for read.
        unsafe { bindings::up_read(self.semaphore.inner.get()) };
    }
}

/// A semaphore held exclusively.
///
/// # Invariants
///
/// This task holds `semaphore` for write.
#[must_use = "the semaphore is released immediately when the guard is unused"]
pub(crate) struct WriteGuard<'a, T> {
    semaphore: &'a RwSemaphore<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariants the semaphore is held for write, so no other task changes
        // the value.
        unsafe { &*self.semaphore.value.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type invariants the semaphore is held for write, so no other task uses the
        // value.
        unsafe { &mut *self.semaphore.value.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this task holds the semaphore for write.
        unsafe { bindings::up_write(self.semaphore.inner.get()) };
    }
}
