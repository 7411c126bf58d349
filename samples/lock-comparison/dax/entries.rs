// SPDX-License-Identifier: GPL-2.0

//! The index of a device.

#[path = "../../../rust/dax/entries/entry.rs"]
pub(crate) mod entry;
#[path = "../../../rust/dax/entries/index.rs"]
pub(crate) mod index;
#[path = "../../../rust/dax/entries/run.rs"]
pub(crate) mod run;
#[path = "../../../rust/dax/entries/table.rs"]
pub(crate) mod table;
#[path = "../../../rust/dax/entries/touch.rs"]
pub(crate) mod touch;
