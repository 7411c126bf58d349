// SPDX-License-Identifier: GPL-2.0

//! A huge page of zeroes.
//!
//! The kernel's own (`mm_get_huge_zero_folio()`) is not exported. It must not be mapped in a VMA
//! that is not DAX, because `zap_huge_pmd()` would look for a page table that was never deposited
//! for it.
//!
//! C header: [`include/linux/gfp.h`](srctree/include/linux/gfp.h)

use crate::kernel_ext::{
    bindings,
    fs::anon_inode::AnonInode,
    mm::frames::ZeroFrames,
    units::{
        Order,
        Pfn, //
    }, //
};
use core::ptr::NonNull;
use kernel::prelude::*;

/// Zeroed memory of the size of a PMD leaf, to be mapped read-only.
///
/// # Invariants
///
/// `page` is the first of `1 << PMD_ORDER` pages that this owns. They are never written.
pub(in crate::kernel_ext) struct HugeZeroPage {
    page: NonNull<bindings::page>,
}

// SAFETY: The pages are never written; they may be freed by any task.
unsafe impl Send for HugeZeroPage {}
// SAFETY: The pages are never written, so they may be read in parallel.
unsafe impl Sync for HugeZeroPage {}

impl HugeZeroPage {
    /// Allocates the pages. Sleeps, but does not try hard, because smaller pages can be used
    /// instead.
    ///
    /// Errors: `ENOMEM`.
    pub(in crate::kernel_ext) fn new() -> Result<Self> {
        let gfp = bindings::GFP_KERNEL
            | bindings::__GFP_ZERO
            | bindings::__GFP_NOWARN
            | bindings::__GFP_NORETRY;
        // SAFETY: The function accepts any order and flags.
        let page = unsafe { bindings::alloc_pages(gfp, bindings::PMD_ORDER) };
        // INVARIANT: Allocated just above.
        Ok(Self {
            page: NonNull::new(page).ok_or(ENOMEM)?,
        })
    }

    /// Returns its frames, for mappings of `inode`.
    ///
    /// # Safety
    ///
    /// The caller unmaps all mappings of `inode` before `self` is dropped.
    pub(in crate::kernel_ext) unsafe fn frames<'a>(
        &'a self,
        inode: &'a AnonInode,
    ) -> ZeroFrames<'a> {
        // SAFETY: By the type invariants `page` is the first page of zeroes of a PMD leaf. By the
        // requirements of this function they are unmapped before they are freed.
        unsafe {
            let pfn = Pfn::new(bindings::page_to_pfn(self.page.as_ptr()));
            ZeroFrames::new(pfn, Order::PMD.pages(), inode)
        }
    }
}

impl Drop for HugeZeroPage {
    fn drop(&mut self) {
        // SAFETY: Allocated with this order, by the type invariants.
        unsafe { bindings::__free_pages(self.page.as_ptr(), bindings::PMD_ORDER) };
    }
}
