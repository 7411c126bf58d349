// SPDX-License-Identifier: GPL-2.0

//! The interface of `rust/uapi/rdax.h`: its numbers and structures are defined only there.

use crate::kernel_ext::{
    bindings,
    units::DeviceOffset, //
};
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

    /// Reads a structure from user memory, as `copy_struct_from_user()` does. May fault: the caller
    /// holds no lock of this module.
    ///
    /// Errors: `EFAULT`; `EINVAL` if it is smaller than the first version of the structure, or has
    /// unknown flags; `E2BIG` if what follows the known fields is not zero.
    fn read(arg: usize) -> Result<Self> {
        let user = UserPtr::from_addr(arg);
        let size = UserSlice::new(user, size_of::<u32>())
            .reader()
            .read::<u32>()? as usize;
        if size < size_of::<Self>() {
            return Err(EINVAL);
        }
        // No structure is larger than a page.
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

// SAFETY: A structure of integers without padding: every bit pattern is valid.
unsafe impl FromBytes for RdaxRange {}

impl Versioned for RdaxRange {
    const FLAGS: u32 = 0;

    fn flags(&self) -> u32 {
        self.0.flags
    }
}

impl RdaxRange {
    /// Reads a structure from user memory. May fault: the caller holds no lock of this module.
    ///
    /// Errors: `EFAULT`, `EINVAL`, `E2BIG`.
    pub(crate) fn read(arg: usize) -> Result<Self> {
        Versioned::read(arg)
    }

    /// Returns the offset of the range in the device, in bytes.
    pub(crate) fn offset(&self) -> DeviceOffset {
        DeviceOffset::new(self.0.offset)
    }

    /// Returns the length of the range in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.0.length
    }
}

/// `struct rdax_prefault`.
#[repr(transparent)]
pub(crate) struct RdaxPrefault(bindings::rdax_prefault);

// SAFETY: A structure of integers without padding: every bit pattern is valid.
unsafe impl FromBytes for RdaxPrefault {}

impl Versioned for RdaxPrefault {
    const FLAGS: u32 = bindings::RDAX_PREFAULT_WRITE;

    fn flags(&self) -> u32 {
        self.0.flags
    }
}

impl RdaxPrefault {
    /// Reads a structure from user memory. May fault: the caller holds no lock of this module.
    ///
    /// Errors: `EFAULT`, `EINVAL`, `E2BIG`.
    pub(crate) fn read(arg: usize) -> Result<Self> {
        Versioned::read(arg)
    }

    /// Stores in the structure at `arg` how many bytes are mapped. May fault: the caller holds no
    /// lock of this module.
    ///
    /// Errors: `EFAULT`.
    pub(crate) fn write_done(arg: usize, done: u64) -> Result {
        let field = arg.wrapping_add(offset_of!(bindings::rdax_prefault, done));
        UserSlice::new(UserPtr::from_addr(field), size_of::<u64>())
            .writer()
            .write(&done)
    }

    /// Returns the address in the caller's memory, in bytes.
    pub(crate) fn address(&self) -> u64 {
        self.0.address
    }

    /// Returns the length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.0.length
    }

    /// Whether to map for writing.
    pub(crate) fn is_write(&self) -> bool {
        self.0.flags & bindings::RDAX_PREFAULT_WRITE != 0
    }
}
