// SPDX-License-Identifier: GPL-2.0

//! A huge page of zeroes.
//!
//! The kernel's own (`mm_get_huge_zero_folio()`) is not exported, and must not be mapped in a VMA that
//! is not DAX: `zap_huge_pmd()` would look for a page table that was never deposited for it.
//!
//! C header: [`include/linux/gfp.h`](srctree/include/linux/gfp.h)

use crate::kernel_ext::{
    bindings,
    fs::anon_inode::AnonInode,
    mm::frames::ZeroFrames, //
};
use core::{
    num::NonZero,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// The pages of a PMD leaf.
const PAGES: NonZero<usize> = match NonZero::new(1 << bindings::PMD_ORDER) {
    Some(pages) => pages,
    None => NonZero::<usize>::MIN,
};

/// Memory of the size of a PMD leaf, zeroed, to be mapped read-only.
///
/// # Invariants
///
/// `page` is the first of `1 << PMD_ORDER` pages allocated to this, and nobody writes to them.
pub(in crate::kernel_ext) struct HugeZeroPage {
    page: NonNull<bindings::page>,
}

// SAFETY: The pages are never written; they may be freed by any task.
unsafe impl Send for HugeZeroPage {}
// SAFETY: As above.
unsafe impl Sync for HugeZeroPage {}

impl HugeZeroPage {
    /// Allocates one. Sleeps; without much effort, since smaller pages serve as well.
    ///
    /// Errors: `ENOMEM`.
    pub(in crate::kernel_ext) fn new() -> Result<Self> {
        let gfp = bindings::GFP_KERNEL
            | bindings::__GFP_ZERO
            | bindings::__GFP_NOWARN
            | bindings::__GFP_NORETRY;
        // SAFETY: Any order and flags may be asked for.
        let page = unsafe { bindings::alloc_pages(gfp, bindings::PMD_ORDER) };
        // INVARIANT: Allocated just above.
        Ok(Self {
            page: NonNull::new(page).ok_or(ENOMEM)?,
        })
    }

    /// Its frames, to be mapped by mappings of `inode`.
    ///
    /// # Safety
    ///
    /// What maps `inode` must be unmapped before `self` is dropped.
    pub(in crate::kernel_ext) unsafe fn frames<'a>(
        &'a self,
        inode: &'a AnonInode,
    ) -> ZeroFrames<'a> {
        // SAFETY: `page` is valid by the type invariants, and so many pages of zeroes; the rest by the
        // requirements of this function.
        unsafe { ZeroFrames::new(bindings::page_to_pfn(self.page.as_ptr()), PAGES, inode) }
    }
}

impl Drop for HugeZeroPage {
    fn drop(&mut self) {
        // SAFETY: Allocated with this order, by the type invariants.
        unsafe { bindings::__free_pages(self.page.as_ptr(), bindings::PMD_ORDER) };
    }
}
