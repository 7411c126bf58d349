// SPDX-License-Identifier: GPL-2.0

//! Hashed wait queues with keyed, exclusive waiters.
//!
//! The scheme of `fs/dax.c` (ac401cc78242, "dax: New fault locking"), which took it from
//! `wait_on_bit()`. The state that a task waits for is in a word of the caller. A table of wait
//! queues serves all such words, and a waiter carries its key because one queue serves many keys.
//!
//! C header: [`include/linux/wait.h`](srctree/include/linux/wait.h)

use crate::kernel_ext::{
    bindings,
    hash::hash_long, //
};
use kernel::{
    container_of,
    prelude::*,
    types::Opaque, //
};

/// Which waiters to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The task that has waited longest. It takes the lock, or passes the wake-up on.
    Next,
    /// All of them, because what they waited for no longer exists.
    All,
}

const TABLE_BITS: u32 = 8;
const TABLE_SIZE: usize = 1 << TABLE_BITS;

/// A table of wait queues, hashed by key.
///
/// # Examples
///
/// A sleeping lock of one bit. Any number of such locks can share the table.
///
/// ```ignore
/// fn lock(table: &WaitTable, taken: &SpinLock<bool>) {
///     let key = core::ptr::from_ref(taken).addr();
///     let mut woken: Option<Woken<'_>> = None;
///     loop {
///         let mut state = taken.lock();
///         if let Some(woken) = woken.take() {
///             // The holder wakes the next waiter: this task, or one that was faster.
///             woken.settle(key);
///         }
///         if !*state {
///             *state = true;
///             return;
///         }
///         woken = Some(table.wait_exclusive(key, state));
///     }
/// }
///
/// fn unlock(table: &WaitTable, taken: &SpinLock<bool>) {
///     *taken.lock() = false;
///     table.wake(core::ptr::from_ref(taken).addr(), Wake::Next);
/// }
/// ```
///
/// # Invariants
///
/// Each head is initialised by `init_waitqueue_head()`, and has no waiters when it is dropped.
#[pin_data]
pub(crate) struct WaitTable {
    #[pin]
    heads: [Opaque<bindings::wait_queue_head>; TABLE_SIZE],
}

// SAFETY: Wait queues may be used from any thread.
unsafe impl Send for WaitTable {}
// SAFETY: All methods take `&self`, and each queue has its own lock.
unsafe impl Sync for WaitTable {}

/// A waiter, on its task's stack while it waits.
#[repr(C)]
struct Waiter {
    wait: bindings::wait_queue_entry,
    key: usize,
}

