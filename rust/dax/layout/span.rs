// SPDX-License-Identifier: GPL-2.0

//! Where a region's pages lie, and where a page-table leaf fits.

use crate::dax::layout::extents::Run;
use crate::kernel_ext::units::{
    Order,
    PageOffset,
    Pages,
    Pfn,
    RegionOffset,
    PAGE_SHIFT, //
};

/// The page frames in which the media of a region lies. They are consecutive, but where the media
/// consists of several ranges, some between them may be other memory.
///
/// # Invariants
///
/// The last frame's number, and the size in bytes, fit into their types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pfn: Pfn,
    pages: Pages,
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
            pfn: Pfn::at(start),
            pages: Pages::in_bytes(size).align_down(order),
        })
    }

    /// The size in bytes.
    pub(crate) const fn size(&self) -> u64 {
        self.pages.bytes()
    }

    /// The first page frame.
    pub(crate) const fn first(&self) -> Pfn {
        self.pfn
    }

    /// The number of pages.
    pub(crate) const fn pages(&self) -> Pages {
        self.pages
    }

    /// Returns where the frame `pfn` begins, if it is in the span.
    pub(crate) fn offset_of(&self, pfn: Pfn) -> Option<RegionOffset> {
        let pages = pfn.checked_sub(self.pfn)?;
        (pages < self.pages).then_some(RegionOffset::new(pages.bytes()))
    }

    /// Returns the pages that hold the `len` bytes from byte `offset`. `None` if the bytes are not
    /// all in the span, if address or number of the pages is not a multiple of `align`, or if `len`
    /// is 0.
    pub(crate) fn run(&self, offset: RegionOffset, len: u64, align: Order) -> Option<Run> {
        let (first, pages) = (offset.page(), Pages::in_bytes(len));
        let whole = first.byte() == offset && pages.bytes() == len;
        let within = self.pages.checked_sub(first.pages_before())? >= pages;
        // Both are in the span, so the sum does not overflow.
        (whole && within && !pages.is_zero() && pages.is_aligned(align))
            .then_some(Run { first, pages })
            .filter(|run| (self.pfn + run.first.pages_before()).is_aligned(align))
    }
}

/// Whether a leaf of `order` around `address` lies in the VMA `start..end`, and its first address
/// maps the first page of the run of that order around `pgoff`.
///
/// `address` and `pgoff` are those of one fault. Addresses are aligned to pages.
pub(crate) fn leaf_fits(
    order: Order,
    address: usize,
    pgoff: PageOffset,
    (start, end): (usize, usize),
) -> bool {
    let within = address & (order.bytes() - 1);
    let first = address - within;
    within >> PAGE_SHIFT == (pgoff - pgoff.align_down(order)).get()
        && first >= start
        && first
            .checked_add(order.bytes())
            .is_some_and(|behind| behind <= end)
}

/// Returns the order of the largest leaf that fits at least once into `len` bytes at page offset
/// `pgoff`, if the address is congruent to the offset. At least `least`.
pub(crate) fn best_order(pgoff: PageOffset, len: usize, least: Order) -> Order {
    let pages = Pages::in_bytes(len as u64);
    for order in [Order::PUD, Order::PMD] {
        let fits = pgoff
            .align_up(order)
            .and_then(|first| first.checked_add(order.pages()))
            .zip(pgoff.checked_add(pages))
            .is_some_and(|(behind, end)| behind <= end);
        if fits {
            return order.max(least);
        }
    }
    least
}
