// SPDX-License-Identifier: GPL-2.0

//! The driver.

#![deny(unsafe_code)]

pub(crate) mod driver;

mod attrs;
mod device;
mod entry;
mod fault;
mod file;
mod mapping;
mod order;
mod params;
mod range;
mod signature;
mod stats;
