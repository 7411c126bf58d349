// SPDX-License-Identifier: GPL-2.0

//! The order of an entry.

/// The base page, 4 KiB on x86-64.
pub(crate) const PAGE_SHIFT: u32 = 12;

/// How many pages something spans, as a power of two.
///
/// # Invariants
///
/// One of the orders of a page-table leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order(u8);

impl Order {
    /// 4 KiB.
    pub(crate) const PTE: Self = Self(0);
    /// 2 MiB.
    pub(crate) const PMD: Self = Self(9);
    /// 1 GiB.
    pub(crate) const PUD: Self = Self(18);

    /// The order that spans `bytes`, if there is one.
    pub(crate) const fn from_bytes(bytes: u64) -> Option<Self> {
        let mut orders = [Self::PTE, Self::PMD, Self::PUD].as_slice();
        while let [order, rest @ ..] = orders {
            if order.bytes() as u64 == bytes {
                return Some(*order);
            }
            orders = rest;
        }
        None
    }

    /// The order that [`Order::get`] gave as `order`, if there is one.
    pub(crate) const fn new(order: u32) -> Option<Self> {
        match order {
            0 => Some(Self::PTE),
            9 => Some(Self::PMD),
            18 => Some(Self::PUD),
            _ => None,
        }
    }

    /// The exponent.
    pub(crate) const fn get(self) -> u32 {
        self.0 as u32
    }

    /// The number of pages.
    pub(crate) const fn pages(self) -> usize {
        1 << self.0
    }

    /// The number of bytes.
    pub(crate) const fn bytes(self) -> usize {
        self.pages() << PAGE_SHIFT
    }

    /// The first page of the aligned run of this order around `page`.
    pub(crate) const fn align_down(self, page: usize) -> usize {
        page & !(self.pages() - 1)
    }

    /// Whether a run of this order may begin at `page`.
    pub(crate) const fn is_aligned(self, page: usize) -> bool {
        self.align_down(page) == page
    }
}
