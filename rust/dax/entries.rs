// SPDX-License-Identifier: GPL-2.0

//! The entries of a device, their index, and their locks.

pub(crate) mod entry;
pub(crate) mod index;
pub(crate) mod run;
pub(crate) mod table;
pub(crate) mod touch;
