// SPDX-License-Identifier: GPL-2.0

//! Locks, wait queues, revocation.

pub(crate) mod atomic;
pub(crate) mod lockdep;
pub(crate) mod percpu_rwsem;
pub(crate) mod srcu;
pub(crate) mod wait;
