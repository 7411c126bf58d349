// SPDX-License-Identifier: GPL-2.0

//! Operations on a device.

pub(crate) mod fault;
pub(crate) mod io;
pub(crate) mod poison;
pub(crate) mod prefault;
pub(crate) mod punch;
pub(crate) mod sync;
pub(crate) mod unmap;
