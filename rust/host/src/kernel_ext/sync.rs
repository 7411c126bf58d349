// SPDX-License-Identifier: GPL-2.0

//! Locks and wait queues, and what they are made of here.

pub(crate) mod lockdep;
pub(crate) mod wait;

#[cfg(feature = "loom")]
pub(crate) use loom::sync::*;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::*;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
pub(crate) use std::sync::*;
