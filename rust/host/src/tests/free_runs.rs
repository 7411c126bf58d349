// SPDX-License-Identifier: GPL-2.0

use super::{at, page, pages, pfn};
use crate::dax::layout::extents::Run;
use crate::dax::layout::free_runs::FreeRuns;
use crate::kernel_ext::units::Order;
use kernel::prelude::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const BASE: usize = 3 << 18;

/// The free pages of a region of `number` pages, from the page frame `base`.
fn space(base: usize, number: usize) -> FreeRuns {
    FreeRuns::new(pfn(base), pages(number)).unwrap()
}

fn run(first: usize, number: usize) -> Run {
    Run {
        first: page(first),
        pages: pages(number),
    }
}

fn take_all(
    space: &mut FreeRuns,
    number: usize,
    align: Order,
    pgoff: usize,
    near: Option<usize>,
) -> Result<Vec<(usize, usize)>> {
    let runs = space.take_all(pages(number), align, at(pgoff), near.map(page))?;
    let run = |run: &Run| (run.first.get(), run.pages.get());
    Ok(runs.iter().map(run).collect())
}

#[test]
fn all_of_it_and_back() {
    let mut space = space(BASE, 1000);
    assert_eq!(
        take_all(&mut space, 1000, Order::PTE, 0, None),
        Ok(vec![(0, 1000)])
    );
    assert_eq!(space.available().get(), 0);
    assert_eq!(
        take_all(&mut space, 1, Order::PTE, 0, None).err(),
        Some(ENOSPC)
    );
    assert_eq!(take_all(&mut space, 0, Order::PTE, 0, None), Ok(vec![]));
    space.promise(2).unwrap();
    space.give(run(500, 500));
    space.give(run(0, 500));
    assert_eq!(
        take_all(&mut space, 1000, Order::PTE, 0, None),
        Ok(vec![(0, 1000)])
    );
}

#[test]
fn grows_where_it_ends_first() {
    let mut space = space(BASE, 100);
    take_all(&mut space, 10, Order::PTE, 0, None).unwrap();
    take_all(&mut space, 20, Order::PTE, 0, None).unwrap();
    // Device 1 is 0..10, device 2 is 10..30.
    assert_eq!(
        take_all(&mut space, 5, Order::PTE, 20, Some(30)),
        Ok(vec![(30, 5)])
    );
    assert_eq!(
        take_all(&mut space, 5, Order::PTE, 10, Some(10)),
        Ok(vec![(35, 5)])
    );
    space.promise(1).unwrap();
    space.give(run(10, 25));
    assert_eq!(
        take_all(&mut space, 5, Order::PTE, 10, Some(10)),
        Ok(vec![(10, 5)])
    );
}

#[test]
fn in_pieces_when_it_must() {
    let mut space = space(BASE, 100);
    take_all(&mut space, 100, Order::PTE, 0, None).unwrap();
    space.promise(3).unwrap();
    for (first, pages) in [(10, 5), (20, 30), (90, 10)] {
        space.give(run(first, pages));
    }
    assert_eq!(
        take_all(&mut space, 8, Order::PTE, 0, None),
        Ok(vec![(20, 8)])
    );
    assert_eq!(
        take_all(&mut space, 30, Order::PTE, 0, None),
        Ok(vec![(28, 22), (90, 8)])
    );
    assert_eq!(space.available().get(), 7);
    // Not so many: nothing is taken.
    assert_eq!(
        take_all(&mut space, 8, Order::PTE, 0, None).err(),
        Some(ENOSPC)
    );
    assert_eq!(space.available().get(), 7);
    assert_eq!(
        take_all(&mut space, 7, Order::PTE, 0, None),
        Ok(vec![(10, 5), (98, 2)])
    );
}

#[test]
fn keeps_to_the_alignment() {
    let mut space = space(BASE + 1, 2048);
    // The first aligned frame is the region's page 511.
    assert_eq!(
        take_all(&mut space, 1024, Order::PMD, 0, None),
        Ok(vec![(511, 1024)])
    );
    assert_eq!(
        take_all(&mut space, 512, Order::PMD, 1024, Some(1535)),
        Ok(vec![(1535, 512)])
    );
    assert_eq!(
        take_all(&mut space, 512, Order::PMD, 0, None).err(),
        Some(ENOSPC)
    );
    assert_eq!(
        take_all(&mut space, 511, Order::PTE, 0, None),
        Ok(vec![(0, 511)])
    );
}

#[test]
fn chooses_what_2_mib_pages_fit() {
    let mut space = space(BASE, 4096);
    take_all(&mut space, 100, Order::PTE, 0, None).unwrap();
    // Page offset 0 is that of a frame aligned to 2 MiB, though the page behind the first is free.
    assert_eq!(
        take_all(&mut space, 1024, Order::PTE, 0, None),
        Ok(vec![(512, 1024)])
    );
    // Unless it would not fit otherwise.
    assert_eq!(
        take_all(&mut space, 2560, Order::PTE, 0, None),
        Ok(vec![(1536, 2560)])
    );
    assert_eq!(
        take_all(&mut space, 412, Order::PTE, 0, None),
        Ok(vec![(100, 412)])
    );
}

#[test]
fn chooses_what_one_2_mib_page_fits() {
    let mut space = space(BASE, 4096);
    take_all(&mut space, 100, Order::PTE, 0, None).unwrap();
    assert_eq!(
        take_all(&mut space, 512, Order::PTE, 0, None),
        Ok(vec![(512, 512)])
    );
    // What has no room for one may begin anywhere.
    assert_eq!(
        take_all(&mut space, 411, Order::PTE, 0, None),
        Ok(vec![(100, 411)])
    );
}

