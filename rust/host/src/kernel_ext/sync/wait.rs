// SPDX-License-Identifier: GPL-2.0

//! Stand-in for `rust/kernel_ext/sync/wait.rs`.

use crate::kernel_ext::sync::{Arc, Condvar, Mutex};
use kernel::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Next,
    All,
}

struct Waiter {
    key: usize,
    woken: Mutex<bool>,
    condvar: Condvar,
}

/// All waiters, in the order in which they came. One queue is enough: keys are compared.
///
/// The list is behind a mutex that no model checker sees, so that looking whether anybody waits is
/// one step, as `waitqueue_active()` is.
pub(crate) struct WaitTable(std::sync::Mutex<Vec<Arc<Waiter>>>);

impl WaitTable {
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        Ok(Self(std::sync::Mutex::new(Vec::new())))
    }

    pub(crate) fn wait_exclusive<G>(&self, key: usize, guard: G) -> Woken<'_> {
        let waiter = Arc::new(Waiter {
            key,
            woken: Mutex::new(false),
            condvar: Condvar::new(),
        });
        self.0.lock().unwrap().push(waiter.clone());
        drop(guard);
        let mut woken = waiter.woken.lock().unwrap();
        while !*woken {
            woken = waiter.condvar.wait(woken).unwrap();
        }
        Woken { table: self, key }
    }

    pub(crate) fn wake(&self, key: usize, mode: Wake) -> bool {
        let mut woken = Vec::new();
        {
            let mut waiters = self.0.lock().unwrap();
            let mut i = 0;
            while i < waiters.len() && (mode == Wake::All || woken.is_empty()) {
                if waiters[i].key == key {
                    woken.push(waiters.remove(i));
                } else {
                    i += 1;
                }
            }
        }
        for waiter in &woken {
            *waiter.woken.lock().unwrap() = true;
            waiter.condvar.notify_one();
        }
        !woken.is_empty()
    }
}

#[must_use]
pub(crate) struct Woken<'a> {
    table: &'a WaitTable,
    key: usize,
}

impl Woken<'_> {
    pub(crate) fn settle(self, key: usize) {
        if self.key == key {
            core::mem::forget(self);
        }
    }
}

impl Drop for Woken<'_> {
    fn drop(&mut self) {
        self.table.wake(self.key, Wake::Next);
    }
}
