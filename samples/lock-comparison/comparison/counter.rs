// SPDX-License-Identifier: GPL-2.0

//! A counter.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// A number of events. It wraps after many years.
pub(crate) struct Counter(Atomic<u64>);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Counts one event. Orders nothing, because no protocol depends on the counters.
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
