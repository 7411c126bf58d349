// SPDX-License-Identifier: GPL-2.0

//! Faulting in the memory behind an `iov_iter`, and copying bytes that may go back to it.
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

/// Faults in the next `len` bytes of user memory for writing, or the first of them. Returns how
/// many are present now. Faults: the caller holds no lock of this module.
///
/// Errors: `EFAULT` if not even the first byte can be written.
pub(crate) fn fault_in_writeable(iter: &mut IovIterDest<'_>, len: usize) -> Result<usize> {
    // SAFETY: `iter` is valid by its invariants.
    let absent = unsafe { bindings::fault_in_iov_iter_writeable(iter.as_raw(), len) };
    present(len, absent)
}

/// Faults in the next `len` bytes of user memory for reading, as [`fault_in_writeable`] does for
/// writing.
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
    /// Returns how many bytes were taken.
    pub(crate) fn len(&self) -> usize {
        self.taken
    }

    /// Keeps the first `bytes` of them.
    pub(crate) fn keep(mut self, bytes: usize) {
        // INVARIANT: The kept bytes are not given back. The iterator is ahead by at least the rest.
        self.taken = self.taken.saturating_sub(bytes);
    }
}

impl Drop for Taken<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: `iter` was advanced by at least `taken` bytes by the type invariants.
        unsafe { self.iter.revert(self.taken) };
    }
}

/// Copies the next bytes of `iter` to `buf`: fewer than fit if the user's memory cannot be read.
///
/// Faults: the caller holds no lock of this module.
pub(crate) fn take<'a, 'data>(
    iter: &'a mut IovIterSource<'data>,
    buf: &mut [u8],
) -> Taken<'a, 'data> {
    let taken = iter.copy_from_iter(buf);
    // INVARIANT: `copy_from_iter()` has advanced the iterator by what it copied.
    Taken { iter, taken }
}
