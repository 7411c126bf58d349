// SPDX-License-Identifier: GPL-2.0

//! The parts of the driver that need no kernel, on the host.
//!
//! Not copies: the same files that Kbuild compiles, in the manner of `tools/testing/vma` and
//! `tools/testing/radix-tree` in the kernel.

#![cfg(test)]
#![deny(unsafe_code)]
// The rest of the driver uses it.
#![allow(dead_code)]

extern crate pinned_init as pin_init;

#[path = "../../dax/counter.rs"]
mod counter;
#[path = "../../dax/entry.rs"]
mod entry;
#[path = "../../dax/extents.rs"]
mod extents;
#[path = "../../dax/index.rs"]
mod index;
mod kernel_ext;
#[path = "../../dax/mapping.rs"]
mod mapping;
#[path = "../../dax/order.rs"]
mod order;
#[path = "../../dax/params.rs"]
mod params;
#[path = "../../dax/range.rs"]
mod range;
#[path = "../../dax/signature.rs"]
mod signature;
#[path = "../../dax/space.rs"]
mod space;

mod tests;
