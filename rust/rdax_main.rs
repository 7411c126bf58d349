// SPDX-License-Identifier: GPL-2.0

//! rdax: persistent memory by `mmap()`, with faults under per-entry locks.
//!
//! The driver is in [`dax`], which has no `unsafe`. It uses the abstractions in [`kernel_ext`].
//! Start with `dax/ops/fault.rs` for a fault, `dax/entries/table.rs` for the locks, and
//! `dax/bus/nd.rs` for how a namespace is bound and unbound. `Documentation/design.rst` explains
//! the whole.

mod dax;
mod kernel_ext;

use kernel::prelude::*;

module! {
    type: dax::bus::Module,
    name: "rdax",
    authors: ["The rdax developers"],
    description: "DAX device driver with per-entry fault locking",
    license: "GPL v2",
}
