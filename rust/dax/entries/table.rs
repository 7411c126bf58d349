// SPDX-License-Identifier: GPL-2.0

//! The index of a device, and the locks of its entries.
//!
//! # Lock order
//!
//! The region's lock; `mmap_lock` or VMA lock → live guard (SRCU) → layout rwsem → entry lock → `i_mmap_rwsem` →
//! page-table lock → `xa_lock` of the index → wait queues' locks; the last three are never held over
//! anything that sleeps. A task holds one entry lock at a time. No lock of this module is held over
//! a copy to or from user memory, which may fault on a mapping of this very device. `Device::frames` is a
//! spinlock that `memory_failure()` takes under `i_mmap_rwsem`; nothing is taken under it.
//!
//! # The protocol
//!
//! That of `fs/dax.c`, which the thread "dax: New fault locking" (May 2016) argued about. An entry
//! is one word in an XArray; a bit in it is its lock. Whoever finds the bit set queues itself as an
//! exclusive waiter, keyed by the start of the entry that it found, *before* it drops the
//! `xa_lock`; whoever clears the bit does so under the `xa_lock` and wakes a waiter of that key
//! after it. So no wake-up is lost.
//!
//! A fault for which nothing need be waited does with the `xa_lock` alone ([`EntryTable::touch`]).
//!
//! An unlock wakes one waiter, which will take the lock, or wait again behind one that did. An entry
//! that is replaced by another kind or size, or deleted, wakes them all: what they waited for is no
//! more. A waiter that was woken and goes away without the lock passes the wake-up on ([`Woken`]).
//!
//! `Documentation/locking.rst` has the states and transitions as a table.

use crate::dax::{
    counter::Counter,
    entries::{
        entry::{
            Entry,
            Kind, //
        },
        index::Index, //
    },
    order::Order, //
};
use crate::kernel_ext::{
    bug::warn_on,
    sync::{
        lockdep::LockdepMap,
        wait::{
            WaitTable,
            Wake,
            Woken, //
        }, //
    },
    xarray::{
        Guard,
        Mark,
        Spare,
        Value, //
    }, //
};
use core::num::NonZero;
use kernel::prelude::*;

impl Value for Entry {
    fn into_bits(self) -> usize {
        self.bits()
    }

    fn from_bits(bits: usize) -> Self {
        Self::from_bits(bits)
    }
}

/// Marks an entry through which the media was, or may have been, written.
const DIRTY: Mark = Mark::Mark0;
/// Marks an entry of a hole.
const HOLE: Mark = Mark::Mark1;

/// Why an entry could not be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrabError {
    /// Part of the range has an entry of a smaller order: use that order.
    Conflict,
    /// The index needs a node, and the spare one is not there: [`Spare::fill`] without a lock, and begin
    /// again.
    NoNode,
}

/// What is done to pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// They are read.
    Read,
    /// They are written, and no sync need know: the platform writes the CPU caches back (eADR).
    UntrackedWrite,
    /// They are written, and a sync is to find them.
    Write,
}

/// What happened to the entries of a device, since it was made.
pub(crate) struct Events {
    /// Entries locked.
    pub(crate) grabs: Counter,
    /// Entries made.
    pub(crate) created: Counter,
    /// Times that a task slept for an entry lock.
    pub(crate) waits: Counter,
    /// Unlocks that found a task in the wait queue.
    pub(crate) wakes: Counter,
    /// Entries not locked because part of the range had a smaller one.
    pub(crate) conflicts: Counter,
    /// Entries that gave way to a smaller one.
    pub(crate) splits: Counter,
    /// Ranges whose entries were replaced by one larger one.
    pub(crate) upgrades: Counter,
    /// Entries deleted, other than by a split.
    pub(crate) deletes: Counter,
    /// Dirty entries that became clean.
    pub(crate) writebacks: Counter,
}

/// The entries of a device, by page offset.
#[pin_data]
pub(crate) struct EntryTable {
    #[pin]
    entries: Index,
    #[pin]
    waiters: WaitTable,
    /// All the entry locks, for lockdep.
    #[pin]
    dep_map: LockdepMap,
    pub(crate) events: Events,
}

