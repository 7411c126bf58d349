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

mod dax;
mod kernel_ext;

mod tests;
