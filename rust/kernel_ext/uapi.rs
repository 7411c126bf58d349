// SPDX-License-Identifier: GPL-2.0

//! What `rust/uapi/rdax.h` says, and nothing else: numbers and structures are written there once.

use super::bindings;
use core::mem::size_of;
use kernel::{
    prelude::*,
    transmute::FromBytes,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

pub(crate) use bindings::{
    RDAX_IOC_PUNCH,
    RDAX_IOC_ZERO, //
};

/// `struct rdax_range`.
#[repr(transparent)]
pub(crate) struct Range(bindings::rdax_range);

// SAFETY: A structure of integers without padding: every pattern of bits is one.
unsafe impl FromBytes for Range {}

impl Range {
    /// Reads one from user memory, as `copy_struct_from_user()` does. May fault: no lock of ours may
    /// be held.
    ///
    /// Errors: `EFAULT`; `EINVAL` when it is smaller than the first version of the structure, or
    /// has unknown flags; `E2BIG` when what follows the structure is not zero.
    pub(crate) fn read(arg: usize) -> Result<Self> {
        const SIZE: usize = size_of::<Range>();

        let user = UserPtr::from_addr(arg);
        let size = UserSlice::new(user, size_of::<u32>())
            .reader()
            .read::<u32>()? as usize;
        if size < SIZE {
            return Err(EINVAL);
        }
        // More than a page is no structure.
        if size > bindings::PAGE_SIZE {
            return Err(E2BIG);
        }
        let mut reader = UserSlice::new(user, size).reader();
        let range = reader.read::<Self>()?;
        while !reader.is_empty() {
            if reader.read::<u8>()? != 0 {
                return Err(E2BIG);
            }
        }
        if range.0.flags != 0 {
            return Err(EINVAL);
        }
        Ok(range)
    }

    /// Where it begins, in bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.0.offset
    }

    /// How many bytes it has.
    pub(crate) fn length(&self) -> u64 {
        self.0.length
    }
}
