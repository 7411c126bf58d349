// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions over the C side that the `kernel` crate does not have yet.
//!
//! All of the module's `unsafe` is below here. Each file is named and shaped as it would be in
//! the kernel's own `rust/kernel`, where it should move one day.

mod bindings;

pub(crate) mod badblocks;
pub(crate) mod bug;
pub(crate) mod cdev;
pub(crate) mod debugfs;
pub(crate) mod error;
pub(crate) mod fs;
mod hash;
mod ida;
pub(crate) mod iov;
pub(crate) mod kiocb;
pub(crate) mod lockdep;
pub(crate) mod log;
pub(crate) mod memory_failure;
pub(crate) mod mm;
pub(crate) mod nd;
pub(crate) mod page;
pub(crate) mod params;
pub(crate) mod pmem;
pub(crate) mod populate;
mod puds;
pub(crate) mod rwsem;
pub(crate) mod srcu;
pub(crate) mod sysfs;
pub(crate) mod task;
pub(crate) mod uapi;
pub(crate) mod wait;
pub(crate) mod xarray;
