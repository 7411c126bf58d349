// SPDX-License-Identifier: GPL-2.0

//! The driver, in layers. A module uses only those above it in this list; `make check` verifies
//! that.

#![deny(unsafe_code)]

// Plain values.
mod mode;
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
