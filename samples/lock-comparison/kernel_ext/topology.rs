// SPDX-License-Identifier: GPL-2.0

//! CPUs and NUMA nodes.
//!
//! C header: [`include/linux/topology.h`](srctree/include/linux/topology.h)

use super::bindings;
use kernel::{
    cpu::nr_cpu_ids,
    prelude::*, //
};

/// How many CPUs there may ever be.
pub(crate) fn possible_cpus() -> usize {
    // SAFETY: The C function takes nothing and only reads.
    unsafe { bindings::num_possible_cpus() as usize }
}

/// The CPUs that are online now.
///
/// Errors: `ENOMEM`.
pub(crate) fn online_cpus() -> Result<KVec<u32>> {
    let mut cpus = KVec::new();
    for cpu in 0..nr_cpu_ids() {
        // SAFETY: `cpu` is below `nr_cpu_ids`.
        if unsafe { bindings::cpu_online(cpu) } {
            cpus.push(cpu, GFP_KERNEL)?;
        }
    }
    Ok(cpus)
}

/// How many nodes there are: one more than the highest number.
pub(crate) fn nodes() -> usize {
    // SAFETY: The C function takes nothing and only reads.
    unsafe { bindings::nr_node_ids() as usize }
}

/// The node of the CPU that this runs on, at this moment.
pub(crate) fn current_node() -> usize {
    // SAFETY: The C function takes nothing and only reads.
    usize::try_from(unsafe { bindings::numa_node_id() }).unwrap_or(0)
}

/// The node of `cpu`; 0 if there is no such CPU.
pub(crate) fn node_of(cpu: u32) -> usize {
    if cpu >= nr_cpu_ids() {
        return 0;
    }
    // SAFETY: `cpu` is below `nr_cpu_ids`.
    usize::try_from(unsafe { bindings::cpu_to_node(cpu) }).unwrap_or(0)
}
