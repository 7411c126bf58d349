// SPDX-License-Identifier: GPL-2.0

//! The entry protocol, under every interleaving that the feature `loom` or `shuttle` finds, or with
//! real threads.
//!
//! Each scenario ends only when every thread has finished: a lost wake-up is a deadlock, which loom
//! and shuttle report. At least three waiters, since some wake-ups are lost only then.

use super::{access, at, fill_zero, grab, pages, pfn, prepare, table, upgrade, with_spare};
use crate::dax::entries::entry::Kind;
use crate::dax::entries::index::Spare;
use crate::dax::entries::table::{Access, EntryTable, Event, GrabError, LockedEntry};
use crate::kernel_ext::sync::{
    self,
    Arc, //
};
use crate::kernel_ext::thread;
use crate::kernel_ext::units::{Order, PageOffset};
use crate::kernel_ext::xarray::{
    self,
    Nodes, //
};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::{
    ops::Range,
    pin::Pin, //
};

const PFN: usize = 1 << 20;
/// Pages that the scenarios use; the last two lie in another 2 MiB.
const PAGES: [usize; 5] = [0, 1, 100, 512, 600];

/// The media of page `page` of the device, and of those after it.
const fn mapped(page: usize) -> Kind {
    Kind::Mapped {
        pfn: pfn(PFN + page),
    }
}

fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    explore_to(2, scenario);
}

/// Explores a scenario that takes loom minutes. With `$RDAX_SHORT`, which `make test` sets, one preemption
/// less.
fn explore_long(preemptions: usize, scenario: impl Fn() + Send + Sync + 'static) {
    let less = std::env::var_os("RDAX_SHORT").is_some();
    explore_to(preemptions - usize::from(less), scenario);
}

/// With so many preemptions in one run, for loom.
#[cfg(feature = "loom")]
fn explore_to(preemptions: usize, scenario: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(scenario);
}

#[cfg(feature = "shuttle")]
fn explore_to(_: usize, scenario: impl Fn() + Send + Sync + 'static) {
    shuttle::check_pct(scenario, 20_000, 3);
}

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
fn explore_to(_: usize, scenario: impl Fn() + Send + Sync + 'static) {
    for _ in 0..300 {
        scenario();
    }
}

/// A mapping, and who is where in it.
struct Model {
    mapping: Pin<Box<EntryTable>>,
    /// Who holds a lock of each of [`PAGES`].
    holders: [AtomicUsize; PAGES.len()],
    /// What the page tables and the media have of each of [`PAGES`]: [`WRITABLE`], [`UNSYNCED`].
    pages: [sync::atomic::AtomicUsize; PAGES.len()],
    /// A fault that lacks memory allocates it, and tries again without the lock of the entry.
    begins_again: bool,
}

/// A mapping of the page is writable.
const WRITABLE: usize = 1;
/// The page was written, and not yet written back.
const UNSYNCED: usize = 2;

impl Model {
    /// Each new entry lacks memory, so a fault takes the lock of its entry.
    fn new() -> Arc<Self> {
        Arc::new(Self::make(false))
    }

    fn make(begins_again: bool) -> Self {
        Self {
            mapping: {
                let mapping = table();
                prepare(&mapping, 0);
                mapping
            },
            holders: Default::default(),
            pages: core::array::from_fn(|_| sync::atomic::AtomicUsize::new(0)),
            begins_again,
        }
    }

    /// None does.
    fn with_nodes() -> Arc<Self> {
        xarray::with(Nodes::AtHand, Self::new)
    }

    /// Each new entry lacks memory, which a fault allocates.
    fn without_nodes() -> Arc<Self> {
        xarray::with(Nodes::Missing, || Arc::new(Self::make(true)))
    }

    /// The states of the pages in a run.
    fn pages(
        &self,
        start: PageOffset,
        order: Order,
    ) -> impl Iterator<Item = &sync::atomic::AtomicUsize> {
        self.pages_in(start..start + order.pages())
    }

    fn pages_in(
        &self,
        range: Range<PageOffset>,
    ) -> impl Iterator<Item = &sync::atomic::AtomicUsize> {
        let pages = PAGES.iter().zip(&self.pages);
        pages.filter_map(move |(&page, state)| range.contains(&at(page)).then_some(state))
    }

    /// What a program writes through its mapping, if that is writable: no lock is known there.
    fn store(&self, page: usize) -> bool {
        let state = self.pages(at(page), Order::PTE).next().unwrap();
        let store = |old| (old & WRITABLE != 0).then_some(old | UNSYNCED);
        state.fetch_update(SeqCst, SeqCst, store).is_ok()
    }

