// SPDX-License-Identifier: GPL-2.0

//! The kernel's mappings of the media.
//!
//! C headers: [`include/linux/io.h`](srctree/include/linux/io.h),
//! [`include/linux/ioport.h`](srctree/include/linux/ioport.h)

use crate::kernel_ext::{
    bindings,
    units::{
        Pages,
        Pfn,
        RegionOffset, //
    }, //
};
use core::ptr;
use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

/// The number of bytes of the leaves with which the kernel maps the media.
const LEAF: u64 = (bindings::PAGE_SIZE << bindings::PMD_ORDER) as u64;

/// Returns how many of the `size` bytes from the physical address `start` a mapping should have
/// that begins there.
///
/// `memremap()` uses leaves of 2 MiB only from a start that is a multiple of 2 MiB. Otherwise it
/// uses 4 KiB, whose page tables take 2 GiB a TiB and are never freed. So the part before the first
/// such multiple gets a mapping of its own.
pub(in crate::kernel_ext) fn first_part(start: u64, size: usize) -> usize {
    match start
        .checked_next_multiple_of(LEAF)
        .map(|next| next - start)
    {
        None | Some(0) => size,
        Some(first) => size.min(first as usize),
    }
}

/// Requests the `len` bytes, not 0, at the physical address `start`, until the driver is unbound.
/// Sleeps. Errors: `EBUSY` if another driver has some of them.
///
/// # Safety
///
/// `dev` is a device that is being bound.
pub(in crate::kernel_ext) unsafe fn request(
    dev: *mut bindings::device,
    start: u64,
    len: u64,
) -> Result {
    // SAFETY: By the requirements of this function.
    let requested = unsafe {
        let (iomem, name) = (&raw mut bindings::iomem_resource, bindings::dev_name(dev));
        bindings::__devm_request_region(dev, iomem, start, len, name)
    };
    match requested.is_null() {
        true => Err(EBUSY),
        false => Ok(()),
    }
}

/// A mapping of consecutive bytes.
struct Window {
    /// The first byte, counted from the region's first.
    start: u64,
    /// The number of bytes, not 0.
    len: usize,
    addr: *mut u8,
}

impl Window {
    /// Returns the offset after its last byte.
    fn behind(&self) -> u64 {
        self.start + self.len as u64
    }
}

/// Write-back mappings of a region's ranges of memory.
///
/// The bytes of a region are counted from the first byte of its first range. Between ranges there
/// may be a gap of other addresses, whose bytes do not exist.
///
/// # Invariants
///
/// The windows map memory at the physical addresses from `base` plus their start. They are in the
/// order of their starts, and do not overlap. The `pages` page frames from `pfn` are in the first.
pub(in crate::kernel_ext) struct Windows {
    /// The physical address of byte 0.
    base: u64,
    list: KVec<Window>,
    /// The whole page frames of the first window: each fault looks whether its own are among them.
    pfn: Pfn,
    pages: Pages,
}

impl Windows {
    /// Returns no windows, of a region whose byte 0 has the physical address `base`.
    pub(in crate::kernel_ext) fn new(base: u64) -> Self {
        // INVARIANT: There are none.
        Self {
            base,
            list: KVec::new(),
            pfn: Pfn::at(base),
            pages: Pages::ZERO,
        }
    }

    /// Returns the physical address of byte 0.
    pub(in crate::kernel_ext) fn base(&self) -> u64 {
        self.base
    }

    /// Returns how many bytes there are, and in gaps between them.
    pub(in crate::kernel_ext) fn size(&self) -> u64 {
        self.list.last().map_or(0, Window::behind)
    }

