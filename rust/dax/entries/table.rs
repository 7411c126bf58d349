// SPDX-License-Identifier: GPL-2.0

//! The entry table of a device: its index, and the locks of its entries.
//!
//! The protocol is that of `fs/dax.c`, which the thread "dax: New fault locking" (May 2016) argued
//! about. An entry is one word in an XArray; a bit in it is its lock. A task that finds the bit set
//! queues itself as an exclusive waiter, keyed by the start of the entry that it found, *before* it
//! drops the `xa_lock`. A task that clears the bit does so under the `xa_lock`, and wakes a waiter
//! of that key afterwards. So no wake-up is lost.
//!
//! Uncontended faults need only the `xa_lock` (`touch.rs`). A sync locks several entries (`run.rs`).
//!
//! An unlock wakes one waiter, which takes the lock, or waits again if another task was faster. An
//! entry that is deleted, or replaced by another kind or size, wakes all waiters, because the entry
//! that they waited for no longer exists. A woken waiter that goes on without the lock passes the
//! wake-up on ([`Woken`]).
//!
//! `Documentation/locking.rst` has the lock order, and the states and transitions as tables.

use crate::dax::{
    entries::{
        entry::{
            Entry,
            Kind, //
        },
        index::{
            has_smaller,
            Found,
            Index,
            Locked,
            NoMemory,
            Spare,
            Which, //
        }, //
    }, //
};
use crate::kernel_ext::{
    bug::warn_on,
    percpu::{
        self,
        Counters, //
    },
    sync::{
        lockdep::LockdepMap,
        wait::{
            WaitTable,
            Wake,
            Woken, //
        }, //
    },
    trace,
    units::{
        Order,
        PageOffset,
        Pages,
        Pfn, //
    },
    xarray::Value, //
};
use core::mem::ManuallyDrop;
use kernel::{
    prelude::*,
    sync::SetOnce, //
};

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
    /// Part of the range has an entry of a smaller order. The fault falls back to that order.
    Conflict,
    /// The index needs memory, and `spare` has none. The caller drops all locks, calls
    /// [`Spare::fill`] and starts again.
    NoNode,
}

impl From<NoMemory> for GrabError {
    fn from(_: NoMemory) -> Self {
        Self::NoNode
    }
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

/// What is counted of a device's entries.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    /// An entry was locked.
    Grab,
    /// An entry was made.
    Create,
    /// A task slept for an entry lock.
    Wait,
    /// An unlock found a task in the wait queue.
    Wake,
    /// An entry was not locked because part of the range had a smaller one.
    Conflict,
    /// An entry gave way to a smaller one.
    Split,
    /// The entries of a range were replaced by one larger one.
    Upgrade,
    /// An entry was deleted, other than by a split.
    Delete,
    /// A dirty entry became clean.
    Writeback,
}

impl percpu::Event for Event {
    const NUMBER: usize = Self::Writeback as usize + 1;

    fn index(self) -> usize {
        self as usize
    }
}

/// The entries of a device, by page offset.
#[pin_data]
pub(crate) struct EntryTable {
    pub(super) entries: Index,
    #[pin]
    pub(super) waiters: WaitTable,
    /// All the entry locks, for lockdep.
    #[pin]
    pub(super) dep_map: LockdepMap,
    pub(crate) events: Counters<Event>,
    /// The minor number of the device, for trace events.
    minor: SetOnce<usize>,
}

