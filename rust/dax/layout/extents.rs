// SPDX-License-Identifier: GPL-2.0

//! The extents of a device: runs of pages of its region, in any order.

use crate::kernel_ext::units::{
    DeviceOffset,
    Order,
    PageOffset,
    Pages,
    Pfn,
    RegionOffset,
    RegionPage, //
};
use core::ops::Range;
use kernel::prelude::*;

/// A run of pages of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: RegionPage,
    /// Its length, not 0.
    pub(crate) pages: Pages,
}

impl Run {
    /// Returns the page after its last.
    pub(crate) fn behind(&self) -> RegionPage {
        self.first + self.pages
    }
}

/// A run that stands at a page offset of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it stands in the device.
    pub(crate) pgoff: PageOffset,
    /// Its first page in the region.
    pub(crate) first: RegionPage,
    /// Its length.
    pub(crate) pages: Pages,
}

impl Extent {
    fn behind(&self) -> PageOffset {
        self.pgoff + self.pages
    }

    /// Returns its pages in the region.
    pub(crate) const fn run(&self) -> Run {
        Run {
            first: self.first,
            pages: self.pages,
        }
    }
}

/// The extents of a device.
///
/// # Invariants
///
/// The first extent stands at page offset 0, and each other one directly after the one before it.
/// None is empty. All lie in the region, whose last page frame number fits into its type.
pub(crate) struct Extents {
    /// The page frame of the region's first page.
    base: Pfn,
    list: KVec<Extent>,
}

impl Extents {
    /// Makes an empty list for the region whose first page has the page frame `base`.
    pub(crate) const fn new(base: Pfn) -> Self {
        Self {
            base,
            list: KVec::new(),
        }
    }

    /// Makes an empty list with room for `extents` extents. Sleeps. Errors: `ENOMEM`.
    pub(crate) fn with_room(base: Pfn, extents: usize) -> Result<Self> {
        let mut this = Self::new(base);
        this.list.reserve(extents, GFP_KERNEL)?;
        Ok(this)
    }

    /// Copies the extents of `other`, of the same region, into this empty list. Needs no memory if
    /// there is room. Errors: `ENOMEM`.
    pub(crate) fn copy_from(&mut self, other: &Self) -> Result {
        self.list.truncate(0);
        // INVARIANT: The extents of `other` satisfy them.
        self.list.extend_from_slice(&other.list, GFP_KERNEL)?;
        Ok(())
    }

    /// Returns the extents in the order of their page offsets.
    pub(crate) fn as_slice(&self) -> &[Extent] {
        &self.list
    }

    /// Returns the page offset after the device's last page.
    pub(crate) fn end(&self) -> PageOffset {
        self.list.last().map_or(PageOffset::new(0), Extent::behind)
    }