    /// Adds a mapping that exists, past the others. Sleeps. Errors: `ENOMEM`, `EINVAL`.
    ///
    /// # Safety
    ///
    /// `addr` is a write-back mapping of the `len` bytes, not 0, at the physical address `start`.
    /// It is not removed while `self` is used.
    pub(in crate::kernel_ext) unsafe fn push(
        &mut self,
        start: u64,
        len: usize,
        addr: *mut u8,
    ) -> Result {
        let start = start.checked_sub(self.base).ok_or(EINVAL)?;
        if start < self.size() || start.checked_add(len as u64).is_none() {
            return Err(EINVAL);
        }
        // INVARIANT: A mapping of this memory, by the requirements of this function. It is past the
        // others.
        self.list.push(Window { start, len, addr }, GFP_KERNEL)?;
        // Another window's first frame is not at the base.
        if start == 0 && self.base % bindings::PAGE_SIZE as u64 == 0 {
            // INVARIANT: These are in it.
            self.pages = Pages::in_bytes(len as u64);
        }
        Ok(())
    }

    /// Maps the `len` bytes, not 0, at the physical address `start`, and adds the mappings. devres
    /// removes them when the driver is unbound. Sleeps.
    ///
    /// If they have pages, the mapping is encrypted as all other mappings of these pages are, where
    /// the machine encrypts its memory (AMD SME). Otherwise it is not.
    ///
    /// Errors: those of `devm_memremap()`, and of [`Windows::push`].
    ///
    /// # Safety
    ///
    /// `dev` is being bound and has requested this memory. `self` is not used after it is unbound.
    pub(in crate::kernel_ext) unsafe fn map(
        &mut self,
        dev: *mut bindings::device,
        mut start: u64,
        mut len: usize,
        pages: bool,
    ) -> Result {
        while len != 0 {
            let part = first_part(start, len);
            // SAFETY: By the requirements of this function.
            unsafe {
                let addr = match pages {
                    true => bindings::devm_map_pages(dev, start, part),
                    false => {
                        bindings::devm_memremap(dev, start, part, bindings::MEMREMAP_WB as usize)
                    }
                };
                self.push(start, part, from_err_ptr(addr)?.cast())?;
            }
            start += part as u64;
            len -= part;
        }
        Ok(())
    }

    /// Returns the offsets of the first byte of each window, and of the byte after its last.
    pub(in crate::kernel_ext) fn parts(
        &self,
    ) -> impl Iterator<Item = (RegionOffset, RegionOffset)> + '_ {
        self.list.iter().map(|window| {
            (
                RegionOffset::new(window.start),
                RegionOffset::new(window.behind()),
            )
        })
    }

    /// Returns the index of the window that has the byte at `offset`, or of the next one.
    fn index(&self, offset: u64) -> usize {
        match self.list.first() {
            // Most media has one.
            Some(first) if offset < first.behind() => 0,
            _ => self
                .list
                .partition_point(|window| window.behind() <= offset),
        }
    }

    /// Whether all of the `pages` page frames from `pfn` exist. Not if `pages` is 0.
    #[inline(always)]
    pub(in crate::kernel_ext) fn contain_frames(&self, pfn: Pfn, pages: Pages) -> bool {
        // Most media has one window. For a frame before it the difference wraps, and is larger than
        // any window.
        let within = pfn.get().wrapping_sub(self.pfn.get());
        let left = self.pages.get().wrapping_sub(within);
        (within < self.pages.get() && pages.get().wrapping_sub(1) < left)
            || self.all_contain_frames(pfn, pages)
    }

    #[inline(never)]
    fn all_contain_frames(&self, pfn: Pfn, pages: Pages) -> bool {
        let len = pages.get().checked_mul(bindings::PAGE_SIZE);
        let offset = (pfn.get() as u64)
            .checked_mul(bindings::PAGE_SIZE as u64)
            .and_then(|address| address.checked_sub(self.base));
        match (offset, len) {
            (Some(offset), Some(len)) if len != 0 => self.contain(RegionOffset::new(offset), len),
            _ => false,
        }
    }

    /// Whether all of the `len` bytes at `offset` exist.
    #[inline(always)]
    pub(in crate::kernel_ext) fn contain(&self, offset: RegionOffset, len: usize) -> bool {
        let Some(end) = offset.checked_add(len as u64) else {
            return false;
        };
        let (at, end) = (offset.get(), end.get());
        // Most media has one window.
        match self.list.first() {
            Some(first) if at >= first.start && end <= first.behind() => true,
            _ => self.all_contain(at, end),
        }
    }

    /// Whether the windows have all bytes from `at` to `end`.
    #[cold]
    fn all_contain(&self, mut at: u64, end: u64) -> bool {
        let windows = self.list.get(self.index(at)..).unwrap_or_default();
        for window in windows {
            if at >= end || at < window.start {
                break;
            }
            at = window.behind();
        }
        at >= end
    }

    /// Returns the address of the first of `len` bytes at `offset`, and how many are contiguous
    /// there: more than 0, unless `len` is 0.
    ///
    /// Errors: `EFBIG` if they do not all exist.
    pub(in crate::kernel_ext) fn at(
        &self,
        offset: RegionOffset,
        len: usize,
    ) -> Result<(*mut u8, usize)> {
        if len == 0 {
            return Ok((ptr::dangling_mut(), 0));
        }
        if !self.contain(offset, len) {
            return Err(EFBIG);
        }
        let offset = offset.get();
        let window = self.list.get(self.index(offset)).ok_or(EFBIG)?;
        let within = offset.checked_sub(window.start).ok_or(EFBIG)? as usize;
        Ok((
            window.addr.wrapping_add(within),
            len.min(window.len.saturating_sub(within)),
        ))
    }
}

