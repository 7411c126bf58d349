// SPDX-License-Identifier: GPL-2.0

//! Sleepable RCU, and a value that can be revoked while readers may sleep.
//!
//! [`kernel::revocable::Revocable`] does the same on plain RCU, whose readers must not sleep. A
//! fault handler that waits for an entry lock sleeps.
//!
//! C header: [`include/linux/srcu.h`](srctree/include/linux/srcu.h)

use crate::kernel_ext::{
    bindings,
    sync::atomic::read_once, //
};
use core::ops::Deref;
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        LockClassKey,
        Mutex, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// A `struct srcu_struct`.
///
/// # Invariants
///
/// `inner` is initialised by `init_srcu_struct_fast()`.
#[pin_data(PinnedDrop)]
struct Srcu {
    #[pin]
    inner: Opaque<bindings::srcu_struct>,
}

// SAFETY: An `srcu_struct` may be used from any thread.
unsafe impl Send for Srcu {}
// SAFETY: All methods take `&self`, and their C functions may run in parallel.
unsafe impl Sync for Srcu {}

impl Srcu {
    pub(in crate::kernel_ext) fn new(
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Initialised here, or construction fails.
            inner <- Opaque::try_ffi_init(move |slot| {
                // SAFETY: `slot` is valid for writes, and pinned until `drop()`; name and class key
                // are static.
                to_result(unsafe {
                    bindings::init_srcu_struct_fast(slot, name.as_char_ptr(), key.as_ptr())
                })
            }),
        })
    }

    /// Begins a read-side section, which ends when the guard is dropped. Readers may sleep.
    fn read(&self) -> ReadGuard<'_> {
        // SAFETY: `inner` is initialised by the type invariants.
        let counter = unsafe { bindings::srcu_read_lock_fast(self.inner.get()) };
        // INVARIANT: Entered just above.
        ReadGuard {
            srcu: self,
            counter,
            _not_send: NotThreadSafe,
        }
    }

    /// Waits until every read-side section that began before this call has ended. Sleeps.
    fn synchronize(&self) {
        // SAFETY: `inner` is initialised by the type invariants.
        unsafe { bindings::synchronize_srcu(self.inner.get()) };
    }
}

#[pinned_drop]
impl PinnedDrop for Srcu {
    fn drop(self: Pin<&mut Self>) {
        // A `ReadGuard` borrows the `Srcu`, but may have been forgotten. `cleanup_srcu_struct()` then
        // leaves alone what still uses the structure, which is freed next. So this waits, forever
        // in that case. Expedited, because usually there is nothing to wait for.
        //
        // SAFETY: `inner` is initialised by the type invariants.
        unsafe { bindings::synchronize_srcu_expedited(self.inner.get()) };
        // SAFETY: `inner` is initialised by the type invariants. No reader is left: all that began
        // have ended, just above.
        unsafe { bindings::cleanup_srcu_struct(self.inner.get()) };
    }
}

/// A read-side section of an [`Srcu`].
///
/// # Invariants
///
/// `counter` is what `srcu_read_lock_fast()` of `srcu` returned on this task. It is not yet given
/// back.
struct ReadGuard<'a> {
    srcu: &'a Srcu,
    counter: *mut bindings::srcu_ctr,
    _not_send: NotThreadSafe,
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, `counter` belongs to this task's section of `srcu`, which
        // is not yet ended.
        unsafe { bindings::srcu_read_unlock_fast(self.srcu.inner.get(), self.counter) };
    }
}

/// The lockdep classes of one kind of [`SrcuRevocable`]: a value may be revoked while a value of
/// another kind is used.
pub(crate) struct Classes {
    pub(crate) readers: Pin<&'static LockClassKey>,
    pub(crate) revoking: Pin<&'static LockClassKey>,
}

/// What revoking a value does, besides waiting for its users.
pub(crate) trait Revoke {
    /// What may still be used of the value then.
    type Rest;

