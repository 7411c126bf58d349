// SPDX-License-Identifier: GPL-2.0

//! Memory mappings of a device: setting up a VMA, and serving its faults with page frames.
//!
//! For `VM_PFNMAP` mappings, on memory that need not have a `struct page`. The in-tree model of
//! one with huge faults is `drivers/vfio/pci/vfio_pci_core.c`.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/huge_mm.h`](srctree/include/linux/huge_mm.h)

use super::{
    bindings,
    fs::AnonInode, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    num::NonZero,
    ptr::{
        self,
        NonNull, //
    },
    slice, //
};
use kernel::{
    error::from_result,
    prelude::*,
    task::Task,
    types::NotThreadSafe, //
};

/// The size of a page-table leaf, as its order: it maps `1 << order` pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// One page (4 KiB on x86-64).
    Pte,
    /// A PMD leaf (2 MiB).
    Pmd,
    /// A PUD leaf (1 GiB).
    Pud,
}

impl Level {
    fn from_order(order: c_uint) -> Option<Self> {
        match order {
            0 => Some(Self::Pte),
            bindings::PMD_ORDER => Some(Self::Pmd),
            bindings::PUD_ORDER => Some(Self::Pud),
            _ => None,
        }
    }

    /// The order of the leaf: 0, `PMD_ORDER` or `PUD_ORDER`.
    pub(crate) const fn order(self) -> u32 {
        match self {
            Self::Pte => 0,
            Self::Pmd => bindings::PMD_ORDER,
            Self::Pud => bindings::PUD_ORDER,
        }
    }
}

/// How a fault ended (`vm_fault_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum FaultResult {
    /// The page-table entry is in place.
    Mapped,
    /// Somebody else has changed the page table meanwhile: the access is simply tried again.
    Raced,
    /// Not at this size: the kernel tries the next smaller one.
    Fallback,
    /// No memory.
    Oom,
    /// There is nothing at this address: SIGBUS.
    Sigbus,
    /// What is at this address is broken: SIGBUS with BUS_MCEERR_AR.
    Hwpoison,
}

impl FaultResult {
    fn into_raw(self) -> bindings::vm_fault_t {
        match self {
            Self::Mapped | Self::Raced => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
            Self::Fallback => bindings::vm_fault_reason_VM_FAULT_FALLBACK,
            Self::Oom => bindings::vm_fault_reason_VM_FAULT_OOM,
            Self::Sigbus => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
            Self::Hwpoison => bindings::vm_fault_reason_VM_FAULT_HWPOISON,
        }
    }

    fn from_raw(raw: bindings::vm_fault_t) -> Self {
        if raw & bindings::vm_fault_reason_VM_FAULT_NOPAGE != 0 {
            Self::Mapped
        } else if raw & bindings::vm_fault_reason_VM_FAULT_OOM != 0 {
            Self::Oom
        } else {
            Self::Sigbus
        }
    }
}

/// Page frames of the media, to be mapped by mappings of one inode.
///
/// # Invariants
///
/// `pages` frames from `pfn` on are memory that user space may have, and that the kernel maps
/// write-back. It stays at least as long as `'a` lasts, and what maps `inode` is unmapped before it goes.
#[derive(Clone, Copy)]
pub(crate) struct Frames<'a> {
    pfn: usize,
    pages: NonZero<usize>,
    inode: &'a AnonInode,
}

impl<'a> Frames<'a> {
    /// # Safety
    ///
    /// The invariants of the type must hold for `pages` frames from `pfn` on.
    pub(super) unsafe fn new(pfn: usize, pages: NonZero<usize>, inode: &'a AnonInode) -> Self {
        // INVARIANT: By the requirements of this function.
        Self { pfn, pages, inode }
    }

    /// The first `pages` of them; fewer, where there are not so many.
    pub(crate) fn first(self, pages: NonZero<usize>) -> Self {
        // INVARIANT: A part of what it held for.
        Self {
            pages: pages.min(self.pages),
            ..self
        }
    }