    /// As `sync.rs` does it.
    fn sync(&self, from: usize, end: usize) {
        let mut from = at(from);
        while let Some(run) = self.mapping.lock_dirty_run(from, at(end)) {
            from = run.behind();
            let range = run.first()..run.behind();
            for page in self.pages_in(range.clone()) {
                page.fetch_and(!WRITABLE, SeqCst);
            }
            thread::yield_now();
            for page in self.pages_in(range.clone()) {
                page.fetch_and(!UNSYNCED, SeqCst);
            }
            self.hold_pages(range);
            run.clean();
        }
    }

    /// Goes through the page tables. Not under a lock: it passes by an empty PMD without.
    fn write_protect(&self, start: PageOffset, order: Order) {
        for page in self.pages(start, order) {
            page.fetch_and(!WRITABLE, SeqCst);
        }
    }

    /// A write fault, without the lock of the entry if that is possible, as `Target::map_settled()` of
    /// `fault.rs`; whether it was served at `order`.
    fn touch(&self, pgoff: usize, order: Order) -> bool {
        let start = at(pgoff).align_down(order);
        let kind = mapped(start.get());
        let (table, access) = (&self.mapping, Access::Write);
        let mut spare = Spare::new();
        let mut settled = table.touch(start, order, kind, access, None);
        if settled.is_none() && self.begins_again {
            spare.fill().unwrap();
            settled = table.touch(start, order, kind, access, Some(&mut spare));
        }
        let Some(_settled) = settled else {
            return self.fault(pgoff, order, true);
        };
        // As the access that may come at once.
        for page in self.pages(start, order) {
            page.fetch_or(WRITABLE | UNSYNCED, SeqCst);
        }
        true
    }

    fn is_unsynced(&self, page: usize) -> bool {
        let state = self.pages(at(page), Order::PTE).next().unwrap();
        state.load(SeqCst) & UNSYNCED != 0
    }

    /// Holds `entry` for a moment: nobody else may hold any byte of it.
    fn hold(&self, entry: &LockedEntry<'_>) {
        self.hold_pages(entry.start()..entry.behind());
    }

    fn hold_pages(&self, run: Range<PageOffset>) {
        let held = || {
            PAGES
                .iter()
                .zip(&self.holders)
                .filter(|(&page, _)| run.contains(&at(page)))
        };
        for (page, holders) in held() {
            assert_eq!(holders.fetch_add(1, SeqCst), 0, "two hold page {page}");
        }
        thread::yield_now();
        for (_, holders) in held() {
            holders.fetch_sub(1, SeqCst);
        }
    }

    /// A fault, as `fault.rs` serves it with the entry locked; whether it was served at `order`.
    fn fault(&self, pgoff: usize, order: Order, write: bool) -> bool {
        let served = with_spare(|spare| self.attempt(pgoff, order, write, spare));
        assert_ne!(served, Err(GrabError::NoNode));
        served.is_ok()
    }

    fn attempt(
        &self,
        pgoff: usize,
        order: Order,
        write: bool,
        spare: &mut Spare,
    ) -> Result<(), GrabError> {
        let mut entry = self.mapping.grab(at(pgoff), order, access(write), spare)?;
        loop {
            self.hold(&entry);
            let larger = entry.order() > order;
            match entry.kind() {
                Kind::Mapped { .. } if write && larger && !entry.is_dirty() => {
                    entry = entry.split(at(pgoff), order, access(write), spare)?;
                }
                Kind::Mapped { .. } => break,
                Kind::Zero if !write => {
                    assert!(entry.is_hole() && entry.pfn().is_none());
                    return Ok(());
                }
                Kind::Empty | Kind::Zero if larger => {
                    entry = entry.split(at(pgoff), order, access(write), spare)?;
                }
                Kind::Empty | Kind::Zero => entry.set_kind(mapped(entry.start().get())),
            }
        }
        if write {
            entry.set_dirty();
            for page in self.pages(at(pgoff).align_down(order), order) {
                page.fetch_or(WRITABLE, SeqCst);
            }
            thread::yield_now();
        }
        entry.release();
        Ok(())
    }

    fn upgrade(&self, pgoff: usize) -> bool {
        let kind = mapped(at(pgoff).align_down(Order::PMD).get());
        match upgrade(&self.mapping, pgoff, kind) {
            Ok(entry) => {
                self.write_protect(entry.start(), entry.order());
                self.hold(&entry);
                true
            }
            Err(error) => {
                assert_eq!(error, GrabError::Conflict);
                false
            }
        }
    }

