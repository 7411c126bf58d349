// SPDX-License-Identifier: GPL-2.0

//! Mapping pages before they are touched.
//!
//! `MAP_POPULATE` and `mlock()` skip mappings of page frames, and `MADV_POPULATE_*` refuses them,
//! because they need a `struct page`. `fixup_user_fault()` does not.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/mmap_lock.h`](srctree/include/linux/mmap_lock.h)

use crate::kernel_ext::{
    bindings,
    error::eopnotsupp,
    fs::anon_inode::AnonInode,
    task, //
};
use kernel::{
    error::to_result,
    prelude::*,
    task::Task, //
};

/// The mmap lock of the current process, held for read.
///
/// # Invariants
///
/// `mm` is that of the current task, and this task holds its mmap lock.
struct MmapReadGuard {
    mm: *mut bindings::mm_struct,
}

impl MmapReadGuard {
    /// Takes the lock. Sleeps. Errors: `EFAULT` if the task has no `mm`.
    pub(in crate::kernel_ext) fn new() -> Result<Self> {
        // SAFETY: The current task is valid.
        let mm = unsafe { (*Task::current_raw()).mm };
        if mm.is_null() {
            return Err(EFAULT);
        }
        // SAFETY: The current task holds a reference to its `mm`.
        unsafe { bindings::mmap_read_lock(mm) };
        // INVARIANT: Taken just above.
        Ok(Self { mm })
    }

    /// Returns the last address of the leaf at `address` of a mapping of `inode`, and whether the
    /// leaf is writable. `None` if there is no leaf.
    ///
    /// Errors: `ENOMEM` if there is no mapping, `EINVAL` if it is of another file, `EACCES` if its
    /// protection forbids the access, `EOPNOTSUPP` if it is a mapping of pages.
    fn leaf(
        &self,
        inode: &AnonInode,
        address: usize,
        write: bool,
    ) -> Result<Option<(usize, bool)>> {
        // SAFETY: The mmap lock is held by the type invariants.
        let vma = unsafe { bindings::vma_lookup(self.mm, address) };
        if vma.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: `vma` is valid while the mmap lock is held, and keeps its file.
        let (file, flags) = unsafe { ((*vma).vm_file, (*vma).__bindgen_anon_2.vm_flags) };
        // SAFETY: `file` is valid, because `vma` keeps it while the mmap lock is held.
        if file.is_null() || unsafe { (*file).f_mapping } != inode.mapping() {
            return Err(EINVAL);
        }
        if flags & bindings::VM_PFNMAP == 0 {
            return Err(eopnotsupp());
        }
        let needed = if write {
            bindings::VM_WRITE
        } else {
            bindings::VM_READ
        };
        if flags & needed == 0 {
            return Err(EACCES);
        }
        let mut args: bindings::follow_pfnmap_args = pin_init::zeroed();
        args.vma = vma;
        args.address = address;
        // SAFETY: The lock is held, and `vma` is a mapping of page frames.
        unsafe {
            if bindings::follow_pfnmap_start(&mut args) != 0 {
                return Ok(None);
            }
            bindings::follow_pfnmap_end(&mut args);
        }
        Ok(Some((address | !args.addr_mask, args.writable)))
    }

    /// Serves a fault at `address` as if a task had touched it. Sleeps; may drop the lock
    /// meanwhile.
    ///
    /// Errors: `EFAULT` if the touch would raise a signal, `ENOMEM`, `EINTR` if the task is being
    /// killed.
    fn fault(&self, address: usize, write: bool) -> Result {
        // Not the first try, as far as `VmFault::retry()` is concerned: `populate()` looks again
        // anyway.
        let mut flags = bindings::fault_flag_FAULT_FLAG_TRIED;
        if write {
            flags |= bindings::fault_flag_FAULT_FLAG_WRITE;
        }
        let mut unlocked = false;
        // SAFETY: The lock is held by the type invariants, and is held again when this returns.
        to_result(unsafe { bindings::fixup_user_fault(self.mm, address, flags, &mut unlocked) })
    }
}

impl Drop for MmapReadGuard {
    fn drop(&mut self) {
        // SAFETY: The lock is held by the type invariants.
        unsafe { bindings::mmap_read_unlock(self.mm) };
    }
}

/// Maps `len` bytes of the current process at `address`, which are mappings of `inode`, as a touch
/// of each page would: for reading, or for writing. Both are multiples of the page size.
///
/// Returns how many bytes from the first are mapped, and why it stopped there. Sleeps; faults: the
/// caller holds no lock that a fault takes.
///
/// Errors: `EOPNOTSUPP` for mappings of pages, which the kernel's own calls map (`MADV_POPULATE_*`);
/// `EINVAL` if a mapping is of another file; `ENOMEM` if there is none, or no memory;
/// `EACCES` if its protection forbids the access; `EFAULT` if a touch would raise a signal; `EINTR`
/// if the task is being killed.
pub(crate) fn populate(
    inode: &AnonInode,
    address: usize,
    len: usize,
    write: bool,
) -> (usize, Result) {
    let mut done = 0;
    let mut step = || {
        if task::fatal_signal_pending() {
            return Err(EINTR);
        }
        let at = address.checked_add(done).ok_or(EINVAL)?;
        // Taken for one leaf at a time, so that a writer gets the lock in between.
        let mm = MmapReadGuard::new()?;
        match mm.leaf(inode, at, write)? {
            Some((last, writable)) if writable || !write => {
                done = last.wrapping_sub(address).saturating_add(1);
            }
            _ => mm.fault(at, write)?,
        }
        Ok(done >= len)
    };
    let result = loop {
        match step() {
            Ok(false) => task::cond_resched(),
            Ok(true) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    (done.min(len), result)
}
