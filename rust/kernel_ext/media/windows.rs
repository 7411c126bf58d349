// SPDX-License-Identifier: GPL-2.0

//! The kernel's mappings of the media.
//!
//! C headers: [`include/linux/io.h`](srctree/include/linux/io.h),
//! [`include/linux/ioport.h`](srctree/include/linux/ioport.h)

use crate::kernel_ext::{
    bindings,
    units::RegionOffset, //
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
/// order of their starts, and do not overlap.
pub(in crate::kernel_ext) struct Windows {
    /// The physical address of byte 0.
    base: u64,
    list: KVec<Window>,
}

impl Windows {
    /// Returns no windows, of a region whose byte 0 has the physical address `base`.
    pub(in crate::kernel_ext) fn new(base: u64) -> Self {
        // INVARIANT: There are none.
        Self {
            base,
            list: KVec::new(),
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
        Ok(())
    }

    /// Maps the `len` bytes, not 0, at the physical address `start`, and adds the mappings. devres
    /// removes them when the driver is unbound. Sleeps.
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
    ) -> Result {
        while len != 0 {
            let part = first_part(start, len);
            // SAFETY: By the requirements of this function.
            unsafe {
                let flags = bindings::MEMREMAP_WB as usize;
                let addr = from_err_ptr(bindings::devm_memremap(dev, start, part, flags))?;
                self.push(start, part, addr.cast())?;
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

    /// Whether all of the `len` bytes at `offset` exist.
    #[inline]
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
