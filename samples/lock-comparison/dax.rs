// SPDX-License-Identifier: GPL-2.0

//! The driver's locks: its very files.

// The driver needs more of them than a lock and an unlock.
#![allow(dead_code)]
#![deny(unsafe_code)]

pub(crate) mod entries;
