// SPDX-License-Identifier: GPL-2.0

//! NVDIMM namespaces and their media.

pub(crate) mod badblocks;
pub(crate) mod driver;
pub(crate) mod live;
pub(crate) mod namespace;
pub(crate) mod pmem;
pub(crate) mod region;