    /// Punches `pages` pages from `pgoff` on, as `punch.rs` does: all entries in the way go.
    fn punch(&self, pgoff: usize, pages: usize) {
        let (mut from, end) = (at(pgoff), at(pgoff + pages));
        while let Some(entry) = self.mapping.lock_next(from, end) {
            for page in self.pages(entry.start(), entry.order()) {
                page.store(0, SeqCst);
            }
            self.hold(&entry);
            from = entry.start() + entry.order().pages();
            entry.delete();
        }
    }

    /// After all threads have finished.
    fn check(&self) -> Vec<(usize, Kind, Order, bool)> {
        let mut entries = Vec::new();
        let mut from = at(0);
        while let Some((start, entry, dirty)) = self.mapping.peek(from, PageOffset::MAX) {
            assert!(!entry.is_locked(), "{start:?} is still locked");
            assert!(start >= from, "{start:?} is in two entries");
            from = start + entry.order().pages();
            let start = start.get();
            if let Kind::Mapped { .. } = entry.kind() {
                assert_eq!(entry.kind(), mapped(start));
            }
            entries.push((start, entry.kind(), entry.order(), dirty));
        }
        for page in PAGES {
            let is_dirty = entries.iter().any(|&(start, _, order, dirty)| {
                dirty && (start..start + order.pages().get()).contains(&page)
            });
            let state = self.pages(at(page), Order::PTE).next().unwrap();
            assert!(is_dirty || state.load(SeqCst) == 0, "{page} is clean");
        }
        entries
    }
}

fn spawn(model: &Arc<Model>, task: impl Fn(&Model) + Send + 'static) -> thread::JoinHandle<()> {
    let model = model.clone();
    thread::spawn(move || task(&model))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Several first faults on one page: one entry, all served.
#[test]
fn faults_on_one_page() {
    explore(|| {
        let model = Model::new();
        let threads = [true, false, true]
            .map(|write| spawn(&model, move |m| assert!(m.fault(1, Order::PTE, write))));
        join(threads);
        // The reader needs one for the lock alone.
        assert!(model.mapping.events.get(Event::Create) <= 2);
        assert_eq!(model.check(), [(1, mapped(1), Order::PTE, true)]);
    });
}

/// Three wait for an entry that is deleted: each must learn of it (seed 002; 237388320def).
#[test]
fn waiters_of_a_deleted_entry() {
    explore(|| {
        let model = Model::new();
        let entry = grab(&model.mapping, 1, Order::PTE).unwrap();
        let threads = [
            spawn(&model, |m| m.punch(1, 1)),
            spawn(&model, |m| m.punch(1, 1)),
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, true))),
        ];
        entry.delete();
        join(threads);
        model.check();
    });
}

/// Three wait for a hole that becomes media (the bug of `dax_deadlock`: one of three readers woken).
#[test]
fn waiters_of_a_replaced_entry() {
    explore(|| {
        let model = Model::new();
        fill_zero(&model.mapping, 1, 1);
        let mut entry = grab(&model.mapping, 1, Order::PTE).unwrap();
        let threads = [
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, false))),
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, true))),
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, false))),
        ];
        entry.set_kind(mapped(1));
        drop(entry);
        join(threads);
        assert_eq!(model.check(), [(1, mapped(1), Order::PTE, true)]);
    });
}

/// 4 KiB faults at different pages wait for one 2 MiB entry (23c84eb78375: the key is its start). It is clean,
/// so it gives way to what is written.
#[test]
fn small_faults_wait_for_a_large_entry() {
    explore_long(2, || {
        let model = Model::new();
        let mut entry = grab(&model.mapping, 0, Order::PMD).unwrap();
        let threads = [0, 1, 100].map(|page| {
            spawn(&model, move |m| {
                assert!(m.fault(page, Order::PTE, page == 100))
            })
        });
        entry.set_kind(mapped(0));
        model.hold(&entry);
        drop(entry);
        join(threads);
        assert_eq!(model.check(), [(100, mapped(100), Order::PTE, true)]);
    });
}

/// A 2 MiB fault never waits for a 4 KiB entry: it falls back.
#[test]
fn large_fault_over_small_entries() {
    explore_long(2, || {
        let model = Model::new();
        // Not the first page of the range (0e40de0338d0: the whole range is looked at).
        let entry = grab(&model.mapping, 100, Order::PTE).unwrap();
        // By another thread: one holds one lock at a time.
        join([spawn(&model, |m| assert!(!m.fault(0, Order::PMD, true)))]);
        let threads = [
            spawn(&model, |m| assert!(!m.fault(0, Order::PMD, true))),
            spawn(&model, |m| assert!(m.fault(100, Order::PTE, true))),
            spawn(&model, |m| assert!(m.fault(512, Order::PMD, true))),
        ];
        model.hold(&entry);
        drop(entry);
        join(threads);
        assert_eq!(model.check().len(), 2);
    });
}

