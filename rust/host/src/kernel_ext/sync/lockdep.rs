// SPDX-License-Identifier: GPL-2.0

//! Stand-in for `rust/kernel_ext/sync/lockdep.rs`: the rule that a thread holds one lock at a time, and
//! that it is the one which gives it back.

use kernel::prelude::*;
use std::cell::Cell;
use std::ffi::CStr;

// The model checkers' threads are none of the standard library's.
#[cfg(feature = "loom")]
use loom::thread_local;
#[cfg(feature = "shuttle")]
use shuttle::thread_local;

thread_local! {
    static HELD: Cell<bool> = Cell::new(false);
}

pub(crate) struct LockdepMap;

impl LockdepMap {
    pub(crate) fn new(_name: &'static CStr) -> impl PinInit<Self> {
        Ok::<_, core::convert::Infallible>(Self)
    }

    pub(crate) fn might_lock(&self) {
        assert!(!HELD.with(Cell::get), "a second lock while one is held");
    }

    pub(crate) fn acquire(&self) {
        assert!(
            !HELD.with(|held| held.replace(true)),
            "a second lock while one is held"
        );
    }

    pub(crate) fn release(&self) {
        assert!(
            HELD.with(|held| held.replace(false)),
            "a lock that this thread does not hold"
        );
    }
}
