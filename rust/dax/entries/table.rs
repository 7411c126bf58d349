// SPDX-License-Identifier: GPL-2.0

//! The entry table of a device: its index, and the locks of its entries.
//!
//! The protocol is that of `fs/dax.c`, which the thread "dax: New fault locking" (May 2016) argued
//! about. An entry is one word in an XArray; a bit in it is its lock. A task that finds the bit set
//! queues itself as an exclusive waiter, keyed by the start of the entry that it found, *before* it
//! drops the `xa_lock`. A task that clears the bit does so under the `xa_lock`, and wakes a waiter
//! of that key afterwards. So no wake-up is lost.
//!
//! Uncontended faults need only the `xa_lock` ([`EntryTable::touch`]).
//!
//! An unlock wakes one waiter, which takes the lock, or waits again if another task was faster. An
//! entry that is deleted, or replaced by another kind or size, wakes all waiters, because the entry
//! that they waited for no longer exists. A woken waiter that goes on without the lock passes the
//! wake-up on ([`Woken`]).
//!
//! `Documentation/locking.rst` has the lock order, and the states and transitions as tables.

use crate::dax::{
    counter::Counter,
    entries::{
        entry::{
            Entry,
            Kind, //
        },
        index::Index, //
    }, //
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
    units::{
        Order,
        PageOffset,
        Pages,
        Pfn, //
    },
    xarray::{
        Guard,
        Mark,
        Spare,
        Value, //
    }, //
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

/// Marks a dirty entry.
const DIRTY: Mark = Mark::Mark0;
/// Marks a hole.
const HOLE: Mark = Mark::Mark1;

/// Why an entry could not be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrabError {
    /// Part of the range has an entry of a smaller order. The fault falls back to that order.
    Conflict,
    /// The index needs a node, and `spare` is empty. The caller drops all locks, calls
    /// [`Spare::fill`] and starts again.
    NoNode,
}

/// How pages are accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// They are read.
    Read,
    /// They are written, and no sync has to find them, because the platform writes the CPU caches
    /// back (eADR).
    UntrackedWrite,
    /// They are written, and a sync has to find them.
    Write,
}

/// Events of a device's entries since the device was made.
pub(crate) struct Events {
    /// Entries locked.
    pub(crate) grabs: Counter,
    /// Entries made.
    pub(crate) created: Counter,
    /// Number of times a task slept for an entry lock.
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
    /// Makes an empty table. Sleeps. Errors: `ENOMEM`.
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

    /// Finds the entry at `pgoff`, or makes an EMPTY one of `order`, and locks it. For a tracked
    /// write it is marked DIRTY at once, as by [`LockedEntry::set_dirty`], unless it is larger and
    /// clean.
    ///
    /// The entry may have a larger order than `order`: its lock is then that of the whole larger
    /// run. For a smaller one this does not wait, but returns [`GrabError::Conflict`]: a waiter for
    /// a range must not sleep for the lock of a part of it (23c84eb78375, "dax: Fix missed wakeup
    /// with PMD faults").
    ///
    /// Sleeps uninterruptibly while another task holds the lock. Corresponds to
    /// `grab_mapping_entry()` of `fs/dax.c`.
    pub(crate) fn grab(
        &self,
        pgoff: PageOffset,
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
                    self.wait(&mut woken, pgoff.align_down(entry.order()), guard);
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

    /// Locks the first entry that ends after page offset `from` and begins before `end`.
    ///
    /// This is one step of an iteration that may sleep; the next step starts after the entry's run.
    /// Entries that exist throughout are all found. Those that other tasks add meanwhile may be
    /// missed.
    ///
    /// Sleeps uninterruptibly while another task holds the lock.
    pub(crate) fn lock_next(&self, from: PageOffset, end: PageOffset) -> Option<LockedEntry<'_>> {
        self.lock_next_of(from, end, |guard, last| guard.find(last))
    }

