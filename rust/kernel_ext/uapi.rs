// SPDX-License-Identifier: GPL-2.0

//! What `rust/uapi/rdax.h` says, and nothing else: numbers and structures are written there once.

use crate::kernel_ext::bindings;
use core::mem::{
    offset_of,
    size_of, //
};
use kernel::{
    prelude::*,
    transmute::FromBytes,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

pub(crate) use bindings::{
    RDAX_IOC_PREFAULT,
    RDAX_IOC_PUNCH,
    RDAX_IOC_ZERO, //
};

/// A structure that begins with its own size, and then flags.
trait Versioned: FromBytes + Sized {
    /// The flags that are defined.
    const FLAGS: u32;

    fn flags(&self) -> u32;

    /// Reads one from user memory, as `copy_struct_from_user()` does. May fault: no lock of ours may
    /// be held.
    ///
    /// Errors: `EFAULT`; `EINVAL` when it is smaller than the first version of the structure, or
    /// has unknown flags; `E2BIG` when what follows the structure is not zero.
    fn read(arg: usize) -> Result<Self> {
        let user = UserPtr::from_addr(arg);
        let size = UserSlice::new(user, size_of::<u32>())
            .reader()
            .read::<u32>()? as usize;
        if size < size_of::<Self>() {
            return Err(EINVAL);
        }
        // More than a page is no structure.
        if size > bindings::PAGE_SIZE {
            return Err(E2BIG);
        }
        let mut reader = UserSlice::new(user, size).reader();
        let this = reader.read::<Self>()?;
        while !reader.is_empty() {
            if reader.read::<u8>()? != 0 {
                return Err(E2BIG);
            }
        }
        if this.flags() & !Self::FLAGS != 0 {
            return Err(EINVAL);
        }
        Ok(this)
    }
}

/// `struct rdax_range`.
#[repr(transparent)]
pub(crate) struct RdaxRange(bindings::rdax_range);

// SAFETY: A structure of integers without padding: every pattern of bits is one.
unsafe impl FromBytes for RdaxRange {}

impl Versioned for RdaxRange {
    const FLAGS: u32 = 0;

    fn flags(&self) -> u32 {
        self.0.flags
    }
}

impl RdaxRange {
    /// Reads one from user memory. May fault: no lock of ours may be held.
    ///
    /// Errors: `EFAULT`, `EINVAL`, `E2BIG`.
    pub(crate) fn read(arg: usize) -> Result<Self> {
        Versioned::read(arg)
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

/// `struct rdax_prefault`.
#[repr(transparent)]
pub(crate) struct RdaxPrefault(bindings::rdax_prefault);

// SAFETY: A structure of integers without padding: every pattern of bits is one.
unsafe impl FromBytes for RdaxPrefault {}

impl Versioned for RdaxPrefault {
    const FLAGS: u32 = bindings::RDAX_PREFAULT_WRITE;

    fn flags(&self) -> u32 {
        self.0.flags
    }
}

impl RdaxPrefault {
    /// Reads one from user memory. May fault: no lock of ours may be held.
    ///
    /// Errors: `EFAULT`, `EINVAL`, `E2BIG`.
    pub(crate) fn read(arg: usize) -> Result<Self> {
        Versioned::read(arg)
    }

    /// Says in the structure at `arg` how many bytes are mapped. May fault, as [`RdaxPrefault::read`].
    ///
    /// Errors: `EFAULT`.
    pub(crate) fn write_done(arg: usize, done: u64) -> Result {
        let field = arg.wrapping_add(offset_of!(bindings::rdax_prefault, done));
        UserSlice::new(UserPtr::from_addr(field), size_of::<u64>())
            .writer()
            .write(&done)
    }

    /// Where it begins in the memory of the caller, in bytes.
    pub(crate) fn address(&self) -> u64 {
        self.0.address
    }

    /// How many bytes it has.
    pub(crate) fn length(&self) -> u64 {
        self.0.length
    }

    /// Whether it is to be mapped for writing.
    pub(crate) fn is_write(&self) -> bool {
        self.0.flags & bindings::RDAX_PREFAULT_WRITE != 0
    }
}
