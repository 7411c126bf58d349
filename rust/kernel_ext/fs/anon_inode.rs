// SPDX-License-Identifier: GPL-2.0

//! An inode whose mappings can be found and unmapped.
//!
//! A device node may exist several times (`mknod()`, containers), each with an inode and an
//! `address_space` of its own. All opens of one device share that of an anonymous inode instead, so
//! that one walk finds every mapping. `drm_fs_inode_new()` is the in-tree model. Where the memory has
//! a `struct page` for each page, it is the inode that the dax bus has made for the device, because
//! `memory_failure()` expects that.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h)

use crate::kernel_ext::{
    bindings,
    mm::{
        pages::{
            DevicePages,
            PagesId, //
        },
        puds::{
            Inserting,
            Puds, //
        }, //
    },
    units::{
        PageOffset,
        Pages,
        Pfn, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

/// An inode without a path.
///
/// # Invariants
///
/// `inode` is valid, and this owns a reference to it. Where its mappings have a PUD leaf, `puds`
/// records that. If `pages` is given, it is the inode of the device with these pages, and its
/// mappings are set up for pages; otherwise they are for page frames.
pub(crate) struct AnonInode {
    inode: NonNull<bindings::inode>,
    puds: Puds,
    pages: Option<PagesId>,
}

// SAFETY: An inode is reference-counted and may be used from any thread.
unsafe impl Send for AnonInode {}
// SAFETY: All methods take `&self`, and their C functions take the locks that they need.
unsafe impl Sync for AnonInode {}

/// File operations of a file that is released before it is visible to others.
struct NoOperations(bindings::file_operations);

// SAFETY: It is never written.
unsafe impl Sync for NoOperations {}

static NO_OPERATIONS: NoOperations = NoOperations(pin_init::zeroed());

impl AnonInode {
    /// Makes one whose mappings have PUD leaves only in the first `pages` pages. Sleeps.
    ///
    /// Errors: `ENOMEM`, `ENFILE`.
    pub(crate) fn new(name: &'static CStr, pages: Pages) -> Result<Self> {
        let puds = Puds::new(pages)?;
        // The file is only needed to make an inode. Its operations have no owner, because a
        // reference to this module held by the module itself could never be dropped.
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
        // Not `fput()`, which defers the work to the task's return to user space, when the module,
        // and the operations in it, may be gone.
        //
        // SAFETY: `file` has an inode, and its only reference is held here. The reference to the
        // inode outlives it. No lock is held that the release of an anonymous inode's file takes.
        let inode = unsafe {
            let inode = (*file).f_inode;
            bindings::ihold(inode);
            bindings::__fput_sync(file);
            inode
        };
        // INVARIANT: The reference was taken just above. Nothing maps the inode yet.
        Ok(Self {
            inode: NonNull::new(inode).ok_or(ENXIO)?,
            puds,
            pages: None,
        })
    }

    /// Returns the inode of a device with pages. Unlike the others it has a path. Sleeps.
    ///
    /// Errors: `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The device is bound.
    pub(in crate::kernel_ext) unsafe fn of_device(pages: DevicePages) -> Result<Self> {
        // No mapping of pages has a PUD leaf.
        let puds = Puds::new(Pages::ZERO)?;
        // INVARIANT: The inode comes with a reference. `FileVTable` sets up its mappings, until the
        // device is unbound.
        Ok(Self {
            // SAFETY: By the requirements of this function.
            inode: unsafe { pages.inode() }?,
            puds,
            pages: Some(pages.id()),
        })
    }

    /// Returns what identifies the pages that its mappings map, if they map pages.
    pub(in crate::kernel_ext) fn pages(&self) -> Option<PagesId> {
        self.pages
    }

    /// Whether its mappings map pages, and not page frames.
    pub(crate) fn has_pages(&self) -> bool {
        self.pages.is_some()
    }

    /// Prepares the inode for mappings, if it is one with pages. Nothing maps it yet, and
    /// [`AnonInode::leave`] is called before the device is unbound.
    pub(in crate::kernel_ext) fn enter(&self) {
        if self.has_pages() {
            // SAFETY: `inode` is valid by the type invariants, and is that of a device with pages.
            unsafe { bindings::dev_dax_enter_inode(self.inode.as_ptr()) };
        }
    }

    /// Leaves the inode to the next driver of its device, if it is one with pages. Nothing maps or
    /// pins these pages any more.
    pub(in crate::kernel_ext) fn leave(&self) {
        if self.has_pages() {
            // SAFETY: `inode` is valid by the type invariants, and is that of a device with pages.
            unsafe { bindings::dev_dax_leave_inode(self.inode.as_ptr()) };
        }
    }

    pub(in crate::kernel_ext) fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: `inode` is valid by the type invariants.
        unsafe { (*self.inode.as_ptr()).i_mapping }
    }

    /// Announces that a PUD leaf will be set at page offset `pgoff`, before the result is dropped.
    /// Any context. `None` if no leaf may be set there now.
    pub(in crate::kernel_ext) fn insert_pud(&self, pgoff: PageOffset) -> Option<Inserting<'_>> {
        self.puds.insert(pgoff)
    }

    /// Removes every page-table entry, in all processes, of the mappings of the `pages` pages of
    /// this inode from page offset `pgoff`. A huge leaf that reaches into them is removed as a
    /// whole.
    ///
    /// Sleeps; takes `i_mmap_rwsem` and page-table locks.
    pub(crate) fn unmap_pages(&self, pgoff: PageOffset, pages: Pages) {
        let Some(end) = pgoff.checked_add(pages).filter(|_| !pages.is_zero()) else {
            // The C function takes 0 pages as all pages.
            return;
        };
        self.puds.unmap(pgoff, end, |pgoff, pages| {
            // SAFETY: `inode` and so its `address_space` are valid by the type invariants.
            unsafe {
                bindings::unmap_mapping_pages(self.mapping(), pgoff.get(), pages.get(), false);
            }
        });
    }

    /// Makes read-only and clean every page-table entry, in all processes, that maps the `pages`
    /// page frames from `pfn`, which lie at page offset `pgoff`. The next write faults. Where a PUD
    /// leaf may map one of them, unmaps them instead.
    ///
    /// Finds at most one leaf in each VMA: that of a PMD, if the run is that of one, or a PTE for
    /// each page. Sleeps; takes `i_mmap_rwsem` and page-table locks.
    ///
    /// # Safety
    ///
    /// The inode is not left, and [`AnonInode::leave`] is not called meanwhile: the next driver of the
    /// device may set PUD leaves, which `puds` does not record.
    pub(in crate::kernel_ext) unsafe fn write_protect_pages(
        &self,
        pgoff: PageOffset,
        pfn: Pfn,
        pages: Pages,
    ) {
        // The walk would take the media under a PUD leaf for a page table.
        match self.puds.walk(pgoff, pages) {
            Some(_walking) => {
                // SAFETY: `inode` and so its `address_space` are valid by the type invariants, and
                // its mappings have no PUD leaf there while `_walking` exists.
                unsafe {
                    bindings::mapping_wrprotect_range(
                        self.mapping(),
                        pgoff.get(),
                        pfn.get(),
                        pages.get(),
                    );
                }
            }
            None => self.unmap_pages(pgoff, pages),
        }
    }

    /// Records that data of this inode may have been lost. Each open file reports it once, at its
    /// next sync (`mapping_set_error()`). Any context.
    pub(crate) fn set_error(&self, error: Error) {
        // SAFETY: `inode`, and so its `address_space`, is valid by the type invariants.
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
