// SPDX-License-Identifier: GPL-2.0

use super::{at, byte, orders, page, pages, pfn, LEAVES};
use crate::kernel_ext::units::{
    DeviceOffset,
    Order,
    PageOffset,
    Pages,
    Pfn,
    RegionOffset,
    RegionPage,
    PAGE_SIZE, //
};
use proptest::prelude::*;
use std::any::TypeId;
use std::marker::PhantomData;
use std::ops::{Add, Deref, Sub};
use std::panic::catch_unwind;

/// Whether a type implements a trait.
macro_rules! implements {
    ($type:ty: $bound:path) => {{
        trait Otherwise {
            const IMPLEMENTS: bool = false;
        }
        struct Probe<T>(PhantomData<T>);
        impl<T> Otherwise for Probe<T> {}
        impl<T: $bound> Probe<T> {
            // Preferred to that of the trait, where the bound holds.
            const IMPLEMENTS: bool = true;
        }
        Probe::<$type>::IMPLEMENTS
    }};
}

/// No unit is taken for another one, or for an integer.
#[test]
fn units_cannot_be_swapped() {
    let types = [
        TypeId::of::<Pages>(),
        TypeId::of::<PageOffset>(),
        TypeId::of::<RegionPage>(),
        TypeId::of::<Pfn>(),
        TypeId::of::<DeviceOffset>(),
        TypeId::of::<RegionOffset>(),
        TypeId::of::<usize>(),
        TypeId::of::<u64>(),
    ];
    let different: std::collections::HashSet<_> = types.iter().collect();
    assert_eq!(different.len(), types.len());

    macro_rules! check_page {
        ($page:ty, $($other:ty),*) => {
            assert!(implements!($page: Add<Pages>) && implements!($page: Sub<$page>));
            assert!(!implements!($page: Add<$page>) && !implements!($page: Add<usize>));
            assert!(!implements!($page: From<usize>) && !implements!($page: Deref));
            $(
                assert!(!implements!($page: Sub<$other>) && !implements!($page: From<$other>));
                assert!(!implements!($page: PartialEq<$other>));
            )*
        };
    }
    check_page!(PageOffset, RegionPage, Pfn, usize);
    check_page!(RegionPage, PageOffset, Pfn, usize);
    check_page!(Pfn, PageOffset, RegionPage, usize);

    macro_rules! check_byte {
        ($byte:ty, $($other:ty),*) => {
            assert!(implements!($byte: Add<u64>) && implements!($byte: Sub<$byte>));
            assert!(!implements!($byte: Add<$byte>) && !implements!($byte: Add<Pages>));
            assert!(!implements!($byte: From<u64>) && !implements!($byte: Deref));
            $(
                assert!(!implements!($byte: Sub<$other>) && !implements!($byte: From<$other>));
                assert!(!implements!($byte: PartialEq<$other>));
            )*
        };
    }
    check_byte!(DeviceOffset, RegionOffset, u64);
    check_byte!(RegionOffset, DeviceOffset, u64);

    assert!(implements!(Pages: Add<Pages>) && implements!(Pages: Sub<Pages>));
    assert!(!implements!(Pages: Add<usize>) && !implements!(Pages: Add<PageOffset>));
    assert!(!implements!(Pages: From<usize>) && !implements!(Pages: Deref));
}

#[test]
fn sizes() {
    let bytes: Vec<_> = LEAVES.iter().map(|order| order.bytes()).collect();
    assert_eq!(bytes, [4 << 10, 2 << 20, 1 << 30]);
    let pages: Vec<_> = LEAVES.iter().map(|order| order.pages().get()).collect();
    assert_eq!(pages, [1, 512, 512 * 512]);
}

#[test]
fn only_leaves_and_runs_below_a_pmd() {
    for number in 0..64 {
        let order = Order::new(number);
        assert_eq!(order.is_some(), number <= 9 || number == 18, "{number}");
        assert_eq!(order.map_or(number, Order::get), number);
    }
    for bytes in [
        0,
        1,
        4095,
        8192,
        (2 << 20) + 1,
        512 << 20,
        2 << 30,
        u64::MAX,
    ] {
        assert_eq!(Order::from_bytes(bytes), None, "{bytes}");
    }
    for order in LEAVES {
        assert_eq!(Order::from_bytes(order.bytes() as u64), Some(order));
    }
}

