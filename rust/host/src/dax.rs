// SPDX-License-Identifier: GPL-2.0

//! The files of `rust/dax` that need no kernel, in the same tree.

#[path = "../../dax/params.rs"]
pub(crate) mod params;
#[path = "../../dax/signature.rs"]
pub(crate) mod signature;

pub(crate) mod entries;

pub(crate) mod layout;
