// SPDX-License-Identifier: GPL-2.0

//! The dax bus, and its devices.
//!
//! C headers: `drivers/dax/bus.h` and `drivers/dax/dax-private.h`, restated in
//! `rust/helpers/dax_bus.h`.

pub(crate) mod device;
pub(crate) mod driver;
