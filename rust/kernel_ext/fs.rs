// SPDX-License-Identifier: GPL-2.0

//! An inode whose mappings can be found and torn down.
//!
//! A device node may exist several times (`mknod()`, containers), each with an inode and an
//! `address_space` of its own. All opens of one device share the one of an anonymous inode
//! instead, so that one walk finds every mapping. `drm_fs_inode_new()` is the in-tree model.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h)

use super::{
    bindings,
    bug::warn_on, //
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
/// `inode` is valid, and this owns a reference to it.
pub(crate) struct AnonInode {
    inode: NonNull<bindings::inode>,
}

// SAFETY: An inode is reference-counted and made to be used from any thread.
unsafe impl Send for AnonInode {}
// SAFETY: As above.
unsafe impl Sync for AnonInode {}

/// File operations of a file that is put before anybody sees it.
struct NoOperations(bindings::file_operations);

// SAFETY: It is never written.
unsafe impl Sync for NoOperations {}

static NO_OPERATIONS: NoOperations = NoOperations(pin_init::zeroed());

impl AnonInode {
    /// Makes one. Sleeps.
    ///
    /// Errors: `ENOMEM`, `ENFILE`.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
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
        // SAFETY: `file` is a file of ours alone, with an inode; the reference that is taken
        // outlives it.
        let inode = unsafe {
            let inode = (*file).f_inode;
            bindings::ihold(inode);
            bindings::fput(file);
            inode
        };
        // INVARIANT: The reference was taken just above.
        Ok(Self {
            inode: NonNull::new(inode).ok_or(ENXIO)?,
        })
    }

    pub(super) fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: `inode` is valid by the type invariants.
        unsafe { (*self.inode.as_ptr()).i_mapping }
    }

    /// Removes every page-table entry of the mappings of `pages` pages of this inode from page offset
    /// `pgoff` on, in all processes. A huge leaf that reaches into them goes as a whole.
    ///
    /// Sleeps; takes `i_mmap_rwsem` and page-table locks.
    pub(crate) fn unmap_pages(&self, pgoff: usize, pages: usize) {
        // 0 pages would be all.
        if pages != 0 {
            // SAFETY: `inode` and so its `address_space` are valid by the type invariants.
            unsafe { bindings::unmap_mapping_pages(self.mapping(), pgoff, pages, false) };
        }
    }

    /// Makes every page-table entry read-only and clean, in all processes, that maps the `pages`
    /// page frames from `pfn` on, which lie at page offset `pgoff`: the next write faults.
    ///
    /// At most a PMD leaf; and the lock is held without which no PUD leaf would be put there: the
    /// walk would take what is behind one for a page table. Sleeps; takes `i_mmap_rwsem` and
    /// page-table locks.
    pub(crate) fn write_protect_pages(&self, pgoff: usize, pfn: usize, pages: usize) {
        // A leaf for each VMA is all that a call finds.
        warn_on(pages > 1 << bindings::PMD_ORDER);
        // SAFETY: `inode` and so its `address_space` are valid by the type invariants.
        unsafe { bindings::mapping_wrprotect_range(self.mapping(), pgoff, pfn, pages) };
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
