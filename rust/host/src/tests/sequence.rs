// SPDX-License-Identifier: GPL-2.0

//! Random sequences of operations, against a model that has one state for each page.

use super::{access, at, endless, fill_zero, grab, pfn, prepare, table, upgrade};
use crate::dax::entries::entry::{Entry, Kind};
use crate::dax::entries::table::{EntryTable, Event, GrabError, LockedEntry};
use crate::kernel_ext::units::{Order, PageOffset};
use crate::kernel_ext::xarray::walks;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;

/// Three aligned 2 MiB.
const PAGES: usize = 3 * 512;

#[derive(Clone, Debug)]
enum Op {
    /// A grab that says what lies behind the entry; if it writes, dirty.
    Map(usize, Order, bool),
    Upgrade(usize),
    /// Deletes the entries that reach into a range, and makes it a hole.
    Punch(usize, usize),
    /// Makes the dirty entries clean that reach into a range.
    Sync(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let order = prop_oneof![Just(0u32), Just(9), 0u32..=9].prop_map(|n| Order::new(n).unwrap());
    prop_oneof![
        4 => (0..PAGES, order, any::<bool>()).prop_map(|(page, order, write)| Op::Map(page, order, write)),
        1 => (0..PAGES).prop_map(Op::Upgrade),
        1 => (0..PAGES, 1..600usize).prop_map(|(page, n)| Op::Punch(page, n.min(PAGES - page))),
        1 => (0..PAGES, 0..600usize).prop_map(|(page, n)| Op::Sync(page, n.min(PAGES - page))),
    ]
}

/// As [`EntryTable::peek`], in numbers of pages.
fn peek(mapping: &EntryTable, from: usize) -> Option<(usize, Entry, bool)> {
    let (start, entry, dirty) = mapping.peek(at(from), PageOffset::MAX)?;
    Some((start.get(), entry, dirty))
}

/// The first page of an entry, and the page after its last.
fn bounds(entry: &LockedEntry<'_>) -> Range<usize> {
    entry.start().get()..entry.behind().get()
}

/// The pages of the runs of all entries for which `filter` holds.
fn pages_of(mapping: &EntryTable, filter: impl Fn(Kind, bool) -> bool) -> BTreeSet<usize> {
    let mut pages = BTreeSet::new();
    let mut from = 0;
    while let Some((start, entry, dirty)) = peek(mapping, from) {
        assert!(!entry.is_locked() && start >= from && at(start).is_aligned(entry.order()));
        from = start + entry.order().pages().get();
        if filter(entry.kind(), dirty) {
            pages.extend(start..from);
        }
    }
    pages
}

/// The runs of the entries that reach into `range` and for which `filter` holds.
fn runs_in(
    mapping: &EntryTable,
    range: Range<usize>,
    filter: impl Fn(Kind, bool) -> bool,
) -> Vec<(usize, Order)> {
    let mut runs = Vec::new();
    let mut from = range.start;
    while let Some((start, entry, dirty)) = peek(mapping, from).filter(|found| found.0 < range.end)
    {
        from = start + entry.order().pages().get();
        if !range.is_empty() && filter(entry.kind(), dirty) {
            runs.push((start, entry.order()));
        }
    }
    runs
}

fn mapped(start: usize) -> Kind {
    Kind::Mapped {
        pfn: pfn(7 * 512 + start),
    }
}

fn map(mapping: &EntryTable, page: usize, order: Order, write: bool) -> bool {
    prepare(mapping, page);
    let mut spare = endless();
    let mut entry = match mapping.grab(at(page), order, access(write), &mut spare) {
        Ok(entry) => entry,
        Err(error) => {
            assert_eq!(error, GrabError::Conflict);
            return false;
        }
    };
    while entry.order() > order
        && (!matches!(entry.kind(), Kind::Mapped { .. }) || write && !entry.is_dirty())
    {
        entry = entry
            .split(at(page), order, access(write), &mut spare)
            .unwrap();
    }
    if !matches!(entry.kind(), Kind::Mapped { .. }) {
        entry.set_kind(mapped(entry.start().get()));
    }
    if write {
        entry.set_dirty();
    }
    true
}

/// What a locked fault costs in the index: one walk to lock an entry that is there, and none to unlock
/// it, also when the entry is larger than what is asked for.
#[test]
fn a_grab_and_an_unlock_walk_once() {
    let mapping = table();
    assert!(map(&mapping, 0, Order::PTE, false) && map(&mapping, 512, Order::PMD, false));
    for (page, order) in [(0, Order::PTE), (512, Order::PMD), (600, Order::PTE)] {
        let before = walks();
        drop(grab(&mapping, page, order).unwrap());
        assert_eq!(walks() - before, 1, "{page} {order:?}");
    }
    assert_eq!(mapping.events.get(Event::Wake), 0);
}

proptest! {
    #[test]
    fn of_operations(ops in prop::collection::vec(op(), 1..60)) {
        let mapping = table();
        // Pages that were written since they were last punched, and pages known to be holes.
        let mut written = BTreeSet::new();
        let mut holes = BTreeSet::new();
        for op in ops {
            match op {
                Op::Map(page, order, write) => {
                    let start = at(page).align_down(order).get();
                    let run = start..start + order.pages().get();
                    let before = pages_of(&mapping, |_, _| true);
                    let smaller = peek(&mapping, run.start)
                        .is_some_and(|(start, entry, _)| start < run.end && entry.order() < order);
                    prop_assert_eq!(map(&mapping, page, order, write), !smaller);
                    if !smaller {
                        holes.retain(|page| !run.contains(page));
                        if write {
                            written.insert(page);
                        }
                    }
                    let after = pages_of(&mapping, |_, _| true);
                    prop_assert!(smaller || after.is_superset(&run.collect()));
                    prop_assert!(before.len() <= after.len() + 511);
                }
                Op::Upgrade(page) => {
                    let start = at(page).align_down(Order::PMD).get();
                    let mut entry = upgrade(&mapping, page, mapped(start)).unwrap();
                    prop_assert_eq!((entry.start(), entry.order()), (at(start), Order::PMD));
                    entry.set_kind(mapped(start));
                    drop(entry);
                    holes.retain(|page| !(start..start + 512).contains(page));
                }
                Op::Punch(first, pages) => {
                    let mut from = first;
                    while let Some((start, entry, _)) = peek(&mapping, from) {
                        if start >= first + pages {
                            break;
                        }
                        from = start + entry.order().pages().get();
                        mapping.delete(at(start), |entry| {
                            // What the entry forgets, the caller writes back: it is told.
                            let run = bounds(entry);
                            if entry.is_dirty() {
                                written.retain(|page| !run.contains(page));
                            }
                            holes.retain(|page| !run.contains(page));
                            Ok(())
                        }).unwrap();
                    }
                    fill_zero(&mapping, first, pages);
                    holes.extend(first..first + pages);
                }
                Op::Sync(first, pages) => {
                    let range = first..first + pages;
                    let dirty = runs_in(&mapping, range.clone(), |_, dirty| dirty);
                    let before = mapping.events.get(Event::Writeback);
                    let mut cleaned = Vec::new();
                    let mut from = at(first);
                    while let Some(run) = mapping.lock_dirty_run(from, at(range.end)) {
                        from = run.behind();
                        let pages = run.first().get()..from.get();
                        cleaned.extend(pages.clone());
                        written.retain(|page| !pages.contains(page));
                        run.clean();
                    }
                    prop_assert_eq!(mapping.events.get(Event::Writeback) - before, dirty.len() as u64);
                    let dirty = dirty.iter().flat_map(|&(first, order)| first..first + order.pages().get());
                    prop_assert_eq!(cleaned, dirty.collect::<Vec<_>>());
                    prop_assert_eq!(runs_in(&mapping, range, |_, dirty| dirty), []);
                }
            }
            let mut found = Vec::new();
            let mut from = 0;
            while let Some(entry) = mapping.lock_next_hole(at(from), at(PAGES)) {
                let run = bounds(&entry);
                from = run.end;
                found.push((run.start, entry.order()));
            }
            prop_assert_eq!(found, runs_in(&mapping, 0..PAGES, |kind, _| kind == Kind::Zero));
            // No write is forgotten, and no media is taken for a hole.
            prop_assert!(pages_of(&mapping, |_, dirty| dirty).is_superset(&written));
            prop_assert!(pages_of(&mapping, |kind, _| kind == Kind::Zero).is_subset(&holes));
        }
        mapping.clear();
        prop_assert!(peek(&mapping, 0).is_none());
    }
}

/// A page in one of seven aligned 1 GiB, which are in more arrays than one.
fn far_page() -> impl Strategy<Value = usize> {
    const PART: usize = Order::PUD.pages().get();
    let places = prop_oneof![Just(0), Just(1), Just(600), Just(PART - 1)];
    (0..7usize, places).prop_map(|(part, place)| part * PART + place)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Far {
    Clean,
    Dirty,
    Hole,
}

proptest! {
    /// What lies in several arrays is found in its order, each once.
    #[test]
    fn of_several_arrays(
        pages in prop::collection::btree_map(
            far_page(),
            prop_oneof![Just(Far::Clean), Just(Far::Dirty), Just(Far::Hole)],
            0..12,
        ),
        (from, end) in (far_page(), far_page()),
        has_end in any::<bool>(),
    ) {
        let mapping = table();
        for (&page, &far) in &pages {
            match far {
                Far::Hole => fill_zero(&mapping, page, 1),
                _ => prop_assert!(map(&mapping, page, Order::PTE, far == Far::Dirty)),
            }
        }
        let end = if has_end { end } else { usize::MAX };
        let expected = |filter: &dyn Fn(Far) -> bool| -> Vec<usize> {
            let pages = pages.iter().filter(|&(&page, &far)| (from..end).contains(&page) && filter(far));
            pages.map(|(&page, _)| page).collect()
        };
        let found = |next: &dyn Fn(usize) -> Option<usize>| -> Vec<usize> {
            std::iter::successors(next(from), |page| next(page + 1)).collect()
        };
        let start = |entry: LockedEntry<'_>| entry.start().get();
        prop_assert_eq!(found(&|from| mapping.lock_next(at(from), at(end)).map(start)), expected(&|_| true));
        prop_assert_eq!(
            found(&|from| mapping.lock_dirty_run(at(from), at(end)).map(|run| run.first().get())),
            expected(&|far| far == Far::Dirty)
        );
        prop_assert_eq!(
            found(&|from| mapping.lock_next_hole(at(from), at(end)).map(start)),
            expected(&|far| far == Far::Hole)
        );
        let peeked = |from| peek(&mapping, from).map(|(start, ..)| start).filter(|&start| start < end);
        prop_assert_eq!(found(&peeked), expected(&|_| true));
    }
}
