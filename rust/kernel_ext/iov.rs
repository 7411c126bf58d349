// SPDX-License-Identifier: GPL-2.0

//! Faulting in the memory behind an `iov_iter`.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::bindings;
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
