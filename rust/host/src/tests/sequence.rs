// SPDX-License-Identifier: GPL-2.0

//! Random sequences of operations, against a model that has one state for each page.

use super::{access, at, endless, fill_zero, grab, pfn, prepare, table, upgrade};
use crate::dax::entries::entry::{Entry, Kind};
use crate::dax::entries::table::{Access, EntryTable, Event, GrabError, LockedEntry};
use crate::kernel_ext::traced::take_counts;
use crate::kernel_ext::units::{Order, PageOffset};
use crate::kernel_ext::xarray::{self, walks, Nodes};
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
    /// A fault that takes no entry lock, if that is possible.
    Touch(usize, Order, Access),
    /// The same for several pages that have entries.
    Around(usize, usize, Access),
}

/// In how many ways pages are accessed.
fn any_access() -> impl Strategy<Value = Access> {
    prop_oneof![
        Just(Access::Read),
        Just(Access::UntrackedWrite),
        Just(Access::Write)
    ]
}

/// Mostly one of a few, so that operations meet.
fn a_page() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..8usize,
        1 => 508..516usize,
        1 => 0..PAGES,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let order = prop_oneof![Just(0u32), Just(9), 0u32..=9].prop_map(|n| Order::new(n).unwrap());
    prop_oneof![
        4 => (a_page(), order, any::<bool>()).prop_map(|(page, order, write)| Op::Map(page, order, write)),
        1 => a_page().prop_map(Op::Upgrade),
        1 => (a_page(), 1..600usize).prop_map(|(page, n)| Op::Punch(page, n.min(PAGES - page))),
        1 => (a_page(), 0..600usize).prop_map(|(page, n)| Op::Sync(page, n.min(PAGES - page))),
        3 => (a_page(), prop_oneof![Just(Order::PTE), Just(Order::PMD)], any_access())
            .prop_map(|(page, order, access)| Op::Touch(page, order, access)),
        2 => (a_page(), 1..40usize, any_access())
            .prop_map(|(page, n, access)| Op::Around(page, n.min(PAGES - page), access)),
    ]
}

/// What an entry is, without its lock: its first page, its order, its kind, and if it is dirty.
type Known = (usize, Order, Kind, bool);

fn entries(mapping: &EntryTable) -> Vec<Known> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some((start, entry, dirty)) = peek(mapping, from) {
        assert!(!entry.is_locked());
        from = start + entry.order().pages().get();
        found.push((start, entry.order(), entry.kind(), dirty));
    }
    found
}

fn pages_of_one(&(start, order, ..): &Known) -> Range<usize> {
    start..start + order.pages().get()
}

fn is_media(&(_, _, kind, _): &Known) -> bool {
    matches!(kind, Kind::Mapped { .. })
}

/// [`EntryTable::touch`], and the entries that there have to be afterwards: `None` if it may not map.
fn touched(
    before: &[Known],
    run: Range<usize>,
    order: Order,
    access: Access,
) -> Option<Vec<Known>> {
    let met =
        |known: &&Known| pages_of_one(known).start < run.end && pages_of_one(known).end > run.start;
    let mut after = before.to_vec();
    let over: Vec<_> = before.iter().filter(met).copied().collect();
    if access != Access::Write {
        let may_map = match over[..] {
            [one] if one.1 >= order => is_media(&one),
            // The media of a hole is zero, too.
            _ => access == Access::Read || over.iter().all(is_media),
        };
        return may_map.then_some(after);
    }
    match over[..] {
        [] => {
            after.push((run.start, order, mapped(run.start), true));
            after.sort_by_key(|&(start, ..)| start);
            Some(after)
        }
        [one] if is_media(&one) && (one.1 == order || one.1 > order && one.3) => {
            after
                .iter_mut()
                .filter(|known| **known == one)
                .for_each(|known| known.3 = true);
            Some(after)
        }
        _ => None,
    }
}

