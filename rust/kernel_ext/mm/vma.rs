// SPDX-License-Identifier: GPL-2.0

//! A mapping that is being made.
//!
//! C header: [`include/linux/mm_types.h`](srctree/include/linux/mm_types.h), `struct vm_area_desc`

use crate::kernel_ext::{
    bindings,
    mm::vm_operations::{
        VmOperations,
        VmVTable, //
    },
    units::PageOffset, //
};
use core::marker::PhantomData;
use kernel::prelude::*;

/// A mapping that `mmap()` is about to make (`->mmap_prepare()`).
///
/// # Invariants
///
/// `raw` is the valid description of a mapping that is being made.
pub(crate) struct VmaDesc<'a> {
    raw: *mut bindings::vm_area_desc,
    _desc: PhantomData<&'a mut bindings::vm_area_desc>,
}

impl VmaDesc<'_> {
    /// # Safety
    ///
    /// `raw` must be what `->mmap_prepare()` was given, for the duration of the call.
    pub(in crate::kernel_ext) unsafe fn from_raw(raw: *mut bindings::vm_area_desc) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            raw,
            _desc: PhantomData,
        }
    }

    fn has_flag(&self, bit: u32) -> bool {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { (*self.raw).vma_flags.__vma_flags[0] & (1 << bit) != 0 }
    }

    /// Returns the addresses that it will span: the first, and the one after the last.
    pub(crate) fn range(&self) -> (usize, usize) {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { ((*self.raw).start, (*self.raw).end) }
    }

    /// Returns its first page offset in the device.
    pub(crate) fn pgoff(&self) -> PageOffset {
        // SAFETY: `raw` is valid by the type invariants.
        PageOffset::new(unsafe { (*self.raw).pgoff })
    }

    /// Whether writes reach the device (`MAP_SHARED`).
    ///
    /// By bit number: the kernel crate's `VM_MAYSHARE` is `VM_MAYEXEC` up to Linux 7.2.
    pub(crate) fn is_shared(&self) -> bool {
        self.has_flag(bindings::VMA_MAYSHARE_BIT)
    }

    /// Whether it may be written from the start (`PROT_WRITE`).
    pub(crate) fn is_writable(&self) -> bool {
        self.has_flag(bindings::VMA_WRITE_BIT)
    }

    /// Prevents it from becoming writable later (`mprotect()` then fails with `EACCES`).
    pub(crate) fn keep_read_only(&mut self) {
        // SAFETY: `raw` is valid by the type invariants, and `->mmap_prepare()` may change these
        // flags.
        unsafe { (*self.raw).vma_flags.__vma_flags[0] &= !(1 << bindings::VMA_MAYWRITE_BIT) };
    }

    /// Whether `MAP_SYNC` was asked for.
    pub(crate) fn is_sync(&self) -> bool {
        self.has_flag(bindings::VMA_SYNC_BIT)
    }

    /// Makes it a mapping of pages whose faults are served by `T`. Otherwise as
    /// [`VmaDesc::set_pfnmap`].
    ///
    /// The kernel makes a page writable without asking the driver, because otherwise it would not
    /// let pages be pinned for long (`writable_file_mapping_allowed()`).
    pub(in crate::kernel_ext) fn set_pages<T: VmOperations>(&mut self) -> Result {
        if !self.is_shared() {
            return Err(EINVAL);
        }
        let flags = 1 << bindings::VMA_DONTEXPAND_BIT
            | 1 << bindings::VMA_DONTDUMP_BIT
            | 1 << bindings::VMA_HUGEPAGE_BIT;
        // SAFETY: As in `set_pfnmap()`.
        unsafe {
            (*self.raw).vma_flags.__vma_flags[0] |= flags;
            (*self.raw).page_prot = bindings::media_prot((*self.raw).page_prot);
            (*self.raw).vm_ops = VmVTable::<T>::build_pages();
        }
        Ok(())
    }

    /// Makes it a mapping of page frames whose faults are served by `T`.
    ///
    /// `VM_HUGEPAGE` has the effect of `madvise(MADV_HUGEPAGE)`, so that the kernel asks for huge
    /// leaves in a process with `PR_THP_DISABLE_EXCEPT_ADVISED`. device_dax sets it, too. The page
    /// protection is that of unencrypted memory, because libnvdimm's own mapping of the media is
    /// unencrypted (AMD SME).
    ///
    /// Errors: `EINVAL` for a private mapping, on which `vmf_insert_pfn()` would crash.
    pub(in crate::kernel_ext) fn set_pfnmap<T: VmOperations>(&mut self) -> Result {
        if !self.is_shared() {
            return Err(EINVAL);
        }
        let flags = 1 << bindings::VMA_PFNMAP_BIT
            | 1 << bindings::VMA_DONTEXPAND_BIT
            | 1 << bindings::VMA_DONTDUMP_BIT
            | 1 << bindings::VMA_HUGEPAGE_BIT;
        // SAFETY: `raw` is valid by the type invariants, and `->mmap_prepare()` may change these
        // fields.
        unsafe {
            (*self.raw).vma_flags.__vma_flags[0] |= flags;
            (*self.raw).page_prot = bindings::media_prot((*self.raw).page_prot);
            (*self.raw).vm_ops = VmVTable::<T>::build();
        }
        Ok(())
    }
}
