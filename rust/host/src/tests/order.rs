// SPDX-License-Identifier: GPL-2.0

use super::{orders, LEAVES};
use crate::dax::order::Order;
use proptest::prelude::*;

#[test]
fn sizes() {
    let bytes: Vec<_> = LEAVES.iter().map(|order| order.bytes()).collect();
    assert_eq!(bytes, [4 << 10, 2 << 20, 1 << 30]);
    let pages: Vec<_> = LEAVES.iter().map(|order| order.pages()).collect();
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
        let pages = order.pages();
        for run in [0, 1, 7, usize::MAX / pages - 1] {
            let first = run * pages;
            assert!(order.is_aligned(first));
            assert_eq!(order.align_down(first), first);
            assert_eq!(order.align_down(first + pages - 1), first);
            assert_eq!(order.is_aligned(first + pages - 1), pages == 1);
        }
    }
}

proptest! {
    /// A range is cut into runs that cover it, each as large as its place and the rest allow.
    #[test]
    fn largest_runs(first in 0usize..1 << 40, pages in 0usize..3000) {
        let (mut page, mut left) = (first, pages);
        while let Some(order) = Order::largest(page, left) {
            prop_assert!(order <= Order::PMD && order.is_aligned(page) && order.pages() <= left);
            if let Some(next) = Order::new(order.get() + 1).filter(|next| *next <= Order::PMD) {
                prop_assert!(!next.is_aligned(page) || next.pages() > left);
            }
            page += order.pages();
            left -= order.pages();
        }
        prop_assert_eq!((page, left), (first + pages, 0));
    }
}