/// A task comes back to the entry that it holds, the first of its XArray, without a look-up. What others
/// make, remove and replace beside it does not touch the entry.
#[test]
fn held_while_neighbours_change() {
    explore(|| {
        let model = Model::with_nodes();
        let mut entry = grab(&model.mapping, 0, Order::PTE).unwrap();
        let threads = [
            spawn(&model, |m| {
                assert!(m.touch(600, Order::PTE));
                m.punch(600, 1);
            }),
            spawn(&model, |m| {
                assert!(m.fault(1, Order::PTE, true));
                m.upgrade(1);
            }),
        ];
        entry.set_kind(mapped(0));
        entry.set_dirty();
        model.hold(&entry);
        drop(entry);
        join(threads);
        assert!(model.check().iter().any(|entry| entry.0 == 0 && entry.3));
    });
}

/// The same where the entry is removed at last.
#[test]
fn deleted_while_neighbours_change() {
    explore(|| {
        let model = Model::with_nodes();
        let entry = grab(&model.mapping, 0, Order::PMD).unwrap();
        let threads = [
            spawn(&model, |m| assert!(m.touch(512, Order::PMD))),
            spawn(&model, |m| m.punch(1, 600)),
            spawn(&model, |m| m.sync(0, 1024)),
        ];
        model.hold(&entry);
        entry.delete();
        join(threads);
        assert!(model.check().len() <= 1);
    });
}

/// A 2 MiB and 4 KiB faults race for the same untouched range.
#[test]
fn large_and_small_faults_race() {
    explore(|| {
        let model = Model::new();
        let threads = [
            spawn(&model, |m| assert!(m.fault(100, Order::PTE, true))),
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, true))),
            spawn(&model, |m| {
                m.fault(0, Order::PMD, true);
            }),
        ];
        join(threads);
        let dirty: Vec<_> = model.check().iter().map(|entry| entry.3).collect();
        assert!(matches!(*dirty, [true] | [true, true]), "{dirty:?}");
    });
}

/// 4 KiB writes split a 2 MiB hole while others read it at 2 MiB.
#[test]
fn split_of_a_large_hole() {
    explore(|| {
        let model = Model::new();
        fill_zero(&model.mapping, 0, 512);
        let threads = [
            spawn(&model, |m| assert!(m.fault(100, Order::PTE, true))),
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, true))),
            spawn(&model, |m| {
                m.fault(0, Order::PMD, false);
            }),
        ];
        join(threads);
        // The reader may have made a 2 MiB entry of the media between two splits, for the writers
        // to use. Nothing that was written is clean.
        let dirty = model.check().iter().filter(|entry| entry.3).count();
        assert!((1..=2).contains(&dirty), "{dirty}");
    });
}

/// 4 KiB entries become one of 2 MiB while others fault in it.
#[test]
fn upgrade_under_faults() {
    explore(|| {
        let model = Model::new();
        assert!(model.fault(0, Order::PTE, true));
        assert!(model.fault(100, Order::PTE, false));
        let threads = [
            spawn(&model, |m| assert!(m.fault(0, Order::PTE, false))),
            spawn(&model, |m| assert!(m.fault(0, Order::PTE, false))),
            spawn(&model, |m| {
                m.upgrade(100);
            }),
        ];
        model.upgrade(0);
        join(threads);
        assert!(model.upgrade(1), "nothing is locked now");
        assert_eq!(model.check(), [(0, mapped(0), Order::PMD, true)]);
    });
}

/// The waiters of a 4 KiB entry that an upgrade replaces between the unlock and their waking.
#[test]
fn waiters_of_an_upgraded_entry() {
    explore(|| {
        let model = Model::new();
        let mut entry = grab(&model.mapping, 1, Order::PTE).unwrap();
        entry.set_kind(mapped(1));
        drop(entry);
        let entry = grab(&model.mapping, 1, Order::PTE).unwrap();
        let threads = [
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, true))),
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, false))),
        ];
        drop(entry);
        model.upgrade(1);
        join(threads);
        model.check();
    });
}

