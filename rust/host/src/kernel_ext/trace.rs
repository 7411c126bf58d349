// SPDX-License-Identifier: GPL-2.0

//! Stand-in for `rust/kernel_ext/trace.rs`: the events of entries are counted, if at all.

use super::traced::count;

macro_rules! entry_events {
    ($($name:ident)*) => {$(
        pub(crate) fn $name(_minor: impl FnOnce() -> usize, _pgoff: usize, _order: u32) {
            count(stringify!($name));
        }
    )*};
}

entry_events! {
    entry_create entry_upgrade entry_delete entry_writeback entry_conflict
}

pub(crate) fn entry_split(
    _minor: impl FnOnce() -> usize,
    _pgoff: usize,
    _order: u32,
    _to_pgoff: usize,
    _to_order: u32,
) {
    count("entry_split");
}

pub(crate) struct Wait;

impl Wait {
    pub(crate) fn begin() -> Self {
        Self
    }

    pub(crate) fn end(self, _minor: impl FnOnce() -> usize, _pgoff: usize, _order: u32) {}
}
