// SPDX-License-Identifier: GPL-2.0

//! Faults that need no entry lock.
//!
//! `Documentation/locking.rst`, "Without the lock", has the argument.

use crate::dax::entries::{
    entry::{
        Entry,
        Kind, //
    },
    index::{
        Locked,
        Spare,
        Which, //
    },
    table::{
        Access,
        EntryTable,
        Event, //
    }, //
};
use crate::kernel_ext::{
    trace,
    units::{
        Order,
        PageOffset,
        Pages, //
    }, //
};

impl EntryTable {
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
        if access != Access::Write && order != Order::PUD {
            return self.touch_untracked(pgoff, order, access, map);
        }
        let place = self.entries.make_place(pgoff, order, spare).ok()?;
        let mut locked = place.lock();
        let Some(entry) = locked.find_conflict() else {
            if !locked.claim() {
                drop(locked);
                return self.touch_whole(pgoff, order, map);
            }
            locked.store(Entry::new(kind, order), spare).ok()?;
            if order == Order::PUD && locked.may_have_smaller() {
                locked.erase();
                return None;
            }
            self.events.inc(Event::Create);
            let start = pgoff.align_down(order);
            trace::entry_create(|| self.minor(), start.get(), order.get());
            if access == Access::Write {
                locked.set_dirty();
            }
            return Some(map());
        };
        if !may_be_written(entry, locked.is_dirty(), order) {
            return None;
        }
        if access == Access::Write {
            locked.set_dirty();
        }
        Some(map())
    }

    /// Same as [`EntryTable::touch`], for an access that needs no entry: a task that removes the
    /// media unmaps the whole range.
    fn touch_untracked<R>(
        &self,
        pgoff: PageOffset,
        order: Order,
        access: Access,
        map: impl FnOnce() -> R,
    ) -> Option<R> {
        let Some(place) = self.entries.place(pgoff, order) else {
            return Some(map());
        };
        let mut locked = place.lock();
        let may_map = match locked.find_conflict() {
            // If there is an entry of 1 GiB, it is media.
            None => true,
            Some(entry) if entry.order() >= order => entry.is_settled(),
            Some(_) => all_in(&mut locked, pgoff.align_down(order), order, |entry| {
                match access {
                    // The media of a hole is zero, too.
                    Access::Read => !entry.is_locked(),
                    _ => entry.is_settled(),
                }
            }),
        };
        may_map.then(map)
    }

    /// Same as [`EntryTable::touch`], for a tracked write in an entry of 1 GiB.
    fn touch_whole<R>(
        &self,
        pgoff: PageOffset,
        order: Order,
        map: impl FnOnce() -> R,
    ) -> Option<R> {
        let place = self.entries.place(pgoff, Order::PUD)?;
        let mut locked = place.lock();
        let entry = locked.find_conflict()?;
        may_be_written(entry, locked.is_dirty(), order).then(map)
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
        let last = end.before()?;
        let write = access == Access::Write;
        let Some(place) = self.entries.place(pgoff, Order::PTE) else {
            return (!write).then(|| map(pages));
        };
        let mut locked = place.lock();
        let mut next = pgoff;
        loop {
            let found = locked.find(last, Which::All);
            if !write {
                next = found.map_or(end, |(pgoff, _)| pgoff);
            }
            let Some((pgoff, entry)) = found.filter(|(_, entry)| entry.is_settled()) else {
                break;
            };
            if pgoff != next {
                break;
            }
            if write {
                if entry.order() != Order::PTE && !locked.is_dirty() {
                    break;
                }
                locked.set_dirty();
            }
            next = entry.behind(next)?;
            if next >= end {
                next = end;
                break;
            }
            locked.set_order(next, Order::PTE);
        }
        let first = next - pgoff;
        (!first.is_zero()).then(|| map(first))
    }
}

/// Whether a tracked write at `order` may use `entry`.
///
/// A larger entry that is clean is a reader's, and gives way. Otherwise a store of one byte would
/// make all of it dirty.
fn may_be_written(entry: Entry, dirty: bool, order: Order) -> bool {
    entry.is_settled() && (entry.order() == order || entry.order() > order && dirty)
}

/// Whether `holds` is true for all entries in the run of `order` from `start`.
fn all_in(
    locked: &mut Locked<'_>,
    start: PageOffset,
    order: Order,
    holds: impl Fn(Entry) -> bool,
) -> bool {
    let last = start + (order.pages() - Pages::ONE);
    locked.set_order(start, Order::PTE);
    while let Some((pgoff, entry)) = locked.find(last, Which::All) {
        if !holds(entry) {
            return false;
        }
        match entry.behind(pgoff) {
            Some(behind) if behind <= last => locked.set_order(behind, Order::PTE),
            _ => break,
        }
    }
    true
}
