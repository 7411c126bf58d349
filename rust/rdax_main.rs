// SPDX-License-Identifier: GPL-2.0

//! rdax: persistent memory by `mmap()`, with faults under per-entry locks.
//!
//! The driver is in [`dax`], which has no `unsafe`; what it stands on is in [`kernel_ext`]. Where
//! to begin: `dax/ops/fault.rs` for a fault, `dax/entries/table.rs` for the locks, `dax/bus/nd.rs` for how a
//! namespace comes and goes. `Documentation/design.rst` explains the whole.

mod dax;
mod kernel_ext;

use kernel::prelude::*;

module! {
    type: dax::bus::nd::Module,
    name: "rdax",
    authors: ["The rdax developers"],
    description: "DAX device driver with per-entry fault locking",
    license: "GPL v2",
}
