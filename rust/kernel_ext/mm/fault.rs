// SPDX-License-Identifier: GPL-2.0

//! Serving faults with page frames, or with pages.
//!
//! Page frames are for `VM_PFNMAP` mappings of memory that may have no `struct page`. The in-tree
//! example with huge faults is `drivers/vfio/pci/vfio_pci_core.c`. For pages it is
//! `drivers/dax/device.c`.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/huge_mm.h`](srctree/include/linux/huge_mm.h)

use crate::kernel_ext::{
    bindings,
    mm::{
        frames::{
            Frames,
            Leaves,
            ZeroFrames, //
        },
        vm_operations::PMD_SIZE, //
    },
    units::{
        Order,
        PageOffset,
        Pages, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    types::NotThreadSafe, //
};

/// The level of the page table at which a leaf lies. Unlike an [`Order`], it is only one of three.
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
    /// The number of levels.
    pub(crate) const NUMBER: usize = Self::Pud as usize + 1;

    pub(in crate::kernel_ext) fn from_order(order: c_uint) -> Option<Self> {
        match order {
            0 => Some(Self::Pte),
            bindings::PMD_ORDER => Some(Self::Pmd),
            bindings::PUD_ORDER => Some(Self::Pud),
            _ => None,
        }
    }

    /// Returns the order of the leaf.
    pub(crate) const fn order(self) -> Order {
        match self {
            Self::Pte => Order::PTE,
            Self::Pmd => Order::PMD,
            Self::Pud => Order::PUD,
        }
    }
}

/// The result of a fault (`vm_fault_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum FaultResult {
    /// The page-table entry is in place.
    Mapped,
    /// Another task has changed the page table meanwhile: the access is repeated.
    Raced,
    /// Not at this size: the kernel tries the next smaller one.
    Fallback,
    /// No memory.
    Oom,
    /// Nothing can be mapped at this address: SIGBUS.
    Sigbus,
    /// The memory at this address is broken: SIGBUS with BUS_MCEERR_AR.
    Hwpoison,
}

impl FaultResult {
    /// The number of results.
    pub(crate) const NUMBER: usize = Self::Hwpoison as usize + 1;

    pub(in crate::kernel_ext) fn into_raw(self) -> bindings::vm_fault_t {
        match self {
            Self::Mapped | Self::Raced => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
            Self::Fallback => bindings::vm_fault_reason_VM_FAULT_FALLBACK,
            Self::Oom => bindings::vm_fault_reason_VM_FAULT_OOM,
            Self::Sigbus => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
            Self::Hwpoison => bindings::vm_fault_reason_VM_FAULT_HWPOISON,
        }
    }
}

/// Whether something follows the page tables of `mm` (`mm_has_notifiers()`, which would be a call for
/// each fault).
///
/// # Safety
///
/// `mm` is valid.
pub(in crate::kernel_ext) unsafe fn mm_has_notifiers(mm: *const bindings::mm_struct) -> bool {
    #[cfg(CONFIG_MMU_NOTIFIER)]
    // SAFETY: By the requirements of this function. The pointer is only compared. Another task may
    // set it at any time.
    unsafe {
        !(&raw const (*mm).__bindgen_anon_1.notifier_subscriptions)
            .read_volatile()
            .is_null()
    }
    #[cfg(not(CONFIG_MMU_NOTIFIER))]
    {
        let _ = mm;
        false
    }
}

/// A fault being handled.
///
/// # Invariants
///
/// `raw` is the `struct vm_fault` of a fault that this task handles now at `level`. Its VMA is not
/// private (`is_cow_mapping()`), and is `VM_PFNMAP` unless it is a mapping of an inode with pages.
/// The VMA lock or the mmap lock is held for read. Its page tables exist down to that level:
/// `raw.pud`, and `raw.pmd` unless it is a PUD.
pub(crate) struct VmFault<'a> {
    raw: *mut bindings::vm_fault,
    level: Level,
    _fault: PhantomData<&'a mut bindings::vm_fault>,
}