impl EntryTable {
    /// Makes an empty table for the first `pages` pages. Sleeps. Errors: `ENOMEM`.
    pub(crate) fn new(pages: Pages) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            entries: Index::new(pages)?,
            waiters <- WaitTable::new(),
            dep_map <- LockdepMap::new(c"rdax_entry"),
            events: Counters::new()?,
            minor: SetOnce::new(),
        })
    }

    /// Sets the minor number of the device, once, for trace events.
    pub(crate) fn set_minor(&self, minor: usize) {
        self.minor.populate(minor);
    }

    pub(super) fn minor(&self) -> usize {
        self.minor.as_ref().copied().unwrap_or_default()
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
    #[inline(always)]
    pub(crate) fn grab(
        &self,
        pgoff: PageOffset,
        order: Order,
        access: Access,
        spare: &mut Spare,
    ) -> Result<LockedEntry<'_>, GrabError> {
        self.dep_map.might_lock();
        let Some(place) = self.entries.place(pgoff, order) else {
            return self.grab_first(pgoff, order, access, spare);
        };
        let mut locked = place.lock();
        let found = locked.find_conflict();
        match found {
            Some(entry) if entry.order() >= order && !entry.is_locked() => {
                let dirty = access == Access::Write && entry.order() == order;
                Ok(self.lock(locked, pgoff, entry, dirty))
            }
            _ => self.grab_slowly(pgoff, order, access, spare, locked, found),
        }
    }

    /// [`EntryTable::grab`] where there was never an entry near it.
    #[cold]
    #[inline(never)]
    fn grab_first(
        &self,
        pgoff: PageOffset,
        order: Order,
        access: Access,
        spare: &mut Spare,
    ) -> Result<LockedEntry<'_>, GrabError> {
        let place = self.entries.make_place(pgoff, order, spare)?;
        let mut locked = place.lock();
        let found = locked.find_conflict();
        self.grab_slowly(pgoff, order, access, spare, locked, found)
    }

    /// [`EntryTable::grab`] where its first look has found no entry to lock.
    #[inline(never)]
    fn grab_slowly<'a>(
        &'a self,
        pgoff: PageOffset,
        order: Order,
        access: Access,
        spare: &mut Spare,
        mut locked: Locked<'a>,
        mut found: Option<Entry>,
    ) -> Result<LockedEntry<'a>, GrabError> {
        let write = access == Access::Write;
        let mut woken = None;
        // Where to look: first for an entry of this size, then for one of 1 GiB.
        let mut size = order;
        loop {
            match found {
                // The entry of 1 GiB is gone.
                None if size != order => {
                    drop(locked);
                    size = order;
                }
                None if !locked.claim() => {
                    drop(locked);
                    size = Order::PUD;
                }
                None => {
                    let entry = Entry::new(Kind::Empty, order);
                    let entry = self.create(locked, pgoff, entry, write, spare)?;
                    settle(&mut woken, entry.start);
                    let entry = self.unless_smaller(entry)?;
                    self.events.inc(Event::Create);
                    trace::entry_create(|| self.minor(), entry.start.get(), order.get());
                    return Ok(entry);
                }
                Some(entry) if entry.order() < order => {
                    self.conflict(pgoff, order);
                    return Err(GrabError::Conflict);
                }
                Some(entry) if entry.is_locked() => {
                    self.wait(&mut woken, pgoff, entry.order(), locked);
                }
                Some(entry) => {
                    let dirty = write && entry.order() == order;
                    let entry = self.lock(locked, pgoff, entry, dirty);
                    settle(&mut woken, entry.start);
                    return Ok(entry);
                }
            }
            locked = self.entries.make_place(pgoff, size, spare)?.lock();
            found = locked.find_conflict();
        }
    }

    /// Returns `entry`, which was just made, unless it is of 1 GiB and there is a smaller one.
    fn unless_smaller<'a>(&'a self, entry: LockedEntry<'a>) -> Result<LockedEntry<'a>, GrabError> {
        if entry.order() == Order::PUD && has_smaller(&self.entries, entry.start) {
            self.conflict(entry.start, Order::PUD);
            entry.remove();
            return Err(GrabError::Conflict);
        }
        Ok(entry)
    }

    /// Locks the first entry that ends after page offset `from` and begins before `end`.
    ///
    /// This is one step of an iteration that may sleep; the next step starts after the entry's run.
    /// Entries that exist throughout are all found. Those that other tasks add meanwhile may be
    /// missed.
    ///
    /// Sleeps uninterruptibly while another task holds the lock.
    pub(crate) fn lock_next(&self, from: PageOffset, end: PageOffset) -> Option<LockedEntry<'_>> {
        self.lock_next_of(from, end, Which::All)
    }

    /// Same as [`EntryTable::lock_next`], for holes.
    pub(crate) fn lock_next_hole(
        &self,
        from: PageOffset,
        end: PageOffset,
    ) -> Option<LockedEntry<'_>> {
        self.lock_next_of(from, end, Which::Hole)
    }

    fn lock_next_of(
        &self,
        from: PageOffset,
        end: PageOffset,
        which: Which,
    ) -> Option<LockedEntry<'_>> {
        let last = end.before().filter(|&last| last >= from)?;
        self.dep_map.might_lock();
        let mut woken = None;
        self.entries
            .next(from, last, which, |locked, pgoff, entry| {
                if entry.is_locked() {
                    self.wait(&mut woken, pgoff, entry.order(), locked);
                    return None;
                }
                let locked = self.lock(locked, pgoff, entry, false);
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
        let place = self.entries.make_place(start, order, spare)?;
        let mut locked = place.lock();
        match locked.find_conflict() {
            Some(entry) if entry.order() < order => (),
            _ => {
                drop(locked);
                return self.grab(pgoff, order, Access::Read, spare);
            }
        }

        let (mut dirty, mut hole) = (false, false);
        locked.set_order(start, Order::PTE);
        while let Some((pgoff, entry)) = locked.find(last, Which::All) {
            if entry.is_locked() {
                self.conflict(start, order);
                return Err(GrabError::Conflict);
            }
            dirty |= locked.is_dirty();
            hole |= entry.kind() == Kind::Zero;
            let Some(behind) = entry.behind(pgoff).filter(|&behind| behind <= last) else {
                break;
            };
            locked.set_order(behind, Order::PTE);
        }

        locked.set_order(start, order);
        let mut entry = self.create(locked, start, Entry::new(kind, order), dirty, spare)?;
        entry.marks.hole = hole;
        self.events.inc(Event::Upgrade);
        trace::entry_upgrade(|| self.minor(), start.get(), order.get());
        // The old locks have no holder any more that would wake their waiters.
        for key in start.get()..=last.get() {
            self.waiters.wake(key, Wake::All);
        }
        Ok(entry)
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

    /// Returns the first entry that ends after page offset `from` and begins at or before `last`,
    /// without locking it: its start, the entry, and whether it is dirty. A snapshot: it may change
    /// at once.
    pub(crate) fn peek(
        &self,
        from: PageOffset,
        last: PageOffset,
    ) -> Option<(PageOffset, Entry, bool)> {
        self.entries
            .next(from, last, Which::All, |locked, pgoff, entry| {
                let start = pgoff.align_down(entry.order());
                Some((start, entry, locked.is_dirty()))
            })
    }

    /// Makes what all entries in the aligned 1 GiB around `pgoff` share, so that it need not be
    /// allocated under locks. Errors: [`GrabError::NoNode`].
    pub(crate) fn prepare(&self, pgoff: PageOffset, spare: &mut Spare) -> Result<(), GrabError> {
        self.entries.make_place(pgoff, Order::PTE, spare)?;
        Ok(())
    }

    /// Counts that no entry of `order` around `pgoff` was locked because of a smaller one.
    fn conflict(&self, pgoff: PageOffset, order: Order) {
        self.events.inc(Event::Conflict);
        trace::entry_conflict(|| self.minor(), pgoff.get(), order.get());
    }

    /// Waits for the entry of `order` around `pgoff`, which was found locked in `locked`.
    pub(super) fn wait<'a>(
        &'a self,
        woken: &mut Option<Woken<'a>>,
        pgoff: PageOffset,
        order: Order,
        locked: Locked<'_>,
    ) {
        let start = pgoff.align_down(order);
        // The task that now holds the lock will wake the next waiter.
        settle(woken, start);
        self.events.inc(Event::Wait);
        let wait = trace::Wait::begin();
        *woken = Some(self.waiters.wait_exclusive(start.get(), locked));
        wait.end(|| self.minor(), start.get(), order.get());
    }

    /// Sets the lock bit of `entry`, which the walk of `locked` has found at `pgoff`, and marks it
    /// DIRTY if `dirty`.
    #[inline(always)]
    fn lock<'a>(
        &'a self,
        mut locked: Locked<'a>,
        pgoff: PageOffset,
        entry: Entry,
        dirty: bool,
    ) -> LockedEntry<'a> {
        locked.replace(entry.locked());
        if dirty {
            locked.set_dirty();
        }
        let marks = Marks {
            dirty: dirty || locked.is_dirty(),
            hole: entry.kind() == Kind::Zero,
        };
        self.locked(locked, pgoff, entry, marks)
    }

    /// Stores `entry`, locked, in place of everything in its run around `pgoff`, which is that of the
    /// walk of `locked`. Marks it DIRTY if `dirty`, which is so if an old entry was dirty.
    fn create<'a>(
        &'a self,
        mut locked: Locked<'a>,
        pgoff: PageOffset,
        entry: Entry,
        dirty: bool,
        spare: &mut Spare,
    ) -> Result<LockedEntry<'a>, GrabError> {
        locked.store(entry.locked(), spare)?;
        if dirty {
            locked.set_dirty();
        }
        let marks = Marks { dirty, hole: false };
        Ok(self.locked(locked, pgoff, entry, marks))
    }

    #[inline(always)]
    fn locked<'a>(
        &'a self,
        locked: Locked<'a>,
        pgoff: PageOffset,
        entry: Entry,
        marks: Marks,
    ) -> LockedEntry<'a> {
        self.events.inc(Event::Grab);
        let start = pgoff.align_down(entry.order());
        let found = locked.found();
        drop(locked);
        self.dep_map.acquire();
        // INVARIANT: The callers have set the lock bit under the `xa_lock`, and have seen it clear
        // in the same critical section.
        LockedEntry {
            start,
            found,
            marks,
            dirty: marks.dirty,
            is_other: false,
            entry,
            mapping: self,
        }
    }
}

