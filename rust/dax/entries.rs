// SPDX-License-Identifier: GPL-2.0

//! The index of a device: what is known of its pages, and the locks of that.

pub(crate) mod entry;
pub(crate) mod index;
pub(crate) mod table;
