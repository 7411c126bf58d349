// SPDX-License-Identifier: GPL-2.0

//! NVDIMM namespaces.

pub(crate) mod driver;
pub(crate) mod namespace;
pub(crate) mod region;