/// Settles the wake-up of a task that goes on with the lock of the entry at `start`, or waits for
/// it.
pub(super) fn settle(woken: &mut Option<Woken<'_>>, start: PageOffset) {
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
/// The entry of `mapping` that begins at page offset `start` has its lock bit set by this task, and its
/// marks are `marks`. `entry` is what the unlock stores, and has the same order. If it is of another
/// kind, `is_other` is set.
#[must_use = "the entry unlocks immediately when the guard is unused"]
pub(crate) struct LockedEntry<'a> {
    mapping: &'a EntryTable,
    start: PageOffset,
    /// Where it is in the index, so that no step needs another walk.
    found: Found<'a>,
    entry: Entry,
    marks: Marks,
    dirty: bool,
    is_other: bool,
}

impl<'a> LockedEntry<'a> {
    /// Returns the entry's kind.
    pub(crate) fn kind(&self) -> Kind {
        self.entry.kind()
    }

    /// Returns the first page frame of the entry if it is MAPPED.
    pub(crate) fn pfn(&self) -> Option<Pfn> {
        self.entry.pfn()
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
        self.is_other |= self.kind() != kind;
        self.entry = Entry::new(kind, self.entry.order());
    }

    /// Marks the entry DIRTY. The caller does this before it makes a writable mapping, because a
    /// sync searches for the mark and then waits for the entry lock.
    pub(crate) fn set_dirty(&mut self) {
        self.dirty = true;
        if !self.marks.dirty {
            self.marks.dirty = true;
            self.with_place(|locked| locked.set_dirty());
        }
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
        let (mapping, start, order) = (self.mapping, self.start.get(), self.order().get());
        mapping.events.inc(Event::Delete);
        trace::entry_delete(|| mapping.minor(), start, order);
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
        mapping.events.inc(Event::Split);
        trace::entry_split(
            || mapping.minor(),
            self.start.get(),
            self.order().get(),
            pgoff.align_down(order).get(),
            order.get(),
        );
        self.remove();
        mapping.grab(pgoff, order, access, spare)
    }

