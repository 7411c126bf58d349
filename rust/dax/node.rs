// SPDX-License-Identifier: GPL-2.0

//! What users see of a device.

pub(crate) mod attrs;
pub(crate) mod debugfs;
pub(crate) mod file;