impl EntryTable {
    /// An empty index.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            entries <- Index::new(),
            waiters <- WaitTable::new(),
            dep_map <- LockdepMap::new(c"rdax_entry"),
            events: Events {
                grabs: Counter::new(),
                created: Counter::new(),
                waits: Counter::new(),
                wakes: Counter::new(),
                conflicts: Counter::new(),
                splits: Counter::new(),
                upgrades: Counter::new(),
                deletes: Counter::new(),
                writebacks: Counter::new(),
            },
        })
    }

    /// Finds the entry at `pgoff`, or makes an empty one of `order`, and locks it. For a write that is tracked it
    /// is dirty at once, as by [`LockedEntry::set_dirty`], unless it is a larger one that is clean.
    ///
    /// The entry may be of a larger order than `order`: then its lock is that of the whole larger
    /// range. One of a smaller order is a [`GrabError::Conflict`], for which this does not wait: a
    /// waiter for a range must not sleep for the lock of a part of it (23c84eb78375, "dax: Fix
    /// missed wakeup with PMD faults").
    ///
    /// Sleeps, uninterruptibly, while another holds the lock. `grab_mapping_entry()` of `fs/dax.c`.
    pub(crate) fn grab(
        &self,
        pgoff: usize,
        order: Order,
        access: Access,
        spare: &mut Spare,
    ) -> Result<LockedEntry<'_>, GrabError> {
        let write = access == Access::Write;
        self.dep_map.might_lock();
        let mut xas = self.entries.walk(pgoff, order);
        let mut woken = None;
        loop {
            let mut guard = xas.lock();
            let found = guard.find_conflict();
            let entry = match found {
                None => Entry::new(Kind::Empty, order),
                Some(entry) if entry.order() < order => {
                    self.events.conflicts.inc();
                    return Err(GrabError::Conflict);
                }
                Some(entry) if entry.is_locked() => {
                    self.wait(&mut woken, entry.order().align_down(pgoff), guard);
                    continue;
                }
                Some(entry) => entry,
            };
            if found.is_some() {
                let dirty = write && entry.order() == order;
                let locked = self.lock(guard, pgoff, entry, dirty);
                settle(&mut woken, locked.start);
                return Ok(locked);
            }
            let marks = Marks {
                dirty: write,
                hole: false,
            };
            let locked = self.create(guard, entry, marks, spare)?;
            self.events.created.inc();
            settle(&mut woken, locked.start);
            return Ok(locked);
        }
    }

    /// Locks the first entry that ends behind page offset `from` and begins before `end`.
    ///
    /// This is the step of an iteration that survives sleeping: go on behind the entry's run. What
    /// others add behind its back is found, or not; what is there all the time is found.
    ///
    /// Sleeps, uninterruptibly, while another holds the lock.
    pub(crate) fn lock_next(&self, from: usize, end: usize) -> Option<LockedEntry<'_>> {
        self.lock_next_of(from, end, |guard, last| guard.find(last))
    }

    /// As [`EntryTable::lock_next`], of the dirty entries: the cost follows their number.
    ///
    /// One that another task made clean meanwhile is not returned; when this has looked behind it,
    /// that task had written it back.
    pub(crate) fn lock_next_dirty(&self, from: usize, end: usize) -> Option<LockedEntry<'_>> {
        self.lock_next_of(from, end, |guard, last| guard.find_marked(last, DIRTY))
    }

    /// As [`EntryTable::lock_next`], of the holes.
    pub(crate) fn lock_next_hole(&self, from: usize, end: usize) -> Option<LockedEntry<'_>> {
        self.lock_next_of(from, end, |guard, last| guard.find_marked(last, HOLE))
    }

    fn lock_next_of(
        &self,
        from: usize,
        end: usize,
        find: impl Fn(&mut Guard<'_, '_, Entry>, usize) -> Option<(usize, Entry)>,
    ) -> Option<LockedEntry<'_>> {
        let last = end.checked_sub(1).filter(|&last| last >= from)?;
        self.dep_map.might_lock();
        let mut woken = None;
        self.entries.next(from, last, find, |guard, index, entry| {
            if entry.is_locked() {
                self.wait(&mut woken, entry.order().align_down(index), guard);
                return None;
            }
            let locked = self.lock(guard, index, entry, false);
            // Not always the one that was waited for: others may have come before it.
            settle(&mut woken, locked.start);
            Some(locked)
        })
    }

    /// Deletes the entry at `pgoff`, once nobody holds its lock, and after `prepare` was called with
    /// it locked. If that fails the entry stays.
    ///
    /// The caller has seen the entry and makes sure that nobody else deletes it (thread 002: "if
    /// anything changes in between we have a locking bug and I want to know about it"). Sleeps,
    /// uninterruptibly, while another holds the lock. `dax_delete_mapping_entry()` of `fs/dax.c`.
    pub(crate) fn delete(
        &self,
        pgoff: usize,
        prepare: impl FnOnce(&LockedEntry<'_>) -> Result,
    ) -> Result {
        let Some(entry) = self.lock_next(pgoff, pgoff.saturating_add(1)) else {
            kernel::pr_warn_once!("no entry to delete\n");
            return Ok(());
        };
        prepare(&entry)?;
        entry.delete();
        Ok(())
    }

    /// Replaces all entries in the run of `order` around `pgoff` by one of `kind`, locked.
    ///
    /// For every other task this happens at once: it finds the old entries, or the new one, locked.
    /// The new one is dirty if one of the old was. Mappings that others have made under the old
    /// entries are still there, and are to be torn down while the new one is locked.
    ///
    /// Fails with [`GrabError::Conflict`] if one of the entries is locked: who holds it relies on it.
    /// If the whole run is in one larger entry, or has none, this is [`EntryTable::grab`].
    pub(crate) fn upgrade(
        &self,
        pgoff: usize,
        order: Order,
        kind: Kind,
        spare: &mut Spare,
    ) -> Result<LockedEntry<'_>, GrabError> {
        let start = order.align_down(pgoff);
        let last = start + (order.pages() - 1);
        let mut xas = self.entries.walk(start, order);
        let mut guard = xas.lock();
        match guard.find_conflict() {
            Some(entry) if entry.order() < order => (),
            _ => {
                drop(guard);
                return self.grab(pgoff, order, Access::Read, spare);
            }
        }

        let mut marks = Marks::default();
        guard.set_order(start, 0);
        while let Some((index, entry)) = guard.find(last) {
            if entry.is_locked() {
                self.events.conflicts.inc();
                return Err(GrabError::Conflict);
            }
            marks.dirty |= guard.is_marked(DIRTY);
            marks.hole |= entry.kind() == Kind::Zero;
            let Some(behind) = entry.behind(index).filter(|&behind| behind <= last) else {
                break;
            };
            guard.set_order(behind, 0);
        }

        guard.set_order(start, order.get());
        let locked = self.create(guard, Entry::new(kind, order), marks, spare)?;
        self.events.upgrades.inc();
        // Nobody holds the old locks, so nobody would wake those who wait for them.
        for key in start..=last {
            self.waiters.wake(key, Wake::All);
        }
        Ok(locked)
    }

    /// Says that `pages` pages from page offset `pgoff` on, where no entry is, are holes.
    ///
    /// Only a help for readers: without memory, fewer of them are known as holes. The caller keeps
    /// others from making entries there.
    pub(crate) fn fill_zero(&self, pgoff: usize, pages: usize, spare: &mut Spare) {
        let (mut pgoff, mut pages) = (pgoff, pages);
        while let Some(order) = Order::largest(pgoff, pages) {
            let Ok(mut entry) = self.grab(pgoff, order, Access::Read, spare) else {
                return;
            };
            entry.set_kind(Kind::Zero);
            drop(entry);
            pgoff += order.pages();
            pages -= order.pages();
        }
    }

    /// Forgets all entries. To be called when no entry is locked and none will be.
    pub(crate) fn clear(&self) {
        self.entries.clear();
    }

    /// The first entry that ends behind page offset `from`, without its lock: where it begins, what
    /// it is, and whether it is dirty. For those who want to look.
    pub(crate) fn peek(&self, from: usize) -> Option<(usize, Entry, bool)> {
        let find = |guard: &mut Guard<'_, '_, Entry>, last| guard.find(last);
        self.entries
            .next(from, usize::MAX, find, |guard, index, entry| {
                let start = entry.order().align_down(index);
                Some((start, entry, guard.is_marked(DIRTY)))
            })
    }

    /// Waits for the entry that begins at `start` and was found locked under `guard`.
    fn wait<'a>(
        &'a self,
        woken: &mut Option<Woken<'a>>,
        start: usize,
        guard: Guard<'_, '_, Entry>,
    ) {
        // Whoever was faster than this task will wake the next.
        settle(woken, start);
        self.events.waits.inc();
        *woken = Some(self.waiters.wait_exclusive(start, guard));
    }

    /// Sets the lock bit of `entry`, which the walk of `guard` has found at page offset `index`, and marks it
    /// as dirty if it is to be.
    fn lock<'a>(
        &'a self,
        mut guard: Guard<'_, '_, Entry>,
        index: usize,
        entry: Entry,
        dirty: bool,
    ) -> LockedEntry<'a> {
        guard.replace(entry.locked());
        if dirty {
            guard.mark(DIRTY, true);
        }
        let marks = Marks {
            dirty: dirty || guard.is_marked(DIRTY),
            hole: entry.kind() == Kind::Zero,
        };
        self.locked(guard, entry.order().align_down(index), entry, marks)
    }

    /// Stores `entry`, with its lock bit set, in place of all that is in the run to which `guard` is a
    /// walk, and whose marks together are `marks`; only that it is dirty need not be marked yet.
    fn create<'a>(
        &'a self,
        mut guard: Guard<'_, '_, Entry>,
        entry: Entry,
        marks: Marks,
        spare: &mut Spare,
    ) -> Result<LockedEntry<'a>, GrabError> {
        guard
            .store(entry.locked(), spare)
            .map_err(|_| GrabError::NoNode)?;
        if marks.dirty {
            guard.mark(DIRTY, true);
        }
        let start = guard.index();
        Ok(self.locked(guard, start, entry, marks))
    }

    fn locked<'a>(
        &'a self,
        guard: Guard<'_, '_, Entry>,
        start: usize,
        entry: Entry,
        marks: Marks,
    ) -> LockedEntry<'a> {
        self.events.grabs.inc();
        drop(guard);
        self.dep_map.acquire();
        // INVARIANT: The callers have set the lock bit, under the `xa_lock`; nobody had it: they have looked
        // under the same.
        LockedEntry {
            start,
            marks,
            dirty: marks.dirty,
            stored: entry,
            entry,
            mapping: self,
        }
    }

    /// Calls `map` if the run of `order` around page offset `pgoff` may be mapped as the media, by one leaf or
    /// several, for `access`. For a write that is tracked an entry of `kind` is made if there is none, and it is
    /// dirty.
    ///
    /// No entry lock is taken: `map` is called with the `xa_lock` held, so that a task that locks the entry
    /// afterwards finds what was mapped. It must not sleep; the caller may hold the lock of a page table.
    ///
    /// `None` when it was not called: where an entry of the run is locked; where it is a hole, except to read
    /// through a larger leaf; for a write that is tracked, also where there are smaller entries, or a larger one
    /// that is clean, and when a node of the index is needed and none is at hand.
    pub(crate) fn touch<R>(
        &self,
        pgoff: usize,
        order: Order,
        kind: Kind,
        access: Access,
        spare: &mut Spare,
        map: impl FnOnce() -> R,
    ) -> Option<R> {
        let mut xas = self.entries.walk(pgoff, order);
        let mut guard = xas.lock();
        let found = guard.find_conflict();
        if access != Access::Write {
            // It leaves no trace: a task that removes the media goes through all mappings.
            let may_map = match found {
                None => true,
                Some(entry) if entry.order() >= order => entry.is_settled(),
                Some(_) => all_in(&mut guard, order.align_down(pgoff), order, |entry| {
                    match access {
                        // The media of a hole is zeroes, too.
                        Access::Read => !entry.is_locked(),
                        _ => entry.is_settled(),
                    }
                }),
            };
            return may_map.then(map);
        }
        match found {
            None => {
                guard.store(Entry::new(kind, order), spare).ok()?;
                self.events.created.inc();
            }
            Some(entry) if !entry.is_settled() || entry.order() < order => return None,
            // A reader's, which gives way: otherwise a store of a byte would dirty all of it.
            Some(entry) if entry.order() > order && !guard.is_marked(DIRTY) => return None,
            Some(_) => (),
        }
        guard.mark(DIRTY, true);
        Some(map())
    }

    /// As [`EntryTable::touch`], for 4 KiB leaves and with the entries that are there: calls `map` with the number
    /// of pages, of `pages` from page offset `pgoff` on, that may be mapped.
    pub(crate) fn touch_settled<R>(
        &self,
        pgoff: usize,
        pages: usize,
        access: Access,
        map: impl FnOnce(NonZero<usize>) -> R,
    ) -> Option<R> {
        let last = pgoff + (pages - 1);
        let mut xas = self.entries.walk(pgoff, Order::PTE);
        let mut guard = xas.lock();
        let mut next = pgoff;
        let write = access == Access::Write;
        loop {
            let found = guard.find(last);
            if !write {
                next = found.map_or(last + 1, |(index, _)| index);
            }
            let Some((index, entry)) = found.filter(|(_, entry)| entry.is_settled()) else {
                break;
            };
            if index != next {
                break;
            }
            if write {
                if entry.order() != Order::PTE && !guard.is_marked(DIRTY) {
                    break;
                }
                guard.mark(DIRTY, true);
            }
            next = entry.behind(index)?;
            if next > last {
                next = last + 1;
                break;
            }
            guard.set_order(next, 0);
        }
        NonZero::new(next - pgoff).map(map)
    }
}

