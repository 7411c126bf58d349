// SPDX-License-Identifier: GPL-2.0

//! The driver.

#![deny(unsafe_code)]

pub(crate) mod driver;

mod attrs;
mod counter;
mod debugfs;
mod device;
mod entry;
mod extents;
mod fault;
mod file;
mod index;
mod io;
mod mapping;
mod order;
mod params;
mod poison;
mod prefault;
mod punch;
mod range;
mod region;
mod signature;
mod space;
mod stats;
mod sync;
mod unmap;
