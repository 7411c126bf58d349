// SPDX-License-Identifier: GPL-2.0

mod entry;
mod extents;
mod hash;
mod order;
mod params;
mod protocol;
mod range;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
mod sequence;
mod signature;
mod space;

use crate::order::Order;

/// The orders of page-table leaves, smallest first.
const LEAVES: [Order; 3] = [Order::PTE, Order::PMD, Order::PUD];

/// All orders, smallest first.
fn orders() -> impl Iterator<Item = Order> {
    (0..64).filter_map(Order::new)
}