    /// Same as [`EntryTable::lock_next`], for dirty entries. The cost is proportional to their
    /// number.
    ///
    /// An entry that another task cleaned meanwhile is not returned. By the time this returns a
    /// later entry, or `None`, that task has written it back.
    pub(crate) fn lock_next_dirty(
        &self,
        from: PageOffset,
        end: PageOffset,
    ) -> Option<LockedEntry<'_>> {
        self.lock_next_of(from, end, |guard, last| guard.find_marked(last, DIRTY))
    }

    /// Same as [`EntryTable::lock_next`], for holes.
    pub(crate) fn lock_next_hole(
        &self,
        from: PageOffset,
        end: PageOffset,
    ) -> Option<LockedEntry<'_>> {
        self.lock_next_of(from, end, |guard, last| guard.find_marked(last, HOLE))
    }

    fn lock_next_of(
        &self,
        from: PageOffset,
        end: PageOffset,
        find: impl Fn(&mut Guard<'_, '_, Entry>, usize) -> Option<(usize, Entry)>,
    ) -> Option<LockedEntry<'_>> {
        let last = end.before().filter(|&last| last >= from)?;
        self.dep_map.might_lock();
        let mut woken = None;
        self.entries.next(from, last, find, |guard, index, entry| {
            if entry.is_locked() {
                self.wait(&mut woken, index.align_down(entry.order()), guard);
                return None;
            }
            let locked = self.lock(guard, index, entry, false);
            // Not always the entry that was waited for: other tasks may have inserted one before
            // it.
            settle(&mut woken, locked.start);
            Some(locked)
        })
    }

    /// Deletes the entry at `pgoff`: waits for its lock, calls `prepare` with the entry locked, and
    /// deletes it. If `prepare` fails, the entry stays and its error is returned.
    ///
    /// The caller has seen the entry and ensures that no other task deletes it (thread 002: "if
    /// anything changes in between we have a locking bug and I want to know about it"). Sleeps
    /// uninterruptibly while another task holds the lock. Corresponds to
    /// `dax_delete_mapping_entry()` of `fs/dax.c`.
    pub(crate) fn delete(
        &self,
        pgoff: PageOffset,
        prepare: impl FnOnce(&LockedEntry<'_>) -> Result,
    ) -> Result {
        let end = pgoff.checked_add(Pages::ONE).unwrap_or(pgoff);
        let Some(entry) = self.lock_next(pgoff, end) else {
            kernel::pr_warn_once!("an entry to delete is missing: please report this bug\n");
            return Ok(());
        };
        prepare(&entry)?;
        entry.delete();
        Ok(())
    }

    /// Replaces all entries in the run of `order` around `pgoff` by one of `kind`, locked.
    ///
    /// This is atomic for all other tasks: they find either the old entries, or the new one,
    /// locked. The new one is dirty if one of the old ones was. Mappings under the old entries
    /// still exist, and the caller unmaps them while the new entry is locked.
    ///
    /// Errors: [`GrabError::Conflict`] if one of the entries is locked, because its holder relies
    /// on it; `NoNode`. If the whole run is in one larger entry, or has none, this is
    /// [`EntryTable::grab`].
    pub(crate) fn upgrade(
        &self,
        pgoff: PageOffset,
        order: Order,
        kind: Kind,
        spare: &mut Spare,
    ) -> Result<LockedEntry<'_>, GrabError> {
        let start = pgoff.align_down(order);
        let last = start + (order.pages() - Pages::ONE);
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
        guard.set_order(start.get(), 0);
        while let Some((index, entry)) = guard.find(last.get()) {
            if entry.is_locked() {
                self.events.conflicts.inc();
                return Err(GrabError::Conflict);
            }
            marks.dirty |= guard.is_marked(DIRTY);
            marks.hole |= entry.kind() == Kind::Zero;
            let behind = entry.behind(PageOffset::new(index));
            let Some(behind) = behind.filter(|&behind| behind <= last) else {
                break;
            };
            guard.set_order(behind.get(), 0);
        }

        guard.set_order(start.get(), order.get());
        let locked = self.create(guard, Entry::new(kind, order), marks, spare)?;
        self.events.upgrades.inc();
        // The old locks have no holder any more that would wake their waiters.
        for key in start.get()..=last.get() {
            self.waiters.wake(key, Wake::All);
        }
        Ok(locked)
    }

    /// Records holes in the `pages` pages from `pgoff`, where no entry is.
    ///
    /// Without memory, fewer holes are recorded, and readers of the others map the media. The
    /// caller prevents other tasks from making entries there.
    pub(crate) fn fill_zero(&self, pgoff: PageOffset, pages: Pages, spare: &mut Spare) {
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

    /// Removes all entries. The caller guarantees that no entry is locked or will be.
    pub(crate) fn clear(&self) {
        self.entries.clear();
    }

    /// Returns the first entry that ends after page offset `from`, without locking it: its start,
    /// the entry, and whether it is dirty. A snapshot: it may change at once.
    pub(crate) fn peek(&self, from: PageOffset) -> Option<(PageOffset, Entry, bool)> {
        let find = |guard: &mut Guard<'_, '_, Entry>, last| guard.find(last);
        self.entries
            .next(from, PageOffset::MAX, find, |guard, index, entry| {
                let start = index.align_down(entry.order());
                Some((start, entry, guard.is_marked(DIRTY)))
            })
    }

    /// Waits for the entry that begins at `start` and was found locked under `guard`.
    fn wait<'a>(
        &'a self,
        woken: &mut Option<Woken<'a>>,
        start: PageOffset,
        guard: Guard<'_, '_, Entry>,
    ) {
        // The task that now holds the lock will wake the next waiter.
        settle(woken, start);
        self.events.waits.inc();
        *woken = Some(self.waiters.wait_exclusive(start.get(), guard));
    }

    /// Sets the lock bit of `entry`, which the walk of `guard` has found at page offset `index`,
    /// and marks it DIRTY if `dirty`.
    fn lock<'a>(
        &'a self,
        mut guard: Guard<'_, '_, Entry>,
        index: PageOffset,
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
        self.locked(guard, index.align_down(entry.order()), entry, marks)
    }

    /// Stores `entry`, locked, in place of everything in the run of the walk of `guard`. `marks`
    /// are the marks of the old entries together; DIRTY may be missing from the index so far.
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
        let start = PageOffset::new(guard.index());
        Ok(self.locked(guard, start, entry, marks))
    }

    fn locked<'a>(
        &'a self,
        guard: Guard<'_, '_, Entry>,
        start: PageOffset,
        entry: Entry,
        marks: Marks,
    ) -> LockedEntry<'a> {
        self.events.grabs.inc();
        drop(guard);
        self.dep_map.acquire();
        // INVARIANT: The callers have set the lock bit under the `xa_lock`, and have seen it clear
        // in the same critical section.
        LockedEntry {
            start,
            marks,
            dirty: marks.dirty,
            stored: entry,
            entry,
            mapping: self,
        }
    }

    /// Calls `map` if the run of `order` around page offset `pgoff` may be mapped as the media for
    /// `access`, by one leaf or several. For a tracked write, makes an entry of `kind` if there is
    /// none, and marks it DIRTY.
    ///
    /// No entry lock is taken. `map` is called with the `xa_lock` held, so that a task that locks
    /// the entry afterwards finds what was mapped. It must not sleep; the caller may hold a
    /// page-table lock.
    ///
    /// Returns `None` if `map` was not called: if an entry of the run is locked, or is a hole
    /// (except for a read through a larger leaf). For a tracked write, also if there are smaller
    /// entries, or a larger clean one, or if the index needs a node and `spare` is empty.
    pub(crate) fn touch<R>(
        &self,
        pgoff: PageOffset,
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
            // No entry is needed: a task that removes the media unmaps the whole range.
            let may_map = match found {
                None => true,
                Some(entry) if entry.order() >= order => entry.is_settled(),
                Some(_) => all_in(&mut guard, pgoff.align_down(order), order, |entry| {
                    match access {
                        // The media of a hole is zero, too.
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
            // A reader's entry, which gives way. Otherwise a store of one byte would dirty all of
            // it.
            Some(entry) if entry.order() > order && !guard.is_marked(DIRTY) => return None,
            Some(_) => (),
        }
        guard.mark(DIRTY, true);
        Some(map())
    }

    /// Same as [`EntryTable::touch`], for 4 KiB leaves and existing entries. Of the `pages` pages
    /// from page offset `pgoff`, the first ones may be mapped; `map` gets their number.
    pub(crate) fn touch_settled<R>(
        &self,
        pgoff: PageOffset,
        pages: Pages,
        access: Access,
        map: impl FnOnce(Pages) -> R,
    ) -> Option<R> {
        let end = pgoff + pages;
        let last = end.before()?.get();
        let mut xas = self.entries.walk(pgoff, Order::PTE);
        let mut guard = xas.lock();
        let mut next = pgoff;
        let write = access == Access::Write;
        loop {
            let found = guard.find(last);
            if !write {
                next = found.map_or(end, |(index, _)| PageOffset::new(index));
            }
            let Some((index, entry)) = found.filter(|(_, entry)| entry.is_settled()) else {
                break;
            };
            if PageOffset::new(index) != next {
                break;
            }
            if write {
                if entry.order() != Order::PTE && !guard.is_marked(DIRTY) {
                    break;
                }
                guard.mark(DIRTY, true);
            }
            next = entry.behind(next)?;
            if next >= end {
                next = end;
                break;
            }
            guard.set_order(next.get(), 0);
        }
        let first = next - pgoff;
        (!first.is_zero()).then(|| map(first))
    }
}

/// Whether `holds` is true for all entries in the run of `order` from `start`.
fn all_in(
    guard: &mut Guard<'_, '_, Entry>,
    start: PageOffset,
    order: Order,
    holds: impl Fn(Entry) -> bool,
) -> bool {
    let last = start + (order.pages() - Pages::ONE);
    guard.set_order(start.get(), 0);
    while let Some((index, entry)) = guard.find(last.get()) {
        if !holds(entry) {
            return false;
        }
        match entry.behind(PageOffset::new(index)) {
            Some(behind) if behind <= last => guard.set_order(behind.get(), 0),
            _ => break,
        }
    }
    true
}

/// Settles the wake-up of a task that goes on with the lock of the entry at `start`, or waits for
/// it.
fn settle(woken: &mut Option<Woken<'_>>, start: PageOffset) {
    if let Some(woken) = woken.take() {
        woken.settle(start.get());
    }
}

/// The marks of an entry.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Marks {
    dirty: bool,
    hole: bool,
}

/// An entry that this task has locked. Dropping it unlocks.
///
/// # Invariants
///
/// The entry of `mapping` that begins at page offset `start` is `stored` with its lock bit set by
/// this task, and its marks are `marks`. `entry` is what the unlock stores, and has the same order.
#[must_use = "the entry unlocks immediately when the guard is unused"]
pub(crate) struct LockedEntry<'a> {
    mapping: &'a EntryTable,
    start: PageOffset,
    stored: Entry,
    entry: Entry,
    marks: Marks,
    dirty: bool,
}