impl WaitTable {
    /// Makes a table without waiters.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Each head is initialised here. A waiter borrows the table, so none is left
            // at the drop.
            heads <- pin_init::pin_init_array_from_fn(|_| {
                Opaque::ffi_init(|slot| {
                    // SAFETY: `slot` is valid for writes and pinned; the name and the class key
                    // are static.
                    unsafe {
                        bindings::__init_waitqueue_head(
                            slot,
                            c"rdax_wait_table".as_char_ptr(),
                            kernel::static_lock_class!().as_ptr(),
                        )
                    }
                })
            }),
        })
    }

    fn head(&self, key: usize) -> *mut bindings::wait_queue_head {
        // The hash is below `TABLE_SIZE`; the mask tells the compiler.
        self.heads[hash_long(key, TABLE_BITS) & (TABLE_SIZE - 1)].get()
    }

    /// Queues this task as an exclusive waiter for `key`, drops `guard`, and sleeps until woken.
    ///
    /// `guard` is the lock under which the caller saw that it has to wait. It is dropped after the
    /// task is queued, so that a task that changes the state under that lock finds the waiter, and
    /// no wake-up is lost (`Documentation/litmus-tests/` has the two-thread proof).
    ///
    /// Sleeps uninterruptibly. Spurious returns are possible: the caller checks the state again.
    pub(crate) fn wait_exclusive<G>(&self, key: usize, guard: G) -> Woken<'_> {
        let head = self.head(key);
        let mut waiter = Waiter {
            wait: pin_init::zeroed(),
            key,
        };
        let wait = &raw mut waiter.wait;

        // SAFETY: `wait` points into this frame, and `finish_wait()` below removes it from the
        // queue before the frame ends. `head` is initialised by the type invariants.
        unsafe {
            bindings::init_wait(wait);
            (*wait).func = Some(Self::wake_function);
            bindings::prepare_to_wait_exclusive(
                head,
                wait,
                bindings::TASK_UNINTERRUPTIBLE as c_int,
            );
        }
        drop(guard);
        // SAFETY: This is process context, and no spinlock is held, because `guard` was dropped.
        unsafe { bindings::schedule() };
        // SAFETY: `wait` was queued above, on `head`, which is initialised by the type invariants.
        unsafe { bindings::finish_wait(head, wait) };
        Woken { table: self, key }
    }

    /// Wakes the waiters for `key`. Returns whether its queue had any waiter.
    ///
    /// The caller has made the change that they wait for, under the lock that they drop in
    /// [`WaitTable::wait_exclusive`]. Any context.
    pub(crate) fn wake(&self, key: usize, mode: Wake) -> bool {
        let head = self.head(key);
        // Lockless. The lock that both sides held pairs this with `prepare_to_wait_exclusive()`. A
        // waiter that saw the old state queued itself before it dropped the lock, and this side
        // took the lock after that. A later waiter sees the new state.
        //
        // SAFETY: `head` is initialised by the type invariants.
        if !unsafe { bindings::waitqueue_active(head) } {
            return false;
        }
        let nr = match mode {
            Wake::Next => 1,
            Wake::All => 0,
        };
        let mut key = key;
        // SAFETY: `head` is initialised by the type invariants. `wake_function()` reads `key` only
        // during the call.
        unsafe { bindings::__wake_up(head, bindings::TASK_NORMAL, nr, (&raw mut key).cast()) };
        true
    }

    /// Corresponds to `wake_exceptional_entry_func()` of `fs/dax.c`.
    ///
    /// # Safety
    ///
    /// `wait` is the entry of a [`Waiter`] of this table, and `key` points to an `usize`.
    unsafe extern "C" fn wake_function(
        wait: *mut bindings::wait_queue_entry,
        mode: c_uint,
        flags: c_int,
        key: *mut c_void,
    ) -> c_int {
        // SAFETY: `wait` lies in a `Waiter` by the requirements of this function. The waiter's
        // frame exists while its entry is queued, and the queue is locked.
        let waiter = unsafe { container_of!(wait, Waiter, wait) };
        // SAFETY: `waiter` is valid while the queue is locked, and `key` points to an `usize` by
        // the requirements of this function.
        let same = unsafe { (*waiter).key == *key.cast::<usize>() };
        if !same {
            return 0;
        }
        // SAFETY: `wait` was set up by `init_wait()`, which this function needs.
        unsafe { bindings::autoremove_wake_function(wait, mode, flags, core::ptr::null_mut()) }
    }
}

/// A wake-up that an exclusive waiter got, and that no other waiter will get.
///
/// Its holder either takes what it waited for, so that its own unlock wakes the next waiter, and
/// calls [`Woken::settle`]; or drops this, which passes the wake-up on. (237388320def, "dax: Wake
/// up all waiters after invalidating dax entry", shows what happens otherwise.)
#[must_use = "a wake-up that is dropped at once wakes the next waiter"]
pub(crate) struct Woken<'a> {
    table: &'a WaitTable,
    key: usize,
}

impl Woken<'_> {
    /// Settles the wake-up: some task will wake the next waiter for `key`, either this task or one
    /// that was faster. If `key` is not the key of this wake-up, it is passed on.
    pub(crate) fn settle(self, key: usize) {
        if self.key == key {
            core::mem::forget(self);
        }
    }
}

impl Drop for Woken<'_> {
    fn drop(&mut self) {
        self.table.wake(self.key, Wake::Next);
    }
}

#[kunit_tests(rdax_wait)]
mod tests {
    use super::*;
    use core::sync::atomic::{
        AtomicUsize,
        Ordering, //
    };
    use kernel::{
        sync::Arc,
        time::{
            delay::fsleep,
            Delta, //
        },
        workqueue, //
    };

    const KEY: usize = 4096;

    #[pin_data]
    struct Shared {
        #[pin]
        table: WaitTable,
        /// How many tasks are about to wait, were woken, and have gone.
        coming: AtomicUsize,
        woken: AtomicUsize,
        gone: AtomicUsize,
    }

    impl Shared {
        fn new() -> Result<Arc<Self>> {
            Arc::pin_init(
                try_pin_init!(Self {
                    table <- WaitTable::new(),
                    coming: AtomicUsize::new(0),
                    woken: AtomicUsize::new(0),
                    gone: AtomicUsize::new(0),
                }),
                GFP_KERNEL,
            )
        }