impl VmFault<'_> {
    /// # Safety
    ///
    /// The invariants of the type must hold for `raw` and `level`, during the call that was given
    /// `raw`.
    pub(in crate::kernel_ext) unsafe fn from_raw(
        raw: *mut bindings::vm_fault,
        level: Level,
    ) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            raw,
            level,
            _fault: PhantomData,
        }
    }

    /// Returns the `struct vm_fault`, which is valid for reads while `self` exists.
    pub(in crate::kernel_ext) fn as_raw(&self) -> *const bindings::vm_fault {
        self.raw
    }

    /// Returns the size of the leaf that the kernel asks for.
    #[inline(always)]
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    #[inline(always)]
    fn vma(&self) -> *mut bindings::vm_area_struct {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { (*self.raw).__bindgen_anon_1.vma }
    }

    /// Whether the access was a write.
    #[inline(always)]
    pub(crate) fn is_write(&self) -> bool {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { (*self.raw).flags & bindings::fault_flag_FAULT_FLAG_WRITE != 0 }
    }

    #[inline(always)]
    fn vm_flags(&self) -> bindings::vm_flags_t {
        // SAFETY: `raw` is valid by the type invariants. The VMA is locked, so its flags do not
        // change.
        unsafe { (*self.vma()).__bindgen_anon_2.vm_flags }
    }

    /// Whether the mapping may be written now (`PROT_WRITE`).
    #[inline(always)]
    pub(crate) fn may_write(&self) -> bool {
        self.vm_flags() & bindings::VM_WRITE != 0
    }

    /// Whether the mapping may be written now, or after an `mprotect()`.
    pub(crate) fn may_ever_write(&self) -> bool {
        self.vm_flags() & bindings::VM_MAYWRITE != 0
    }

    /// Whether it is a mapping of page frames, and not of pages.
    #[inline(always)]
    fn is_pfnmap(&self) -> bool {
        self.vm_flags() & bindings::VM_PFNMAP != 0
    }

    /// Whether something follows the page tables of the process, as KVM does for its virtual
    /// machines (`mmu_notifier_register()`). That may begin at any time, but not end while it uses
    /// the memory.
    #[inline(always)]
    pub(crate) fn has_notifiers(&self) -> bool {
        // SAFETY: `raw` is valid by the type invariants. The VMA is locked, so its process keeps
        // its `mm`.
        unsafe { mm_has_notifiers((*self.vma()).vm_mm) }
    }

    /// Whether the caller looks for the leaf after the fault, fails if it is gone again by then, but
    /// starts over if the mmap lock was dropped.
    ///
    /// That is what KVM and VFIO do with `fixup_user_fault()` (`hva_to_pfn_remapped()`,
    /// `follow_fault_pfn()`). A task's own access, and a copy to user space, have one more flag.
    /// They need no leaf after the fault: the processor repeats the access.
    #[inline(always)]
    pub(in crate::kernel_ext) fn may_retry(&self) -> bool {
        use bindings::{
            fault_flag_FAULT_FLAG_ALLOW_RETRY as ALLOW_RETRY,
            fault_flag_FAULT_FLAG_INTERRUPTIBLE as INTERRUPTIBLE,
            fault_flag_FAULT_FLAG_KILLABLE as KILLABLE,
            fault_flag_FAULT_FLAG_RETRY_NOWAIT as RETRY_NOWAIT,
            fault_flag_FAULT_FLAG_TRIED as TRIED,
            fault_flag_FAULT_FLAG_USER as USER,
            fault_flag_FAULT_FLAG_VMA_LOCK as VMA_LOCK, //
        };
        const ALL: bindings::fault_flag =
            ALLOW_RETRY | INTERRUPTIBLE | KILLABLE | RETRY_NOWAIT | TRIED | USER | VMA_LOCK;
        // Pages are looked up again in any case (`__get_user_pages()`).
        //
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { (*self.raw).flags & ALL == ALLOW_RETRY | KILLABLE && self.is_pfnmap() }
    }

    /// Drops the mmap lock, and returns what the fault handler then has to return. So a punch
    /// beside a virtual machine does not stop it.
    ///
    /// # Safety
    ///
    /// [`VmFault::may_retry`] is true. The caller does not use the fault, nor its VMA, any more.
    ///
    /// The file that keeps the module is the VMA's. In theory another task can unmap it, close it and
    /// unload the module before this task has returned through the module. As in TTM, that is
    /// accepted: the task would have to stay preempted here until all this is done.
    pub(in crate::kernel_ext) unsafe fn retry(self) -> bindings::vm_fault_t {
        // SAFETY: As this is neither a fault with the VMA lock (`VMA_LOCK`) nor one that was tried
        // before (`TRIED`), the mmap lock is held, and a handler may drop it before it returns
        // `VM_FAULT_RETRY`, as `ttm_bo_vm_reserve()` does.
        unsafe { bindings::mmap_read_unlock((*self.vma()).vm_mm) };
        // Without NOPAGE `wp_pfn_shared()` would go on with the VMA.
        bindings::vm_fault_reason_VM_FAULT_RETRY | bindings::vm_fault_reason_VM_FAULT_NOPAGE
    }

    /// Returns the faulting address, rounded down to its page.
    #[inline(always)]
    pub(crate) fn address(&self) -> usize {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { (*self.raw).__bindgen_anon_1.address }
    }

    /// Returns the page offset of the fault in the device.
    #[inline(always)]
    pub(crate) fn pgoff(&self) -> PageOffset {
        // SAFETY: `raw` is valid by the type invariants.
        PageOffset::new(unsafe { (*self.raw).__bindgen_anon_1.pgoff })
    }

    /// Returns the addresses that the VMA spans: the first, and the one after the last.
    #[inline(always)]
    pub(crate) fn vma_range(&self) -> (usize, usize) {
        // SAFETY: `raw` is valid by the type invariants. The VMA is locked, so its bounds do not
        // change.
        unsafe {
            let bounds = (*self.vma()).__bindgen_anon_1.__bindgen_anon_1;
            (bounds.vm_start, bounds.vm_end)
        }
    }

    /// Returns how many pages, from the faulting one, are in the VMA and in the same page table.
    #[inline(always)]
    pub(crate) fn room(&self) -> Pages {
        let address = self.address();
        let table = (address | (PMD_SIZE - 1)) - address + 1;
        let (_, end) = self.vma_range();
        Pages::in_bytes(table.min(end - address) as u64)
    }

    /// Whether the page before the faulting one is mapped for such an access, as far as this page
    /// table shows. That is so when a program touches memory in order. Never for a PUD.
    #[inline(always)]
    pub(crate) fn follows(&self) -> bool {
        // SAFETY: `raw` is valid by the type invariants, and has a PMD. Page tables of page frames
        // stay while the VMA is locked.
        self.level != Level::Pud && self.is_pfnmap() && unsafe { bindings::vmf_follows(self.raw) }
    }

    /// Locks the page table where the leaf goes. For a PTE, installs the table that the kernel
    /// preallocated for this fault if there is none. Does not sleep.
    ///
    /// Errors: `Raced` if a larger leaf is there, or there is no table after all; `Fallback` for a
    /// mapping of pages, whose tables may be freed meanwhile (`MADV_DONTNEED`).
    #[inline(always)]
    pub(crate) fn lock(&mut self) -> Result<PageTable<'_>, FaultResult> {
        if !self.is_pfnmap() {
            return Err(FaultResult::Fallback);
        }
        // SAFETY: By the type invariants the C functions may access the fault's page tables, and
        // install the preallocated one. Tables of page frames stay while the VMA is locked.
        let ptl = unsafe {
            match self.level {
                Level::Pte => bindings::vmf_lock_ptes(self.raw),
                Level::Pmd => bindings::vmf_lock_pmd(self.raw),
                Level::Pud => bindings::vmf_lock_pud(self.raw),
            }
        };
        // INVARIANT: Locked just above, after the check of the mapping.
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

    /// Maps `frames` from the faulting page, or around it in a larger leaf. Does not sleep.
    ///
    /// A leaf that another task has set meanwhile stays. If the frames are not all in the VMA and
    /// in one page table, if they are not aligned to the leaf, or if the mapping is of another
    /// inode, nothing is mapped and the result is [`FaultResult::Fallback`].
    ///
    /// If `writable`, the leaf is writable as far as the VMA allows, and an existing leaf becomes
    /// writable. After a read fault that passes true, the first write does not fault.
    ///
    /// Pages, unlike page frames, take the memory for their page table from the kernel, so this may
    /// sleep then; and [`FaultResult::Fallback`] is the result for more than one page that are not
    /// a folio. The caller holds the lock of the entry, so that no other fault maps them in leaves
    /// of another size.
    pub(crate) fn insert(&mut self, frames: Frames<'_>, writable: bool) -> FaultResult {
        if frames.inode.has_pages() {
            return self.insert_pages(&frames.leaves(writable && self.may_write()));
        }
        match self.lock() {
            Ok(mut table) => table.set(frames, writable),
            Err(result) => result,
        }
    }

    #[inline(never)]
    fn insert_pages(&mut self, leaves: &Leaves<'_>) -> FaultResult {
        let huge = match self.level {
            Level::Pte if leaves.pages == Pages::ONE => false,
            Level::Pmd => true,
            Level::Pte | Level::Pud => return FaultResult::Fallback,
        };
        if self.is_pfnmap() || !fits(self, leaves) {
            return FaultResult::Fallback;
        }
        let write = leaves.kind == bindings::rdax_leaf_RDAX_LEAF_WRITE;
        // SAFETY: `fits()` has checked that the leaf lies in the VMA, and that the VMA is a mapping
        // of the frames' inode. That has pages, so the frames have.
        let result = unsafe { bindings::vmf_insert_pages(self.raw, leaves.pfn.get(), huge, write) };
        match result {
            bindings::vm_fault_reason_VM_FAULT_NOPAGE => FaultResult::Mapped,
            bindings::vm_fault_reason_VM_FAULT_FALLBACK => FaultResult::Fallback,
            bindings::vm_fault_reason_VM_FAULT_OOM => FaultResult::Oom,
            _ => FaultResult::Sigbus,
        }
    }

    /// Maps zeroes, read-only. Same as [`VmFault::insert`] otherwise; [`FaultResult::Fallback`] for
    /// a PUD.
    pub(crate) fn insert_zeroes(&mut self, zeroes: ZeroFrames<'_>) -> FaultResult {
        match self.lock() {
            Ok(mut table) => table.set_leaves(&zeroes.leaves()),
            Err(result) => result,
        }
    }

    /// Maps the kernel's zero page at the faulting address, read-only. Same as
    /// [`VmFault::insert_zeroes`] otherwise; [`FaultResult::Fallback`] for a larger leaf.
    pub(crate) fn insert_zero_page(&mut self) -> FaultResult {
        self.insert_zeroes(ZeroFrames::page(self.address()))
    }
}

