// SPDX-License-Identifier: GPL-2.0

//! Where pages lie.

#[path = "../../../dax/layout/extents.rs"]
pub(crate) mod extents;
#[path = "../../../dax/layout/free_runs.rs"]
pub(crate) mod free_runs;
#[path = "../../../dax/layout/span.rs"]
pub(crate) mod span;
