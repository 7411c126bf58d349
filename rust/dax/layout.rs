// SPDX-License-Identifier: GPL-2.0

//! Where pages lie: those of a device in its region, and those of a region in memory.

pub(crate) mod extents;
pub(crate) mod free_runs;
pub(crate) mod geometry;
pub(crate) mod span;
