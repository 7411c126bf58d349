// SPDX-License-Identifier: GPL-2.0

//! How the faults of a device map its memory, where that is not as usual.
//!
//! Usually a read fault maps page frames read-only, and a sync makes their mappings read-only again.
//! So the first write faults, and its entry becomes dirty. A device may differ from this as follows.
//!
//! **Writable.** KVM and VFIO cannot handle a read-only leaf. Where one is present they do not ask
//! for a write fault (`hva_to_pfn_remapped()`, `follow_fault_pfn()`). KVM emulates the instruction
//! instead, which it cannot do for each, and the virtual machine stops. VFIO returns `EFAULT`. So
//! while a virtual machine uses a device, or if its attribute says so, its mappings have no such
//! leaves, except those that user space may not write: a read fault counts as a write, and a sync
//! unmaps. The price is that a sync also writes back what was only read.
//!
//! **Pages.** Faults map pages, which can be pinned. The kernel makes a page writable without asking,
//! and a task or device that pins it may write to it at any time. So an entry that was mapped where
//! it may be written stays dirty until it is deleted.
//!
//! **Tracked pages.** A user may want reads and syncs as usual, nevertheless. Then the kernel asks
//! before it makes a page writable, and refuses to pin one for long. A folio that is pinned for a moment
//! is written back by each sync until the pin has ended (`pages_clear_written()`).

use crate::kernel_ext::sync::atomic::read_once;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// The [`Mode`] of a device: one word, because each fault reads it.
pub(crate) struct DeviceMode(Atomic<u32>);

/// How faults map. While the layout rwsem is held, no reason to map writable is added. One may be
/// taken away at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode(u32);

/// Why reads map writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Reason {
    /// A user wants it.
    Always = 1,
    /// A virtual machine was seen since the device was last closed.
    Seen = 2,
}

/// Faults map pages.
const PAGES: u32 = 4;
/// What is written to pages is tracked.
const TRACKED: u32 = 8;
/// That was so at some time since the bind, so a pin may write to pages whose entry is clean.
const WAS_TRACKED: u32 = 16;

impl Mode {
    /// Whether nothing differs.
    pub(crate) const fn is_usual(self) -> bool {
        self.0 == 0
    }

    /// Whether faults map pages, and not page frames.
    pub(crate) const fn has_pages(self) -> bool {
        self.0 & PAGES != 0
    }

    /// Whether faults map pages, and what is written to them is tracked.
    pub(crate) const fn is_tracked(self) -> bool {
        self.0 & TRACKED != 0
    }

    /// Whether what is written to pages is or was tracked, since the device was bound.
    pub(crate) const fn was_tracked(self) -> bool {
        self.0 & WAS_TRACKED != 0
    }

    /// Whether pages may be written at any time without a fault.
    pub(crate) const fn is_untracked(self) -> bool {
        self.0 & (PAGES | TRACKED) == PAGES
    }

    /// Whether reads map writable, in mappings that may be written.
    pub(crate) const fn maps_writable(self) -> bool {
        self.0 & (Reason::Always as u32 | Reason::Seen as u32) != 0
    }

    /// Whether they do so for this reason.
    pub(crate) const fn is_set_for(self, reason: Reason) -> bool {
        self.0 & reason as u32 != 0
    }
}

impl DeviceMode {
    pub(crate) const fn new(has_pages: bool) -> Self {
        Self(Atomic::new(if has_pages { PAGES } else { 0 }))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> Mode {
        Mode(read_once(&self.0))
    }

    /// Sets whether reads map writable for this reason. The caller serializes calls. It sets the
    /// first reason only while no fault and no sync runs, and then everything is unmapped: see
    /// [`Device::begin_map_writable`](crate::dax::device::Device::begin_map_writable).
    pub(crate) fn set(&self, reason: Reason, on: bool) {
        self.set_bits(reason as u32, on);
    }

    /// Sets whether what is written to pages is tracked. The caller serializes calls. Nothing maps the
    /// device.
    pub(crate) fn set_tracked(&self, on: bool) {
        self.set_bits(if on { TRACKED | WAS_TRACKED } else { TRACKED }, on);
    }

    fn set_bits(&self, bits: u32, on: bool) {
        let others = self.get().0 & !bits;
        self.0
            .store(if on { others | bits } else { others }, Relaxed);
    }
}
