// SPDX-License-Identifier: GPL-2.0

//! The operations of a device's mappings.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h), `struct vm_operations_struct`

use crate::kernel_ext::{
    bindings,
    mm::fault::{
        mm_has_notifiers,
        FaultResult,
        Level,
        VmFault, //
    },
    units::{
        DeviceOffset,
        PageOffset, //
    }, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr,
    slice, //
};
use kernel::{
    error::from_result,
    prelude::*,
    task::Task, //
};

/// The operations of a device's mappings.
///
/// `Self` is what [`cdev`](super::cdev) keeps for each open file: a mapping keeps its file.
pub(crate) trait VmOperations: Sized {
    /// Serves a fault at its level (`->fault()`, `->huge_fault()`, `->pfn_mkwrite()`,
    /// `->page_mkwrite()`).
    ///
    /// May sleep. Called with the VMA lock or the mmap lock held for read. Called in three places,
    /// each with another constant as the level.
    fn fault(&self, vmf: &mut VmFault<'_>) -> FaultResult;

    /// Returns an error unless a mapping may begin or end at `address`: when it is split there
    /// (`->may_split()`), or moved there (`->mremap()`).
    ///
    /// Called with the mmap lock held for write.
    fn may_split(&self, address: usize) -> Result;

    /// Whether reads map memory writable where the mapping may be written, although no process with
    /// MMU notifiers is concerned. Any context.
    fn maps_writable(&self) -> bool;

    /// Whether a page, in a mapping of pages made from now on, is made writable only by a fault. Any
    /// context.
    fn is_tracked(&self) -> bool;

    /// Returns the size of a page in bytes, for `/proc/PID/smaps` (`->pagesize()`).
    fn pagesize(&self) -> usize;

    /// Reads mapped memory at byte `offset` of the device, for a debugger (`->access()`). Returns
    /// the bytes that it has read, the first of `to`.
    ///
    /// May sleep. Called with the mmap lock held for read.
    fn peek<'a>(&self, offset: DeviceOffset, to: &'a mut [MaybeUninit<u8>])
        -> Result<&'a mut [u8]>;

    /// Writes to memory that is mapped writable, for a debugger. Returns the number of bytes. Same
    /// context as [`VmOperations::peek`].
    fn poke(&self, offset: DeviceOffset, from: &[u8]) -> Result<usize>;
}

pub(in crate::kernel_ext) struct VmVTable<T: VmOperations>(PhantomData<T>);

impl<T: VmOperations> VmVTable<T> {
    const VTABLE: bindings::vm_operations_struct = bindings::vm_operations_struct {
        access: Some(Self::access),
        fault: Some(Self::fault),
        huge_fault: Some(Self::huge_fault),
        map_pages: Some(Self::map_pages),
        may_split: Some(Self::may_split),
        mprotect: Some(Self::mprotect),
        mremap: Some(Self::mremap),
        open: Some(Self::open),
        pfn_mkwrite: Some(Self::mkwrite),
        pagesize: Some(Self::pagesize),
        ..pin_init::zeroed()
    };

    /// The same for mappings of pages that the kernel makes writable without asking.
    const PAGES: bindings::vm_operations_struct = bindings::vm_operations_struct {
        pfn_mkwrite: None,
        ..Self::VTABLE
    };

    /// The same for mappings of pages before which it asks.
    const TRACKED_PAGES: bindings::vm_operations_struct = bindings::vm_operations_struct {
        page_mkwrite: Some(Self::mkwrite),
        ..Self::PAGES
    };