impl<'a> LockedEntry<'a> {
    /// Returns the entry's kind.
    pub(crate) fn kind(&self) -> Kind {
        self.entry.kind()
    }

    /// Returns the first page frame of the entry if it is MAPPED.
    pub(crate) fn pfn(&self) -> Option<Pfn> {
        match self.kind() {
            Kind::Mapped { pfn } => Some(pfn),
            Kind::Empty | Kind::Zero => None,
        }
    }

    /// Whether the entry is a hole.
    pub(crate) fn is_hole(&self) -> bool {
        self.kind() == Kind::Zero
    }

    /// Returns the first page offset of the run.
    pub(crate) fn start(&self) -> PageOffset {
        self.start
    }

    /// Returns the order of the run.
    pub(crate) fn order(&self) -> Order {
        self.entry.order()
    }

    /// Returns the page offset after the run.
    pub(crate) fn behind(&self) -> PageOffset {
        self.start + self.order().pages()
    }

    /// Whether the entry is dirty.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Sets the entry's kind. Other tasks see it when the entry is unlocked, which then wakes all
    /// waiters.
    pub(crate) fn set_kind(&mut self, kind: Kind) {
        // INVARIANT: The new entry has the order of the old one.
        self.entry = Entry::new(kind, self.entry.order());
    }