/// A punch goes through a range whose entries others hold.
#[test]
fn punch_under_faults() {
    explore_long(2, || {
        let model = Model::new();
        assert!(model.fault(512, Order::PMD, true));
        let threads = [
            spawn(&model, |m| assert!(m.fault(600, Order::PTE, true))),
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, true))),
            spawn(&model, |m| m.punch(0, 1024)),
        ];
        model.punch(1, 600);
        join(threads);
        model.punch(0, 1024);
        assert_eq!(model.check(), []);
    });
}

/// An iteration that was woken for one entry and finds another before it passes the wake-up on
/// (thread 002: "put unlocked").
#[test]
fn an_unused_wake_up_is_passed_on() {
    explore(|| {
        let model = Model::new();
        let entry = grab(&model.mapping, 100, Order::PTE).unwrap();
        let threads = [
            spawn(&model, |m| drop(m.mapping.lock_next(at(0), at(512)))),
            spawn(&model, |m| assert!(m.fault(100, Order::PTE, true))),
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, true))),
        ];
        drop(entry);
        join(threads);
        assert_eq!(model.check().len(), 2);
    });
}

/// Two syncs at once, each after a write of its own: both mean what they say.
#[test]
fn syncs_under_writes() {
    explore(|| {
        let model = Model::new();
        let writes_and_syncs = |page| {
            move |m: &Model| {
                assert!(m.fault(page, Order::PTE, true));
                // Made read-only again by the other: the program's store faults again.
                while !m.store(page) {
                    assert!(m.fault(page, Order::PTE, true));
                }
                m.sync(0, 512);
                assert!(!m.is_unsynced(page), "{page} was missed");
            }
        };
        let threads = [
            spawn(&model, writes_and_syncs(1)),
            spawn(&model, writes_and_syncs(100)),
        ];
        join(threads);
        model.check();
        model.sync(0, 512);
        assert!(model.check().iter().all(|entry| !entry.3));
    });
}

/// A sync by another thread of the program, whose store went through a mapping that a fault has just made:
/// the fault still holds the entry.
#[test]
fn sync_during_a_write_fault() {
    explore(|| {
        let model = Model::new();
        let threads = [
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, true))),
            spawn(&model, |m| {
                while !m.store(1) {
                    thread::yield_now();
                }
                m.sync(1, 2);
                assert!(!m.is_unsynced(1), "1 was missed");
            }),
        ];
        join(threads);
        model.check();
    });
}

/// A sync while 4 KiB entries, some of them dirty, become one of 2 MiB.
#[test]
fn sync_under_an_upgrade() {
    explore(|| {
        let model = Model::new();
        for page in [1, 100] {
            assert!(model.fault(page, Order::PTE, true) && model.store(page));
        }
        let threads = [
            spawn(&model, |m| {
                m.upgrade(0);
            }),
            spawn(&model, |m| {
                m.fault(100, Order::PTE, true);
                m.store(100);
            }),
        ];
        model.sync(0, 512);
        assert!(!model.is_unsynced(1), "1 was missed");
        join(threads);
        model.check();
        model.sync(0, 512);
        assert!(!model.is_unsynced(100), "100 was missed");
    });
}

/// A sync that waits for an entry which is deleted meanwhile, and one that another sync makes clean.
#[test]
fn syncs_and_a_punch() {
    explore(|| {
        let model = Model::new();
        assert!(model.fault(1, Order::PTE, true) && model.store(1));
        assert!(model.fault(600, Order::PTE, true) && model.store(600));
        let threads = [
            spawn(&model, |m| m.sync(0, 1024)),
            spawn(&model, |m| m.sync(0, 1024)),
            spawn(&model, |m| m.punch(1, 1)),
        ];
        join(threads);
        assert_eq!(model.check(), []);
    });
}

/// A fault that takes no lock of an entry, while others make the entry clean.
#[test]
fn syncs_under_a_touch() {
    for order in [Order::PTE, Order::PMD] {
        explore_to(3, move || {
            let model = Model::new();
            assert!(model.fault(1, order, true));
            model.write_protect(at(0), Order::PMD);
            let threads = [
                spawn(&model, move |m| assert!(m.touch(1, order))),
                spawn(&model, |m| m.sync(1, 2)),
                spawn(&model, |m| m.sync(0, 512)),
            ];
            join(threads);
            model.check();
        });
    }
}

/// Where there is no entry yet: with a node of the index at hand, missing, and not known.
fn first_touches() -> [(Order, fn() -> Arc<Model>); 4] {
    [
        (Order::PTE, Model::with_nodes),
        (Order::PMD, Model::with_nodes),
        (Order::PTE, Model::without_nodes),
        (Order::PTE, Model::new),
    ]
}

