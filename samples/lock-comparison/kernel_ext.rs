// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions over the C side: those of the driver that its locks need, and a few more.
//!
//! All of the module's `unsafe` is below here.

// The driver needs more of its files than this module does: hence `allow(dead_code)`.

#[path = "../../rust/kernel_ext/bindings.rs"]
mod bindings;
#[path = "../../rust/kernel_ext/bits.rs"]
pub(crate) mod bits;
#[path = "../../rust/kernel_ext/bug.rs"]
pub(crate) mod bug;
#[path = "../../rust/kernel_ext/hash.rs"]
pub(crate) mod hash;
#[allow(dead_code)]
#[path = "../../rust/kernel_ext/percpu.rs"]
pub(crate) mod percpu;
#[allow(dead_code)]
#[path = "../../rust/kernel_ext/task.rs"]
pub(crate) mod task;
#[path = "../../rust/host/src/kernel_ext/trace.rs"]
pub(crate) mod trace;
mod traced {
    pub(crate) fn count(_: &'static str) {}
}
#[allow(dead_code)]
#[path = "../../rust/kernel_ext/units.rs"]
pub(crate) mod units;
#[path = "../../rust/kernel_ext/xa_node.rs"]
mod xa_node;
#[allow(dead_code)]
#[path = "../../rust/kernel_ext/xarray.rs"]
pub(crate) mod xarray;

pub(crate) mod kthread;
pub(crate) mod marks;
pub(crate) mod range_lock;
pub(crate) mod rwsem;
pub(crate) mod slab;
pub(crate) mod sync;
pub(crate) mod topology;
