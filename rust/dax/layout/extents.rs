// SPDX-License-Identifier: GPL-2.0

//! The extents of a device: runs of pages of its region, in any order.

use crate::dax::order::{
    bytes,
    Order,
    PAGE_SHIFT, //
};
use core::ops::Range;
use kernel::prelude::*;

/// A run of pages of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Its first page, counted from the region's first.
    pub(crate) first: usize,
    /// Its length in pages, not 0.
    pub(crate) pages: usize,
}

/// A run that stands at a page offset of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The page offset in the device.
    pub(crate) pgoff: usize,
    /// Its first page, counted from the region's first.
    pub(crate) first: usize,
    /// Its length in pages.
    pub(crate) pages: usize,
}

impl Extent {
    const fn behind(&self) -> usize {
        self.pgoff + self.pages
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
    base: usize,
    list: KVec<Extent>,
}

impl Extents {
    /// Makes an empty list for the region whose first page has the page frame `base`.
    pub(crate) const fn new(base: usize) -> Self {
        Self {
            base,
            list: KVec::new(),
        }
    }

    /// Makes an empty list with room for `extents` extents. Sleeps. Errors: `ENOMEM`.
    pub(crate) fn with_room(base: usize, extents: usize) -> Result<Self> {
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

    /// Returns the size of the device in pages.
    pub(crate) fn pages(&self) -> usize {
        self.list.last().map_or(0, Extent::behind)
    }

    /// Returns the size of the device in bytes.
    pub(crate) fn size(&self) -> u64 {
        bytes(self.pages())
    }

    /// Returns the physical address of the first byte. `None` if the device has no pages.
    pub(crate) fn start(&self) -> Option<u64> {
        let first = self.list.first()?.first;
        Some(bytes(self.base + first))
    }

    /// Whether the device has all of the `pages` pages from page offset `pgoff`.
    pub(crate) fn contains(&self, pgoff: usize, pages: usize) -> bool {
        pgoff
            .checked_add(pages)
            .is_some_and(|end| end <= self.pages())
    }

    /// Whether every run of `order` of the device is aligned to `order` in the media, too.
    pub(crate) fn is_aligned(&self, order: Order) -> bool {
        self.list.iter().all(|extent| {
            order.is_aligned(self.base + extent.first) && order.is_aligned(extent.pages)
        })
    }

    fn find(&self, pgoff: usize) -> Option<&Extent> {
        match self.list.first() {
            // Most devices have one.
            Some(first) if pgoff < first.pages => Some(first),
            _ => {
                let next = self.list.partition_point(|extent| extent.behind() <= pgoff);
                self.list.get(next)
            }
        }
    }

    /// Returns the first frame of the run of `order` around `pgoff`, if one extent has the whole
    /// run and a leaf of that order can map it.
    pub(crate) fn pfn(&self, pgoff: usize, order: Order) -> Option<usize> {
        let start = order.align_down(pgoff);
        let extent = self.find(pgoff)?;
        // The whole run must lie in the extent.
        let within = start.checked_sub(extent.pgoff)?;
        if extent.pages - within < order.pages() {
            return None;
        }
        let pfn = self.base + extent.first + within;
        order.is_aligned(pfn).then_some(pfn)
    }

    /// Returns the region's byte at which byte `offset` of the device lies, and how many of `len`
    /// bytes follow it there.
    pub(crate) fn locate(&self, offset: u64, len: usize) -> Option<(u64, usize)> {
        let pgoff = usize::try_from(offset >> PAGE_SHIFT).ok()?;
        let extent = self.find(pgoff)?;
        let within = offset - bytes(extent.pgoff);
        let left = bytes(extent.pages) - within;
        let len = usize::try_from(left).map_or(len, |left| left.min(len));
        Some((bytes(extent.first) + within, len))
    }

    /// Returns the byte offset in the region of the page frame `pfn`, which an extent has.
    pub(crate) fn offset_of(&self, pfn: usize) -> u64 {
        bytes(pfn.saturating_sub(self.base))
    }

    /// Returns the page offset of the frame `pfn`, if the device has it.
    pub(crate) fn pgoff(&self, pfn: usize) -> Option<usize> {
        let page = pfn.checked_sub(self.base)?;
        self.list.iter().find_map(|extent| {
            let within = page.checked_sub(extent.first)?;
            (within < extent.pages).then_some(extent.pgoff + within)
        })
    }

    /// Returns the first and the last frame of an extent.
    pub(crate) fn frames(&self, extent: &Extent) -> (usize, usize) {
        let first = self.base + extent.first;
        (first, first + (extent.pages - 1))
    }

    /// Returns the region's bytes of an extent from byte `from` of the device. `None` if there are
    /// none.
    pub(crate) fn bytes_behind(&self, extent: &Extent, from: u64) -> Option<Range<u64>> {
        let skip = from.saturating_sub(bytes(extent.pgoff));
        let start = bytes(extent.first);
        (skip < bytes(extent.pages)).then(|| start + skip..start + bytes(extent.pages))
    }

    /// Converts bytes of the region that an extent has to bytes of the device.
    pub(crate) fn device_bytes(&self, extent: &Extent, region: Range<u64>) -> Range<u64> {
        let place = |byte: u64| bytes(extent.pgoff) + byte.saturating_sub(bytes(extent.first));
        place(region.start)..place(region.end)
    }

    /// Adds a run at the end.
    ///
    /// Errors: `ENOMEM`.
    pub(crate) fn push(&mut self, run: Run) -> Result {
        let pgoff = self.pages();
        if let Some(last) = self.list.last_mut() {
            if last.first + last.pages == run.first {
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

    /// Returns the runs past the first `pages` pages: what [`Extents::truncate`] would remove.
    pub(crate) fn tail(&self, pages: usize) -> impl Iterator<Item = Run> + '_ {
        self.list.iter().filter_map(move |extent| {
            let keep = pages.saturating_sub(extent.pgoff).min(extent.pages);
            (keep < extent.pages).then(|| Run {
                first: extent.first + keep,
                pages: extent.pages - keep,
            })
        })
    }

    /// Removes all but the first `pages` pages.
    pub(crate) fn truncate(&mut self, pages: usize) {
        let kept = self.list.partition_point(|extent| extent.pgoff < pages);
        self.list.truncate(kept);
        if let Some(last) = self.list.last_mut() {
            last.pages = last.pages.min(pages - last.pgoff);
        }
    }
}
