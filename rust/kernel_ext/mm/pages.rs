// SPDX-License-Identifier: GPL-2.0

//! Memory with a `struct page` for each page, so that it can be pinned: O_DIRECT, RDMA, VFIO.
//!
//! C header: [`include/linux/memremap.h`](srctree/include/linux/memremap.h), through
//! `rust/helpers/pages.c`

use crate::kernel_ext::{
    bindings,
    mm::memory_failure::MemoryFailureOperations,
    units::{
        Pages,
        Pfn, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow, //
    },
    workqueue::Work, //
};

/// The pages of the memory of a device on the dax bus.
///
/// # Invariants
///
/// While the device `device` is bound to this driver, `raw` are its pages. No others have this `id`.
#[derive(Clone, Copy)]
pub(in crate::kernel_ext) struct DevicePages {
    raw: NonNull<bindings::rdax_pages>,
    device: *mut bindings::dev_dax,
    id: PagesId,
}

/// The number of pages of devices that were made.
static MADE: Atomic<u64> = Atomic::new(0);

impl DevicePages {
    /// Makes the pages of `ranges`, until devres of the device releases them. Sleeps.
    ///
    /// Errors: `ENOMEM`; `EINVAL` if the bus has planned other ranges; those of `memremap_pages()`.
    ///
    /// # Safety
    ///
    /// `device` is being bound to this driver, has these ranges, and has requested their memory.
    /// The result is not used after it is unbound.
    pub(in crate::kernel_ext) unsafe fn new(
        device: *mut bindings::dev_dax,
        ranges: &[bindings::range],
    ) -> Result<Self> {
        let mut raw = core::ptr::null_mut();
        let nr = c_uint::try_from(ranges.len())?;
        // SAFETY: By the requirements of this function. The ranges are valid for reads.
        to_result(unsafe {
            bindings::dev_dax_memremap_pages(device, ranges.as_ptr(), nr, &mut raw)
        })?;
        // INVARIANT: Made just above. 64 bits do not overflow.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENXIO)?,
            device,
            id: PagesId(MADE.fetch_add(1, Relaxed)),
        })
    }

    /// Returns what identifies them. Any context.
    pub(in crate::kernel_ext) fn id(self) -> PagesId {
        self.id
    }

    /// Returns the inode for mappings of these pages, with a reference to it.
    ///
    /// # Safety
    ///
    /// The device is bound.
    pub(in crate::kernel_ext) unsafe fn inode(self) -> Result<NonNull<bindings::inode>> {
        // SAFETY: By the requirements of this function.
        NonNull::new(unsafe { bindings::dev_dax_get_inode(self.device) }).ok_or(ENXIO)
    }

    /// Takes the pages for a value that maps them and ends their use. Any context. Errors: `EBUSY` if
    /// another value has them.
    ///
    /// # Safety
    ///
    /// The device is bound.
    pub(in crate::kernel_ext) unsafe fn take(self) -> Result {
        // SAFETY: The pages exist by the requirements of this function and the type invariants.
        match unsafe { bindings::pages_take(self.raw.as_ptr()) } {
            true => Ok(()),
            false => Err(EBUSY),
        }
    }

    /// Undoes [`DevicePages::take`], for a value that was not made after all. Any context.
    ///
    /// # Safety
    ///
    /// The device is bound. The caller has taken the pages, and maps none.
    pub(in crate::kernel_ext) unsafe fn give_back(self) {
        // SAFETY: The pages exist by the requirements of this function and the type invariants.
        unsafe { bindings::pages_give_back(self.raw.as_ptr()) };
    }

    /// Finds the first folio, of those with one of the `pages` pages, not 0, from `pfn`, that was
    /// written through a pin. Returns its first page and the number of its pages. Any context; the
    /// caller serializes calls.
    ///
    /// # Safety
    ///
    /// The device is bound, and one of its ranges has these pages.
    pub(in crate::kernel_ext) unsafe fn find_written(
        self,
        pfn: Pfn,
        pages: Pages,
    ) -> Option<(Pfn, Pages)> {
        let (mut first, mut nr) = (pfn.get(), pages.get());
        // SAFETY: By the requirements of this function and the type invariants.
        unsafe { bindings::pages_find_written(self.raw.as_ptr(), &mut first, &mut nr) }
            .then(|| (Pfn::new(first), Pages::new(nr)))
    }

    /// Forgets that folios were written, of those that are all in the `pages` pages, not 0, from `pfn`.
    /// What was written is visible to the caller, which then writes it back. Any context.
    ///
    /// # Safety
    ///
    /// The device is bound, and one of its ranges has these pages.
    pub(in crate::kernel_ext) unsafe fn clear_written(self, pfn: Pfn, pages: Pages) {
        // SAFETY: By the requirements of this function and the type invariants.
        unsafe { bindings::pages_clear_written(self.raw.as_ptr(), pfn.get(), pages.get()) };
    }

    /// Whether the kernel has removed the page `pfn` from its direct map, or may do so soon, because
    /// it broke. Any context.
    ///
    /// # Safety
    ///
    /// The device is bound.
    pub(in crate::kernel_ext) unsafe fn is_removed(self, pfn: Pfn) -> bool {
        // SAFETY: The pages exist by the requirements of this function and the type invariants. Any
        // number is looked up.
        unsafe { bindings::pages_is_removed(self.raw.as_ptr(), pfn.get()) }
    }

    /// Puts the page `pfn` back into the direct map, if it was removed. All of its errors have been
    /// cleared. Sleeps, 100 ms if the page broke less than 100 ms ago.
    ///
    /// # Safety
    ///
    /// The device is bound, and has this page.
    pub(in crate::kernel_ext) unsafe fn put_back(self, pfn: Pfn) {
        // SAFETY: By the requirements of this function and the type invariants.
        unsafe { bindings::pages_put_back(self.raw.as_ptr(), pfn.get()) };
    }

    /// Calls [`MemoryFailureOperations::broken`] of `device` for each page that has broken since the
    /// pages were made, and for each that breaks, in process context, until
    /// [`DevicePages::unlisten`]. Sleeps.
    ///
    /// # Safety
    ///
    /// The device of the dax bus is bound, and `unlisten()` is called before it is unbound.
    pub(in crate::kernel_ext) unsafe fn listen<T: MemoryFailureOperations>(self, device: Arc<T>) {
        let data = Arc::into_raw(device).cast_mut().cast();
        // SAFETY: The pages exist by the requirements of this function and the type invariants. The
        // callbacks get a `T` that `put()` takes back.
        unsafe {
            bindings::pages_listen(self.raw.as_ptr(), Some(broken::<T>), Some(put::<T>), data);
        }
    }

    /// Ends [`DevicePages::listen`], if it was called. When this returns no callback runs, and the
    /// work that they left has finished. Sleeps.
    ///
    /// # Safety
    ///
    /// The device of the dax bus is bound.
    pub(in crate::kernel_ext) unsafe fn unlisten(self) {
        // SAFETY: The pages exist by the requirements of this function and the type invariants.
        unsafe {
            bindings::pages_listen(self.raw.as_ptr(), None, None, core::ptr::null_mut());
        }
    }
}

