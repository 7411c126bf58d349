// SPDX-License-Identifier: GPL-2.0

//! Locks and wait queues.

#[path = "../../../rust/kernel_ext/sync/atomic.rs"]
pub(crate) mod atomic;
#[path = "../../../rust/kernel_ext/sync/lockdep.rs"]
pub(crate) mod lockdep;
#[allow(dead_code)]
#[path = "../../../rust/kernel_ext/sync/wait.rs"]
pub(crate) mod wait;