    fn leaves(&self, writable: bool) -> Leaves<'a> {
        // INVARIANT: By those of `self`.
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
/// As those of [`Frames`], of zeroes that nobody writes to. Without an `inode` they are the kernel's own,
/// which stay.
#[derive(Clone, Copy)]
pub(crate) struct ZeroFrames<'a> {
    pfn: usize,
    pages: NonZero<usize>,
    inode: Option<&'a AnonInode>,
}

impl<'a> ZeroFrames<'a> {
    /// # Safety
    ///
    /// The invariants of the type must hold for `pages` frames from `pfn` on.
    pub(super) unsafe fn new(pfn: usize, pages: NonZero<usize>, inode: &'a AnonInode) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            pfn,
            pages,
            inode: Some(inode),
        }
    }

    /// The kernel's zero page, to be mapped at `address`.
    fn page(address: usize) -> ZeroFrames<'static> {
        // SAFETY: The C function only looks for a frame number.
        let pfn = unsafe { bindings::zero_pfn(address) };
        // INVARIANT: The kernel's zero page.
        ZeroFrames {
            pfn,
            pages: NonZero::<usize>::MIN,
            inode: None,
        }
    }

    fn leaves(&self) -> Leaves<'a> {
        // INVARIANT: By those of `self`.
        Leaves {
            pfn: self.pfn,
            pages: self.pages,
            inode: self.inode,
            kind: bindings::rdax_leaf_RDAX_LEAF_ZERO,
        }
    }
}

/// What is to be mapped, and how.
///
/// # Invariants
///
/// Those of [`Frames`]; or those of [`ZeroFrames`], and `kind` is `RDAX_LEAF_ZERO`.
#[derive(Clone, Copy)]
struct Leaves<'a> {
    pfn: usize,
    pages: NonZero<usize>,
    inode: Option<&'a AnonInode>,
    kind: bindings::rdax_leaf,
}

/// A fault being handled.
///
/// # Invariants
///
/// `raw` is the `struct vm_fault` of a fault that this task handles now at `level`, on a `VM_PFNMAP` VMA
/// that is not private (`is_cow_mapping()`), with the VMA lock or the mmap lock held for read. Its page
/// tables are there down to that level: `raw.pud`, and `raw.pmd` unless it is a PUD.
pub(crate) struct VmFault<'a> {
    raw: *mut bindings::vm_fault,
    level: Level,
    _fault: PhantomData<&'a mut bindings::vm_fault>,
}

