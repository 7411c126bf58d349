// SPDX-License-Identifier: GPL-2.0

//! The media of a bound device, as the kernel accesses it.
//!
//! It is a list of ranges with addresses, which the driver of the bus makes. [`Backing`] says what
//! the platform can do for them, [`badblocks::List`] whose list of bad blocks it is.
//!
//! C headers: [`include/linux/libnvdimm.h`](srctree/include/linux/libnvdimm.h); the model is
//! `drivers/nvdimm/pmem.c`.

pub(crate) mod badblocks;
pub(crate) mod live;
pub(crate) mod windows;

use crate::kernel_ext::{
    bindings,
    fs::anon_inode::AnonInode,
    media::{
        badblocks::{
            Badblocks,
            List,
            BLOCK, //
        },
        windows::Windows, //
    },
    mm::{
        frames::Frames,
        pages::{
            self,
            DevicePages, //
        }, //
    },
    task,
    units::{
        Pages,
        Pfn,
        RegionOffset, //
    }, //
};
use core::{
    mem::MaybeUninit,
    ops::Range,
    ptr, //
};
use kernel::{
    error::to_result,
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*,
    str::BStr,
    sync::Arc, //
};

/// The number of bytes that are processed before other tasks may run.
const STEP: usize = bindings::PAGE_SIZE << bindings::PMD_ORDER;

/// What makes writes to the media durable, and clears its bad blocks.
#[derive(Clone, Copy)]
pub(in crate::kernel_ext) enum Backing {
    /// An NVDIMM.
    Nvdimm {
        /// The enabled region that is flushed, and that knows bad blocks.
        region: *mut bindings::nd_region,
        /// A device below the region's bus. The firmware clears bad blocks at its request.
        dev: *mut bindings::device,
    },
    /// Memory that loses its content with its power (CXL, soft-reserved). Writing the CPU caches
    /// back is all that can be done, and nothing clears a bad block.
    Volatile,
}

/// The media of a bound device.
///
/// A reference to one exists only while its device is bound: see
/// [`LiveMedia`](live::LiveMedia).
///
/// # Invariants
///
/// While a reference to it can exist, `dev` is bound to this driver, `windows` map memory that it
/// owns, `bad` is initialised, and what `backing` names is valid. If `pages` is given, all of that
/// memory consists of these pages; otherwise it is used without pages.
///
/// It is not [`Clone`], because a copy would not end with its device.
pub(crate) struct Media {
    dev: *mut bindings::device,
    windows: Arc<Windows>,
    backing: Backing,
    bad: List,
    has_cache: bool,
    pages: Option<DevicePages>,
}

// SAFETY: The mapping and the region may be used from any task.
unsafe impl Send for Media {}
// SAFETY: The methods may run in parallel. User space writes to the same memory at any time, so no
// method relies on its content.
unsafe impl Sync for Media {}

impl Media {
    /// # Safety
    ///
    /// The invariants of the type must hold.
    pub(in crate::kernel_ext) unsafe fn new(
        dev: *mut bindings::device,
        windows: Arc<Windows>,
        backing: Backing,
        bad: List,
        pages: Option<DevicePages>,
    ) -> Self {
        let has_cache = match backing {
            // SAFETY: `region` is valid by the requirements of this function.
            Backing::Nvdimm { region, .. } => unsafe { bindings::nvdimm_has_cache(region) != 0 },
            Backing::Volatile => true,
        };
        // INVARIANT: By the requirements of this function.
        Self {
            dev,
            windows,
            backing,
            bad,
            has_cache,
            pages,
        }
    }

    /// Returns another one of the same device.
    ///
    /// # Safety
    ///
    /// No reference to it exists after the device is unbound.
    pub(in crate::kernel_ext) unsafe fn another(&self) -> Self {
        // INVARIANT: By the requirements of this function, and by the invariants of `self`.
        Self {
            windows: self.windows.clone(),
            bad: self.bad.clone(),
            ..*self
        }
    }

    /// Returns the pages of the memory, if it has some.
    pub(in crate::kernel_ext) fn pages(&self) -> Option<DevicePages> {
        self.pages
    }

