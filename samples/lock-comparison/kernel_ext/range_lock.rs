// SPDX-License-Identifier: GPL-2.0

//! Locks of ranges of one space of indices.
//!
//! As the range lock that was proposed for `struct address_space` in 2013 and 2015: a tree of the
//! ranges that are locked or waited for. Each counts those that came before it and overlap with it,
//! and has its lock when none of them is left. First come, first served, where ranges overlap.
//!
//! C header: [`include/linux/interval_tree.h`](srctree/include/linux/interval_tree.h)

use super::bindings;
use kernel::{
    container_of,
    new_spinlock,
    prelude::*,
    sync::SpinLock,
    task::Task, //
};

/// A lock for each range of indices.
#[pin_data]
pub(crate) struct RangeLock {
    #[pin]
    tree: SpinLock<Tree>,
}

/// # Invariants
///
/// Each node in the tree is that of a [`Waiter`] in a running [`RangeLock::with`].
struct Tree(bindings::rb_root_cached);

// SAFETY: The tree has no tie to a thread; what it points to is used under its lock only.
unsafe impl Send for Tree {}

/// A range that is locked or waited for, on the stack of its task.
///
/// All but the first touch is under the lock of the tree that it is in.
struct Waiter {
    node: bindings::interval_tree_node,
    task: *mut bindings::task_struct,
    /// How many ranges that came before overlap with this one.
    blocking: usize,
}

impl Tree {
    /// Calls `each` for the ranges in the tree that overlap with `start..=last`.
    fn overlapping(&mut self, start: usize, last: usize, mut each: impl FnMut(*mut Waiter)) {
        // SAFETY: The nodes in the tree are alive, by the type invariants, and stay where they are:
        // `&mut self` is the lock.
        let mut node = unsafe { bindings::interval_tree_iter_first(&raw mut self.0, start, last) };
        while !node.is_null() {
            // SAFETY: The nodes are those of waiters, by the type invariants.
            each(unsafe { container_of!(node, Waiter, node) });
            // SAFETY: As above.
            node = unsafe { bindings::interval_tree_iter_next(node, start, last) };
        }
    }
}

impl RangeLock {
    /// A lock of which no range is held.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Empty (`RB_ROOT_CACHED`).
            tree <- new_spinlock!(Tree(pin_init::zeroed())),
        })
    }

    /// Calls `section` with the range `start..=last` locked. Sleeps, uninterruptibly, while an
    /// overlapping range is locked or was asked for before.
    pub(crate) fn with<R>(&self, start: usize, last: usize, section: impl FnOnce() -> R) -> R {
        let mut waiter = Waiter {
            node: bindings::interval_tree_node {
                start,
                last,
                ..pin_init::zeroed()
            },
            task: Task::current_raw(),
            blocking: 0,
        };
        // From here on by this pointer only, since other tasks use it too.
        let waiter = &raw mut waiter;

        let mut tree = self.tree.lock();
        let mut blocking = 0;
        tree.overlapping(start, last, |_| blocking += 1);
        // SAFETY: `waiter` points into this frame, and is not in a tree yet.
        // INVARIANT: It is taken out below.
        unsafe {
            (*waiter).blocking = blocking;
            bindings::interval_tree_insert(&raw mut (*waiter).node, &raw mut tree.0);
        }
        loop {
            // SAFETY: `waiter` points into this frame; the lock is held.
            if unsafe { (*waiter).blocking } == 0 {
                break;
            }
            // Before the lock is dropped: whoever takes the last of them away, under the lock, then
            // makes this task runnable again.
            //
            // SAFETY: The C functions may be called in process context; `schedule()` with no lock.
            unsafe { bindings::set_task_uninterruptible() };
            drop(tree);
            // SAFETY: As above.
            unsafe { bindings::schedule() };
            tree = self.tree.lock();
        }
        drop(tree);

        let result = section();

        let mut tree = self.tree.lock();
        // SAFETY: It was inserted above, and nobody else takes it out.
        unsafe { bindings::interval_tree_remove(&raw mut (*waiter).node, &raw mut tree.0) };
        // What overlaps and is still there has come after this range.
        tree.overlapping(start, last, |other| {
            // SAFETY: `other` is alive and used under the lock of the tree only, which is held; its
            // task sleeps or is about to, and can't go before it was given the lock.
            unsafe {
                (*other).blocking -= 1;
                if (*other).blocking == 0 {
                    bindings::wake_up_process((*other).task);
                }
            }
        });
        result
    }
}