/// A sync finds what a first touch of another thread has written.
#[test]
fn sync_after_a_first_touch() {
    for (order, new) in first_touches() {
        explore(move || {
            let model = new();
            join([spawn(&model, move |m| assert!(m.touch(1, order)))]);
            assert_eq!(model.mapping.events.get(Event::Create), 1);
            model.sync(0, 512);
            assert!(!model.is_unsynced(1));
            assert!(!model.store(1));
        });
    }
}

/// The same where there is no entry yet.
#[test]
fn syncs_under_a_first_touch() {
    for (order, new) in first_touches() {
        explore(move || {
            let model = new();
            let threads = [
                spawn(&model, move |m| {
                    assert!(m.touch(1, order) || order == Order::PMD)
                }),
                spawn(&model, |m| assert!(m.touch(1, Order::PTE))),
                spawn(&model, |m| m.sync(0, 512)),
            ];
            join(threads);
            // A sync in between takes the first.
            assert!(model.mapping.events.get(Event::Create) <= 2);
            model.check();
        });
    }
}

/// The same while the entry gives way to a larger one, which is made clean.
#[test]
fn upgrade_under_a_touch() {
    explore(|| {
        let model = Model::with_nodes();
        let threads = [
            spawn(&model, |m| assert!(m.touch(1, Order::PTE))),
            spawn(&model, |m| {
                m.upgrade(1);
                m.sync(0, 512);
            }),
        ];
        join(threads);
        model.check();
    });
}

/// What may be mapped, as far as it goes from the first page on; and what is written is dirty.
#[test]
fn settled_pages() {
    explore(|| {
        let model = Model::new();
        join([spawn(&model, |m| m.punch(0, 1))]);
        let from = |pgoff, number, write| {
            let settled = model
                .mapping
                .touch_settled(at(pgoff), pages(number), access(write));
            settled.map_or(0, |(_, pages)| pages.get())
        };
        let settled = |pages, write| from(0, pages, write);
        assert_eq!(
            (settled(4, true), settled(4, false)),
            (0, 4),
            "nothing there"
        );
        for page in [0, 1, 100] {
            assert!(model.fault(page, Order::PTE, true));
        }
        let mut clean = grab(&model.mapping, 2, Order::PTE).unwrap();
        clean.set_kind(mapped(2));
        drop(clean);
        assert_eq!((settled(1, true), settled(2, true)), (1, 2));
        assert_eq!((settled(3, false), settled(512, false)), (3, 512));
        let dirty = |page| model.mapping.peek(at(page), at(page)).unwrap().2;
        assert!(!dirty(2));
        assert_eq!(settled(4, true), 3);
        assert!(dirty(2));
        let held = grab(&model.mapping, 1, Order::PTE).unwrap();
        assert_eq!(
            (settled(4, true), settled(4, false)),
            (1, 1),
            "one is locked"
        );
        assert_eq!(from(1, 1, false), 0);
        drop(held);
        assert!(model.fault(512, Order::PMD, true));
        assert_eq!(from(600, 4, true), 4);
        assert_eq!((from(1022, 4, true), from(1022, 4, false)), (2, 4));
        model.punch(0, 1);
        fill_zero(&model.mapping, 0, 1);
        assert_eq!(settled(1, false), 0, "a hole");
        fill_zero(&model.mapping, 110, 1);
        assert_eq!(from(101, 100, false), 9, "a hole behind what has no entry");
    });
}

/// Where a fault has to take the lock, and that a read leaves no entry.
#[test]
fn no_touch() {
    explore(|| {
        let model = Model::with_nodes();
        join([spawn(&model, |m| m.punch(0, 1))]);
        let touch = |pgoff, order, write| {
            let kind = mapped(pgoff);
            let spare = &mut Spare::new();
            let touched = model
                .mapping
                .touch(at(pgoff), order, kind, access(write), Some(spare));
            touched.is_some()
        };
        assert!(touch(0, Order::PMD, false) && touch(1, Order::PTE, false));
        assert_eq!(model.check(), []);
        assert!(touch(1, Order::PTE, true) && touch(1, Order::PTE, false));
        assert!(
            touch(0, Order::PMD, false),
            "a reader needs none of its own"
        );
        assert!(!touch(0, Order::PMD, true), "there is a smaller one");
        let mut clean = grab(&model.mapping, 1024, Order::PMD).unwrap();
        clean.set_kind(mapped(1024));
        drop(clean);
        assert!(touch(1030, Order::PTE, false));
        assert!(!touch(1030, Order::PTE, true), "a clean one gives way");
        model.punch(1024, 512);
        assert!(touch(512, Order::PMD, true) && touch(600, Order::PTE, true));
        let held = grab(&model.mapping, 600, Order::PTE).unwrap();
        assert!(!touch(600, Order::PTE, false), "it is locked");
        drop(held);
        fill_zero(&model.mapping, 100, 1);
        assert!(!touch(100, Order::PTE, false), "a hole");
        assert!(touch(0, Order::PMD, false), "the media of a hole");
        let expected = [
            (1, mapped(1), Order::PTE, true),
            (100, Kind::Zero, Order::PTE, false),
            (512, mapped(512), Order::PMD, true),
        ];
        assert_eq!(model.check(), expected);
    });
}