    /// Returns the first page, in `len` bytes at byte `offset`, that shares its folio with one that is
    /// pinned. `None` without pages.
    ///
    /// If they may be `mapped`, that is a hint. Otherwise the caller has unmapped them, and keeps them
    /// so: then no further one is pinned. Any context.
    pub(crate) fn first_pinned(&self, offset: RegionOffset, len: u64, mapped: bool) -> Option<Pfn> {
        self.pages?;
        let base = self.windows.base();
        let end = offset.checked_add(len)?.get();
        let mut pfn = Pfn::at(base.checked_add(offset.get())?);
        while let Some(at) = pfn.address().checked_sub(base).filter(|&at| at < end) {
            if !self.windows.contain(RegionOffset::new(at), 1) {
                return None;
            }
            // SAFETY: It is memory of the device, all of which has pages while a reference to `self`
            // exists.
            let (idle, folio) = unsafe { pages::is_idle(pfn, mapped) };
            if !idle {
                return Some(pfn);
            }
            pfn += folio;
        }
        None
    }

    /// Waits until no page is mapped or pinned, and logs from time to time for what. Sleeps
    /// uninterruptibly, as long as it takes.
    ///
    /// The caller has unmapped them, and no fault maps one again.
    fn wait_for_pins(&self, name: &BStr) {
        const STEP_MS: c_uint = 20;
        const SAY_MS: c_uint = 10_000;
        let mut waited: c_uint = 0;
        for (mut start, behind) in self.windows.parts() {
            while start < behind {
                let len = behind.saturating_sub(start).min(STEP as u64);
                let Some(pinned) = self.first_pinned(start, len, false) else {
                    start += len;
                    task::cond_resched();
                    continue;
                };
                if waited % SAY_MS == STEP_MS {
                    let at = pinned.address() - self.windows.base();
                    pr_warn!("{name}: unbinding waits since {} s, because O_DIRECT, RDMA, VFIO or io_uring has pinned the page at byte {at:#x} of its memory\n", waited / 1000);
                }
                task::sleep(STEP_MS);
                waited = waited.saturating_add(STEP_MS);
            }
        }
    }

    /// Ends the use of the pages, before they go. Waits until no page is pinned, however long that
    /// takes, and logs from time to time for what. Sleeps.
    ///
    /// # Safety
    ///
    /// No page is mapped, nor will one be.
    pub(in crate::kernel_ext) unsafe fn end_pages(&self, name: &BStr) {
        let Some(device_pages) = self.pages else {
            return;
        };
        self.wait_for_pins(name);
        // The folios keep their `mapping`: memory_failure() may be using it. The memory map goes next.
        //
        // SAFETY: The device is bound, because `self` is used.
        unsafe { device_pages.unlisten() };
    }

    /// Returns the device, which is bound while a reference to `self` exists.
    pub(in crate::kernel_ext) fn device(&self) -> *mut bindings::device {
        self.dev
    }

