// SPDX-License-Identifier: GPL-2.0

//! Reader-writer semaphores whose readers share no cache line.
//!
//! A reader counts on its own CPU, as long as there is no writer. The first writer after a while
//! waits for a grace period of RCU, some 10 ms, and then for the readers. Writers that follow soon
//! do not wait for another one. While a writer waits, further readers queue behind it, and they are
//! woken in the order in which they came, so neither side can starve the other.
//!
//! C header: [`include/linux/percpu-rwsem.h`](srctree/include/linux/percpu-rwsem.h)

use crate::kernel_ext::bindings;
use core::{
    cell::UnsafeCell,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::LockClassKey,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// A value behind a `struct percpu_rw_semaphore`.
///
/// # Examples
///
/// ```ignore
/// let name = c"numbers";
/// let numbers = KBox::pin_init(
///     PercpuRwSemaphore::new(KVec::<u64>::new(), name, static_lock_class!()),
///     GFP_KERNEL,
/// )?;
/// numbers.write().push(7, GFP_KERNEL)?;
/// // Any number of tasks at once.
/// assert_eq!(numbers.read().len(), 1);
/// ```
///
/// # Invariants
///
/// `inner` is initialised by `__percpu_init_rwsem()`.
#[pin_data(PinnedDrop)]
pub(crate) struct PercpuRwSemaphore<T> {
    #[pin]
    inner: Opaque<bindings::percpu_rw_semaphore>,
    value: UnsafeCell<T>,
}

// SAFETY: A semaphore may be used from any thread, and the value may move to one.
unsafe impl<T: Send> Send for PercpuRwSemaphore<T> {}
// SAFETY: All methods take `&self` and may run in parallel. Several readers may share the value
// (`Sync`), and a writer may move it to its thread (`Send`).
unsafe impl<T: Send + Sync> Sync for PercpuRwSemaphore<T> {}

impl<T> PercpuRwSemaphore<T> {
    /// Makes an unlocked semaphore of the lock class `key`. Sleeps. Errors: `ENOMEM`.
    pub(crate) fn new(
        value: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            value: UnsafeCell::new(value),
            // INVARIANT: Initialised here, or construction fails.
            inner <- Opaque::try_ffi_init(move |slot| {
                // SAFETY: `slot` is valid for writes and pinned; name and class key are static.
                to_result(unsafe {
                    bindings::__percpu_init_rwsem(slot, name.as_char_ptr(), key.as_ptr())
                })
            }),
        })
    }

    /// Takes the semaphore shared. Sleeps.
    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        // SAFETY: `inner` is initialised by the type invariants.
        unsafe { bindings::percpu_down_read(self.inner.get()) };
        // INVARIANT: Taken just above.
        ReadGuard {
            semaphore: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Takes the semaphore exclusively. Sleeps uninterruptibly.
    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        // SAFETY: `inner` is initialised by the type invariants.
        unsafe { bindings::percpu_down_write(self.inner.get()) };
        // INVARIANT: Taken just above.
        WriteGuard {
            semaphore: self,
            _not_send: NotThreadSafe,
        }
    }
}

#[pinned_drop]
impl<T> PinnedDrop for PercpuRwSemaphore<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `inner` is initialised by the type invariants. A guard borrows `self`, so nobody
        // holds the semaphore or waits for it.
        unsafe { bindings::percpu_free_rwsem(self.inner.get()) };
    }
}

/// A semaphore held shared.
///
/// # Invariants
///
/// This task holds `semaphore` for read.
#[must_use = "the semaphore is released immediately when the guard is unused"]
pub(crate) struct ReadGuard<'a, T> {
    semaphore: &'a PercpuRwSemaphore<T>,
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
        unsafe { bindings::percpu_up_read(self.semaphore.inner.get()) };
    }
}

/// A semaphore held exclusively.
///
/// # Invariants
///
/// This task holds `semaphore` for write.
#[must_use = "the semaphore is released immediately when the guard is unused"]
pub(crate) struct WriteGuard<'a, T> {
    semaphore: &'a PercpuRwSemaphore<T>,
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
        unsafe { bindings::percpu_up_write(self.semaphore.inner.get()) };
    }
}