/// Whether `holds` does for all entries in the run of `order` from `start` on.
fn all_in(
    guard: &mut Guard<'_, '_, Entry>,
    start: usize,
    order: Order,
    holds: impl Fn(Entry) -> bool,
) -> bool {
    let last = start + (order.pages() - 1);
    guard.set_order(start, 0);
    while let Some((index, entry)) = guard.find(last) {
        if !holds(entry) {
            return false;
        }
        match entry.behind(index) {
            Some(behind) if behind <= last => guard.set_order(behind, 0),
            _ => break,
        }
    }
    true
}

/// Accounts for the wake-up of a task that goes on with the lock of the entry at `start`, or waits
/// for it.
fn settle(woken: &mut Option<Woken<'_>>, start: usize) {
    if let Some(woken) = woken.take() {
        woken.settle(start);
    }
}

/// The marks of an entry.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Marks {
    dirty: bool,
    hole: bool,
}

/// An entry that this task has locked; unlocked when dropped.
///
/// # Invariants
///
/// The entry of `mapping` that begins at page offset `start` is `stored` with its lock bit set, by
/// us, and its marks are `marks`. `entry` is what it will be, and has the same order.
#[must_use = "the entry unlocks immediately when the guard is unused"]
pub(crate) struct LockedEntry<'a> {
    mapping: &'a EntryTable,
    start: usize,
    stored: Entry,
    entry: Entry,
    marks: Marks,
    dirty: bool,
}

