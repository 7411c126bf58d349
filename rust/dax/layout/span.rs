// SPDX-License-Identifier: GPL-2.0

//! Where a region's pages lie, and where a page-table leaf fits.

use crate::dax::{
    layout::extents::Run,
    order::{
        bytes,
        Order,
        PAGE_SHIFT, //
    }, //
};

/// The media of a region: consecutive page frames.
///
/// # Invariants
///
/// The last frame's number, and the size in bytes, fit into their types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pfn: usize,
    pages: usize,
}

/// Why some memory cannot be a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It is smaller than a page of the device.
    Small,
    /// Its first byte is not aligned to a page of the device, or it ends past the last address.
    Unaligned,
}

impl Span {
    /// Returns the whole pages of `order` in `size` bytes at the physical address `start`.
    pub(crate) fn new(start: u64, size: u64, order: Order) -> Result<Self, Misfit> {
        let bytes = order.bytes() as u64;
        if size < bytes {
            return Err(Misfit::Small);
        }
        if start % bytes != 0 || start.checked_add(size - 1).is_none() {
            return Err(Misfit::Unaligned);
        }
        // INVARIANT: The last frame fits after the shift by `PAGE_SHIFT`. The size was checked
        // above.
        Ok(Self {
            pfn: (start >> PAGE_SHIFT) as usize,
            pages: (size / bytes) as usize * order.pages(),
        })
    }

    /// The size in bytes.
    pub(crate) const fn size(&self) -> u64 {
        (self.pages as u64) << PAGE_SHIFT
    }

    /// The first page frame.
    pub(crate) const fn first(&self) -> usize {
        self.pfn
    }

    /// The number of pages.
    pub(crate) const fn pages(&self) -> usize {
        self.pages
    }

    /// Returns where the frame `pfn` begins, in bytes from the first frame, if it is in the span.
    pub(crate) fn offset_of(&self, pfn: usize) -> Option<u64> {
        let page = pfn.checked_sub(self.pfn)?;
        (page < self.pages).then_some((page as u64) << PAGE_SHIFT)
    }

    /// Returns the pages that hold the `len` bytes from byte `offset`. `None` if the bytes are not
    /// all in the span, if address or number of the pages is not a multiple of `align`, or if `len`
    /// is 0.
    pub(crate) fn run(&self, offset: u64, len: u64, align: Order) -> Option<Run> {
        let first = usize::try_from(offset >> PAGE_SHIFT).ok()?;
        let pages = usize::try_from(len >> PAGE_SHIFT).ok()?;
        let whole = bytes(first) == offset && bytes(pages) == len;
        let within = self.pages.checked_sub(first)? >= pages;
        // Both are in the span, so the sum does not overflow.
        (whole && within && pages != 0 && align.is_aligned(pages))
            .then_some(Run { first, pages })
            .filter(|run| align.is_aligned(self.pfn + run.first))
    }
}

/// Whether a leaf of `order` around `address` lies in the VMA `start..end`, and its first address
/// maps the first page of the run of that order around `pgoff`.
///
/// `address` and `pgoff` are those of one fault. Addresses are in bytes, aligned to pages.
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

/// Returns the order of the largest leaf that fits at least once into `len` bytes at page offset
/// `pgoff`, if the address is congruent to the offset. At least `least`.
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
