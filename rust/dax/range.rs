// SPDX-License-Identifier: GPL-2.0

//! Where a device's pages lie, and where a page-table leaf fits.

use super::order::{
    Order,
    PAGE_SHIFT, //
};

/// The media of a device: consecutive page frames.
///
/// # Invariants
///
/// The last frame's number, and the size in bytes, fit into their types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pfn: usize,
    pages: usize,
}

/// Why a region of memory can't be a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It is smaller than a page of the device.
    Small,
    /// Its first byte isn't aligned to a page of the device, or it ends beyond all addresses.
    Unaligned,
}

impl Range {
    /// The whole pages of `order` in `size` bytes at the physical address `start`.
    pub(crate) fn new(start: u64, size: u64, order: Order) -> Result<Self, Misfit> {
        let bytes = order.bytes() as u64;
        if size < bytes {
            return Err(Misfit::Small);
        }
        if start % bytes != 0 || start.checked_add(size - 1).is_none() {
            return Err(Misfit::Unaligned);
        }
        // INVARIANT: Shifted right by `PAGE_SHIFT`, and checked above.
        Ok(Self {
            pfn: (start >> PAGE_SHIFT) as usize,
            pages: (size / bytes) as usize * order.pages(),
        })
    }

    /// The physical address of the first byte.
    pub(crate) const fn start(&self) -> u64 {
        (self.pfn as u64) << PAGE_SHIFT
    }

    /// The size in bytes.
    pub(crate) const fn size(&self) -> u64 {
        (self.pages as u64) << PAGE_SHIFT
    }

    /// Whether `pages` pages from page offset `pgoff` on are all there.
    pub(crate) fn contains(&self, pgoff: usize, pages: usize) -> bool {
        pgoff
            .checked_add(pages)
            .is_some_and(|end| end <= self.pages)
    }

    /// The page offset of the frame `pfn`, if that is one of its frames.
    pub(crate) fn pgoff(&self, pfn: usize) -> Option<usize> {
        pfn.checked_sub(self.pfn)
            .filter(|&pgoff| pgoff < self.pages)
    }

    /// The first and the last frame.
    pub(crate) const fn frames(&self) -> (usize, usize) {
        (self.pfn, self.pfn + (self.pages - 1))
    }

    /// The first frame behind the run of `order` around `pgoff`, if the whole run is there and a
    /// leaf of that order can map it.
    pub(crate) fn pfn(&self, pgoff: usize, order: Order) -> Option<usize> {
        let first = order.align_down(pgoff);
        if !self.contains(first, order.pages()) {
            return None;
        }
        let pfn = self.pfn + first;
        order.is_aligned(pfn).then_some(pfn)
    }
}

/// Whether a leaf of `order` around `address` lies in the VMA `start..end`, and its first address
/// maps the first page of the run of that order around `pgoff`.
///
/// Both for the fault at `address` and `pgoff`; addresses in bytes, all aligned to pages.
pub(crate) fn leaf_fits(
    order: Order,
    address: usize,
    pgoff: usize,
    (start, end): (usize, usize),
) -> bool {
    let page = address >> PAGE_SHIFT;
    let first = order.align_down(page);
    page - first == pgoff - order.align_down(pgoff)
        && first >= start >> PAGE_SHIFT
        && first
            .checked_add(order.pages())
            .is_some_and(|behind| behind <= end >> PAGE_SHIFT)
}

/// The largest leaf of which at least one fits into `len` bytes at page offset `pgoff`, when the
/// address is congruent to the offset. At least `least`.
pub(crate) fn best_order(pgoff: usize, len: usize, least: Order) -> Order {
    let pages = len >> PAGE_SHIFT;
    for order in [Order::PUD, Order::PMD] {
        let fits = pgoff
            .checked_next_multiple_of(order.pages())
            .and_then(|first| first.checked_add(order.pages()))
            .zip(pgoff.checked_add(pages))
            .is_some_and(|(behind, end)| behind <= end);
        if fits {
            return order.max(least);
        }
    }
    least
}