/// What identifies the pages of a device while it is bound, and no others afterwards.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel_ext) struct PagesId(u64);

/// # Safety
///
/// `data` is an `Arc<T>` made into a pointer, which stays while this runs.
unsafe extern "C" fn broken<T: MemoryFailureOperations>(data: *mut c_void, pfn: c_ulong) {
    // SAFETY: By the requirements of this function.
    let device = unsafe { ArcBorrow::from_raw(data.cast_const().cast::<T>()) };
    // The kernel finds the tasks that map the page.
    let _ = T::broken(device, Pfn::new(pfn));
}

/// # Safety
///
/// `data` is an `Arc<T>` made into a pointer, which this takes back. [`broken`] is not called with it
/// any more.
unsafe extern "C" fn put<T: MemoryFailureOperations>(data: *mut c_void) {
    // SAFETY: By the requirements of this function.
    let device = unsafe { Arc::from_raw(data.cast_const().cast::<T>()) };
    // SAFETY: The work is initialised, and lives as long as `device`. It is not queued again.
    unsafe { bindings::flush_work(Work::raw_get(device.work())) };
}

/// Whether nothing pins the pages that share a folio with page `pfn`, and how many of them there are
/// from this one. Any context.
///
/// `mapped`: they may be mapped, and the answer is a hint. Otherwise the caller has unmapped them, and
/// keeps them so.
///
/// # Safety
///
/// The page has a `struct page`, while this runs.
pub(in crate::kernel_ext) unsafe fn is_idle(pfn: Pfn, mapped: bool) -> (bool, Pages) {
    let mut nr = 1;
    // SAFETY: By the requirements of this function.
    let idle = unsafe { bindings::pages_are_idle(pfn.get(), mapped, &mut nr) };
    (idle, Pages::new(nr.max(1)))
}