    /// Marks the entry DIRTY. The caller does this before it makes a writable mapping, because a
    /// sync searches for the mark and then waits for the entry lock.
    pub(crate) fn set_dirty(&mut self) {
        self.dirty = true;
        if !self.marks.dirty {
            self.marks.dirty = true;
            let mut xas = self.mapping.entries.walk(self.start, self.order());
            let mut guard = xas.lock();
            // The walk only reaches the entry; it stores nothing.
            warn_on(!guard.find_conflict().is_some_and(Entry::is_locked));
            guard.mark(DIRTY, true);
        }
    }

    /// Removes the entry after its write-back, when no mapping of it is writable. Reads of the
    /// media need no entry. Wakes all waiters.
    pub(crate) fn clean(self) {
        self.mapping.events.writebacks.inc();
        self.remove();
    }

    /// Releases an entry that was only needed for its lock. It stays if it is dirty, a hole, or of
    /// 1 GiB, because a 1 GiB leaf must have an entry.
    pub(crate) fn release(self) {
        let needed = self.dirty || self.is_hole() || self.order() == Order::PUD;
        if !needed {
            self.remove();
        }
    }

    /// Deletes the entry. Wakes all waiters.
    pub(crate) fn delete(self) {
        self.mapping.events.deletes.inc();
        self.remove();
    }

    /// Replaces the entry, which is clean, by one of the smaller `order` at `pgoff`, which lies in
    /// it. The rest of the run then has no entry.
    ///
    /// The caller has unmapped what is mapped under the entry, unless that is the media, read-only.
    ///
    /// Errors: those of [`EntryTable::grab`]. The run then has no entry, or another task's.
    pub(crate) fn split(
        self,
        pgoff: PageOffset,
        order: Order,
        access: Access,
        spare: &mut Spare,
    ) -> Result<LockedEntry<'a>, GrabError> {
        let mapping = self.mapping;
        // If the index has no node, the DIRTY mark would be lost.
        warn_on(self.dirty);
        mapping.events.splits.inc();
        self.remove();
        mapping.grab(pgoff, order, access, spare)
    }

    fn remove(self) {
        let (mapping, start, order) = (self.mapping, self.start, self.order());
        // The lock is removed together with the entry.
        core::mem::forget(self);
        mapping.dep_map.release();
        let old = mapping.entries.walk(start, order).lock().erase();
        warn_on(!old.is_some_and(Entry::is_locked));
        mapping.waiters.wake(start.get(), Wake::All);
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
        if self.mapping.waiters.wake(self.start.get(), wake) {
            self.mapping.events.wakes.inc();
        }
    }
}
