// SPDX-License-Identifier: GPL-2.0

//! Mapping pages before they are touched.
//!
//! `MAP_POPULATE` and `mlock()` skip mappings of page frames, and `MADV_POPULATE_*` refuses them: they
//! want a `struct page`. `fixup_user_fault()` does not.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/mmap_lock.h`](srctree/include/linux/mmap_lock.h)

use crate::kernel_ext::{
    bindings,
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
    /// Sleeps. Errors: `EFAULT` of a task that has no memory.
    pub(in crate::kernel_ext) fn new() -> Result<Self> {
        // SAFETY: The current task is valid.
        let mm = unsafe { (*Task::current_raw()).mm };
        if mm.is_null() {
            return Err(EFAULT);
        }
        // SAFETY: The current task keeps its `mm`.
        unsafe { bindings::mmap_read_lock(mm) };
        // INVARIANT: Taken just above.
        Ok(Self { mm })
    }

    /// The last address of the leaf at `address` of a mapping of `inode`, and whether it may be written
    /// through; `None` when there is no leaf.
    ///
    /// Errors: `ENOMEM` when there is no mapping, `EINVAL` when it is of something else, `EACCES` when
    /// it may not be read, or not written for a `write`.
    fn leaf(
        &self,
        inode: &AnonInode,
        address: usize,
        write: bool,
    ) -> Result<Option<(usize, bool)>> {
        // SAFETY: The lock is held by the type invariants.
        let vma = unsafe { bindings::vma_lookup(self.mm, address) };
        if vma.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: As above, `vma` stays while the lock is held; it keeps its file.
        let (file, flags) = unsafe { ((*vma).vm_file, (*vma).__bindgen_anon_2.vm_flags) };
        // SAFETY: As above.
        if file.is_null() || unsafe { (*file).f_mapping } != inode.mapping() {
            return Err(EINVAL);
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
        // SAFETY: The lock is held, and `vma` is a mapping of page frames: all of this inode's are.
        unsafe {
            if bindings::follow_pfnmap_start(&mut args) != 0 {
                return Ok(None);
            }
            bindings::follow_pfnmap_end(&mut args);
        }
        Ok(Some((address | !args.addr_mask, args.writable)))
    }

    /// Serves a fault at `address` as if it had been touched. Sleeps; may drop the lock meanwhile.
    ///
    /// Errors: `EFAULT` when that would raise a signal, `ENOMEM`, `EINTR` when the task is being killed.
    fn fault(&self, address: usize, write: bool) -> Result {
        let flags = if write {
            bindings::fault_flag_FAULT_FLAG_WRITE
        } else {
            0
        };
        let mut unlocked = false;
        // SAFETY: The lock is held by the type invariants, and is again when this returns.
        to_result(unsafe { bindings::fixup_user_fault(self.mm, address, flags, &mut unlocked) })
    }
}

impl Drop for MmapReadGuard {
    fn drop(&mut self) {
        // SAFETY: The lock is held by the type invariants.
        unsafe { bindings::mmap_read_unlock(self.mm) };
    }
}

/// Maps `len` bytes of the current process at `address`, which are mappings of `inode`, as a touch of
/// each would: for reading, or for writing. Both are multiples of the page size.
///
/// Returns how many bytes, from the first on, are mapped, and why it ended there. Sleeps; faults: no
/// lock may be held that they take.
///
/// Errors: `EINVAL` when a mapping is of something else; `ENOMEM` when there is none, or no memory;
/// `EACCES` when its protection forbids the access; `EFAULT` when a touch would raise a signal; `EINTR`
/// when the task is being killed.
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
        // One leaf at a time: whoever wants the lock for write gets it in between.
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
