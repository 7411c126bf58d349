// SPDX-License-Identifier: GPL-2.0

//! Stand-ins for `rust/kernel_ext`, in the manner of `tools/testing/vma/vma_internal.h`.
//!
//! The same names and the same promises, on threads of the standard library, of loom, or of shuttle.

pub(crate) mod bits;
pub(crate) mod bug;
#[path = "../../kernel_ext/hash.rs"]
pub(crate) mod hash;
pub(crate) mod percpu;
pub(crate) mod sync;
pub(crate) mod trace;
pub(crate) mod traced;
#[path = "../../kernel_ext/units.rs"]
pub(crate) mod units;
pub(crate) mod xarray;

#[cfg(feature = "loom")]
pub(crate) use loom::thread;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::thread;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
pub(crate) use std::thread;
