// SPDX-License-Identifier: GPL-2.0

//! Reads and writes of a file.
//!
//! [`kernel::fs::Kiocb`] does not know of flags.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::kernel_ext::{
    bindings,
    units::DeviceOffset, //
};
use core::marker::PhantomData;
use kernel::prelude::*;

/// A read or write of a file that is being served (`struct kiocb`).
///
/// # Invariants
///
/// `raw` is the valid `kiocb` of a running call of `->read_iter()` or `->write_iter()`, and only
/// this uses it.
pub(crate) struct Kiocb<'a> {
    raw: *mut bindings::kiocb,
    _call: PhantomData<&'a mut bindings::kiocb>,
}

impl Kiocb<'_> {
    /// # Safety
    ///
    /// `raw` must be what `->read_iter()` or `->write_iter()` was given, for the duration of the
    /// call.
    pub(in crate::kernel_ext) unsafe fn from_raw(raw: *mut bindings::kiocb) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            raw,
            _call: PhantomData,
        }
    }

    fn has_flag(&self, flag: c_int) -> bool {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { (*self.raw).ki_flags & flag != 0 }
    }

    /// Returns its position in the file.
    pub(crate) fn pos(&self) -> DeviceOffset {
        // SAFETY: `raw` is valid by the type invariants.
        let pos = unsafe { (*self.raw).ki_pos };
        // `rw_verify_area()` has refused a negative one.
        DeviceOffset::new(u64::try_from(pos).unwrap_or(0))
    }

    /// Advances the position by `bytes`.
    pub(crate) fn advance(&mut self, bytes: usize) {
        // SAFETY: `raw` is valid by the type invariants, and only this uses it.
        let pos = unsafe { &mut (*self.raw).ki_pos };
        *pos = pos.saturating_add_unsigned(bytes as u64);
    }

    /// Whether it must not wait for the user's memory (`RWF_NOWAIT`, io_uring).
    pub(crate) fn is_nowait(&self) -> bool {
        self.has_flag(bindings::IOCB_NOWAIT)
    }

    /// Whether it appends to the end of the file (`O_APPEND`).
    pub(crate) fn is_append(&self) -> bool {
        self.has_flag(bindings::IOCB_APPEND)
    }

    /// Whether what it writes must be durable when it returns (`O_DSYNC`, `O_SYNC`).
    pub(crate) fn is_dsync(&self) -> bool {
        self.has_flag(bindings::IOCB_DSYNC)
    }
}