impl VmFault<'_> {
    /// The size of the leaf that the kernel asks for.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    fn vma(&self) -> *mut bindings::vm_area_struct {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { (*self.raw).__bindgen_anon_1.vma }
    }

    /// Whether the access was a write.
    pub(crate) fn is_write(&self) -> bool {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { (*self.raw).flags & bindings::fault_flag_FAULT_FLAG_WRITE != 0 }
    }

    /// The faulting address, at the start of its page.
    pub(crate) fn address(&self) -> usize {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { (*self.raw).__bindgen_anon_1.address }
    }

    /// The page offset of the fault in the device.
    pub(crate) fn pgoff(&self) -> usize {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { (*self.raw).__bindgen_anon_1.pgoff }
    }

    /// The addresses that the VMA spans: start, and the first one behind it.
    pub(crate) fn vma_range(&self) -> (usize, usize) {
        // SAFETY: `raw` is valid by the type invariants, and the VMA is locked: its bounds stay.
        unsafe {
            let bounds = (*self.vma()).__bindgen_anon_1.__bindgen_anon_1;
            (bounds.vm_start, bounds.vm_end)
        }
    }

    /// How many pages from the faulting one on are in the VMA and in one page table with it.
    pub(crate) fn room(&self) -> usize {
        let address = self.address();
        let table = (address | (PMD_SIZE - 1)) - address + 1;
        let (_, end) = self.vma_range();
        table.min(end - address) >> bindings::PAGE_SHIFT
    }

    /// Whether the page before the faulting one allows such an access, as far as this page table tells:
    /// so it is when memory is touched in order. Never for a PUD.
    pub(crate) fn follows(&self) -> bool {
        // SAFETY: `raw` is valid by the type invariants, with a PMD; page tables stay while the VMA is
        // locked.
        self.level != Level::Pud && unsafe { bindings::vmf_follows(self.raw) }
    }

    /// Locks the page table where the leaf goes. Where there is none for a PTE, the one that the kernel
    /// preallocated for this fault is put there. Does not sleep.
    ///
    /// Errors: `Raced` when a larger leaf is there, or when there is no table after all; `Fallback` for a
    /// PUD.
    pub(crate) fn lock(&mut self) -> Result<PageTable<'_>, FaultResult> {
        // SAFETY: By the type invariants these may look at the fault's page tables, and fill in the
        // preallocated one.
        let ptl = unsafe {
            match self.level {
                Level::Pte => bindings::vmf_lock_ptes(self.raw),
                Level::Pmd => bindings::vmf_lock_pmd(self.raw),
                Level::Pud => return Err(FaultResult::Fallback),
            }
        };
        // INVARIANT: Locked just above.
        let ptl = NonNull::new(ptl).ok_or(FaultResult::Raced)?;
        Ok(PageTable {
            vmf: VmFault {
                raw: self.raw,
                level: self.level,
                _fault: PhantomData,
            },
            ptl,
            _not_send: NotThreadSafe,
        })
    }

    /// Maps `frames` from the faulting page on, or around it in a larger leaf. Does not sleep.
    ///
    /// Another leaf that was put there meanwhile stays. When not all of the frames lie in the VMA and in
    /// one page table, when they are not aligned to the leaf, or when the mapping is one of another inode,
    /// nothing is mapped and the result is [`FaultResult::Fallback`].
    ///
    /// A leaf that is `writable` is so as far as the VMA is. Of a read fault it should not be, or the
    /// first write will not be seen. One that is there already is made writable.
    pub(crate) fn insert(&mut self, frames: Frames<'_>, writable: bool) -> FaultResult {
        if self.level == Level::Pud {
            return self.insert_pud(frames, writable);
        }
        match self.lock() {
            Ok(mut table) => table.set(frames, writable),
            Err(result) => result,
        }
    }

    fn insert_pud(&mut self, frames: Frames<'_>, writable: bool) -> FaultResult {
        if !fits(self, &frames.leaves(writable)) {
            return FaultResult::Fallback;
        }
        // What is told of the leaf keeps those away that can't go through it.
        let Some(_inserting) = frames.inode.insert_pud(self.pgoff()) else {
            return FaultResult::Raced;
        };
        // SAFETY: By the type invariants these may look at the fault's page tables, and the VMA is what
        // `vmf_insert_pfn_pud()` insists on: VM_PFNMAP, not copy-on-write. That the leaf lies in the VMA
        // was checked above.
        unsafe {
            if !bindings::vmf_pud_none(self.raw) && !bindings::vmf_pud_huge(self.raw) {
                return FaultResult::Raced;
            }
            if !writable && bindings::vmf_pud_huge(self.raw) {
                return FaultResult::Raced;
            }
            // The kernel allocates a PMD table for a smaller fault without asking us, perhaps just now.
            // `insert_pud()` warns of one only when it is to be writable.
            let raw = bindings::vmf_insert_pfn_pud(self.raw, frames.pfn, false);
            if !writable || !bindings::vmf_pud_huge(self.raw) {
                return FaultResult::from_raw(raw);
            }
            FaultResult::from_raw(bindings::vmf_insert_pfn_pud(self.raw, frames.pfn, true))
        }
    }

    /// Maps zeroes, read-only. As [`VmFault::insert`]; [`FaultResult::Fallback`] for a PUD.
    pub(crate) fn insert_zeroes(&mut self, zeroes: ZeroFrames<'_>) -> FaultResult {
        match self.lock() {
            Ok(mut table) => table.set_leaves(&zeroes.leaves()),
            Err(result) => result,
        }
    }

    /// Maps the kernel's zero page at the faulting address, read-only. As [`VmFault::insert_zeroes`];
    /// [`FaultResult::Fallback`] for a larger leaf.
    pub(crate) fn insert_zero_page(&mut self) -> FaultResult {
        self.insert_zeroes(ZeroFrames::page(self.address()))
    }
}