/// A write that no sync need find leaves no entry, and goes through no hole.
#[test]
fn untracked_writes() {
    explore(|| {
        let model = Model::with_nodes();
        join([spawn(&model, |m| m.punch(0, 1))]);
        let touch = |pgoff, order| {
            let kind = mapped(pgoff);
            let (access, spare) = (Access::UntrackedWrite, &mut Spare::new());
            let touched = model
                .mapping
                .touch(at(pgoff), order, kind, access, Some(spare));
            touched.is_some()
        };
        let settled = |pgoff, number| {
            let access = Access::UntrackedWrite;
            let settled = model
                .mapping
                .touch_settled(at(pgoff), pages(number), access);
            settled.map_or(0, |(_, pages)| pages.get())
        };
        assert!(touch(0, Order::PMD) && touch(1, Order::PTE));
        assert_eq!(settled(0, 16), 16);
        assert_eq!(model.check(), []);
        fill_zero(&model.mapping, 100, 1);
        assert!(!touch(0, Order::PMD) && !touch(100, Order::PTE));
        assert!(touch(101, Order::PTE));
        assert_eq!((settled(96, 16), settled(100, 16)), (4, 0));
        let held = grab(&model.mapping, 1, Order::PTE).unwrap();
        assert!(!touch(1, Order::PTE), "it is locked");
        drop(held);
    });
}

/// A sync from the beginning finds what is dirty in any of several aligned 1 GiB, and what is behind them.
#[test]
fn sync_of_several_arrays() {
    explore(|| {
        let model = Model::new();
        let pages = [1, 2, 4, 7].map(|part| part * Order::PUD.pages().get() + part);
        join([spawn(&model, move |m| {
            for page in pages {
                assert!(m.fault(page, Order::PTE, true));
            }
        })]);
        model.sync(2, usize::MAX);
        // A search that misses one also misses it here, so count.
        assert_eq!(model.mapping.events.get(Event::Writeback), 4);
        assert_eq!(model.check(), []);
    });
}

/// The first entry of a stripe, while another makes one of 1 GiB over it: at most one of them is
/// there in the end, and nothing that was written is lost.
#[test]
fn whole_and_first_small() {
    type Fault = fn(&Model, usize, Order) -> bool;
    let locked: Fault = |m, page, order| m.fault(page, order, true);
    for (small, whole) in [
        (locked, locked),
        (Model::touch, locked),
        (locked, Model::touch as Fault),
        (Model::touch, Model::touch),
    ] {
        explore(move || {
            let model = Model::with_nodes();
            let threads = [
                spawn(&model, move |m| {
                    assert!(small(m, 1, Order::PTE));
                    while !m.store(1) {
                        assert!(small(m, 1, Order::PTE));
                    }
                }),
                spawn(&model, move |m| {
                    whole(m, 0, Order::PUD);
                }),
            ];
            join(threads);
            assert!(matches!(*model.check(), [_]), "both or neither");
            model.sync(0, usize::MAX);
            assert!(!model.is_unsynced(1), "1 was missed");
        });
    }
}

/// An entry of 1 GiB that gives way to smaller ones, while others fault in it and a sync goes by.
#[test]
fn whole_under_small_writes() {
    explore(|| {
        let model = Model::with_nodes();
        assert!(model.fault(0, Order::PUD, false));
        let threads = [
            spawn(&model, |m| assert!(m.fault(1, Order::PTE, true))),
            spawn(&model, |m| assert!(m.touch(100, Order::PTE))),
            spawn(&model, |m| {
                m.fault(0, Order::PUD, false);
            }),
        ];
        model.sync(0, usize::MAX);
        join(threads);
        model.check();
    });
}

/// A store that got one node of two and was then given up does not keep 1 GiB from being mapped.
#[test]
fn whole_after_a_store_in_vain() {
    explore(|| {
        let model = Model::new();
        let in_vain = spawn(&model, |m| {
            let mut none = Spare::new();
            drop(m.mapping.grab(at(5), Order::PTE, Access::Read, &mut none));
        });
        model.fault(0, Order::PUD, false);
        join([in_vain]);
        assert!(model.fault(0, Order::PUD, false));
    });
}

