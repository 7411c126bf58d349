// SPDX-License-Identifier: GPL-2.0

//! Module parameters.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h), by
//! `rust/helpers/params.c`, which says what each is for.

use crate::kernel_ext::bindings;
use core::slice;
use kernel::types::NotThreadSafe;

/// A parameter that is a list of namespaces.
#[derive(Clone, Copy)]
pub(crate) enum Param {
    /// Namespaces to take at load or when they appear.
    Bind,
    /// Namespaces to bind although something known lies on them.
    Force,
    /// Namespaces to bind without a first device.
    Divided,
}

impl Param {
    /// The name, as in sysfs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Force => "force",
            Self::Divided => "divided",
        }
    }
}

/// Whether a 2 MiB fault replaces unlocked smaller entries in its range. Any context.
pub(crate) fn upgrade() -> bool {
    // SAFETY: The C function takes nothing and may be called in any context.
    unsafe { bindings::param_upgrade() }
}

/// The order of the largest leaf that a fault maps. Any context.
pub(crate) fn max_leaf() -> u32 {
    // SAFETY: The C function takes nothing and may be called in any context.
    unsafe { bindings::param_max_leaf() }
}

/// Whether this kernel's walks of page tables take leaves of that order without a struct page
/// (`mbind()` up to Linux 7.2: `helpers/compat.h`).
pub(crate) const fn leaf_is_safe(order: u32) -> bool {
    order == 0 || bindings::RDAX_MBIND_TAKES_HUGE_PFNS
}

/// How many bytes a 4 KiB fault maps where memory is touched in order. Any context.
pub(crate) fn fault_around() -> usize {
    // SAFETY: The C function takes nothing and may be called in any context.
    unsafe { bindings::param_fault_around() as usize }
}

/// The order of the alignment of devices that are bound from now on. Any context.
pub(crate) fn align() -> u32 {
    // SAFETY: The C function takes nothing and may be called in any context.
    unsafe { bindings::param_align() }
}

/// The value of a list, which does not change while this exists.
///
/// # Invariants
///
/// The lock of the module's parameters is held, by this task. `text` is what that lock protects.
pub(crate) struct List {
    text: *const [u8],
    _not_send: NotThreadSafe,
}

impl List {
    /// Reads `param`. Process context; sleeps: takes the lock of the module's parameters, which no
    /// other [`List`] of this task may hold.
    pub(crate) fn read(param: Param) -> Self {
        let raw = match param {
            Param::Bind => bindings::rdax_param_RDAX_PARAM_BIND,
            Param::Force => bindings::rdax_param_RDAX_PARAM_FORCE,
            Param::Divided => bindings::rdax_param_RDAX_PARAM_DIVIDED,
        };
        let mut len = 0;
        // SAFETY: `len` is valid for writes, and `raw` is one of the lists that the C side knows.
        let text = unsafe { bindings::params_lock(raw, &mut len) };
        // INVARIANT: Locked just above; `drop()` unlocks.
        Self {
            text: core::ptr::slice_from_raw_parts(text.cast(), len),
            _not_send: NotThreadSafe,
        }
    }

    /// The items, separated by commas.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        // SAFETY: `params_lock()` returned a string of that length, which stays as it is while the
        // lock is held, by the type invariants.
        unsafe { slice::from_raw_parts(self.text.cast(), self.text.len()) }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: This task holds the lock by the type invariants.
        unsafe { bindings::params_unlock() };
    }
}
