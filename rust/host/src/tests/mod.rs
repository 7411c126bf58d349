// SPDX-License-Identifier: GPL-2.0

mod entry;
mod order;
mod params;
mod range;
mod signature;

use crate::order::Order;

/// All orders, smallest first.
const ORDERS: [Order; 3] = [Order::PTE, Order::PMD, Order::PUD];
