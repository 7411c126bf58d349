// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions over C that the `kernel` crate does not have yet.
//!
//! All `unsafe` of the module is here. Each file is named and shaped as it would be in the kernel's
//! own `rust/kernel`, where it should move one day.

mod bindings;
mod hash;
mod jump_label;

pub(crate) mod bits;
pub(crate) mod bug;
pub(crate) mod dax_bus;
pub(crate) mod error;
pub(crate) mod fs;
pub(crate) mod ida;
pub(crate) mod log;
pub(crate) mod media;
pub(crate) mod mm;
pub(crate) mod nvdimm;
pub(crate) mod parameters;
pub(crate) mod percpu;
pub(crate) mod sync;
pub(crate) mod task;
pub(crate) mod trace;
pub(crate) mod uapi;
pub(crate) mod units;
mod xa_node;
pub(crate) mod xarray;