#[kunit_tests(rdax_windows)]
mod tests {
    use super::*;

    const PAGE: usize = bindings::PAGE_SIZE;

    /// Windows of so many pages from page `base`, and from page `base + 100`. Nothing is at their
    /// addresses.
    fn windows(base: usize, pages: [usize; 2]) -> Result<Windows> {
        let mut windows = Windows::new((base * PAGE) as u64);
        for (start, pages) in [base, base + 100].into_iter().zip(pages) {
            if pages != 0 {
                // SAFETY: `at()` is not called, so the address is not used.
                unsafe { windows.push((start * PAGE) as u64, pages * PAGE, ptr::dangling_mut())? };
            }
        }
        Ok(windows)
    }

    /// What is in one window is in the media, and nothing else.
    #[test]
    fn frames() -> Result {
        // The larger one first, and last.
        check_frames(10, 3)?;
        check_frames(3, 10)
    }

    fn check_frames(first: usize, second: usize) -> Result {
        let windows = windows(1000, [first, second])?;
        let contain = |pfn, pages| windows.contain_frames(Pfn::new(pfn), Pages::new(pages));
        for (start, len) in [(1000, first), (1100, second)] {
            assert!(contain(start, 1) && contain(start, len) && contain(start + len - 1, 1));
            assert!(contain(start + 1, len - 1));
            for (pfn, pages) in [
                (start, 0),
                (start, len + 1),
                (start + len - 1, 2),
                (start + len, 1),
                (start - 1, 1),
                (start - 1, 2),
            ] {
                assert!(!contain(pfn, pages));
            }
            for pfn in [start, start + len - 1] {
                assert!(!contain(pfn, usize::MAX));
            }
        }
        assert!(!contain(0, 1) && !contain(usize::MAX, 1) && !contain(usize::MAX, usize::MAX));
        Ok(())
    }

    /// Where the first page is not whole, or nothing is mapped.
    #[test]
    fn no_whole_frames() -> Result {
        let none = windows(1000, [0, 0])?;
        assert!(!none.contain_frames(Pfn::new(1000), Pages::ONE));
        let mut late = Windows::new((1000 * PAGE + 512) as u64);
        // SAFETY: As in `windows()`.
        unsafe { late.push((1000 * PAGE + 512) as u64, 3 * PAGE, ptr::dangling_mut())? };
        assert!(!late.contain_frames(Pfn::new(1000), Pages::ONE));
        assert!(late.contain_frames(Pfn::new(1001), Pages::new(2)));
        assert!(!late.contain_frames(Pfn::new(1001), Pages::new(3)));
        Ok(())
    }
}
