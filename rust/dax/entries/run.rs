// SPDX-License-Identifier: GPL-2.0

//! Dirty entries that a sync locks together.

use crate::dax::entries::{
    entry::{
        Entry,
        Kind, //
    },
    index::{
        Locked,
        Which, //
    },
    table::{
        settle,
        EntryTable,
        Event, //
    }, //
};
use crate::kernel_ext::{
    bug::warn_on,
    sync::wait::Wake,
    trace,
    units::{
        Order,
        PageOffset,
        Pages,
        Pfn, //
    }, //
};

impl EntryTable {
    /// Locks the first dirty entry that ends after page offset `from` and begins before `end`, and
    /// the dirty entries directly after it that no task has locked. See [`LockedRun`].
    ///
    /// An entry that another task cleaned meanwhile is not returned. By the time this returns a
    /// later entry, or `None`, that task has written it back.
    ///
    /// Sleeps uninterruptibly while another task holds the lock of the first. It waits for no other,
    /// so it holds no lock while it waits.
    pub(crate) fn lock_dirty_run(
        &self,
        from: PageOffset,
        end: PageOffset,
    ) -> Option<LockedRun<'_>> {
        let last = end.before().filter(|&last| last >= from)?;
        self.dep_map.might_lock();
        let mut woken = None;
        self.entries
            .next(from, last, Which::Dirty, |mut locked, pgoff, entry| {
                let first = pgoff.align_down(entry.order());
                if entry.is_locked() {
                    self.wait(&mut woken, pgoff, entry.order(), locked);
                    return None;
                }
                locked.replace(entry.locked());
                let mut run = LockedRun {
                    table: self,
                    first,
                    pages: entry.order().pages(),
                    entries: 1,
                    pfn: entry.pfn(),
                };
                if let Some(pfn) = entry.pfn().filter(|_| entry.order() < Order::PMD) {
                    run.extend(&mut locked, pfn, last);
                }
                self.events.add(Event::Grab, run.entries);
                drop(locked);
                self.dep_map.acquire();
                // Not always the entry that was waited for: other tasks may have inserted one before
                // it.
                settle(&mut woken, first);
                Some(run)
            })
    }
}

/// Dirty entries that this task has locked, each directly after the one before it, in the device and
/// in the media. Dropping it unlocks them.
///
/// Either one entry of any order; or entries smaller than 2 MiB, in one aligned 2 MiB, so that it
/// takes no longer to write them back than one of 2 MiB.
///
/// A task that holds one never waits for another entry lock. So it is one lock to lockdep, and no
/// order among the entries is needed.
///
/// # Invariants
///
/// The `pages` pages from `first` are in `entries` entries of `table`. This task has set the lock
/// bit of each, and each is DIRTY. `pfn` is the page frame of `first`, if they are MAPPED.
#[must_use = "the entries unlock immediately when the guard is unused"]
pub(crate) struct LockedRun<'a> {
    table: &'a EntryTable,
    first: PageOffset,
    pages: Pages,
    entries: u64,
    pfn: Option<Pfn>,
}

impl LockedRun<'_> {
    /// Locks the entries after the first, whose page frame is `pfn`, up to one that cannot be added.
    fn extend(&mut self, locked: &mut Locked<'_>, pfn: Pfn, last: PageOffset) {
        let end = self.first.align_down(Order::PMD) + Order::PMD.pages();
        while self.behind() < end && self.behind() <= last {
            locked.set_order(self.behind(), Order::PTE);
            let next = Kind::Mapped {
                pfn: pfn + self.pages,
            };
            match locked.find_conflict() {
                Some(entry) if entry.kind() == next && entry.is_settled() && locked.is_dirty() => {
                    // INVARIANT: It begins where the last one ends, and is DIRTY. It is locked here,
                    // and was not locked before.
                    locked.replace(entry.locked());
                    self.pages += entry.order().pages();
                    self.entries += 1;
                }
                _ => break,
            }
        }
    }

    /// Returns the first page.
    pub(crate) fn first(&self) -> PageOffset {
        self.first
    }

    /// Returns the number of pages.
    pub(crate) fn pages(&self) -> Pages {
        self.pages
    }

    /// Returns the page offset after the last page.
    pub(crate) fn behind(&self) -> PageOffset {
        self.first + self.pages
    }

    /// Returns the page frame of the first page, if the entries are MAPPED.
    pub(crate) fn pfn(&self) -> Option<Pfn> {
        self.pfn
    }

    /// Unlocks the entries after their write-back. They stay DIRTY, because their pages may be
    /// written at any time without a fault.
    pub(crate) fn keep(self) {
        self.table.events.add(Event::Writeback, self.entries);
    }

    /// Removes the entries after their write-back, when no mapping of them is writable. Reads of the
    /// media need no entry. Wakes all waiters.
    pub(crate) fn clean(self) {
        self.table.events.add(Event::Writeback, self.entries);
        let clean = |locked: &mut Locked<'_>, start: PageOffset, order: Order| {
            trace::entry_writeback(|| self.table.minor(), start.get(), order.get());
            locked.erase()
        };
        self.end(clean, Wake::All);
        core::mem::forget(self);
    }

    /// Unlocks each entry by `change`, which gets its start and its order, and wakes its waiters.
    fn end(
        &self,
        change: impl Fn(&mut Locked<'_>, PageOffset, Order) -> Option<Entry>,
        wake: Wake,
    ) {
        self.table.dep_map.release();
        // The search for the first entry's place: an entry of 1 GiB is alone.
        let order = match self.pages == Order::PUD.pages() {
            true => Order::PUD,
            false => Order::PTE,
        };
        let mut ended = 0;
        if let Some(place) = self.table.entries.place(self.first, order) {
            let mut locked = place.lock();
            let mut at = self.first;
            while at < self.behind() {
                locked.set_order(at, Order::PTE);
                let Some(entry) = locked.find_conflict() else {
                    break;
                };
                if entry.order() != Order::PTE {
                    locked.set_order(at, entry.order());
                    locked.find_conflict();
                }
                let changed = change(&mut locked, at, entry.order());
                ended += u64::from(changed.is_some_and(Entry::is_locked));
                at += entry.order().pages();
            }
        }
        warn_on(ended != self.entries);
        // Waiters are keyed by the first page of their entry.
        let step = match self.entries {
            1 => self.pages,
            _ => Pages::ONE,
        };
        let mut at = self.first;
        while at < self.behind() {
            if self.table.waiters.wake(at.get(), wake) && wake == Wake::Next {
                self.table.events.inc(Event::Wake);
            }
            at += step;
        }
    }
}

impl Drop for LockedRun<'_> {
    fn drop(&mut self) {
        let unlock = |locked: &mut Locked<'_>, _, _| {
            let entry = locked.find_conflict()?;
            locked.replace(entry.unlocked())
        };
        self.end(unlock, Wake::Next);
    }
}
