// SPDX-License-Identifier: GPL-2.0

//! How often each event of `trace` came, for each thread.

use std::{
    cell::RefCell,
    collections::BTreeMap, //
};

thread_local! {
    static COUNTS: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
}

pub(crate) fn count(name: &'static str) {
    COUNTS.with_borrow_mut(|counts| *counts.entry(name).or_default() += 1);
}

/// Those since the last call, in this thread.
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
pub(crate) fn take_counts() -> BTreeMap<&'static str, u64> {
    COUNTS.take()
}
