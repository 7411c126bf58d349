// SPDX-License-Identifier: GPL-2.0

//! The driver, in layers: a module uses those above it in this list, and no other. `make check` looks.

#![deny(unsafe_code)]

// Plain values, which need no kernel.
mod counter;
mod order;
mod params;
mod signature;
mod stats;

mod entries;

mod layout;

mod device;

mod ops;

mod region;

mod node;

pub(crate) mod bus;
