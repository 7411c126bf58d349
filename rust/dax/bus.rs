// SPDX-License-Identifier: GPL-2.0

//! Who binds memory.

pub(crate) mod nd;
