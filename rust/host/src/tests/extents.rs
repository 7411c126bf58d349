// SPDX-License-Identifier: GPL-2.0

use super::{at, byte, page, pages, pfn, LEAVES};
use crate::dax::layout::extents::{Extents, Run};
use crate::kernel_ext::units::{DeviceOffset, Order, Pfn};
use kernel::alloc::allocations;
use proptest::prelude::*;

/// The page frame of the region's first page: aligned to 1 GiB.
const BASE: usize = 5 << 18;
const K: u64 = 1 << 10;

fn extents(runs: &[(usize, usize)]) -> Extents {
    let mut extents = Extents::new(pfn(BASE));
    for &(first, pages) in runs {
        extents.push(run(first, pages)).unwrap();
    }
    extents
}

fn run(first: usize, number: usize) -> Run {
    Run {
        first: page(first),
        pages: pages(number),
    }
}

/// The page frame of a page of the region.
fn frame(page: usize) -> Pfn {
    pfn(BASE + page)
}

fn device(offset: u64) -> DeviceOffset {
    DeviceOffset::new(offset)
}

/// Three extents, the second of which lies before the first in the region, and is not congruent.
fn three() -> Extents {
    extents(&[(1024, 512), (7, 3), (2048, 1024)])
}

#[test]
fn none_at_first() {
    let none = extents(&[]);
    assert_eq!((none.end(), none.size()), (at(0), 0));
    assert_eq!(none.pfn(at(0), Order::PTE), None);
    assert_eq!(none.locate(device(0), 1), None);
    assert!(none.contains(at(0), pages(0)) && !none.contains(at(0), pages(1)));
    assert!(!none.contains(at(usize::MAX), pages(1)));
    assert!(none.is_aligned(Order::PUD));
}

#[test]
fn copies_need_no_more_than_their_room() {
    let (three, one) = (three(), extents(&[(9, 9)]));
    let mut copy = Extents::with_room(pfn(BASE), 3).unwrap();
    assert_eq!(copy.end(), at(0));
    let before = allocations();
    copy.copy_from(&three).unwrap();
    assert_eq!(allocations(), before);
    assert_eq!(copy.as_slice(), three.as_slice());
    // In place of what it had.
    copy.copy_from(&one).unwrap();
    assert_eq!(copy.as_slice(), one.as_slice());
    copy.push(run(18, 1)).unwrap();
    assert_eq!(copy.end(), at(10));
    assert_eq!(one.end(), at(9));
    copy.copy_from(&three).unwrap();
    assert_eq!(copy.as_slice(), three.as_slice());
    assert_eq!(copy.start(), three.start());
}

#[test]
fn frames_in_any_order() {
    let extents = three();
    assert_eq!(extents.end(), at(512 + 3 + 1024));
    assert_eq!(extents.pfn(at(0), Order::PTE), Some(frame(1024)));
    assert_eq!(extents.pfn(at(511), Order::PTE), Some(frame(1535)));
    assert_eq!(extents.pfn(at(512), Order::PTE), Some(frame(7)));
    assert_eq!(extents.pfn(at(514), Order::PTE), Some(frame(9)));
    assert_eq!(extents.pfn(at(515), Order::PTE), Some(frame(2048)));
    assert_eq!(extents.pfn(at(1538), Order::PTE), Some(frame(3071)));
    assert_eq!(extents.pfn(at(1539), Order::PTE), None);
    assert_eq!(extents.pfn(at(usize::MAX), Order::PTE), None);
}

#[test]
fn large_leaves_inside_of_one_congruent_extent_only() {
    let extents = three();
    assert_eq!(extents.pfn(at(100), Order::PMD), Some(frame(1024)));
    // Part of it lies in another extent; that extent is not congruent; the end.
    for page in [512, 600, 1023, 1024, 1500] {
        assert_eq!(extents.pfn(at(page), Order::PMD), None, "{page}");
    }
    let extents = self::extents(&[(1024, 512), (4096, 1024)]);
    assert_eq!(extents.pfn(at(1000), Order::PMD), Some(frame(4096)));
    assert_eq!(extents.pfn(at(0), Order::PUD), None);
    // It begins in the extent, and ends behind it.
    let extents = self::extents(&[(4096, 700)]);
    assert_eq!(extents.pfn(at(500), Order::PMD), Some(frame(4096)));
    assert_eq!(extents.pfn(at(600), Order::PMD), None);
}

#[test]
fn neighbours_are_one_extent() {
    let extents = extents(&[(0, 10), (10, 5), (20, 1)]);
    let list: Vec<_> = extents
        .as_slice()
        .iter()
        .map(|e| (e.pgoff.get(), e.first.get(), e.pages.get()))
        .collect();
    assert_eq!(list, [(0, 0, 15), (15, 20, 1)]);
}