impl<'a> LockedEntry<'a> {
    /// What lies behind it.
    pub(crate) fn kind(&self) -> Kind {
        self.entry.kind()
    }

    /// The first page frame of the media behind it, if that is mapped.
    pub(crate) fn pfn(&self) -> Option<usize> {
        match self.kind() {
            Kind::Mapped { pfn } => Some(pfn),
            Kind::Empty | Kind::Zero => None,
        }
    }

    /// Whether it is a hole.
    pub(crate) fn is_hole(&self) -> bool {
        self.kind() == Kind::Zero
    }

    /// The first page offset of its run.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// The order of its run.
    pub(crate) fn order(&self) -> Order {
        self.entry.order()
    }

    /// Whether the media was, or may have been, written through it.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Says what lies behind it from now on. Others see it when the entry is unlocked, and all who
    /// wait for it are woken then.
    pub(crate) fn set_kind(&mut self, kind: Kind) {
        // INVARIANT: Of the same order.
        self.entry = Entry::new(kind, self.entry.order());
    }

    /// Says that the media may be written through it from now on. To be called before a writable mapping
    /// is made: a sync looks for the mark, and waits for the lock of what has it.
    pub(crate) fn set_dirty(&mut self) {
        self.dirty = true;
        if !self.marks.dirty {
            self.marks.dirty = true;
            let mut xas = self.mapping.entries.walk(self.start, self.order());
            let mut guard = xas.lock();
            // The walk goes to the entry; nothing is stored.
            warn_on(!guard.find_conflict().is_some_and(Entry::is_locked));
            guard.mark(DIRTY, true);
        }
    }

