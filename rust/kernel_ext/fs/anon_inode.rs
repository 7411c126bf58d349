// SPDX-License-Identifier: GPL-2.0

//! An inode whose mappings can be found and torn down.
//!
//! A device node may exist several times (`mknod()`, containers), each with an inode and an
//! `address_space` of its own. All opens of one device share the one of an anonymous inode
//! instead, so that one walk finds every mapping. `drm_fs_inode_new()` is the in-tree model.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h)

use crate::kernel_ext::{
    bindings,
    mm::puds::{
        Inserting,
        Puds, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

/// An inode that no path leads to.
///
/// # Invariants
///
/// `inode` is valid, and this owns a reference to it. Where its mappings have a PUD leaf, `puds` says so.
pub(crate) struct AnonInode {
    inode: NonNull<bindings::inode>,
    puds: Puds,
}

// SAFETY: An inode is reference-counted and made to be used from any thread.
unsafe impl Send for AnonInode {}
// SAFETY: As above.
unsafe impl Sync for AnonInode {}

/// File operations of a file that is gone before anybody sees it.
struct NoOperations(bindings::file_operations);

// SAFETY: It is never written.
unsafe impl Sync for NoOperations {}

static NO_OPERATIONS: NoOperations = NoOperations(pin_init::zeroed());

impl AnonInode {
    /// Makes one whose mappings have PUD leaves below page offset `pages` only. Sleeps.
    ///
    /// Errors: `ENOMEM`, `ENFILE`.
    pub(crate) fn new(name: &'static CStr, pages: usize) -> Result<Self> {
        let puds = Puds::new(pages)?;
        // The file is only the way to an inode: the operations have no owner, since a reference
        // to this module held by the module itself could never be dropped.
        //
        // SAFETY: The name and the operations are static.
        let file = from_err_ptr(unsafe {
            bindings::anon_inode_create_getfile(
                name.as_char_ptr(),
                &NO_OPERATIONS.0,
                core::ptr::null_mut(),
                bindings::O_RDWR as c_int,
                core::ptr::null(),
            )
        })?;
        // Not `fput()`, which leaves the work to the task's return to user space: the module, and the
        // operations in it, may be gone by then.
        //
        // SAFETY: `file` has an inode, and its only reference is ours; the reference to the inode
        // outlives it. No lock is held that releasing an anonymous inode's file takes.
        let inode = unsafe {
            let inode = (*file).f_inode;
            bindings::ihold(inode);
            bindings::__fput_sync(file);
            inode
        };
        // INVARIANT: The reference was taken just above; nothing maps it yet.
        Ok(Self {
            inode: NonNull::new(inode).ok_or(ENXIO)?,
            puds,
        })
    }

    pub(in crate::kernel_ext) fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: `inode` is valid by the type invariants.
        unsafe { (*self.inode.as_ptr()).i_mapping }
    }

    /// To be called before a PUD leaf is put at page offset `pgoff`; it is there by the time that the
    /// result is dropped. Any context. `None` when it must not be put there now.
    pub(in crate::kernel_ext) fn insert_pud(&self, pgoff: usize) -> Option<Inserting<'_>> {
        self.puds.insert(pgoff)
    }

    /// Removes every page-table entry of the mappings of `pages` pages of this inode from page offset
    /// `pgoff` on, in all processes. A huge leaf that reaches into them goes as a whole.
    ///
    /// Sleeps; takes `i_mmap_rwsem` and page-table locks.
    pub(crate) fn unmap_pages(&self, pgoff: usize, pages: usize) {
        let Some(end) = pgoff.checked_add(pages).filter(|_| pages != 0) else {
            // 0 pages would be all.
            return;
        };
        self.puds.unmap(pgoff, end, |pgoff, pages| {
            // SAFETY: `inode` and so its `address_space` are valid by the type invariants.
            unsafe { bindings::unmap_mapping_pages(self.mapping(), pgoff, pages, false) };
        });
    }

    /// Makes every page-table entry read-only and clean, in all processes, that maps the `pages`
    /// page frames from `pfn` on, which lie at page offset `pgoff`: the next write faults. Where a PUD leaf
    /// may map one of them, what maps them is removed instead.
    ///
    /// Finds at most one leaf in each VMA: of a PMD, if the run is that of one, or of a PTE for each page.
    /// Sleeps; takes `i_mmap_rwsem` and page-table locks.
    pub(crate) fn write_protect_pages(&self, pgoff: usize, pfn: usize, pages: usize) {
        // The walk would take what is behind a PUD leaf for a page table.
        match self.puds.walk(pgoff, pages) {
            Some(_walking) => {
                // SAFETY: `inode` and so its `address_space` are valid by the type invariants, and its
                // mappings have no PUD leaf there while `_walking` exists.
                unsafe { bindings::mapping_wrprotect_range(self.mapping(), pgoff, pfn, pages) };
            }
            None => self.unmap_pages(pgoff, pages),
        }
    }

    /// Notes that data of this inode may have been lost: each open file will say so once, at its next
    /// sync (`mapping_set_error()`). Any context.
    pub(crate) fn set_error(&self, error: Error) {
        // SAFETY: As above.
        unsafe { bindings::errseq_set(&raw mut (*self.mapping()).wb_err, error.to_errno()) };
    }

    /// Removes every page-table entry of every mapping of this inode, in all processes.
    ///
    /// Sleeps; takes `i_mmap_rwsem` and page-table locks.
    pub(crate) fn unmap_all(&self) {
        // SAFETY: `inode` and so its `address_space` are valid by the type invariants.
        unsafe { bindings::unmap_mapping_range(self.mapping(), 0, 0, 1) };
    }
}

impl Drop for AnonInode {
    fn drop(&mut self) {
        // SAFETY: This owns a reference by the type invariants.
        unsafe { bindings::iput(self.inode.as_ptr()) };
    }
}