    pub(in crate::kernel_ext) const fn build() -> &'static bindings::vm_operations_struct {
        &Self::VTABLE
    }

    pub(in crate::kernel_ext) const fn build_pages(
        tracked: bool,
    ) -> &'static bindings::vm_operations_struct {
        match tracked {
            true => &Self::TRACKED_PAGES,
            false => &Self::PAGES,
        }
    }

    /// Whether `vma` is a mapping of page frames that a [`VmaDesc`] set up for the same `T`.
    ///
    /// # Safety
    ///
    /// `vma` is valid.
    pub(in crate::kernel_ext) unsafe fn is_of(vma: *mut bindings::vm_area_struct) -> bool {
        // SAFETY: `vma` is valid by the requirements of this function.
        ptr::eq(unsafe { (*vma).vm_ops }, Self::build())
    }

    /// # Safety
    ///
    /// `vma` is valid, and was set up by a [`VmaDesc`] for the same `T`.
    unsafe fn data<'a>(vma: *mut bindings::vm_area_struct) -> &'a T {
        // SAFETY: `FileVTable` sets up only mappings of its own files, whose private data points to
        // a `T` until they are released. The VMA keeps its file.
        unsafe { &*(*(*vma).vm_file).private_data.cast::<T>() }
    }

    /// # Safety
    ///
    /// `vmf` is a fault that this task handles, on a VMA that a [`VmaDesc`] set up
    /// for the same `T`.
    unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: `vmf` is such a fault by the requirements of this function, of one page.
        unsafe { Self::serve(vmf, Level::Pte) }
    }

    /// # Safety
    ///
    /// `vmf` is a fault that this task handles, on a VMA that a [`VmaDesc`] set up
    /// for the same `T`.
    unsafe extern "C" fn huge_fault(
        vmf: *mut bindings::vm_fault,
        order: c_uint,
    ) -> bindings::vm_fault_t {
        // A call for each level, so that each has code in which the level is a constant.
        //
        // SAFETY: `vmf` is such a fault by the requirements of this function, at that level.
        unsafe {
            match Level::from_order(order) {
                Some(Level::Pmd) => Self::serve(vmf, Level::Pmd),
                Some(Level::Pud) => Self::pud_fault(vmf),
                Some(Level::Pte) => Self::fault(vmf),
                None => FaultResult::Fallback.into_raw(),
            }
        }
    }

    /// A function of its own, so that the smaller leaves, which are more frequent, need not set up what
    /// this needs.
    ///
    /// # Safety
    ///
    /// Those of [`Self::serve`], for a PUD.
    #[cold]
    #[inline(never)]
    unsafe fn pud_fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: `vmf` is such a fault by the requirements of this function.
        unsafe { Self::serve(vmf, Level::Pud) }
    }

    /// # Safety
    ///
    /// `vmf` is a fault at `level` that this task handles, on a VMA that a [`VmaDesc`] set
    /// up for the same `T`.
    #[inline(always)]
    unsafe fn serve(vmf: *mut bindings::vm_fault, level: Level) -> bindings::vm_fault_t {
        // SAFETY: The fault's VMA was set up for a `T`, by the requirements of this function.
        let data = unsafe { Self::data((*vmf).__bindgen_anon_1.vma) };
        // SAFETY: This task handles that fault. `set_pfnmap()` made the VMA PFNMAP, or `set_pages()`
        // did not, and both refused private ones. The kernel walks the page tables down to the level before the call.
        let mut vmf = unsafe { VmFault::from_raw(vmf, level) };
        let result = match data.fault(&mut vmf) {
            // There is no smaller size, and mm does not expect VM_FAULT_FALLBACK here.
            FaultResult::Fallback if level == Level::Pte => FaultResult::Sigbus,
            result => result,
        };
        match result {
            // SAFETY: `may_retry()` is true.
            FaultResult::Mapped | FaultResult::Raced if vmf.may_retry() => unsafe { vmf.retry() },
            result => result.into_raw(),
        }
    }

    /// Maps nothing, because `fault()` maps the pages around. Without this function the kernel
    /// would take the fault for one that needs the mmap lock, and repeat it with that
    /// (`vmf_can_call_fault()`).
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

    /// Serves a write to a page or page frame that is mapped read-only. The page is made writable under the locks
    /// of `fault()`. This never returns 0, which would make the kernel set the PTE writable after
    /// these locks are dropped: a sync in between would clear DIRTY and miss later stores.
    ///
    /// # Safety
    ///
    /// `vmf` is a fault that this task handles, on a VMA that a [`VmaDesc`] set up
    /// for the same `T`.
    unsafe extern "C" fn mkwrite(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: `vmf` is such a fault by the requirements of this function. Only PTEs are served
        // here.
        unsafe { Self::fault(vmf) }
    }

    /// # Safety
    ///
    /// `vma` is valid, and was set up by a [`VmaDesc`] for the same `T`. The mmap lock is
    /// held for write.
    unsafe extern "C" fn may_split(vma: *mut bindings::vm_area_struct, address: usize) -> c_int {
        // SAFETY: `vma` was set up for a `T`, by the requirements of this function.
        let data = unsafe { Self::data(vma) };
        from_result(|| {
            data.may_split(address)?;
            // The kernel calls `split_huge_pmd_address()` next, which looks for a PMD under every
            // present PUD entry, and takes the media under a leaf for a page table
            // (`mm_find_pmd()`, as of Linux 7.3). device_dax never meets this, because it forbids
            // such splits.
            if address & (PUD_SIZE - 1) != 0 {
                // SAFETY: `vma` is valid and the mmap lock is held for write, by the requirements
                // of this function.
                unsafe { unmap_pud(vma, address) };
            }
            Ok(0)
        })
    }

    /// Called after `vma` was moved to its present place. Refuses a place where `mmap()` would not
    /// have put it; the kernel then moves it back.
    ///
    /// # Safety
    ///
    /// `vma` is valid, and was set up by a [`VmaDesc`] for the same `T`. The mmap lock is
    /// held for write.
    unsafe extern "C" fn mremap(vma: *mut bindings::vm_area_struct) -> c_int {
        // SAFETY: `vma` is valid and was set up for a `T`, by the requirements of this function.
        let (data, bounds) = unsafe { (Self::data(vma), (*vma).__bindgen_anon_1.__bindgen_anon_1) };
        from_result(|| {
            data.may_split(bounds.vm_start)?;
            Ok(0)
        })
    }

    /// Called before the protection of `start..end`, in `vma`, becomes `flags`.
    ///
    /// A PUD leaf that PROT_NONE made inaccessible would not be present (`pud_present()`, unlike
    /// `pmd_present()`). So [`unmap_pud`] would not find it, and `pudp_invalidate()` would warn of
    /// it at the next change, with CONFIG_DEBUG_VM (as of Linux 7.3). Therefore such leaves are
    /// unmapped first.
    ///
    /// Where reads are to map memory writable, leaves from the time when the mapping could not be
    /// written are unmapped: KVM would meet them, and not ask for a write fault. The VMA is locked
    /// before that is decided: a task that decides it later unmaps the leaves itself, and from then
    /// on a fault waits until the mapping may be written.
    ///
    /// # Safety
    ///
    /// `vma` is valid, and was set up by a [`VmaDesc`] for the same `T`. The mmap lock is
    /// held for write.
    unsafe extern "C" fn mprotect(
        vma: *mut bindings::vm_area_struct,
        start: usize,
        end: usize,
        flags: usize,
    ) -> c_int {
        // SAFETY: `vma` is valid and was set up for a `T`, by the requirements of this function. A
        // VMA that is locked for write stays locked until the mmap lock is dropped.
        unsafe {
            let old = (*vma).__bindgen_anon_2.vm_flags;
            let gains = flags & !old & bindings::VM_WRITE != 0 && old & bindings::VM_PFNMAP != 0;
            let followed = || mm_has_notifiers((*vma).vm_mm);
            if gains {
                bindings::vma_start_write(vma);
                if followed() || Self::data(vma).maps_writable() {
                    bindings::zap_special_vma_range(vma, start, end - start);
                }
                return 0;
            }
        }
        if flags & (bindings::VM_READ | bindings::VM_WRITE | bindings::VM_EXEC) == 0 {
            // A leaf that begins earlier or ends later is split by this, so `may_split()` is called
            // for it.
            let mut leaf = start.next_multiple_of(PUD_SIZE);
            while leaf < end {
                // SAFETY: `vma` is valid and the mmap lock is held for write, by the requirements
                // of this function.
                unsafe { unmap_pud(vma, leaf) };
                leaf += PUD_SIZE;
            }
        }
        0
    }

    /// Called for a new VMA that is a copy of another: by a split, a fork, or a move.
    ///
    /// In a fork, `copy_page_range()` comes next. It reads a PMD leaf without its lock, and copies
    /// what it read (`copy_huge_pmd()`, as of Linux 7.3), even if the leaf was unmapped or made
    /// read-only in between. The child would reach media that is gone, or store through a clean
    /// entry. So nothing is copied, and the child faults, as it does in a shared mapping of any
    /// other file.
    ///
    /// In a move, `move_page_tables()` comes next. It takes a PUD leaf for a bad entry
    /// (`pud_none_or_clear_bad()`, as of Linux 7.3): it logs an error, clears the leaf, and does
    /// not flush the TLB, so the old address would still reach the media, even after the device is
    /// gone. So all PUD leaves are unmapped before. The call does not tell which VMA is moved, only
    /// that it is one of this process.
    ///
    /// # Safety
    ///
    /// `vma` is valid, and was set up by a [`VmaDesc`] for the same `T`, but is not yet in
    /// its process. The mmap lock of the current process is held for write.
    unsafe extern "C" fn open(vma: *mut bindings::vm_area_struct) {
        // SAFETY: `vma` is valid by the requirements of this function.
        if unsafe { (*vma).__bindgen_anon_2.vm_flags } & bindings::VM_PFNMAP == 0 {
            // The kernel does not copy the leaves of a shared mapping of pages, and these are no PUD
            // leaves.
            return;
        }
        // SAFETY: `vma` is valid by the requirements of this function. The current task is that of
        // a process.
        let (bounds, mm, mapping, ours) = unsafe {
            (
                (*vma).__bindgen_anon_1.__bindgen_anon_1,
                (*vma).vm_mm,
                (*(*vma).vm_file).f_mapping,
                (*Task::current_raw()).mm,
            )
        };
        if mm != ours {
            // SAFETY: `vma` is valid by the requirements of this function. It is locked for write,
            // because `dup_mmap()` has changed its flags already.
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
            // SAFETY: `old` is a VMA of `mm`, and stays while that is locked for write.
            let (bounds, same) = unsafe {
                (
                    (*old).__bindgen_anon_1.__bindgen_anon_1,
                    Self::is_of(old) && (*(*old).vm_file).f_mapping == mapping,
                )
            };
            let mut leaf = bounds.vm_start.next_multiple_of(PUD_SIZE);
            while same && leaf < bounds.vm_end {
                // SAFETY: `old` is a VMA of `mm`, which is locked for write.
                unsafe { unmap_pud(old, leaf) };
                leaf += PUD_SIZE;
            }
            address = bounds.vm_end;
        }
    }

    /// # Safety
    ///
    /// `vma` is valid, and was set up by a [`VmaDesc`] for the same `T`. The mmap lock is
    /// held for read, `address` lies in the VMA, and `buf` is valid for `len` bytes: for reads if
    /// `write` is not 0, for writes otherwise.
    unsafe extern "C" fn access(
        vma: *mut bindings::vm_area_struct,
        address: usize,
        buf: *mut c_void,
        len: c_int,
        write: c_int,
    ) -> c_int {
        // SAFETY: `vma` is valid and was set up for a `T`, by the requirements of this function.
        let (data, bounds, pgoff, flags) = unsafe {
            (
                Self::data(vma),
                (*vma).__bindgen_anon_1.__bindgen_anon_1,
                (*vma).vm_pgoff,
                (*vma).__bindgen_anon_2.vm_flags,
            )
        };
        from_result(|| {
            let within = (address - bounds.vm_start) as u64;
            let offset = PageOffset::new(pgoff).byte() + within;
            let len = usize::try_from(len)?.min(bounds.vm_end - address);
            let done = if write == 0 {
                // SAFETY: `buf` is valid for writes of `len` bytes, by the requirements of this
                // function.
                let to = unsafe { slice::from_raw_parts_mut(buf.cast(), len) };
                let read = data.peek(offset, to)?;
                // Only what lies in `buf` is known to be initialised there.
                Ok(if ptr::addr_eq(read.as_ptr(), buf) {
                    read.len()
                } else {
                    0
                })
            } else if flags & bindings::VM_WRITE == 0 {
                // Even a forced write is refused: the file may be open for reading only.
                Err(EFAULT)
            } else {
                // SAFETY: `buf` is valid for reads of `len` bytes, by the requirements of this
                // function.
                let from = unsafe { slice::from_raw_parts(buf.cast_const().cast(), len) };
                data.poke(offset, from)
            }?;
            // The kernel goes on after so many bytes of its buffer.
            Ok(c_int::try_from(done.min(len))?)
        })
    }

    /// # Safety
    ///
    /// `vma` is valid, and was set up by a [`VmaDesc`] for the same `T`.
    unsafe extern "C" fn pagesize(vma: *mut bindings::vm_area_struct) -> usize {
        // SAFETY: `vma` was set up for a `T`, by the requirements of this function.
        unsafe { Self::data(vma) }.pagesize()
    }
}

/// The number of bytes that a PMD leaf maps, or the page table in its place.
pub(in crate::kernel_ext) const PMD_SIZE: usize = bindings::PAGE_SIZE << bindings::PMD_ORDER;

/// The number of bytes that a PUD leaf maps.
pub(in crate::kernel_ext) const PUD_SIZE: usize = bindings::PAGE_SIZE << bindings::PUD_ORDER;

/// Unmaps the PUD leaf that maps `address` in `vma`, if there is one. No fault sets a new one until
/// the mmap lock is dropped.
///
/// # Safety
///
/// `vma` is valid, and the mmap lock of its process is held for write.
unsafe fn unmap_pud(vma: *mut bindings::vm_area_struct, address: usize) {
    let mut args: bindings::follow_pfnmap_args = pin_init::zeroed();
    args.vma = vma;
    args.address = address;
    // SAFETY: `vma` is valid by the requirements of this function. A VMA that is locked for write
    // stays locked until the mmap lock is dropped.
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