#[test]
fn bytes_of_the_region() {
    let extents = three();
    assert_eq!(
        extents.locate(device(5), 10),
        Some((byte(4096 * K + 5), 10))
    );
    // Up to the end of the extent.
    assert_eq!(
        extents.locate(device(2048 * K - 1), 10),
        Some((byte(6144 * K - 1), 1))
    );
    assert_eq!(
        extents.locate(device(2048 * K), usize::MAX),
        Some((byte(28 * K), 12288))
    );
    assert_eq!(
        extents.locate(device(extents.size() - 1), 1),
        Some((byte(3072 * 4 * K - 1), 1))
    );
    assert_eq!(extents.locate(device(extents.size()), 1), None);
    assert_eq!(extents.locate(device(u64::MAX), 1), None);
}

#[test]
fn the_tail_is_what_a_cut_takes_away() {
    let mut extents = three();
    let tail = |extents: &Extents, end| {
        extents
            .tail(at(end))
            .map(|run| (run.first.get(), run.pages.get()))
            .collect::<Vec<_>>()
    };
    assert_eq!(tail(&extents, 1539), []);
    assert_eq!(tail(&extents, 513), [(8, 2), (2048, 1024)]);
    assert_eq!(tail(&extents, 0), [(1024, 512), (7, 3), (2048, 1024)]);
    extents.truncate(at(513));
    assert_eq!(extents.end(), at(513));
    assert_eq!(extents.pfn(at(512), Order::PTE), Some(frame(7)));
    assert_eq!(extents.pfn(at(513), Order::PTE), None);
    extents.truncate(at(512));
    assert_eq!(extents.as_slice().len(), 1);
    extents.truncate(at(0));
    assert_eq!(extents.end(), at(0));
}

#[test]
fn alignment_is_that_of_all_extents() {
    assert!(!three().is_aligned(Order::PMD));
    assert!(extents(&[(1024, 512), (4096, 1024)]).is_aligned(Order::PMD));
    assert!(!extents(&[(1024, 512), (4096, 1024)]).is_aligned(Order::PUD));
    assert!(!extents(&[(1024, 512), (4096, 1000)]).is_aligned(Order::PMD));
    assert!(extents(&[(1 << 18, 1 << 18)]).is_aligned(Order::PUD));
}

proptest! {
    /// Each page of a device is where a plain list of pages says, by every way to ask.
    #[test]
    fn agree_with_a_list(
        runs in prop::collection::vec((0..3000usize, 1..700usize), 1..6),
        cut in 0..3000usize,
    ) {
        let mut extents = extents(&runs);
        let mut pages: Vec<_> = runs.iter().flat_map(|&(first, n)| first..first + n).collect();
        let tail = extents.tail(at(cut));
        let tail: Vec<_> = tail.flat_map(|run| run.first.get()..run.behind().get()).collect();
        prop_assert_eq!(tail, pages.get(cut..).unwrap_or(&[]));
        extents.truncate(at(cut));
        pages.truncate(cut);
        prop_assert_eq!(extents.end(), at(pages.len()));
        for pgoff in 0..pages.len() + 1 {
            let page = pages.get(pgoff);
            prop_assert_eq!(extents.pfn(at(pgoff), Order::PTE), page.map(|&page| frame(page)));
            let found = extents.locate(device((pgoff * 4096 + 5) as u64), 9000);
            let expected = page.map(|page| byte((page * 4096 + 5) as u64));
            prop_assert_eq!(found.map(|found| found.0), expected);
            for order in LEAVES {
                if let Some(pfn) = extents.pfn(at(pgoff), order) {
                    let (start, len) = (at(pgoff).align_down(order).get(), order.pages().get());
                    let first = pfn.get() - BASE;
                    let all: Vec<_> = (first..first + len).collect();
                    prop_assert!(pfn.is_aligned(order));
                    prop_assert_eq!(&pages[start..start + len], &all[..]);
                }
            }
        }
        for extent in extents.as_slice() {
            let bytes = extents.bytes_behind(extent, device(0)).unwrap();
            prop_assert_eq!(bytes.end - bytes.start, extent.pages.get() as u64 * 4096);
            let device = extents.device_bytes(extent, bytes);
            prop_assert_eq!(device.start.get(), extent.pgoff.get() as u64 * 4096);
            prop_assert_eq!(extents.bytes_behind(extent, device.end), None);
            let behind = extents.bytes_behind(extent, device.start + 100).unwrap();
            prop_assert_eq!(extents.device_bytes(extent, behind).start, device.start + 100);
            let (first, last) = extents.frames(extent);
            prop_assert_eq!((last - first).get() + 1, extent.pages.get());
            prop_assert_eq!(extents.offset_of(first).get(), extent.first.get() as u64 * 4096);
        }
    }
}

#[test]
fn page_offsets_of_frames() {
    let extents = three();
    assert_eq!(extents.pgoff(frame(1024)), Some(at(0)));
    assert_eq!(extents.pgoff(frame(9)), Some(at(514)));
    assert_eq!(extents.pgoff(frame(3071)), Some(at(1538)));
    for frame in [0, BASE, BASE + 10, BASE + 3072, usize::MAX] {
        assert_eq!(extents.pgoff(pfn(frame)), None);
    }
    assert_eq!(extents.start(), Some((BASE as u64 + 1024) * 4096));
}
