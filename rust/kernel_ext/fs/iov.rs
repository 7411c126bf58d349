// SPDX-License-Identifier: GPL-2.0

//! Faulting in the memory behind an `iov_iter`, and taking bytes from one for a while.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use crate::kernel_ext::bindings;
use kernel::{
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*, //
};

/// Faults in the next `len` bytes of user memory for writing, or the first part of them; returns how many
/// are present now. Faults: no lock of ours may be held.
///
/// Errors: `EFAULT` when not even the first byte can be written.
pub(crate) fn fault_in_writeable(iter: &mut IovIterDest<'_>, len: usize) -> Result<usize> {
    // SAFETY: `iter` is valid by its invariants.
    let absent = unsafe { bindings::fault_in_iov_iter_writeable(iter.as_raw(), len) };
    present(len, absent)
}

/// As [`fault_in_writeable`], for reading.
pub(crate) fn fault_in_readable(iter: &mut IovIterSource<'_>, len: usize) -> Result<usize> {
    // SAFETY: `iter` is valid by its invariants.
    let absent = unsafe { bindings::fault_in_iov_iter_readable(iter.as_raw(), len) };
    present(len, absent)
}

fn present(len: usize, absent: usize) -> Result<usize> {
    match len.saturating_sub(absent) {
        0 => Err(EFAULT),
        present => Ok(present),
    }
}

/// Bytes that were copied from an iterator. Those that are not kept go back to it.
///
/// # Invariants
///
/// `iter` was advanced by `taken` bytes when they were copied, and not since.
#[must_use = "the bytes go back to the iterator immediately when they are not kept"]
pub(crate) struct Taken<'a, 'data> {
    iter: &'a mut IovIterSource<'data>,
    taken: usize,
}

impl Taken<'_, '_> {
    /// How many bytes were taken.
    pub(crate) fn len(&self) -> usize {
        self.taken
    }

    /// Keeps the first `bytes` of them.
    pub(crate) fn keep(mut self, bytes: usize) {
        // INVARIANT: These are not given back; the iterator is still ahead by the rest, at least.
        self.taken = self.taken.saturating_sub(bytes);
    }
}

impl Drop for Taken<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: `iter` was advanced by at least `taken` bytes by the type invariants.
        unsafe { self.iter.revert(self.taken) };
    }
}

/// Copies the next bytes of `iter` to `buf`: fewer than fit where the user's memory can't be read.
///
/// Waits for the user's memory, so that no lock of ours may be held.
pub(crate) fn take<'a, 'data>(
    iter: &'a mut IovIterSource<'data>,
    buf: &mut [u8],
) -> Taken<'a, 'data> {
    let taken = iter.copy_from_iter(buf);
    // INVARIANT: `copy_from_iter()` has advanced it by what it copied.
    Taken { iter, taken }
}
