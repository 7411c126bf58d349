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

    /// Sets it up for faults that `operations` serve, with `flags` besides those of every mapping of
    /// memory.
    ///
    /// `VM_HUGEPAGE` has the effect of `madvise(MADV_HUGEPAGE)`, so that the kernel asks for huge
    /// leaves in a process with `PR_THP_DISABLE_EXCEPT_ADVISED`. device_dax sets it, too.
    ///
    /// Errors: `EINVAL` for a private mapping, on which `vmf_insert_pfn()` would crash.
    fn set_up(
        &mut self,
        flags: usize,
        operations: &'static bindings::vm_operations_struct,
    ) -> Result {
        if !self.is_shared() {
            return Err(EINVAL);
        }
        let every = 1 << bindings::VMA_DONTEXPAND_BIT
            | 1 << bindings::VMA_DONTDUMP_BIT
            | 1 << bindings::VMA_HUGEPAGE_BIT;
        // SAFETY: `raw` is valid by the type invariants, and `->mmap_prepare()` may change these
        // fields.
        unsafe {
            (*self.raw).vma_flags.__vma_flags[0] |= every | flags;
            (*self.raw).vm_ops = operations;
        }
        Ok(())
    }

    /// Makes it a mapping of pages whose faults are served by `T`.
    ///
    /// If it is not `tracked`, the kernel makes a page writable without asking the driver. If it is, the
    /// kernel asks, and so does not let a page be pinned for long for writing
    /// (`writable_file_mapping_allowed()`). The page protection stays: the kernel's own mapping of
    /// pages is encrypted as that of all memory is (AMD SME).
    ///
    /// Errors: `EINVAL` for a private mapping.
    pub(in crate::kernel_ext) fn set_pages<T: VmOperations>(&mut self, tracked: bool) -> Result {
        self.set_up(0, VmVTable::<T>::build_pages(tracked))
    }

    /// Makes it a mapping of page frames whose faults are served by `T`.
    ///
    /// The page protection is that of unencrypted memory, because libnvdimm's own mapping of the
    /// media is unencrypted (AMD SME).
    ///
    /// Errors: `EINVAL` for a private mapping.
    pub(in crate::kernel_ext) fn set_pfnmap<T: VmOperations>(&mut self) -> Result {
        self.set_up(1 << bindings::VMA_PFNMAP_BIT, VmVTable::<T>::build())?;
        // SAFETY: `raw` is valid by the type invariants, and `->mmap_prepare()` may change this
        // field.
        unsafe { (*self.raw).page_prot = bindings::media_prot((*self.raw).page_prot) };
        Ok(())
    }
}