    /// Ends what the value stands for, and returns the rest of it. Sleeps. No reader sees the value
    /// any more.
    fn revoked(&self) -> &Self::Rest;
}

/// A value that can be used until it is revoked, by readers that may sleep.
///
/// Two means protect two things. The owner of the `SrcuRevocable` (usually a reference count) keeps
/// the *memory* of the value. The grace period protects what the value *stands for*: when
/// [`revoke`](Self::revoke) returns, every reader that saw it alive has finished, and no later one
/// sees it alive. This is `alive` and `synchronize_rcu()` of the thread "/dev/dax, core: file
/// operations and dax-mmap" (May 2016), on SRCU, as in `kill_dax()` in `drivers/dax/super.c`.
///
/// # Examples
///
/// ```ignore
/// struct Port {
///     number: u16,
/// }
///
/// impl Revoke for Port {
///     type Rest = u16;
///
///     fn revoked(&self) -> &u16 {
///         pr_info!("no task uses port {}\n", self.number);
///         &self.number
///     }
/// }
///
/// let classes = Classes {
///     readers: static_lock_class!(),
///     revoking: static_lock_class!(),
/// };
/// let port = KBox::pin_init(
///     SrcuRevocable::new(try_init!(Port { number: 7 }), classes),
///     GFP_KERNEL,
/// )?;
/// if let Some(port) = port.try_access() {
///     // This may sleep. A call of `revoke()` waits until `port` is dropped.
///     assert_eq!(port.number, 7);
/// }
/// port.revoke(|_| ());
/// assert!(port.try_access().is_none());
/// ```
#[pin_data]
pub(crate) struct SrcuRevocable<T> {
    #[pin]
    srcu: Srcu,
    alive: Atomic<bool>,
    #[pin]
    revoking: Mutex<()>,
    #[pin]
    value: T,
}

impl<T: Revoke> SrcuRevocable<T> {
    /// Makes a value, which is alive. Sleeps.
    ///
    /// Errors: `ENOMEM`, and those of `value`.
    pub(crate) fn new(
        value: impl PinInit<T, Error>,
        classes: Classes,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            srcu <- Srcu::new(c"rdax_live", classes.readers),
            alive: Atomic::new(true),
            revoking <- Mutex::new((), c"rdax_revoking", classes.revoking),
            value <- value,
        })
    }

    /// Returns the value if it is alive. It stays alive while the guard exists. The holder may
    /// sleep.
    ///
    /// Guards may nest, also in one task: a fault during a copy from user memory may take another.
    pub(crate) fn try_access(&self) -> Option<SrcuGuard<'_, T>> {
        let guard = self.srcu.read();
        // Pairs with the store in `revoke()`: a reader that misses the store began its section
        // before `synchronize()`, which waits for it.
        if !read_once(&self.alive) {
            return None;
        }
        Some(SrcuGuard {
            value: &self.value,
            _guard: guard,
        })
    }

    /// Waits until every guard that exists now is dropped. Sleeps. This task holds no guard.
    pub(crate) fn synchronize(&self) {
        self.srcu.synchronize();
    }

    /// Revokes the value, waits until it is no longer used, and calls [`Revoke::revoked`], then
    /// `last` with the rest of it.
    ///
    /// If the value was revoked before, only waits until that is complete. Sleeps. This task holds
    /// no guard.
    pub(crate) fn revoke(&self, last: impl FnOnce(&T::Rest)) {
        let _revoking = self.revoking.lock();
        if self.alive.load(Relaxed) {
            // Pairs with the load in `try_access()`, by the grace period.
            self.alive.store(false, Relaxed);
            self.srcu.synchronize();
            last(self.value.revoked());
        }
    }
}

/// A value that is alive while this exists.
#[must_use = "the value may be revoked as soon as the guard is dropped"]
pub(crate) struct SrcuGuard<'a, T> {
    value: &'a T,
    _guard: ReadGuard<'a>,
}

impl<T> Deref for SrcuGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}
