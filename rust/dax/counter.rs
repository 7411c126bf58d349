// SPDX-License-Identifier: GPL-2.0

//! A counter.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// A number of events. Wraps, after many years.
pub(crate) struct Counter(Atomic<u64>);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Counts one. Orders nothing: the counters are not a protocol.
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
