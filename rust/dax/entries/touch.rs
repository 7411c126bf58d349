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

/// Holds the `xa_lock` under which a run may be mapped, if it needs one. Do not sleep.
#[must_use = "the run may be mapped only while this exists"]
pub(crate) struct Settled<'a>(#[expect(dead_code)] Option<Locked<'a>>);

impl EntryTable {
    /// Settles that the run of `order` around page offset `pgoff` may be mapped as the media for
    /// `access`, by one leaf or several. For a tracked write, makes an entry of `kind` if there is
    /// none, and marks it DIRTY.
    ///
    /// No entry lock is taken. The run is mapped while the result exists, which holds the `xa_lock`:
    /// so a task that locks the entry afterwards finds what was mapped. The caller may hold a
    /// page-table lock.
    ///
    /// Returns `None` if an entry of the run is locked, or is a hole (except for a read through a
    /// larger leaf). For a tracked write, also if there are smaller entries, or a larger clean one,
    /// or if the index needs memory that `spare` lacks.
    ///
    /// Inlined, so that order and access are constants where the caller knows them.
    #[inline(always)]
    pub(crate) fn touch(
        &self,
        pgoff: PageOffset,
        order: Order,
        kind: Kind,
        access: Access,
        spare: Option<&mut Spare>,
    ) -> Option<Settled<'_>> {
        if access == Access::Write || order == Order::PUD {
            let locked = self.settle(pgoff, order, kind, access, spare)?;
            return Some(Settled(Some(locked)));
        }
        self.settled(pgoff, order, access)
    }

    /// Same as [`EntryTable::touch`], for an access that needs an entry.
    #[inline(always)]
    fn settle(
        &self,
        pgoff: PageOffset,
        order: Order,
        kind: Kind,
        access: Access,
        spare: Option<&mut Spare>,
    ) -> Option<Locked<'_>> {
        let Some(place) = self.entries.place(pgoff, order) else {
            return self.settle_first(pgoff, order, kind, access, spare?);
        };
        let mut locked = place.lock();
        match locked.look() {
            Ok(None) if locked.claim() => {
                let entry = Entry::new(kind, order);
                if !locked.fill(entry) {
                    let mut none = Spare::new();
                    locked.store(entry, spare.unwrap_or(&mut none)).ok()?;
                    // A call of its own. If both paths shared one, the walk would be in memory on
                    // the common path, too.
                    return self.settle_new(locked, pgoff, order, access);
                }
                self.settle_new(locked, pgoff, order, access)
            }
            Ok(Some(entry)) if may_be_written(entry, locked.is_dirty(), order) => {
                if access == Access::Write {
                    locked.set_dirty();
                }
                Some(locked)
            }
            Ok(Some(_)) => None,
            Ok(None) | Err(_) => self.settle_slowly(locked, pgoff, order, kind, access, spare),
        }
    }

    /// Marks and counts an entry that was made. `None` if it is of 1 GiB, and there is a smaller one:
    /// it is removed.
    #[inline(always)]
    fn settle_new<'a>(
        &self,
        mut locked: Locked<'a>,
        pgoff: PageOffset,
        order: Order,
        access: Access,
    ) -> Option<Locked<'a>> {
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
        Some(locked)
    }

    /// [`EntryTable::settle`] where there was never an entry near it.
    #[cold]
    #[inline(never)]
    fn settle_first(
        &self,
        pgoff: PageOffset,
        order: Order,
        kind: Kind,
        access: Access,
        spare: &mut Spare,
    ) -> Option<Locked<'_>> {
        let place = self.entries.make_place(pgoff, order, spare).ok()?;
        self.settle_slowly(place.lock(), pgoff, order, kind, access, Some(spare))
    }

    /// [`EntryTable::settle`] where [`Locked::look`] could not tell, or an entry of 1 GiB covers the run.
    #[inline(never)]
    fn settle_slowly<'a>(
        &'a self,
        mut locked: Locked<'a>,
        pgoff: PageOffset,
        order: Order,
        kind: Kind,
        access: Access,
        spare: Option<&mut Spare>,
    ) -> Option<Locked<'a>> {
        let Some(entry) = locked.find_conflict() else {
            if !locked.claim() {
                drop(locked);
                return self.settled_whole(pgoff, order);
            }
            let mut none = Spare::new();
            let spare = spare.unwrap_or(&mut none);
            locked.store(Entry::new(kind, order), spare).ok()?;
            return self.settle_new(locked, pgoff, order, access);
        };
        if !may_be_written(entry, locked.is_dirty(), order) {
            return None;
        }
        if access == Access::Write {
            locked.set_dirty();
        }
        Some(locked)
    }

    /// Same as [`EntryTable::touch`], for an access that needs no entry: a task that removes the
    /// media unmaps the whole range. It needs no lock, either, where there was never an entry.
    #[inline(always)]
    fn settled(&self, pgoff: PageOffset, order: Order, access: Access) -> Option<Settled<'_>> {
        let Some(place) = self.entries.place(pgoff, order) else {
            return Some(Settled(None));
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
        may_map.then_some(Settled(Some(locked)))
    }

    /// Same as [`EntryTable::settle`], for a tracked write in an entry of 1 GiB.
    #[inline(never)]
    fn settled_whole(&self, pgoff: PageOffset, order: Order) -> Option<Locked<'_>> {
        let place = self.entries.place(pgoff, Order::PUD)?;
        let mut locked = place.lock();
        let entry = locked.find_conflict()?;
        may_be_written(entry, locked.is_dirty(), order).then_some(locked)
    }

    /// Same as [`EntryTable::touch`], for 4 KiB leaves and existing entries. Of the `pages` pages
    /// from page offset `pgoff`, the first ones may be mapped: returns their number, too.
    pub(crate) fn touch_settled(
        &self,
        pgoff: PageOffset,
        pages: Pages,
        access: Access,
    ) -> Option<(Settled<'_>, Pages)> {
        let end = pgoff + pages;
        let last = end.before()?;
        let write = access == Access::Write;
        let Some(place) = self.entries.place(pgoff, Order::PTE) else {
            return (!write).then_some((Settled(None), pages));
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
        (!first.is_zero()).then_some((Settled(Some(locked)), first))
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
#[inline(never)]
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