/// Whether `leaves`, from the faulting page or as one leaf around it, lie in the VMA and in one
/// page table, and may be mapped by this VMA.
#[inline(always)]
fn fits(vmf: &VmFault<'_>, leaves: &Leaves<'_>) -> bool {
    // SAFETY: The VMA is valid by the invariants of `VmFault`, and keeps its file.
    let mapping = unsafe { (*(*vmf.vma()).vm_file).f_mapping };
    if leaves.inode.is_some_and(|inode| inode.mapping() != mapping) {
        return false;
    }
    let order = vmf.level.order();
    match vmf.level {
        // The faulting address is in the VMA.
        Level::Pte => leaves.pages == Pages::ONE || leaves.pages <= vmf.room(),
        Level::Pmd | Level::Pud => {
            let mask = order.bytes() - 1;
            let (start, end) = vmf.vma_range();
            let first = vmf.address() & !mask;
            // `AnonInode::insert_pud()` records where a PUD leaf is by its page offset.
            let is_congruent = || {
                let frame = vmf.address() >> bindings::PAGE_SHIFT;
                (frame ^ vmf.pgoff().get()) & (order.pages().get() - 1) == 0
            };
            first >= start
                && (vmf.level == Level::Pmd || is_congruent())
                && end - first > mask
                && leaves.pages == order.pages()
                && leaves.pfn.is_aligned(order)
        }
    }
}