/// A search clears the bit of a stripe that has nothing, while the first entry comes.
#[test]
fn forgotten_stripe() {
    explore_long(3, || {
        let model = Model::with_nodes();
        assert!(model.fault(1, Order::PTE, true));
        // The stripe is empty now, and its bits are set.
        model.sync(0, 512);
        let threads = [
            spawn(&model, |m| {
                assert!(m.touch(1, Order::PTE));
                while !m.store(1) {
                    assert!(m.touch(1, Order::PTE));
                }
                m.sync(0, usize::MAX);
                assert!(!m.is_unsynced(1), "1 was missed");
            }),
            spawn(&model, |m| m.sync(0, usize::MAX)),
            spawn(&model, |m| {
                drop(m.mapping.lock_next(at(0), PageOffset::MAX));
            }),
        ];
        join(threads);
        model.check();
    });
}

/// Syncs that lock several entries at once, under faults and a punch in these.
#[test]
fn runs_under_writes() {
    explore(|| {
        let model = Model::with_nodes();
        for page in [0, 1] {
            assert!(model.fault(page, Order::PTE, true) && model.store(page));
        }
        let threads = [
            spawn(&model, |m| {
                assert!(m.fault(1, Order::PTE, true));
                while !m.store(1) {
                    assert!(m.fault(1, Order::PTE, true));
                }
                m.sync(1, 2);
                assert!(!m.is_unsynced(1), "1 was missed");
            }),
            spawn(&model, |m| m.punch(0, 1)),
        ];
        model.sync(0, 512);
        assert!(!model.is_unsynced(0), "0 was missed");
        join(threads);
        model.check();
    });
}

/// A run goes up to an entry that is locked, clean, in another 2 MiB, or elsewhere in the media.
#[test]
fn runs() {
    explore(|| {
        let model = Model::with_nodes();
        join([spawn(&model, |m| m.punch(0, 1))]);
        let run_of = |model: &Model| {
            let run = model.mapping.lock_dirty_run(at(0), PageOffset::MAX);
            let run = run.unwrap();
            (run.first().get(), run.pages().get(), run.pfn())
        };
        let run = || run_of(&model);
        for page in [1, 2, 3, 510, 511, 512] {
            assert!(model.fault(page, Order::PTE, true));
        }
        assert_eq!(run(), (1, 3, Some(pfn(PFN + 1))));
        let held = grab(&model.mapping, 2, Order::PTE).unwrap();
        // By another thread: one holds one lock at a time.
        let first = (1, 1, Some(pfn(PFN + 1)));
        join([spawn(&model, move |m| assert_eq!(run_of(m), first))]);
        drop(held);
        model.sync(1, 4);
        assert_eq!(run(), (510, 2, Some(pfn(PFN + 510))));
        let mut elsewhere = grab(&model.mapping, 511, Order::PTE).unwrap();
        elsewhere.set_kind(Kind::Mapped { pfn: pfn(7) });
        drop(elsewhere);
        assert_eq!(run(), (510, 1, Some(pfn(PFN + 510))));
        let mapped = Kind::Mapped {
            pfn: pfn(PFN + 513),
        };
        let mut clean = grab(&model.mapping, 513, Order::PTE).unwrap();
        clean.set_kind(mapped);
        drop(clean);
        let last = model.mapping.lock_dirty_run(at(512), PageOffset::MAX);
        assert_eq!(last.unwrap().pages(), pages(1));
        // Dropping a run has cleaned nothing.
        assert_eq!(model.mapping.events.get(Event::Writeback), 3);
        model
            .mapping
            .lock_dirty_run(at(511), at(512))
            .unwrap()
            .clean();
        model.sync(0, usize::MAX);
        assert_eq!(model.check(), [(513, mapped, Order::PTE, false)]);
    });
}

/// A sync beside a 1 GiB read fault that makes its entry, and removes it because of a smaller one:
/// the entry that is there for a moment hides none.
#[test]
fn sync_beside_a_whole_in_vain() {
    explore(|| {
        let model = Model::with_nodes();
        assert!(model.fault(1, Order::PTE, true) && model.store(1));
        let threads = [spawn(&model, |m| {
            m.fault(0, Order::PUD, false);
        })];
        model.sync(0, 512);
        assert!(!model.is_unsynced(1), "1 was missed");
        join(threads);
        model.check();
    });
}