    /// Says that what was written through it is written back, and that no mapping of it is writable. So
    /// it goes, and its memory with it: the media can be read without an entry. All who wait for it are
    /// woken.
    pub(crate) fn clean(self) {
        self.mapping.events.writebacks.inc();
        self.remove();
    }

    /// Lets go of an entry that was only needed for its lock: it stays if it is dirty, a hole, or that of a
    /// 1 GiB leaf, of which there must be none without an entry.
    pub(crate) fn release(self) {
        let needed = self.dirty || self.is_hole() || self.order() == Order::PUD;
        if !needed {
            self.remove();
        }
    }

    /// Deletes it. All who wait for it are woken.
    pub(crate) fn delete(self) {
        self.mapping.events.deletes.inc();
        self.remove();
    }

    /// Makes it give way to an entry of the smaller `order` at `pgoff`, which lies in it; it is clean. The
    /// rest of its run has no entry then.
    ///
    /// What is mapped under it is to be torn down before, unless it is the media and mapped read-only.
    ///
    /// Errors: those of [`EntryTable::grab`]; it has no entry then, or another's.
    pub(crate) fn split(
        self,
        pgoff: usize,
        order: Order,
        access: Access,
        spare: &mut Spare,
    ) -> Result<LockedEntry<'a>, GrabError> {
        let mapping = self.mapping;
        // Without a node the mark would be gone.
        warn_on(self.dirty);
        mapping.events.splits.inc();
        self.remove();
        mapping.grab(pgoff, order, access, spare)
    }

    fn remove(self) {
        let (mapping, start, order) = (self.mapping, self.start, self.order());
        // The lock goes with the entry.
        core::mem::forget(self);
        mapping.dep_map.release();
        let old = mapping.entries.walk(start, order).lock().erase();
        warn_on(!old.is_some_and(Entry::is_locked));
        mapping.waiters.wake(start, Wake::All);
    }
}

impl Drop for LockedEntry<'_> {
    fn drop(&mut self) {
        self.mapping.dep_map.release();
        let mut xas = self.mapping.entries.walk(self.start, self.order());
        let mut guard = xas.lock();
        let marks = Marks {
            dirty: self.dirty,
            hole: self.is_hole(),
        };
        if marks != self.marks {
            warn_on(guard.find_conflict().is_none());
            guard.mark(DIRTY, marks.dirty);
            guard.mark(HOLE, marks.hole);
        }
        let old = guard.replace(self.entry.unlocked());
        drop(guard);
        warn_on(!old.is_some_and(Entry::is_locked));
        let wake = if self.entry.kind() == self.stored.kind() {
            Wake::Next
        } else {
            Wake::All
        };
        if self.mapping.waiters.wake(self.start, wake) {
            self.mapping.events.wakes.inc();
        }
    }
}
