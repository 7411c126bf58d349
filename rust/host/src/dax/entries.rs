// SPDX-License-Identifier: GPL-2.0

//! The index of a device.

#[path = "../../../dax/entries/entry.rs"]
pub(crate) mod entry;
#[path = "../../../dax/entries/index.rs"]
pub(crate) mod index;
#[path = "../../../dax/entries/run.rs"]
pub(crate) mod run;
#[path = "../../../dax/entries/table.rs"]
pub(crate) mod table;
#[path = "../../../dax/entries/touch.rs"]
pub(crate) mod touch;