#[test]
fn alignment() {
    for order in orders() {
        let len = order.pages().get();
        for run in [0, 1, 7, usize::MAX / len - 1] {
            let first = run * len;
            let last = first + len - 1;
            assert!(at(first).is_aligned(order));
            assert_eq!(at(first).align_down(order), at(first));
            assert_eq!(at(last).align_down(order), at(first));
            assert_eq!(at(last).is_aligned(order), len == 1);
            // The same of numbers of pages, and of frames.
            assert!(pages(first).is_aligned(order) && pfn(first).is_aligned(order));
            assert_eq!(pages(last).align_down(order), pages(first));
            assert_eq!(pages(last).is_aligned(order), len == 1);
            assert_eq!(pfn(last).is_aligned(order), len == 1);
        }
    }
}

#[test]
fn alignment_upwards() {
    for order in orders() {
        let len = order.pages().get();
        assert_eq!(at(0).align_up(order), Some(at(0)));
        assert_eq!(at(1).align_up(order), Some(at(len)));
        for run in [1, 7, usize::MAX / len] {
            let first = run * len;
            assert_eq!(at(first).align_up(order), Some(at(first)));
            assert_eq!(at(first - len + 1).align_up(order), Some(at(first)));
        }
        // No run begins at or after the last page, unless it is one page.
        let last = PageOffset::MAX.align_up(order);
        assert_eq!(last, (len == 1).then_some(PageOffset::MAX));
    }
}

#[test]
fn largest_order_of_nothing() {
    assert_eq!(Order::largest(at(0), Pages::ZERO), None);
    assert_eq!(Order::largest(at(0), Pages::ONE), Some(Order::PTE));
    assert_eq!(Order::largest(at(0), pages(usize::MAX)), Some(Order::PMD));
}

#[test]
fn order_divides_addresses() {
    for order in orders() {
        let bytes = order.bytes();
        assert!(order.divides(0) && order.divides(bytes) && order.divides(5 * bytes));
        for address in [1, bytes - 1, bytes + 1, bytes + bytes / 2, usize::MAX] {
            assert!(!order.divides(address), "{order:?} {address:#x}");
        }
    }
}

#[test]
fn numbers_of_pages() {
    let mut number = pages(5) + Pages::ONE;
    assert_eq!(number, pages(6));
    number += pages(4);
    number -= pages(3);
    assert_eq!(number, pages(7));
    assert_eq!(number - pages(7), Pages::ZERO);
    assert!(Pages::ZERO.is_zero() && !Pages::ONE.is_zero());
    assert_eq!(pages(5).checked_sub(pages(5)), Some(Pages::ZERO));
    assert_eq!(pages(5).checked_sub(pages(6)), None);
    let all = [pages(1), pages(20), pages(300)];
    assert_eq!(all.into_iter().sum::<Pages>(), pages(321));
    assert_eq!(core::iter::empty::<Pages>().sum::<Pages>(), Pages::ZERO);
}

#[test]
fn bytes_and_pages() {
    assert_eq!(pages(3).bytes(), 3 * PAGE_SIZE);
    for (bytes, whole) in [(0, 0), (4095, 0), (4096, 1), (8191, 1), (8192, 2)] {
        assert_eq!(Pages::in_bytes(bytes), pages(whole), "{bytes}");
    }
    assert_eq!(Pages::in_bytes(u64::MAX), pages((1 << 52) - 1));
    // More than 4 GiB.
    assert_eq!(pages(1 << 40).bytes(), 1 << 52);
    assert_eq!(Pages::in_bytes(1 << 52), pages(1 << 40));
}

