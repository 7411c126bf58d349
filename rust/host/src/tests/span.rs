// SPDX-License-Identifier: GPL-2.0

use super::{at, byte, page, pages, pfn, LEAVES};
use crate::dax::layout::extents::Run;
use crate::dax::layout::span::{best_order, leaf_fits, Misfit, Span};
use crate::kernel_ext::units::{Order, PAGE_SHIFT};

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

fn start(range: &Span) -> u64 {
    range.first().address()
}

#[test]
fn whole_pages_of_the_alignment() {
    let range = Span::new(5 * G, 3 * M + 4 * K, Order::PMD).unwrap();
    assert_eq!((start(&range), range.size()), (5 * G, 2 * M));
    let range = Span::new(5 * G + 4 * K, 3 * M + 4 * K + 7, Order::PTE).unwrap();
    assert_eq!(
        (start(&range), range.size()),
        (5 * G + 4 * K, 3 * M + 4 * K)
    );
}

#[test]
fn refuses_what_can_be_no_device() {
    for order in LEAVES {
        let bytes = order.bytes() as u64;
        assert_eq!(Span::new(0, bytes - 1, order), Err(Misfit::Small));
        assert_eq!(Span::new(0, 0, order), Err(Misfit::Small));
        assert_eq!(Span::new(bytes / 2, bytes, order), Err(Misfit::Unaligned));
        assert_eq!(Span::new(G, u64::MAX, order), Err(Misfit::Unaligned));
        assert!(Span::new(bytes, bytes, order).is_ok());
        // The last that there can be.
        assert!(Span::new(u64::MAX - (bytes - 1), bytes, order).is_ok());
    }
}

#[test]
fn offsets_of_frames() {
    let range = Span::new(G, 4 * M, Order::PTE).unwrap();
    let (first, last) = (1 << 18, (1 << 18) + 1023);
    assert_eq!((range.first(), range.pages()), (pfn(first), pages(1024)));
    let offset_of = |frame| range.offset_of(pfn(frame));
    assert_eq!(offset_of(first), Some(byte(0)));
    assert_eq!(offset_of(last), Some(byte(4 * M - 4 * K)));
    assert_eq!(offset_of(first - 1), None);
    assert_eq!(offset_of(last + 1), None);
    assert_eq!(offset_of(usize::MAX), None);
}

#[test]
fn runs_of_bytes() {
    let run = |first, number| {
        Some(Run {
            first: page(first),
            pages: pages(number),
        })
    };
    let range = Span::new(G, 8 * M, Order::PTE).unwrap();
    let end = 8 * M;
    for (offset, len, found) in [
        (0, end, run(0, 2048)),
        (0, 4 * K, run(0, 1)),
        (4 * K, 12 * K, run(1, 3)),
        (end - 4 * K, 4 * K, run(2047, 1)),
        (0, 0, None),
        (end, 0, None),
        (0, 1, None),
        (1, 4 * K, None),
        (4 * K, 4 * K + 1, None),
        (4 * K - 1, 4 * K + 1, None),
        (0, end + 4 * K, None),
        (4 * K, end, None),
        (end, 4 * K, None),
        (end + 4 * K, 4 * K, None),
        (4 * K, u64::MAX - 4 * K + 1, None),
        (u64::MAX - 4 * K + 1, 4 * K, None),
        (u64::MAX - 4 * K + 1, 8 * K, None),
        (u64::MAX, u64::MAX, None),
    ] {
        assert_eq!(
            range.run(byte(offset), len, Order::PTE),
            found,
            "{offset} {len}"
        );
    }
    for (offset, len, found) in [
        (0, 2 * M, run(0, 512)),
        (2 * M, 6 * M, run(512, 1536)),
        (0, 2 * M + 4 * K, None),
        (4 * K, 2 * M, None),
        (0, 4 * K, None),
    ] {
        assert_eq!(
            range.run(byte(offset), len, Order::PMD),
            found,
            "{offset} {len}"
        );
    }
    assert_eq!(range.run(byte(0), 8 * M, Order::PUD), None);
    // What must be aligned is the address: the offset is not, in a region that begins between.
    let range = Span::new(G + 2 * M - 8 * K, 8 * M, Order::PTE).unwrap();
    assert_eq!(range.run(byte(8 * K), 2 * M, Order::PMD), run(2, 512));
    assert_eq!(range.run(byte(0), 2 * M, Order::PMD), None);
    assert_eq!(range.run(byte(2 * M), 2 * M, Order::PMD), None);
}

#[test]
fn leaves_in_a_vma() {
    let m = M as usize;
    let vma = (64 * m, 68 * m);
    for address in [64 * m, 66 * m - 4096] {
        let pgoff = at((address - 64 * m) >> PAGE_SHIFT);
        assert!(leaf_fits(Order::PMD, address, pgoff, vma));
        // Address and offset do not reach a boundary together.
        assert!(!leaf_fits(Order::PMD, address, pgoff + pages(1), vma));
        assert!(!leaf_fits(Order::PMD, address, pgoff + pages(256), vma));
        assert!(leaf_fits(Order::PMD, address, pgoff + pages(512), vma));
        assert!(!leaf_fits(Order::PUD, address, pgoff, vma));
    }
    // The VMA begins or ends inside of the leaf.
    assert!(!leaf_fits(
        Order::PMD,
        65 * m,
        at(256),
        (64 * m + 4096, 68 * m)
    ));
    assert!(!leaf_fits(
        Order::PMD,
        65 * m,
        at(256),
        (64 * m, 66 * m - 4096)
    ));
    assert!(leaf_fits(Order::PMD, 65 * m, at(256), (64 * m, 66 * m)));
    // At the very end of the address space.
    let last = usize::MAX - 4095;
    assert!(!leaf_fits(
        Order::PUD,
        last,
        at(last >> PAGE_SHIFT),
        (0, last)
    ));
}

#[test]
fn best_order_of_a_mapping() {
    let (m, g) = (M as usize, G as usize);
    let page = |bytes: usize| at(bytes >> PAGE_SHIFT);
    for (offset, len, order) in [
        (0, 4096, Order::PTE),
        (0, 2 * m - 4096, Order::PTE),
        (0, 2 * m, Order::PMD),
        (4096, 2 * m, Order::PTE),
        (4096, 4 * m - 4096, Order::PMD),
        (0, g - 4096, Order::PMD),
        (0, g, Order::PUD),
        (2 * m, g, Order::PMD),
        (2 * m, 2 * g, Order::PUD),
    ] {
        assert_eq!(
            best_order(page(offset), len, Order::PTE),
            order,
            "{offset:#x} {len:#x}"
        );
        assert_eq!(best_order(page(offset), len, Order::PUD), Order::PUD);
    }
    assert_eq!(
        best_order(at(usize::MAX), usize::MAX, Order::PMD),
        Order::PMD
    );
}