/// Whether `leaves` go from the faulting page on, or are one around it, lie in the VMA and in one page
/// table, and may be mapped by this VMA.
fn fits(vmf: &VmFault<'_>, leaves: &Leaves<'_>) -> bool {
    // SAFETY: The VMA is valid by the invariants of `VmFault`, and keeps its file.
    let mapping = unsafe { (*(*vmf.vma()).vm_file).f_mapping };
    if leaves.inode.is_some_and(|inode| inode.mapping() != mapping) {
        return false;
    }
    let pages = leaves.pages.get();
    match vmf.level {
        Level::Pte => pages <= vmf.room(),
        Level::Pmd | Level::Pud => {
            let mask = (bindings::PAGE_SIZE << vmf.level.order()) - 1;
            let (start, end) = vmf.vma_range();
            let first = vmf.address() & !mask;
            first >= start
                && end - first > mask
                && pages == 1 << vmf.level.order()
                && leaves.pfn % pages == 0
        }
    }
}

/// A page table of a fault, with its lock (a spinlock) held.
///
/// # Invariants
///
/// `vmf` is no PUD's. `ptl` is the lock of the page table where its leaf goes, and this task holds it.
pub(crate) struct PageTable<'a> {
    vmf: VmFault<'a>,
    ptl: NonNull<bindings::spinlock_t>,
    _not_send: NotThreadSafe,
}

impl PageTable<'_> {
    /// Maps `frames` from the faulting page on, or around it in a larger leaf: as
    /// [`VmFault::insert`].
    pub(crate) fn set(&mut self, frames: Frames<'_>, writable: bool) -> FaultResult {
        self.set_leaves(&frames.leaves(writable))
    }

    fn set_leaves(&mut self, leaves: &Leaves<'_>) -> FaultResult {
        if !fits(&self.vmf, leaves) {
            return FaultResult::Fallback;
        }
        let raw = self.vmf.raw;
        if self.vmf.level == Level::Pte {
            let address = self.vmf.address();
            // At most those of a page table.
            let pages = leaves.pages.get() as c_uint;
            // SAFETY: The page table is locked by the type invariants, and all of it lies there and in
            // the VMA, which was checked above. So was that the VMA is one of the inode that the frames
            // are for.
            unsafe { bindings::vmf_set_ptes(raw, address, leaves.pfn, pages, leaves.kind) };
            return FaultResult::Mapped;
        }
        // SAFETY: The page table is locked by the type invariants; that the leaf lies in the VMA, and that
        // the VMA is one of the inode that the frames are for, was checked above.
        if unsafe { bindings::vmf_set_pmd(raw, leaves.pfn, leaves.kind) } {
            FaultResult::Mapped
        } else {
            // A page table of smaller leaves came in.
            FaultResult::Raced
        }
    }
}

impl Drop for PageTable<'_> {
    fn drop(&mut self) {
        // SAFETY: Locked by the type invariants.
        unsafe { bindings::spin_unlock(self.ptl.as_ptr()) };
    }
}

/// A mapping that `mmap()` is about to make (`->mmap_prepare()`).
///
/// # Invariants
///
/// `raw` is the valid description of a mapping being made.
pub(crate) struct VmaDesc<'a> {
    raw: *mut bindings::vm_area_desc,
    _desc: PhantomData<&'a mut bindings::vm_area_desc>,
}