        /// Starts a task that waits for `key`, and then takes what it waited for, or passes the
        /// wake-up on.
        fn spawn(self: &Arc<Self>, key: usize, takes: bool) -> Result {
            let shared = self.clone();
            workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
                let before = Counted(&shared.coming);
                let woken = shared.table.wait_exclusive(key, before);
                shared.woken.fetch_add(1, Ordering::SeqCst);
                if takes {
                    woken.settle(key);
                } else {
                    drop(woken);
                }
                shared.gone.fetch_add(1, Ordering::SeqCst);
            })?;
            Ok(())
        }

        /// Wakes the tasks that still wait, so that none outlives the test.
        fn end(&self, all: usize) -> Result {
            for _ in 0..10_000 {
                if self.gone.load(Ordering::SeqCst) == all {
                    return Ok(());
                }
                self.table.wake(KEY, Wake::All);
                fsleep(Delta::from_millis(1));
            }
            Err(ETIMEDOUT)
        }
    }

    /// Counts when it is dropped: the waiter is queued then.
    struct Counted<'a>(&'a AtomicUsize);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn reaches(counter: &AtomicUsize, value: usize) -> Result {
        for _ in 0..10_000 {
            if counter.load(Ordering::SeqCst) >= value {
                return Ok(());
            }
            fsleep(Delta::from_millis(1));
        }
        Err(ETIMEDOUT)
    }

    /// Returns another key of the same queue.
    fn neighbour() -> usize {
        let queue = hash_long(KEY, TABLE_BITS);
        let mut key = KEY + 1;
        while hash_long(key, TABLE_BITS) != queue {
            key += 1;
        }
        key
    }

    /// A wake-up that a mutex meant for a worker may come late (`wake_up_q()`), when the worker
    /// already waits here. That is rare, so one of a few attempts is without it.
    fn but_for_late_wakeups(attempt: impl Fn() -> Result<bool>) -> Result {
        for _ in 0..5 {
            if attempt()? {
                return Ok(());
            }
        }
        Err(EINVAL)
    }

    /// One queue serves many keys, and a wake-up is for one of them.
    #[test]
    fn keys() -> Result {
        but_for_late_wakeups(|| {
            let shared = Shared::new()?;
            assert!(!shared.table.wake(KEY, Wake::All));
            shared.spawn(KEY, true)?;
            reaches(&shared.coming, 1)?;
            // The queue has a waiter, but not for this key.
            let queued = shared.table.wake(neighbour(), Wake::All);
            fsleep(Delta::from_millis(20));
            let woken = shared.woken.load(Ordering::SeqCst);
            shared.table.wake(KEY, Wake::Next);
            let came = reaches(&shared.woken, 1);
            shared.end(1)?;
            came?;
            // The waiter has removed itself from the queue.
            assert!(!shared.table.wake(KEY, Wake::All));
            Ok(queued && woken == 0)
        })
    }

    /// One wake-up wakes one waiter. A waiter that takes what it waited for does not pass it on.
    #[test]
    fn next_wakes_one() -> Result {
        but_for_late_wakeups(|| {
            let shared = Shared::new()?;
            for _ in 0..3 {
                shared.spawn(KEY, true)?;
            }
            reaches(&shared.coming, 3)?;
            shared.table.wake(KEY, Wake::Next);
            let came = reaches(&shared.woken, 1);
            fsleep(Delta::from_millis(20));
            let woken = shared.woken.load(Ordering::SeqCst);
            shared.end(3)?;
            came?;
            Ok(woken == 1)
        })
    }

    #[test]
    fn all_wakes_all() -> Result {
        let shared = Shared::new()?;
        for _ in 0..3 {
            shared.spawn(KEY, true)?;
        }
        reaches(&shared.coming, 3)?;
        shared.table.wake(KEY, Wake::All);
        let came = reaches(&shared.woken, 3);
        shared.end(3)?;
        came
    }

    /// A waiter that goes without what it waited for passes the wake-up on.
    #[test]
    fn passed_on() -> Result {
        let shared = Shared::new()?;
        for _ in 0..3 {
            shared.spawn(KEY, false)?;
        }
        reaches(&shared.coming, 3)?;
        shared.table.wake(KEY, Wake::Next);
        let came = reaches(&shared.woken, 3);
        shared.end(3)?;
        came
    }

    /// A wake-up of another key is passed on, too, because it was not for the key that is settled.
    #[test]
    fn settled_for_another() -> Result {
        let shared = Shared::new()?;
        shared.spawn(KEY, true)?;
        reaches(&shared.coming, 1)?;
        let woken = Woken {
            table: &shared.table,
            key: KEY,
        };
        woken.settle(neighbour());
        let came = reaches(&shared.woken, 1);
        shared.end(1)?;
        came
    }
}
