// SPDX-License-Identifier: GPL-2.0

//! The index of a device, and the locks of its entries.
//!
//! # Lock order
//!
//! `mmap_lock` or VMA lock → live guard (SRCU) → entry lock → `i_mmap_rwsem` → page-table lock;
//! the index's `xa_lock` and the wait queues' locks innermost, never held over anything that
//! sleeps. No lock of this module is held over a copy to or from user memory, which may fault on a
//! mapping of this very device.
//!
//! # The protocol
//!
//! That of `fs/dax.c`, which the thread "dax: New fault locking" (May 2016) argued about. An entry
//! is one word in an XArray; a bit in it is its lock. Whoever finds the bit set queues itself as an
//! exclusive waiter, keyed by the start of the entry that it found, *before* it drops the
//! `xa_lock`; whoever clears the bit does so under the `xa_lock` and wakes one waiter of that key
//! after it. So no wake-up is lost, and each wakes one task that will take the lock or wait again
//! behind the one that did.

use super::{
    entry::{
        Entry,
        Kind, //
    },
    order::Order,
    stats::Counter,
};
use crate::kernel_ext::{
    wait::WaitTable,
    xarray::{
        Value,
        XArray,
        XaState, //
    },
};
use kernel::prelude::*;

impl Value for Entry {
    fn into_bits(self) -> usize {
        self.bits()
    }

    fn from_bits(bits: usize) -> Self {
        Self::from_bits(bits)
    }
}

/// Why an entry could not be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrabError {
    /// Part of the range has an entry of a smaller order: use that order.
    Conflict,
    /// No memory for a node of the index.
    NoMemory,
}

/// The entries of a device, by page offset.
#[pin_data]
pub(crate) struct Mapping {
    #[pin]
    entries: XArray<Entry>,
    #[pin]
    waiters: WaitTable,
    /// Entries made.
    pub(crate) created: Counter,
    /// Times that a task slept for an entry lock.
    pub(crate) waits: Counter,
    /// Unlocks that found a waiter.
    pub(crate) wakes: Counter,
}

impl Mapping {
    /// An empty index.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            entries <- XArray::new(),
            waiters <- WaitTable::new(),
            created: Counter::new(),
            waits: Counter::new(),
            wakes: Counter::new(),
        })
    }

    /// Finds the entry at `pgoff`, or makes an empty one of `order`, and locks it.
    ///
    /// The entry may be of a larger order than `order`: then its lock is that of the whole larger
    /// range. One of a smaller order is a [`GrabError::Conflict`], for which this does not wait: a
    /// waiter for a range must not sleep for the lock of a part of it (23c84eb78375, "dax: Fix
    /// missed wakeup with PMD faults").
    ///
    /// Sleeps, uninterruptibly, while another holds the lock; and to allocate, but only if a node
    /// of the index is really needed. `grab_mapping_entry()` of `fs/dax.c`.
    pub(crate) fn grab(&self, pgoff: usize, order: Order) -> Result<LockedEntry<'_>, GrabError> {
        let mut xas = XaState::new(&self.entries, pgoff, order.get());
        loop {
            let mut guard = xas.lock();
            let entry = match guard.find_conflict() {
                None => Entry::new(Kind::Empty, order),
                Some(entry) if entry.order() < order => return Err(GrabError::Conflict),
                Some(entry) if entry.is_locked() => {
                    self.waits.inc();
                    // Looked at under the `xa_lock`, and queued before it is dropped.
                    self.waiters
                        .wait_exclusive(entry.order().align_down(pgoff), guard);
                    continue;
                }
                Some(entry) => {
                    if entry.order() != order {
                        guard.set_order(pgoff, entry.order().get());
                    }
                    entry
                }
            };
            match guard.store(entry.locked()) {
                Ok(old) => {
                    drop(guard);
                    if old.is_none() {
                        self.created.inc();
                    }
                    // INVARIANT: The lock bit was set just above, under the `xa_lock`.
                    return Ok(LockedEntry {
                        mapping: self,
                        start: entry.order().align_down(pgoff),
                        entry,
                    });
                }
                Err(_) => {
                    drop(guard);
                    if !xas.nomem() {
                        return Err(GrabError::NoMemory);
                    }
                }
            }
        }
    }

    /// Forgets all entries. To be called when no entry is locked and none will be.
    pub(crate) fn clear(&self) {
        self.entries.clear();
    }
}

/// An entry that this task has locked; unlocked when dropped.
///
/// # Invariants
///
/// The entry of `mapping` that begins at page offset `start` has its lock bit set, by us. `entry`
/// is what it will be, with the bit clear, and has the same order.
#[must_use = "the entry unlocks immediately when the guard is unused"]
pub(crate) struct LockedEntry<'a> {
    mapping: &'a Mapping,
    start: usize,
    entry: Entry,
}

impl LockedEntry<'_> {
    /// What lies behind it.
    pub(crate) fn kind(&self) -> Kind {
        self.entry.kind()
    }

    /// The run of pages that it stands for: the first page offset, and the order.
    pub(crate) fn run(&self) -> (usize, Order) {
        (self.start, self.entry.order())
    }

    /// Says what lies behind it from now on. Others see it when the entry is unlocked.
    pub(crate) fn set_kind(&mut self, kind: Kind) {
        self.entry = Entry::new(kind, self.entry.order());
    }
}

impl Drop for LockedEntry<'_> {
    fn drop(&mut self) {
        let mut xas = XaState::new(&self.mapping.entries, self.start, self.entry.order().get());
        // The entry is there, at this order: storing over it needs no memory and can't fail.
        let old = xas.lock().store(self.entry.unlocked());
        kernel::warn_on!(!matches!(old, Ok(Some(old)) if old.is_locked()));
        if self.mapping.waiters.wake(self.start) {
            self.mapping.wakes.inc();
        }
    }
}