/// A page table of a fault, with its lock (a spinlock) held.
///
/// # Invariants
///
/// `ptl` is the lock of the page table where the leaf of `vmf` goes, and this task holds it. The
/// mapping is one of page frames.
pub(crate) struct PageTable<'a> {
    vmf: VmFault<'a>,
    ptl: NonNull<bindings::spinlock_t>,
    _not_send: NotThreadSafe,
}

impl PageTable<'_> {
    /// Maps `frames` from the faulting page, or around it in a larger leaf, as [`VmFault::insert`]
    /// does.
    #[inline(always)]
    pub(crate) fn set(&mut self, frames: Frames<'_>, writable: bool) -> FaultResult {
        // Whatever the driver says: a store that the VMA forbids faults.
        let writable = writable && self.vmf.may_write();
        let leaves = frames.leaves(writable);
        if self.vmf.level == Level::Pud {
            return self.set_pud(frames, &leaves, writable);
        }
        self.set_leaves(&leaves)
    }

    #[inline(always)]
    fn set_pud(&mut self, frames: Frames<'_>, leaves: &Leaves<'_>, writable: bool) -> FaultResult {
        if !fits(&self.vmf, leaves) {
            return FaultResult::Fallback;
        }
        // Recording the leaf excludes walks that cannot handle it.
        let Some(_inserting) = frames.inode.insert_pud(self.vmf.pgoff()) else {
            return FaultResult::Raced;
        };
        // SAFETY: The page table is locked by the type invariants. `fits()` has checked that the
        // leaf lies in the VMA, and that the VMA is a mapping of the frames' inode.
        match unsafe { bindings::vmf_set_pud(self.vmf.raw, frames.pfn.get(), writable) } {
            true => FaultResult::Mapped,
            // The kernel has set a page table for a smaller fault.
            false => FaultResult::Raced,
        }
    }

    #[inline(always)]
    fn set_leaves(&mut self, leaves: &Leaves<'_>) -> FaultResult {
        if !fits(&self.vmf, leaves) {
            return FaultResult::Fallback;
        }
        let raw = self.vmf.raw;
        match self.vmf.level {
            Level::Pte => {
                let address = self.vmf.address();
                // At most the entries of one page table.
                let pages = leaves.pages.get() as c_uint;
                // SAFETY: The page table is locked by the type invariants. `fits()` has checked
                // that all leaves lie in it and in the VMA, and that the VMA is a mapping of the
                // frames' inode.
                unsafe {
                    bindings::vmf_set_ptes(raw, address, leaves.pfn.get(), pages, leaves.kind);
                }
                FaultResult::Mapped
            }
            Level::Pmd => {
                // SAFETY: The page table is locked by the type invariants. `fits()` has checked
                // that the leaf lies in the VMA, and that the VMA is a mapping of the frames'
                // inode.
                match unsafe { bindings::vmf_set_pmd(raw, leaves.pfn.get(), leaves.kind) } {
                    true => FaultResult::Mapped,
                    // Another task has set a page table of smaller leaves.
                    false => FaultResult::Raced,
                }
            }
            // Only media is mapped by such a leaf.
            Level::Pud => FaultResult::Fallback,
        }
    }
}

impl Drop for PageTable<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: This task holds the lock by the type invariants.
        unsafe { bindings::spin_unlock(self.ptl.as_ptr()) };
    }
}