    /// Calls `change` with the entry found in its place, for what [`Found`] alone cannot do.
    fn with_place<R>(&self, change: impl FnOnce(&mut Locked<'_>) -> R) -> Option<R> {
        let (start, order) = (self.start, self.order());
        let place = self.mapping.entries.place(start, order)?;
        let mut locked = place.lock_found(&self.found, start, order);
        Some(change(&mut locked))
    }

    /// Stores `entry`, with other marks than before, and returns the old one.
    #[inline(never)]
    fn unlock_marked(&self, marks: Marks, entry: Entry) -> Option<Entry> {
        let old = self.with_place(|locked| {
            locked.set_marks(marks.dirty, marks.hole);
            locked.replace(entry)
        });
        old.flatten()
    }

    fn remove(self) {
        // The lock is removed together with the entry.
        let this = ManuallyDrop::new(self);
        this.mapping.dep_map.release();
        let old = this.found.erase(this.start, this.order());
        warn_on(!old.is_some_and(Entry::is_locked));
        this.mapping.waiters.wake(this.start.get(), Wake::All);
    }
}

impl Drop for LockedEntry<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.mapping.dep_map.release();
        let marks = Marks {
            dirty: self.dirty,
            hole: self.is_hole(),
        };
        let entry = self.entry.unlocked();
        let old = if marks == self.marks {
            self.found.replace(self.start, entry)
        } else {
            self.unlock_marked(marks, entry)
        };
        warn_on(!old.is_some_and(Entry::is_locked));
        let wake = match self.is_other {
            true => Wake::All,
            false => Wake::Next,
        };
        if self.mapping.waiters.wake(self.start.get(), wake) {
            self.mapping.events.inc(Event::Wake);
        }
    }
}
