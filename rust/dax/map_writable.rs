// SPDX-License-Identifier: GPL-2.0

//! Whether reads map pages writable.
//!
//! Usually a read fault maps pages read-only, and a sync makes their mappings read-only again. So
//! the first write faults, and its entry becomes dirty.
//!
//! KVM and VFIO cannot handle a read-only leaf. Where one is present they do not ask for a
//! write fault (`hva_to_pfn_remapped()`, `follow_fault_pfn()`). KVM emulates the instruction
//! instead, which it cannot do for each, and the virtual machine stops. VFIO returns `EFAULT`. So
//! while a virtual machine uses a device, or if its attribute says so, its mappings have no such
//! leaves, except those that user space may not write: a read fault counts as a write, and a sync
//! unmaps. The price is that a sync also writes back what was only read.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// Whether reads of a device map pages writable, in mappings that may be written.
///
/// It begins while no fault and no sync runs, and after that everything is unmapped: see
/// [`Device::begin_map_writable`](crate::dax::device::Device::begin_map_writable).
pub(crate) struct MapWritable {
    /// A user wants it.
    always: Atomic<bool>,
    /// A virtual machine was seen since the device was last closed.
    seen: Atomic<bool>,
}

/// Why reads map pages writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A user wants it.
    Always,
    /// A virtual machine uses the device.
    Seen,
}

impl MapWritable {
    pub(crate) const fn new() -> Self {
        Self {
            always: Atomic::new(false),
            seen: Atomic::new(false),
        }
    }

    fn flag(&self, reason: Reason) -> &Atomic<bool> {
        match reason {
            Reason::Always => &self.always,
            Reason::Seen => &self.seen,
        }
    }

    /// Whether it is so for any reason. Does not begin while the layout rwsem is held.
    pub(crate) fn is_set(&self) -> bool {
        self.is_set_for(Reason::Always) || self.is_set_for(Reason::Seen)
    }

    /// Whether it is so for this reason.
    pub(crate) fn is_set_for(&self, reason: Reason) -> bool {
        self.flag(reason).load(Relaxed)
    }

    pub(crate) fn set(&self, reason: Reason, on: bool) {
        self.flag(reason).store(on, Relaxed);
    }
}
