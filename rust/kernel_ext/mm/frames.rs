// SPDX-License-Identifier: GPL-2.0

//! Page frames and zeroes that mappings may map.
//!
//! C header: [`include/linux/huge_mm.h`](srctree/include/linux/huge_mm.h)

use crate::kernel_ext::{
    bindings,
    fs::anon_inode::AnonInode,
    units::{
        Pages,
        Pfn, //
    }, //
};

/// Page frames of the media, for mappings of one inode.
///
/// # Invariants
///
/// `pages` is not 0. The `pages` frames from `pfn` are memory that user space may access, and that
/// the kernel maps write-back. If `inode` has pages, these frames are of them. The memory exists at least for `'a`, and all mappings of `inode` are
/// unmapped before it goes.
#[derive(Clone, Copy)]
pub(crate) struct Frames<'a> {
    pub(in crate::kernel_ext) pfn: Pfn,
    pages: Pages,
    pub(in crate::kernel_ext) inode: &'a AnonInode,
}

impl<'a> Frames<'a> {
    /// # Safety
    ///
    /// The invariants of the type must hold for the `pages` frames from `pfn`.
    pub(in crate::kernel_ext) unsafe fn new(pfn: Pfn, pages: Pages, inode: &'a AnonInode) -> Self {
        // INVARIANT: By the requirements of this function.
        Self { pfn, pages, inode }
    }

    /// Returns the first `pages` of them: at least one, and all if there are fewer.
    pub(crate) fn first(self, pages: Pages) -> Self {
        // INVARIANT: They hold for a part of `self`.
        Self {
            pages: pages.clamp(Pages::ONE, self.pages),
            ..self
        }
    }

    pub(in crate::kernel_ext) fn leaves(&self, writable: bool) -> Leaves<'a> {
        // INVARIANT: They hold for `self`.
        Leaves {
            pfn: self.pfn,
            pages: self.pages,
            inode: Some(self.inode),
            kind: if writable {
                bindings::rdax_leaf_RDAX_LEAF_WRITE
            } else {
                bindings::rdax_leaf_RDAX_LEAF_READ
            },
        }
    }
}

/// Page frames of zeroes, which are mapped read-only.
///
/// # Invariants
///
/// Those of [`Frames`], and the frames are zeroes that are never written. Without an `inode` they
/// are the kernel's own, which are never freed.
#[derive(Clone, Copy)]
pub(crate) struct ZeroFrames<'a> {
    pfn: Pfn,
    pages: Pages,
    inode: Option<&'a AnonInode>,
}

impl<'a> ZeroFrames<'a> {
    /// # Safety
    ///
    /// The invariants of the type must hold for the `pages` frames from `pfn`.
    pub(in crate::kernel_ext) unsafe fn new(pfn: Pfn, pages: Pages, inode: &'a AnonInode) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            pfn,
            pages,
            inode: Some(inode),
        }
    }

    /// Returns the kernel's zero page, for the address `address`.
    pub(in crate::kernel_ext) fn page(address: usize) -> ZeroFrames<'static> {
        // SAFETY: The C function only computes a frame number.
        let pfn = Pfn::new(unsafe { bindings::zero_pfn(address) });
        // INVARIANT: This is the kernel's zero page.
        ZeroFrames {
            pfn,
            pages: Pages::ONE,
            inode: None,
        }
    }

    pub(in crate::kernel_ext) fn leaves(&self) -> Leaves<'a> {
        // INVARIANT: They hold for `self`.
        Leaves {
            pfn: self.pfn,
            pages: self.pages,
            inode: self.inode,
            kind: bindings::rdax_leaf_RDAX_LEAF_ZERO,
        }
    }
}

/// What to map, and how.
///
/// # Invariants
///
/// Those of [`Frames`]; or those of [`ZeroFrames`], and `kind` is `RDAX_LEAF_ZERO`.
#[derive(Clone, Copy)]
pub(in crate::kernel_ext) struct Leaves<'a> {
    pub(in crate::kernel_ext) pfn: Pfn,
    pub(in crate::kernel_ext) pages: Pages,
    pub(in crate::kernel_ext) inode: Option<&'a AnonInode>,
    pub(in crate::kernel_ext) kind: bindings::rdax_leaf,
}
