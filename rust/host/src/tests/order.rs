// SPDX-License-Identifier: GPL-2.0

use super::ORDERS;
use crate::order::Order;

#[test]
fn sizes() {
    let bytes: Vec<_> = ORDERS.iter().map(|order| order.bytes()).collect();
    assert_eq!(bytes, [4 << 10, 2 << 20, 1 << 30]);
    let pages: Vec<_> = ORDERS.iter().map(|order| order.pages()).collect();
    assert_eq!(pages, [1, 512, 512 * 512]);
}

#[test]
fn only_what_a_leaf_can_have() {
    for number in 0..64 {
        let order = Order::new(number);
        assert_eq!(order.is_some(), [0, 9, 18].contains(&number), "{number}");
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
    for order in ORDERS {
        assert_eq!(Order::from_bytes(order.bytes() as u64), Some(order));
    }
}

#[test]
fn alignment() {
    for order in ORDERS {
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