    /// Returns the `pages` page frames from `pfn`, for mappings of `inode` while a reference to
    /// this exists. `None` if they are not all of this media, or there is none.
    ///
    /// # Safety
    ///
    /// All mappings of `inode` must be unmapped before the device is unbound.
    #[inline(always)]
    pub(in crate::kernel_ext) unsafe fn frames<'a>(
        &'a self,
        pfn: Pfn,
        pages: Pages,
        inode: &'a AnonInode,
    ) -> Option<Frames<'a>> {
        if !self.windows.contain_frames(pfn, pages) {
            return None;
        }
        // SAFETY: The range was checked just above, and the mappings are unmapped in time by the
        // requirements of this function. The windows map the media write-back.
        Some(unsafe { Frames::new(pfn, pages, inode) })
    }

    /// Whether CPU caches must be written back to the media. Not where the platform does so at a
    /// power failure (eADR).
    pub(crate) fn has_cache(&self) -> bool {
        self.has_cache
    }

    /// Writes `len` zero bytes at byte `offset`, past the CPU caches, and clears the bad blocks that
    /// it overwrites as a whole. Sleeps. Durable after [`Media::flush`].
    ///
    /// Errors: `EFBIG` past the end; `EIO` at a bad block that cannot be cleared. The bytes before
    /// it are zeroed even then.
    pub(crate) fn zero(&self, offset: RegionOffset, len: usize) -> Result {
        let mut done = 0;
        while done < len {
            let part = STEP.min(len - done);
            done += self.overwrite(offset + done as u64, part, |addr, part| {
                // SAFETY: `overwrite()` passes `part` bytes of the mapping, which is writable.
                unsafe { bindings::zero_flushcache(addr.cast(), part) };
            })?;
            task::cond_resched();
        }
        Ok(())
    }

    /// Writes the CPU caches of `len` bytes at byte `offset` back to the media, where that is
    /// needed. Sleeps. Durable after [`Media::flush`].
    ///
    /// Errors: `EFBIG` past the end.
    pub(crate) fn write_back(&self, offset: RegionOffset, len: usize) -> Result {
        if !self.windows.contain(offset, len) {
            return Err(EFBIG);
        }
        let mut done = 0;
        while self.has_cache && done < len {
            let at = offset + done as u64;
            // To the end of a folio, which is then written back as a whole.
            let within = (self.windows.base() + at.get()) as usize % STEP;
            let (addr, part) = self.windows.at(at, (STEP - within).min(len - done))?;
            self.clear_written(at, part);
            // SAFETY: `at()` has checked that the bytes are in the mapping.
            unsafe { bindings::arch_wb_cache_pmem(addr.cast(), part) };
            task::cond_resched();
            done += part;
        }
        Ok(())
    }

    /// Finds the first folio, of those with some of `len` bytes at byte `offset`, that was or may be
    /// written through a pin, and was not written back as a whole since then. Returns its bytes.
    /// `None` if no folio was, if the media has no pages, or if the CPU caches need not be written
    /// back. Any context. The caller serializes calls: otherwise a note may be missed.
    ///
    /// Errors: `EFBIG` past the end.
    pub(crate) fn first_written(
        &self,
        offset: RegionOffset,
        len: usize,
    ) -> Result<Option<Range<RegionOffset>>> {
        let Some(pages) = self.pages.filter(|_| self.has_cache) else {
            return Ok(None);
        };
        let base = self.windows.base();
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let (_, part) = self.windows.at(at, len - done)?;
            let address = base + at.get();
            let first = Pfn::at(address);
            let nr = Pfn::at(address + part as u64 - 1) - first + Pages::ONE;
            // SAFETY: The device is bound, because `self` is used. One window has these pages, and so
            // one range.
            if let Some((pfn, nr)) = unsafe { pages.find_written(first, nr) } {
                let start = RegionOffset::new(pfn.address().saturating_sub(base));
                return Ok(Some(start..start + nr.bytes()));
            }
            done += part;
        }
        Ok(None)
    }

    /// Forgets that folios which are all in `len` bytes at byte `offset`, of one window, were written
    /// through pins. The caller then writes them back.
    fn clear_written(&self, offset: RegionOffset, len: usize) {
        let Some(pages) = self.pages else {
            return;
        };
        let address = self.windows.base() + offset.get();
        let first = Pfn::at(address.next_multiple_of(bindings::PAGE_SIZE as u64));
        let whole = Pfn::at(address + len as u64).checked_sub(first);
        if let Some(whole) = whole.filter(|whole| !whole.is_zero()) {
            // SAFETY: The device is bound, because `self` is used. One window has these pages, and so
            // one range.
            unsafe { pages.clear_written(first, whole) };
        }
    }

    /// Copies up to `len` bytes at byte `offset` to `to`, and returns how many. Does not fault in
    /// the user's memory: it stops where that is absent, and at a machine check ([`Media::probe`]
    /// tells which).
    ///
    /// Errors: `EFBIG` past the end.
    pub(crate) fn copy_to_iter(
        &self,
        offset: RegionOffset,
        len: usize,
        to: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        let (addr, len) = self.windows.at(offset, len)?;
        // SAFETY: `at()` has checked that the bytes are in the mapping. What user space stores
        // there meanwhile is copied as it is. `to` is a valid destination.
        Ok(unsafe { bindings::copy_mc_to_iter_nofault(addr.cast(), len, to.as_raw()) })
    }

    /// Copies up to `len` bytes of `from` to byte `offset`, past the CPU caches, and returns how
    /// many. Does not fault in the user's memory: it stops where that is absent. Durable after
    /// [`Media::flush`]. Does not clear bad blocks: [`Media::good`] returns how many bytes have
    /// none.
    ///
    /// Errors: `EFBIG` past the end.
    pub(crate) fn copy_from_iter(
        &self,
        offset: RegionOffset,
        len: usize,
        from: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        let (addr, len) = self.windows.at(offset, len)?;
        // SAFETY: `at()` has checked that the bytes are in the mapping, which is writable. `from`
        // is a valid source.
        Ok(unsafe { bindings::copy_from_iter_flushcache_nofault(addr.cast(), len, from.as_raw()) })
    }

    /// Copies from byte `offset` to `to`, and returns the initialised bytes. Any context.
    ///
    /// Errors: `EFBIG` past the end; `EIO` at a machine check.
    pub(crate) fn read<'a>(
        &self,
        offset: RegionOffset,
        to: &'a mut [MaybeUninit<u8>],
    ) -> Result<&'a mut [u8]> {
        let mut done = 0;
        while let Some(to) = to.get_mut(done..).filter(|to| !to.is_empty()) {
            let (addr, part) = self.windows.at(offset + done as u64, to.len())?;
            let len = c_uint::try_from(part)?;
            // SAFETY: `at()` has checked that the bytes are in the mapping. `to` is valid for
            // writes.
            let left =
                unsafe { bindings::copy_mc_to_kernel(to.as_mut_ptr().cast(), addr.cast(), len) };
            if left != 0 {
                return Err(EIO);
            }
            done += part;
        }
        // SAFETY: Every byte of `to` was written by the loop (CAST: `MaybeUninit<u8>` is
        // transparent).
        Ok(unsafe { &mut *(ptr::from_mut(to) as *mut [u8]) })
    }

    /// Copies `from`, or its first part, to byte `offset`, past the CPU caches. Returns how many
    /// bytes: more than 0, unless `from` is empty. Clears the bad blocks that it overwrites as a
    /// whole. Sleeps. Durable after [`Media::flush`].
    ///
    /// Errors: `EFBIG` past the end; `EIO` if the first block is bad and cannot be cleared, or
    /// would be overwritten only in part. Nothing is written then.
    pub(crate) fn write(&self, offset: RegionOffset, from: &[u8]) -> Result<usize> {
        self.overwrite(offset, from.len(), |addr, len| {
            // SAFETY: `overwrite()` passes `len` bytes of the mapping, which is writable. `len` is
            // at most the length of `from`.
            unsafe { bindings::memcpy_flushcache(addr.cast(), from.as_ptr().cast(), len) };
        })
    }

    /// Checks that the byte at `offset` can be read without a machine check.
    ///
    /// Errors: `EIO` if not.
    pub(crate) fn probe(&self, offset: RegionOffset) -> Result {
        self.read(offset, &mut [MaybeUninit::uninit()])?;
        Ok(())
    }

    /// Returns the list of known bad blocks.
    #[inline(always)]
    pub(crate) fn bad(&self) -> Badblocks<'_> {
        // SAFETY: By the type invariants the list is initialised while a reference to `self`
        // exists.
        unsafe { Badblocks::from_raw(self.bad.as_raw()) }
    }

    /// Whether one of `len` bytes at byte `offset` is in a bad block.
    #[inline(always)]
    pub(crate) fn is_bad(&self, offset: RegionOffset, len: usize) -> bool {
        !self.bad().is_empty() && self.good(offset, len) != len
    }

    /// Updates the list of bad blocks from libnvdimm, if that knows some. Sleeps.
    pub(crate) fn update_bad(&self) {
        let Backing::Nvdimm { region, .. } = self.backing else {
            return;
        };
        let Some(last) = self.windows.size().checked_sub(1) else {
            return;
        };
        let range = bindings::range {
            start: self.windows.base(),
            end: self.windows.base() + last,
        };
        // SAFETY: `region` is valid, and the list is initialised, by the type invariants.
        unsafe { bindings::nvdimm_badblocks_populate(region, self.bad.as_raw(), &range) };
    }

    /// Returns how many of `len` bytes at byte `offset` come before the first bad block: 0 if the
    /// first byte is in one.
    #[inline(never)]
    pub(crate) fn good(&self, offset: RegionOffset, len: usize) -> usize {
        self.bad()
            .first_in(offset..offset.saturating_add(len as u64))
            .map_or(len, |bad| (bad.start - offset) as usize)
    }

    /// Same as [`Media::good`].
    ///
    /// Errors: `EIO` instead of 0, if `len` is not 0.
    pub(crate) fn prepare_read(&self, offset: RegionOffset, len: usize) -> Result<usize> {
        match self.good(offset, len) {
            0 if len != 0 => Err(EIO),
            good => Ok(good),
        }
    }

    /// Calls `write` once, with the address and the length of what can be written now of `len`
    /// bytes at byte `offset`, and returns that length. These are either the bytes before a bad
    /// block, or bad blocks that are overwritten as a whole, which this clears. More than 0, if
    /// `len` is. Sleeps.
    ///
    /// Stores of `write` past the CPU caches are complete when this returns. Nothing else orders
    /// them: after the caller has unlocked something, another task could read the old bytes, or
    /// store new ones that these then overwrite.
    ///
    /// `write` has the data available and does not fail, so no block is cleared without getting new
    /// data. Readers find a block bad until its new data is written.
    ///
    /// Errors: `EFBIG` past the end; `EIO` if blocks cannot be cleared, or would be overwritten
    /// only in part. `write` is not called then.
    fn overwrite(
        &self,
        offset: RegionOffset,
        len: usize,
        write: impl FnOnce(*mut u8, usize),
    ) -> Result<usize> {
        let (addr, len) = self.windows.at(offset, len)?;
        let write = |addr, len| {
            write(addr, len);
            // SAFETY: The C function takes no arguments, and only is a barrier.
            unsafe { bindings::wmb() };
        };
        let good = self.good(offset, len);
        if good != 0 || len == 0 {
            write(addr, good);
            return Ok(good);
        }
        let bad = self
            .bad()
            .first_in(offset..offset.saturating_add(len as u64))
            .map_or(len, |bad| (bad.end - offset) as usize);
        // One page at a time: firmware does not handle more reliably (drivers/nvdimm/pmem.c).
        let page = bindings::PAGE_SIZE - offset.get() as usize % bindings::PAGE_SIZE;
        let whole = match len >= page && page == bindings::PAGE_SIZE && self.is_removed(offset) {
            // The list may have several entries for it.
            true => page,
            false => bad.min(page) / BLOCK as usize * BLOCK as usize,
        };
        if offset.get() % BLOCK != 0 || whole == 0 {
            return Err(EIO);
        }
        let cleared = self.clear(offset, whole)?;
        write(addr, cleared);
        self.bad().forget(offset..offset + cleared as u64);
        if self.is_removed(offset) {
            // It has broken again, and perhaps this was forgotten, too.
            self.bad().note(offset..offset + cleared as u64);
        }
        Ok(cleared)
    }

    /// Whether the kernel has removed the page at byte `offset` from its direct map, or may do so
    /// soon. Never without pages.
    fn is_removed(&self, offset: RegionOffset) -> bool {
        let pfn = Pfn::at(self.windows.base() + offset.get());
        self.pages.is_some_and(|pages| {
            // SAFETY: The device is bound, because `self` is used.
            unsafe { pages.is_removed(pfn) }
        })
    }

    /// Clears bad blocks. `offset` and `len` are multiples of a block, and are of one page. Returns
    /// how many bytes of whole blocks from `offset` were cleared; their content is undefined. Sleeps.
    ///
    /// A page that the kernel has removed from its direct map is put back there, for users of its
    /// `struct page`. So it is cleared as a whole or not at all.
    ///
    /// Errors: `EFBIG` past the end; `EIO` if not even the first block was cleared.
    fn clear(&self, offset: RegionOffset, len: usize) -> Result<usize> {
        let (addr, len) = self.windows.at(offset, len)?;
        let Backing::Nvdimm { dev, .. } = self.backing else {
            return Err(EIO);
        };
        let start = self.windows.base() + offset.get();
        if self.is_removed(offset) && len != bindings::PAGE_SIZE {
            return Err(EIO);
        }
        // SAFETY: `dev` is valid, and below the bus of an NVDIMM, by the type invariants.
        let cleared = unsafe { bindings::nvdimm_clear_poison(dev, start, len as c_uint) };
        // Less than `len` if the firmware stops early: only the first blocks are cleared then.
        let cleared = usize::try_from(cleared).unwrap_or(0).min(len);
        let cleared = cleared / BLOCK as usize * BLOCK as usize;
        // Again: it may have broken meanwhile.
        let removed = self.pages.filter(|_| self.is_removed(offset));
        if cleared == 0 || removed.is_some() && cleared != bindings::PAGE_SIZE {
            return Err(EIO);
        }
        if let Some(pages) = removed {
            // SAFETY: The device is bound, because `self` is used. It has the page, as `at()` has
            // checked.
            unsafe { pages.put_back(Pfn::at(start)) };
        }
        // SAFETY: `at()` has checked that at least `cleared` bytes are in the mapping.
        unsafe { bindings::arch_invalidate_pmem(addr.cast(), cleared) };
        Ok(cleared)
    }

    /// Makes durable what was written back (`nvdimm_flush()`). Of memory that is not an NVDIMM's,
    /// only waits until the write-backs are complete. Sleeps.
    ///
    /// Errors: `EIO` and others, for regions that the host flushes (virtio-pmem).
    pub(crate) fn flush(&self) -> Result {
        match self.backing {
            Backing::Nvdimm { region, .. } => {
                // SAFETY: `region` is the enabled region, by the type invariants.
                to_result(unsafe { bindings::nvdimm_flush(region, ptr::null_mut()) })
            }
            Backing::Volatile => {
                // SAFETY: The C function takes no arguments, and only is a barrier.
                unsafe { bindings::wmb() };
                Ok(())
            }
        }
    }
}
