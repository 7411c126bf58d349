// SPDX-License-Identifier: GPL-2.0

//! What a device does for its mappings.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h), `struct vm_operations_struct`

use crate::kernel_ext::{
    bindings,
    mm::fault::{
        FaultResult,
        Level,
        VmFault, //
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

/// What a device does for its mappings.
///
/// `Self` is what [`cdev`](super::cdev) keeps for each open file: a mapping keeps its file.
pub(crate) trait VmOperations: Sized {
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
        pfn_mkwrite: Some(Self::pfn_mkwrite),
        pagesize: Some(Self::pagesize),
        ..pin_init::zeroed()
    };

    pub(in crate::kernel_ext) const fn build() -> &'static bindings::vm_operations_struct {
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
        // SAFETY: This is the handler of that fault, and `set_pfnmap()` made the VMA PFNMAP and refused
        // private ones. The kernel walks the page tables down to the level before it calls.
        let mut vmf = unsafe { VmFault::from_raw(vmf, level) };
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
pub(in crate::kernel_ext) const PMD_SIZE: usize = bindings::PAGE_SIZE << bindings::PMD_ORDER;

/// The bytes that a PUD leaf maps.
pub(in crate::kernel_ext) const PUD_SIZE: usize = bindings::PAGE_SIZE << bindings::PUD_ORDER;

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
