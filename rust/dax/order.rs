// SPDX-License-Identifier: GPL-2.0

//! The order of an entry.

/// The shift of the base page: 4 KiB on x86-64.
pub(crate) const PAGE_SHIFT: u32 = 12;
/// The size of the base page in bytes.
pub(crate) const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// Returns the number of bytes in `pages` pages.
pub(crate) const fn bytes(pages: usize) -> u64 {
    (pages as u64) << PAGE_SHIFT
}

/// The size of a run: `1 << order` pages.
///
/// # Invariants
///
/// It is at most that of a PMD leaf, or that of a PUD leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order(u8);

impl Order {
    /// 4 KiB.
    pub(crate) const PTE: Self = Self(0);
    /// 2 MiB.
    pub(crate) const PMD: Self = Self(9);
    /// 1 GiB.
    pub(crate) const PUD: Self = Self(18);

    /// Returns the order of the page-table leaf of `bytes` bytes, if there is one.
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

    /// Returns the order with that exponent, if it is that of a page-table leaf, or smaller than
    /// that of a PMD leaf.
    pub(crate) const fn new(order: u32) -> Option<Self> {
        match order {
            0..=9 | 18 => Some(Self(order as u8)),
            _ => None,
        }
    }

    /// Returns the largest order, up to that of a PMD leaf, of a run that may begin at `page` and
    /// has at most `pages` pages. `None` if `pages` is 0.
    pub(crate) const fn largest(page: usize, pages: usize) -> Option<Self> {
        if pages == 0 {
            return None;
        }
        let order = page.trailing_zeros();
        let order = if order < pages.ilog2() {
            order
        } else {
            pages.ilog2()
        };
        if order < Self::PMD.get() {
            Self::new(order)
        } else {
            Some(Self::PMD)
        }
    }

    /// Returns the exponent.
    pub(crate) const fn get(self) -> u32 {
        self.0 as u32
    }

    /// Returns the number of pages.
    pub(crate) const fn pages(self) -> usize {
        1 << self.0
    }

    /// Returns the number of bytes.
    pub(crate) const fn bytes(self) -> usize {
        self.pages() << PAGE_SHIFT
    }

    /// Returns the first page of the aligned run of this order around `page`.
    pub(crate) const fn align_down(self, page: usize) -> usize {
        page & !(self.pages() - 1)
    }

    /// Whether a run of this order may begin at `page`.
    pub(crate) const fn is_aligned(self, page: usize) -> bool {
        self.align_down(page) == page
    }
}