    /// Returns the size of the device in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.end().pages_before().bytes()
    }

    /// Returns the physical address of the first byte. `None` if the device has no pages.
    pub(crate) fn start(&self) -> Option<u64> {
        let first = self.list.first()?.first;
        Some(self.frame(first).address())
    }

    /// Whether the device has all of the `pages` pages from page offset `pgoff`.
    pub(crate) fn contains(&self, pgoff: PageOffset, pages: Pages) -> bool {
        pgoff
            .checked_add(pages)
            .is_some_and(|end| end <= self.end())
    }

    /// Whether every run of `order` of the device is aligned to `order` in the media, too.
    pub(crate) fn is_aligned(&self, order: Order) -> bool {
        self.list.iter().all(|extent| {
            self.frame(extent.first).is_aligned(order) && extent.pages.is_aligned(order)
        })
    }

    /// Returns the frame of a page that an extent has.
    fn frame(&self, page: RegionPage) -> Pfn {
        self.base + page.pages_before()
    }

    #[inline(always)]
    fn find(&self, pgoff: PageOffset) -> Option<&Extent> {
        match self.list.first() {
            // Most devices have one.
            Some(first) if pgoff < first.behind() => Some(first),
            _ => self.find_among(pgoff),
        }
    }

    #[inline(never)]
    fn find_among(&self, pgoff: PageOffset) -> Option<&Extent> {
        let next = self.list.partition_point(|extent| extent.behind() <= pgoff);
        self.list.get(next)
    }

    /// Returns the first frame of the run of `order` around `pgoff`, if one extent has the whole
    /// run and a leaf of that order can map it.
    #[inline(always)]
    pub(crate) fn pfn(&self, pgoff: PageOffset, order: Order) -> Option<Pfn> {
        let start = pgoff.align_down(order);
        let extent = self.find(pgoff)?;
        // The whole run must lie in the extent.
        let within = start.checked_sub(extent.pgoff)?;
        if extent.pages - within < order.pages() {
            return None;
        }
        let pfn = self.frame(extent.first + within);
        pfn.is_aligned(order).then_some(pfn)
    }

    /// Returns the region's byte at which byte `offset` of the device lies, and how many of `len`
    /// bytes follow it there.
    pub(crate) fn locate(&self, offset: DeviceOffset, len: usize) -> Option<(RegionOffset, usize)> {
        let extent = self.find(offset.page())?;
        let within = offset - extent.pgoff.byte();
        let left = extent.pages.bytes() - within;
        let len = usize::try_from(left).map_or(len, |left| left.min(len));
        Some((extent.first.byte() + within, len))
    }

    /// Returns the byte offset in the region of the page frame `pfn`, which an extent has.
    pub(crate) fn offset_of(&self, pfn: Pfn) -> RegionOffset {
        let page = pfn.checked_sub(self.base).unwrap_or(Pages::ZERO);
        RegionOffset::new(page.bytes())
    }

    /// Returns the page offset of the frame `pfn`, if the device has it.
    pub(crate) fn pgoff(&self, pfn: Pfn) -> Option<PageOffset> {
        let page = RegionPage::new(pfn.checked_sub(self.base)?.get());
        self.list.iter().find_map(|extent| {
            let within = page.checked_sub(extent.first)?;
            (within < extent.pages).then_some(extent.pgoff + within)
        })
    }

    /// Returns the first and the last frame of an extent.
    pub(crate) fn frames(&self, extent: &Extent) -> (Pfn, Pfn) {
        let first = self.frame(extent.first);
        (first, first + (extent.pages - Pages::ONE))
    }

    /// Returns the region's bytes of an extent from byte `from` of the device. `None` if there are
    /// none.
    pub(crate) fn bytes_behind(
        &self,
        extent: &Extent,
        from: DeviceOffset,
    ) -> Option<Range<RegionOffset>> {
        let (skip, len) = (
            from.saturating_sub(extent.pgoff.byte()),
            extent.pages.bytes(),
        );
        let start = extent.first.byte();
        (skip < len).then(|| start + skip..start + len)
    }

    /// Converts bytes of the region that an extent has to bytes of the device.
    pub(crate) fn device_bytes(
        &self,
        extent: &Extent,
        region: Range<RegionOffset>,
    ) -> Range<DeviceOffset> {
        let place =
            |byte: RegionOffset| extent.pgoff.byte() + byte.saturating_sub(extent.first.byte());
        place(region.start)..place(region.end)
    }

    /// Adds a run at the end.
    ///
    /// Errors: `ENOMEM`.
    pub(crate) fn push(&mut self, run: Run) -> Result {
        let pgoff = self.end();
        if let Some(last) = self.list.last_mut() {
            if last.run().behind() == run.first {
                last.pages += run.pages;
                return Ok(());
            }
        }
        // INVARIANT: It follows the last extent.
        self.list.push(
            Extent {
                pgoff,
                first: run.first,
                pages: run.pages,
            },
            GFP_KERNEL,
        )?;
        Ok(())
    }

    /// Returns the runs from page offset `end`: what [`Extents::truncate`] would remove.
    pub(crate) fn tail(&self, end: PageOffset) -> impl Iterator<Item = Run> + '_ {
        self.list.iter().filter_map(move |extent| {
            let keep = end.checked_sub(extent.pgoff).unwrap_or(Pages::ZERO);
            let keep = keep.min(extent.pages);
            (keep < extent.pages).then(|| Run {
                first: extent.first + keep,
                pages: extent.pages - keep,
            })
        })
    }

    /// Removes all pages from page offset `end`.
    pub(crate) fn truncate(&mut self, end: PageOffset) {
        let kept = self.list.partition_point(|extent| extent.pgoff < end);
        self.list.truncate(kept);
        if let Some(last) = self.list.last_mut() {
            last.pages = last.pages.min(end - last.pgoff);
        }
    }
}