#[test]
fn exactly_what_is_asked_for() {
    let mut space = space(BASE, 100);
    let take =
        |space: &mut FreeRuns, first, pages| space.take_run(run(first, pages)).map_err(|e| e.0);
    // In the middle, at the begin and at the end of what is free.
    for (first, pages) in [(40, 20), (0, 10), (90, 10)] {
        assert_eq!(take(&mut space, first, pages), Ok(()));
    }
    // Free: 10..40 and 60..90. Not what is taken, in part or all of it, nor what is across it.
    for (first, pages) in [
        (40, 20),
        (45, 1),
        (9, 2),
        (39, 2),
        (39, 22),
        (59, 2),
        (89, 2),
        (10, 31),
        (10, 80),
        (0, 100),
        (99, 1),
        (100, 1),
        (90, 20),
        (10, usize::MAX),
        (usize::MAX, 1),
        (usize::MAX, usize::MAX),
    ] {
        assert_eq!(
            take(&mut space, first, pages),
            Err(EBUSY.0),
            "{first} {pages}"
        );
    }
    assert_eq!(space.available().get(), 60);
    assert_eq!(take(&mut space, 10, 30), Ok(()));
    assert_eq!(take(&mut space, 61, 1), Ok(()));
    assert_eq!(
        take_all(&mut space, 28, Order::PTE, 0, None),
        Ok(vec![(62, 28)])
    );
    assert_eq!(
        take_all(&mut space, 1, Order::PTE, 0, None),
        Ok(vec![(60, 1)])
    );
    assert_eq!(space.available().get(), 0);
    assert_eq!(take(&mut space, 0, 1), Err(EBUSY.0));
}

/// What could not be used in the end is given back without a promise, and joins what it was taken from.
#[test]
fn a_run_goes_back() {
    for (first, pages) in [(0, 1), (50, 10), (99, 1), (0, 100)] {
        let mut space = space(BASE, 100);
        let run = run(first, pages);
        space.take_run(run).unwrap();
        assert_eq!(space.available().get(), 100 - pages);
        space.give_back(&[run]);
        assert_eq!(
            take_all(&mut space, 100, Order::PTE, 0, None),
            Ok(vec![(0, 100)])
        );
    }
}

#[derive(Clone, Debug)]
enum Op {
    Take(usize, u32, bool),
    /// Takes exactly these.
    Exactly(usize, usize),
    /// Gives back the last pages of a device.
    Give(usize, usize),
}

proptest! {
    /// No page belongs to two, and none is lost.
    #[test]
    fn pages_are_kept(ops in prop::collection::vec(prop_oneof![
        (1..900usize, prop_oneof![Just(0u32), Just(9)], any::<bool>())
            .prop_map(|(pages, order, near)| Op::Take(pages, order, near)),
        (0..6100usize, 1..900usize).prop_map(|(first, pages)| Op::Exactly(first, pages)),
        (any::<usize>(), 1..900usize).prop_map(|(device, pages)| Op::Give(device, pages)),
    ], 1..60)) {
        const PAGES: usize = 6000;
        let mut space = space(BASE, PAGES);
        let mut devices: Vec<Vec<usize>> = Vec::new();
        for op in ops {
            match op {
                Op::Take(pages, order, near) => {
                    let order = Order::new(order).unwrap();
                    let pages = pages.next_multiple_of(order.pages().get());
                    let before = space.available().get();
                    let last = devices.last().and_then(|pages| pages.last()).map(|page| page + 1);
                    let last = last.filter(|_| near && order == Order::PTE);
                    match take_all(&mut space, pages, order, 0, last) {
                        Ok(runs) => {
                            let taken: Vec<_> = runs.iter()
                                .flat_map(|&(first, pages)| first..first + pages).collect();
                            prop_assert_eq!(taken.len(), pages);
                            for (first, pages) in runs {
                                prop_assert!(pfn(BASE + first).is_aligned(order));
                                prop_assert!(self::pages(pages).is_aligned(order));
                            }
                            devices.push(taken);
                        }
                        Err(error) => {
                            prop_assert_eq!(error, ENOSPC);
                            prop_assert_eq!(space.available().get(), before);
                            prop_assert!(order != Order::PTE || before < pages);
                        }
                    }
                }
                Op::Exactly(first, pages) => {
                    let wanted = first..first + pages;
                    let free = wanted.end <= PAGES
                        && !devices.iter().flatten().any(|page| wanted.contains(page));
                    let before = space.available().get();
                    match space.take_run(run(first, pages)) {
                        Ok(()) => {
                            prop_assert!(free);
                            devices.push(wanted.collect());
                        }
                        Err(error) => {
                            prop_assert_eq!(error, EBUSY);
                            prop_assert!(!free);
                            prop_assert_eq!(space.available().get(), before);
                        }
                    }
                }
                Op::Give(device, pages) if !devices.is_empty() => {
                    let index = device % devices.len();
                    let device = &mut devices[index];
                    let tail = device.split_off(device.len().saturating_sub(pages));
                    space.promise(tail.len()).unwrap();
                    for page in tail {
                        space.give(run(page, 1));
                    }
                }
                Op::Give(..) => (),
            }
            let taken: Vec<_> = devices.iter().flatten().collect();
            let different: BTreeSet<_> = taken.iter().collect();
            prop_assert_eq!(taken.len(), different.len());
            prop_assert_eq!(space.available().get() + taken.len(), PAGES);
        }
    }
}