/// [`EntryTable::touch_settled`]: how many pages may be mapped, and the entries afterwards.
fn touched_around(before: &[Known], run: Range<usize>, access: Access) -> (usize, Vec<Known>) {
    let mut after = before.to_vec();
    let mut page = run.start;
    while page < run.end {
        let entry = after
            .iter_mut()
            .find(|known| pages_of_one(known).contains(&page));
        match entry {
            None if access != Access::Write => page += 1,
            Some(known) if is_media(known) => {
                if access == Access::Write {
                    if known.1 != Order::PTE && !known.3 {
                        break;
                    }
                    known.3 = true;
                }
                page = pages_of_one(known).end;
            }
            _ => break,
        }
    }
    (page.min(run.end) - run.start, after)
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

/// A run has the last page that it may have, and a run that stays dirty counts as written back.
#[test]
fn runs_to_the_end() {
    let mapping = table();
    for page in 0..4 {
        assert!(map(&mapping, page, Order::PTE, true));
    }
    for end in 1..=4 {
        let run = mapping.lock_dirty_run(at(0), at(end)).unwrap();
        assert_eq!(run.pages(), super::pages(end));
        let before = mapping.events.get(Event::Writeback);
        run.keep();
        assert_eq!(mapping.events.get(Event::Writeback) - before, end as u64);
        assert!(entries(&mapping).iter().all(|known| known.3));
    }
}

/// Entries of all sizes are gone after a clear.
#[test]
fn nothing_is_left() {
    let mapping = table();
    let part = Order::PUD.pages().get();
    for (page, order) in [
        (0, Order::PUD),
        (part, Order::PMD),
        (part + 512, Order::PTE),
    ] {
        assert!(map(&mapping, page, order, true));
    }
    assert_eq!(entries(&mapping).len(), 3);
    mapping.clear();
    assert_eq!(entries(&mapping), []);
}

proptest! {
    #[test]
    fn of_operations(
        ops in prop::collection::vec(op(), 1..60),
        nodes in prop_oneof![Just(Nodes::Unknown), Just(Nodes::Missing), Just(Nodes::AtHand)],
    ) {
        let mapping = xarray::with(nodes, || {
            let mapping = table();
            prepare(&mapping, 0);
            mapping
        });
        take_counts();
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
                    // A run that is not written back changes nothing.
                    let before = entries(&mapping);
                    drop(mapping.lock_dirty_run(at(first), at(range.end)));
                    prop_assert_eq!(entries(&mapping), before);

                    let events = || [Event::Grab, Event::Writeback].map(|event| mapping.events.get(event));
                    let before = events();
                    let mut cleaned = Vec::new();
                    let mut last = Order::PMD.pages();
                    let mut from = at(first);
                    while let Some(run) = mapping.lock_dirty_run(from, at(range.end)) {
                        let pages = run.first().get()..run.behind().get();
                        // Small entries of the same 2 MiB that follow each other are one run.
                        let small = run.pages().max(last) < Order::PMD.pages();
                        let block = |page: usize| page / Order::PMD.pages().get();
                        prop_assert!(
                            cleaned.last() != pages.start.checked_sub(1).as_ref()
                                || !small
                                || block(pages.start) != block(pages.start - 1)
                        );
                        last = run.pages();
                        from = run.behind();
                        cleaned.extend(pages.clone());
                        written.retain(|page| !pages.contains(page));
                        run.clean();
                    }
                    let number = dirty.len() as u64;
                    prop_assert_eq!(events(), before.map(|before| before + number));
                    let dirty = dirty.iter().flat_map(|&(first, order)| first..first + order.pages().get());
                    prop_assert_eq!(cleaned, dirty.collect::<Vec<_>>());
                    prop_assert_eq!(runs_in(&mapping, range, |_, dirty| dirty), []);
                }
                Op::Touch(page, order, access) => {
                    prepare(&mapping, page);
                    let run = at(page).align_down(order).get()..;
                    let run = run.start..run.start + order.pages().get();
                    let before = entries(&mapping);
                    let (made, expected) = (
                        mapping.events.get(Event::Create),
                        touched(&before, run.clone(), order, access),
                    );
                    let kind = mapped(run.start);
                    let got = mapping.touch(at(page), order, kind, access, Some(&mut endless()));
                    prop_assert_eq!(got.is_some(), expected.is_some());
                    drop(got);
                    let after = entries(&mapping);
                    prop_assert_eq!(
                        mapping.events.get(Event::Create) - made,
                        (after.len() - before.len()) as u64
                    );
                    prop_assert_eq!(&after, &expected.unwrap_or(before));
                    if access == Access::Write && after.iter().any(|known| known.3 && pages_of_one(known).contains(&page)) {
                        written.insert(page);
                    }
                }
                Op::Around(page, pages, access) => {
                    let before = entries(&mapping);
                    let run = page..page + pages;
                    let (expected, after) = touched_around(&before, run, access);
                    let got = mapping.touch_settled(at(page), super::pages(pages), access);
                    prop_assert_eq!(got.map_or(0, |(_, pages)| pages.get()), expected);
                    prop_assert_eq!(entries(&mapping), after);
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
        // What is counted is also traced.
        let traced = take_counts();
        for (event, name) in [
            (Event::Create, "entry_create"),
            (Event::Conflict, "entry_conflict"),
            (Event::Split, "entry_split"),
            (Event::Upgrade, "entry_upgrade"),
            (Event::Delete, "entry_delete"),
            (Event::Writeback, "entry_writeback"),
        ] {
            prop_assert_eq!(mapping.events.get(event), traced.get(name).copied().unwrap_or(0), "{}", name);
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