#[test]
fn pages_of_a_device() {
    assert_eq!(at(5) + pages(3), at(8));
    assert_eq!(at(8) - at(5), pages(3));
    assert_eq!(at(8).pages_before(), pages(8));
    assert_eq!(at(8).checked_sub(at(8)), Some(Pages::ZERO));
    assert_eq!(at(8).checked_sub(at(9)), None);
    let mut pgoff = at(5);
    pgoff += pages(512);
    assert_eq!(pgoff, at(517));
    assert_eq!(at(5).checked_add(pages(3)), Some(at(8)));
    assert_eq!(
        PageOffset::MAX.checked_add(Pages::ZERO),
        Some(PageOffset::MAX)
    );
    assert_eq!(PageOffset::MAX.checked_add(Pages::ONE), None);
    assert_eq!(at(1).checked_add(pages(usize::MAX)), None);
    assert_eq!(at(0).before(), None);
    assert_eq!(at(1).before(), Some(at(0)));
    assert_eq!(PageOffset::MAX.before(), Some(at(usize::MAX - 1)));
}

#[test]
fn bytes_of_a_device() {
    let device = DeviceOffset::new;
    assert_eq!(at(3).byte(), device(3 * 4096));
    for (offset, page, page_up) in [
        (0, 0, 0),
        (1, 0, 1),
        (4095, 0, 1),
        (4096, 1, 1),
        (4097, 1, 2),
        (u64::MAX, (1 << 52) - 1, 1 << 52),
    ] {
        assert_eq!(device(offset).page(), at(page), "{offset}");
        assert_eq!(device(offset).page_up(), at(page_up), "{offset}");
    }
    let mut offset = device(4096) + 5;
    offset += 7;
    assert_eq!(offset, device(4108));
    assert_eq!(offset - device(4096), 12);
    assert_eq!(offset.saturating_sub(device(4108)), 0);
    assert_eq!(offset.saturating_sub(device(4109)), 0);
    assert_eq!(offset.saturating_sub(device(4096)), 12);
    assert_eq!(device(u64::MAX - 1).checked_add(1), Some(device(u64::MAX)));
    assert_eq!(device(u64::MAX).checked_add(1), None);
}

#[test]
fn pages_and_bytes_of_a_region() {
    assert_eq!(page(3).byte(), byte(3 * 4096));
    assert_eq!(byte(3 * 4096 - 1).page(), page(2));
    assert_eq!(page(3).pages_before(), pages(3));
    assert_eq!(page(9) - page(2), pages(7));
    assert_eq!(page(2).checked_sub(page(9)), None);
    assert_eq!(byte(5).saturating_add(3), byte(8));
    assert_eq!(byte(5).saturating_add(u64::MAX), byte(u64::MAX));
}

#[test]
fn frames_and_addresses() {
    assert_eq!(Pfn::at(5 << 30), pfn(5 << 18));
    assert_eq!(Pfn::at((5 << 30) + 4095), pfn(5 << 18));
    assert_eq!(pfn(5 << 18).address(), 5 << 30);
    assert_eq!(Pfn::at(u64::MAX).address(), u64::MAX - 4095);
    assert_eq!(pfn(7) + pages(3) - pfn(7), pages(3));
    assert_eq!(pfn(7).checked_sub(pfn(8)), None);
}

/// An operation without a name that says otherwise overflows as one of plain integers does.
#[test]
fn overflow() {
    let operations: [fn(); 6] = [
        || _ = pages(usize::MAX) + Pages::ONE,
        || _ = Pages::ZERO - Pages::ONE,
        || _ = PageOffset::MAX + Pages::ONE,
        || _ = at(1) - at(2),
        || _ = DeviceOffset::new(u64::MAX) + 1,
        || _ = DeviceOffset::new(1) - DeviceOffset::new(2),
    ];
    for (index, operation) in operations.into_iter().enumerate() {
        assert!(catch_unwind(operation).is_err(), "{index}");
    }
}

proptest! {
    /// A range is cut into runs that cover it, each as large as its place and the rest allow.
    #[test]
    fn largest_runs(first in 0usize..1 << 40, number in 0usize..3000) {
        let (mut pgoff, mut left) = (at(first), pages(number));
        while let Some(order) = Order::largest(pgoff, left) {
            prop_assert!(order <= Order::PMD);
            prop_assert!(pgoff.is_aligned(order) && order.pages() <= left);
            if let Some(next) = Order::new(order.get() + 1).filter(|next| *next <= Order::PMD) {
                prop_assert!(!pgoff.is_aligned(next) || next.pages() > left);
            }
            pgoff += order.pages();
            left -= order.pages();
        }
        prop_assert_eq!((pgoff, left), (at(first + number), Pages::ZERO));
    }
}