impl VmaDesc<'_> {
    /// # Safety
    ///
    /// `raw` must be what `->mmap_prepare()` was given, for the duration of the call.
    pub(super) unsafe fn from_raw(raw: *mut bindings::vm_area_desc) -> Self {
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

    /// The addresses that it will span: start, and the first one behind it.
    pub(crate) fn range(&self) -> (usize, usize) {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { ((*self.raw).start, (*self.raw).end) }
    }

    /// The page offset in the device where it begins.
    pub(crate) fn pgoff(&self) -> usize {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { (*self.raw).pgoff }
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

    /// Makes sure that it can't be made writable later (`mprotect()` then fails with `EACCES`).
    pub(crate) fn keep_read_only(&mut self) {
        // SAFETY: `raw` is valid by the type invariants, and this is what `->mmap_prepare()` may
        // change.
        unsafe { (*self.raw).vma_flags.__vma_flags[0] &= !(1 << bindings::VMA_MAYWRITE_BIT) };
    }

    /// Whether `MAP_SYNC` was asked for.
    pub(crate) fn is_sync(&self) -> bool {
        self.has_flag(bindings::VMA_SYNC_BIT)
    }

    /// Makes it a mapping of page frames whose faults are served by `T`.
    ///
    /// `VM_HUGEPAGE` stands for a `madvise(MADV_HUGEPAGE)`, so that huge leaves are asked for in a process
    /// with `PR_THP_DISABLE_EXCEPT_ADVISED`; device_dax sets it too. The page protection is that of memory
    /// that is not encrypted, since libnvdimm's own mapping of the media is not (AMD SME).
    ///
    /// Errors: `EINVAL` for a private mapping, which `vmf_insert_pfn()` would crash on.
    pub(super) fn set_pfnmap<T: Operations>(&mut self) -> Result {
        if !self.is_shared() {
            return Err(EINVAL);
        }
        let flags = 1 << bindings::VMA_PFNMAP_BIT
            | 1 << bindings::VMA_DONTEXPAND_BIT
            | 1 << bindings::VMA_DONTDUMP_BIT
            | 1 << bindings::VMA_HUGEPAGE_BIT;
        // SAFETY: `raw` is valid by the type invariants, and this is what `->mmap_prepare()` may
        // change.
        unsafe {
            (*self.raw).vma_flags.__vma_flags[0] |= flags;
            (*self.raw).page_prot = bindings::media_prot((*self.raw).page_prot);
            (*self.raw).vm_ops = VmOperations::<T>::build();
        }
        Ok(())
    }
}

/// What a device does for its mappings.
///
/// `Self` is what [`cdev`](super::cdev) keeps for each open file: a mapping keeps its file.
pub(crate) trait Operations: Sized {
    /// Serves a fault at its level (`->fault()`, `->huge_fault()`, `->pfn_mkwrite()`).
    ///
    /// May sleep. Called with the VMA lock held for read, or the mmap lock.
    fn fault(&self, vmf: &mut VmFault<'_>) -> FaultResult;

    /// Whether a mapping may begin or end at `address`: when it is cut there (`->may_split()`), or moved
    /// there (`->mremap()`).
    ///
    /// Called with the mmap lock held for write.
    fn may_split(&self, address: usize) -> Result;

    /// The size of a page in bytes, as `/proc/PID/smaps` shows it (`->pagesize()`).
    fn pagesize(&self) -> usize;

    /// Reads what is mapped, at `offset` bytes in the device, for a debugger (`->access()`). Returns
    /// how many bytes.
    ///
    /// May sleep. Called with the mmap lock held for read.
    fn peek(&self, offset: u64, to: &mut [MaybeUninit<u8>]) -> Result<usize>;

    /// Writes to what is mapped writable, as [`Operations::peek`] reads.
    fn poke(&self, offset: u64, from: &[u8]) -> Result<usize>;
}

struct VmOperations<T: Operations>(PhantomData<T>);

impl<T: Operations> VmOperations<T> {
    const VTABLE: bindings::vm_operations_struct = bindings::vm_operations_struct {
        access: Some(Self::access),
        fault: Some(Self::fault),
        huge_fault: Some(Self::huge_fault),
        map_pages: Some(Self::map_pages),
        may_split: Some(Self::may_split),
        mprotect: Some(Self::mprotect),
        mremap: Some(Self::mremap),
        open: Some(Self::open),
        pfn_mkwrite: Some(Self::pfn_mkwrite),
        pagesize: Some(Self::pagesize),
        ..pin_init::zeroed()
    };

    const fn build() -> &'static bindings::vm_operations_struct {
        &Self::VTABLE
    }

    /// # Safety
    ///
    /// `vma` is valid, and was set up by [`VmaDesc::set_pfnmap`] of the same `T`.
    unsafe fn data<'a>(vma: *mut bindings::vm_area_struct) -> &'a T {
        // SAFETY: `cdev` calls `set_pfnmap()` only for its own files, whose private data points to
        // a `T` until they are released; the VMA keeps its file.
        unsafe { &*(*(*vma).vm_file).private_data.cast::<T>() }
    }

    /// # Safety
    ///
    /// `vmf` is a fault that this task handles, on a VMA that [`VmaDesc::set_pfnmap`] of the same
    /// `T` set up.
    unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the requirements of this function.
        unsafe { Self::huge_fault(vmf, 0) }
    }

    /// # Safety
    ///
    /// As [`Self::fault`].
    unsafe extern "C" fn huge_fault(
        vmf: *mut bindings::vm_fault,
        order: c_uint,
    ) -> bindings::vm_fault_t {
        let Some(level) = Level::from_order(order) else {
            return FaultResult::Fallback.into_raw();
        };
        // SAFETY: By the requirements of this function.
        unsafe { Self::serve(vmf, level) }
    }

    /// # Safety
    ///
    /// As [`Self::fault`], at `level`.
    unsafe fn serve(vmf: *mut bindings::vm_fault, level: Level) -> bindings::vm_fault_t {
        // SAFETY: By the requirements of this function.
        let data = unsafe { Self::data((*vmf).__bindgen_anon_1.vma) };
        // INVARIANT: This is the handler of that fault, and `set_pfnmap()` made the VMA PFNMAP and
        // refused private ones. The kernel walks the page tables down to the level before it calls.
        let mut vmf = VmFault {
            raw: vmf,
            level,
            _fault: PhantomData,
        };
        match data.fault(&mut vmf) {
            // There is no smaller size, and mm knows no such end of a fault.
            FaultResult::Fallback if level == Level::Pte => FaultResult::Sigbus,
            result => result,
        }
        .into_raw()
    }

    /// Maps nothing: `fault()` knows better what is around. But where it is missing the kernel takes a fault
    /// for one that needs the mmap lock, and begins anew with that (`vmf_can_call_fault()`).
    ///
    /// # Safety
    ///
    /// None.
    unsafe extern "C" fn map_pages(
        _vmf: *mut bindings::vm_fault,
        _first: usize,
        _last: usize,
    ) -> bindings::vm_fault_t {
        0
    }

    /// A write to a page that is mapped read-only. It is made writable under the locks of `fault()`; this
    /// never returns 0, by which the kernel would make it so after they are dropped: a write-back in
    /// between would find it read-only and clean, and never flush what comes then.
    ///
    /// # Safety
    ///
    /// As [`Self::fault`].
    unsafe extern "C" fn pfn_mkwrite(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the requirements of this function.
        unsafe { Self::serve(vmf, Level::Pte) }
    }

    /// # Safety
    ///
    /// As [`Self::data`]; the mmap lock is held for write.
    unsafe extern "C" fn may_split(vma: *mut bindings::vm_area_struct, address: usize) -> c_int {
        // SAFETY: By the requirements of this function.
        let data = unsafe { Self::data(vma) };
        from_result(|| {
            data.may_split(address)?;
            // `split_huge_pmd_address()`, which comes next, looks for a PMD below every PUD entry
            // that is there, and takes the media behind a leaf for a page table (`mm_find_pmd()`,
            // as of Linux 7.3). device_dax never meets this: it forbids such cuts.
            if address & (PUD_SIZE - 1) != 0 {
                // SAFETY: By the requirements of this function.
                unsafe { unmap_pud(vma, address) };
            }
            Ok(0)
        })
    }

    /// Called when `vma` was moved to where it is now: `mmap()` would not have put it where it may not
    /// begin. The kernel moves it back.
    ///
    /// # Safety
    ///
    /// As [`Self::data`]; the mmap lock is held for write.
    unsafe extern "C" fn mremap(vma: *mut bindings::vm_area_struct) -> c_int {
        // SAFETY: By the requirements of this function.
        let (data, bounds) = unsafe { (Self::data(vma), (*vma).__bindgen_anon_1.__bindgen_anon_1) };
        from_result(|| {
            data.may_split(bounds.vm_start)?;
            Ok(0)
        })
    }

    /// Called before the protection of `start..end`, in `vma`, becomes `flags`.
    ///
    /// A PUD leaf that PROT_NONE had made inaccessible would not be present (`pud_present()`, which
    /// differs from `pmd_present()` in that). Then [`unmap_pud`] would not find it, and
    /// `pudp_invalidate()`, at the next change, warns of it on kernels with CONFIG_DEBUG_VM (as of Linux
    /// 7.3). So there is to be none.
    ///
    /// # Safety
    ///
    /// As [`Self::data`]; the mmap lock is held for write.
    unsafe extern "C" fn mprotect(
        vma: *mut bindings::vm_area_struct,
        start: usize,
        end: usize,
        flags: usize,
    ) -> c_int {
        if flags & (bindings::VM_READ | bindings::VM_WRITE | bindings::VM_EXEC) == 0 {
            // A leaf that begins earlier or ends later is cut by this, and so meets `may_split()`.
            let mut leaf = start.next_multiple_of(PUD_SIZE);
            while leaf < end {
                // SAFETY: By the requirements of this function.
                unsafe { unmap_pud(vma, leaf) };
                leaf += PUD_SIZE;
            }
        }
        0
    }

    /// Called for a new VMA that is a copy of another: by a split, a fork, or a move.
    ///
    /// In a fork, `copy_page_range()` comes next. It looks at a PMD leaf without its lock, and copies
    /// what it saw (`copy_huge_pmd()`, as of Linux 7.3): also a leaf that was unmapped, or made read-only,
    /// in between. The child would reach media that is gone, or store to what is taken for clean. So
    /// nothing is copied, and the child faults, as it does in a shared mapping of any other file.
    ///
    /// `move_page_tables()`, which comes next in a move, takes a PUD leaf for a bad entry
    /// (`pud_none_or_clear_bad()`, as of Linux 7.3): it complains of it in the log, clears it, and does not
    /// flush the TLB, so that the old address would still reach the media, also when the device is
    /// gone. So it must not find any. Which VMA is moved is not said here: one of this process.
    ///
    /// # Safety
    ///
    /// As [`Self::data`], but not yet in its process; the mmap lock of the current process is held
    /// for write.
    unsafe extern "C" fn open(vma: *mut bindings::vm_area_struct) {
        // SAFETY: By the requirements of this function; the current task is a process.
        let (bounds, mm, mapping, ours) = unsafe {
            (
                (*vma).__bindgen_anon_1.__bindgen_anon_1,
                (*vma).vm_mm,
                (*(*vma).vm_file).f_mapping,
                (*Task::current_raw()).mm,
            )
        };
        if mm != ours {
            // SAFETY: By the requirements of this function. The VMA is locked for write, since
            // `dup_mmap()` has changed its flags already.
            unsafe {
                (*vma).__bindgen_anon_2.flags.__vma_flags[0] |= 1 << bindings::VMA_WIPEONFORK_BIT;
            }
            return;
        }
        if bounds.vm_end - bounds.vm_start < PUD_SIZE {
            return;
        }
        let mut address = 0;
        loop {
            // SAFETY: `mm` is that of the current process, locked for write.
            let old = unsafe { bindings::find_vma(mm, address) };
            if old.is_null() {
                return;
            }
            // SAFETY: `old` is a VMA of `mm`, and so stays while that is locked.
            let (bounds, same) = unsafe {
                (
                    (*old).__bindgen_anon_1.__bindgen_anon_1,
                    ptr::eq((*old).vm_ops, Self::build()) && (*(*old).vm_file).f_mapping == mapping,
                )
            };
            let mut leaf = bounds.vm_start.next_multiple_of(PUD_SIZE);
            while same && leaf < bounds.vm_end {
                // SAFETY: As above.
                unsafe { unmap_pud(old, leaf) };
                leaf += PUD_SIZE;
            }
            address = bounds.vm_end;
        }
    }

    /// # Safety
    ///
    /// As [`Self::data`]; the mmap lock is held for read, `address` lies in the VMA, and `buf` is valid
    /// for `len` bytes: for reads if `write` is not 0, for writes otherwise.
    unsafe extern "C" fn access(
        vma: *mut bindings::vm_area_struct,
        address: usize,
        buf: *mut c_void,
        len: c_int,
        write: c_int,
    ) -> c_int {
        // SAFETY: By the requirements of this function.
        let (data, bounds, pgoff, flags) = unsafe {
            (
                Self::data(vma),
                (*vma).__bindgen_anon_1.__bindgen_anon_1,
                (*vma).vm_pgoff,
                (*vma).__bindgen_anon_2.vm_flags,
            )
        };
        from_result(|| {
            let offset = ((pgoff << bindings::PAGE_SHIFT) + (address - bounds.vm_start)) as u64;
            let len = usize::try_from(len)?.min(bounds.vm_end - address);
            let done = if write == 0 {
                // SAFETY: By the requirements of this function.
                let to = unsafe { slice::from_raw_parts_mut(buf.cast(), len) };
                data.peek(offset, to)
            } else if flags & bindings::VM_WRITE == 0 {
                // Not even by force: a file that is open for reading only is not written.
                Err(EFAULT)
            } else {
                // SAFETY: As above.
                let from = unsafe { slice::from_raw_parts(buf.cast_const().cast(), len) };
                data.poke(offset, from)
            }?;
            Ok(c_int::try_from(done)?)
        })
    }

    /// # Safety
    ///
    /// As [`Self::data`].
    unsafe extern "C" fn pagesize(vma: *mut bindings::vm_area_struct) -> usize {
        // SAFETY: By the requirements of this function.
        unsafe { Self::data(vma) }.pagesize()
    }
}

/// The bytes that a PMD leaf maps, or the page table in its place.
const PMD_SIZE: usize = bindings::PAGE_SIZE << bindings::PMD_ORDER;
/// The bytes that a PUD leaf maps.
const PUD_SIZE: usize = bindings::PAGE_SIZE << bindings::PUD_ORDER;

/// Unmaps what maps `address` in `vma`, if that is a PUD leaf. No fault puts one back until the mmap
/// lock is dropped.
///
/// # Safety
///
/// `vma` is valid, and the mmap lock of its process is held for write.
unsafe fn unmap_pud(vma: *mut bindings::vm_area_struct, address: usize) {
    let mut args: bindings::follow_pfnmap_args = pin_init::zeroed();
    args.vma = vma;
    args.address = address;
    // SAFETY: By the requirements of this function. A VMA that is locked for write stays so until
    // the mmap lock is dropped.
    unsafe {
        bindings::vma_start_write(vma);
        if bindings::follow_pfnmap_start(&mut args) != 0 {
            return;
        }
        bindings::follow_pfnmap_end(&mut args);
        if !args.addr_mask == PUD_SIZE - 1 {
            bindings::zap_special_vma_range(vma, address & args.addr_mask, PUD_SIZE);
        }
    }
}
