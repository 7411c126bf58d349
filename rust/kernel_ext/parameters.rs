// SPDX-License-Identifier: GPL-2.0

//! Module parameters.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h), through
//! `rust/helpers/params.c`, which describes each parameter.

use crate::kernel_ext::{
    bindings,
    units::Order, //
};
use core::slice;
use kernel::{
    prelude::*,
    types::NotThreadSafe, //
};

/// A parameter that is a list of namespaces, or of devices of the dax bus.
#[derive(Clone, Copy)]
pub(crate) enum Param {
    /// Namespaces to bind at load or when they appear.
    Bind,
    /// Namespaces to bind although they hold known data.
    Force,
    /// Namespaces to bind without a first device.
    Divided,
    /// Devices of the dax bus to bind with a `struct page` for each page.
    Pages,
}

impl Param {
    /// Returns the name, as in sysfs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Force => "force",
            Self::Divided => "divided",
            Self::Pages => "pages",
        }
    }
}

/// Whether a 2 MiB fault replaces unlocked smaller entries in its range. Any context.
pub(crate) fn upgrade() -> bool {
    // SAFETY: The C function takes no arguments and may be called in any context.
    unsafe { bindings::param_upgrade() }
}

/// Returns the order of the largest leaf that a fault maps. Any context.
pub(crate) fn max_leaf() -> Order {
    // SAFETY: This is one of the variables of `params.c`.
    Order::new(unsafe { read_once(&raw const bindings::rdax_max_leaf) }).unwrap_or(Order::PTE)
}

/// Whether a fault may map a leaf of that order. Any context.
#[inline(always)]
pub(crate) fn allows_leaf(order: Order) -> bool {
    // SAFETY: This is one of the variables of `params.c`.
    order.get() <= unsafe { read_once(&raw const bindings::rdax_max_leaf) }
}

/// Reads a parameter that is a number. Each fault does that, so it is no call.
///
/// # Safety
///
/// `parameter` is one of the variables of `params.c`.
#[inline(always)]
unsafe fn read_once(parameter: *const c_uint) -> c_uint {
    // SAFETY: By the requirements of this function. The C side writes it with `WRITE_ONCE()`, and a
    // volatile load of a word is `READ_ONCE()`.
    unsafe { parameter.read_volatile() }
}

/// Whether this kernel's page-table walks handle leaves of that order without a struct page (not in
/// `mbind()` up to Linux 7.2: `helpers/compat.h`).
pub(crate) const fn leaf_is_safe(order: Order) -> bool {
    order.get() == 0 || bindings::RDAX_MBIND_TAKES_HUGE_PFNS
}

/// Returns how many bytes a 4 KiB fault maps if memory is touched in order. Any context.
pub(crate) fn fault_around() -> u64 {
    // SAFETY: This is one of the variables of `params.c`.
    unsafe { read_once(&raw const bindings::rdax_fault_around) }.into()
}

/// Returns the order of the alignment of devices that are bound from now on. Any context.
pub(crate) fn align() -> Order {
    // SAFETY: The C function takes no arguments and may be called in any context.
    Order::new(unsafe { bindings::param_align() }).unwrap_or(Order::PTE)
}

/// The value of a list, which does not change while this exists.
///
/// # Invariants
///
/// This task holds the lock of the module's parameters. That lock protects `text`.
pub(crate) struct List {
    text: *const [u8],
    _not_send: NotThreadSafe,
}

impl List {
    /// Reads `param`. Process context; sleeps. Takes the lock of the module's parameters, so this
    /// task must not have another [`List`].
    pub(crate) fn read(param: Param) -> Self {
        let raw = match param {
            Param::Bind => bindings::rdax_param_RDAX_PARAM_BIND,
            Param::Force => bindings::rdax_param_RDAX_PARAM_FORCE,
            Param::Divided => bindings::rdax_param_RDAX_PARAM_DIVIDED,
            Param::Pages => bindings::rdax_param_RDAX_PARAM_PAGES,
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

    /// Returns the items, separated by commas.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        // SAFETY: `params_lock()` returned a string of that length. By the type invariants the lock
        // is held, so the string does not change.
        unsafe { slice::from_raw_parts(self.text.cast(), self.text.len()) }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: This task holds the lock by the type invariants.
        unsafe { bindings::params_unlock() };
    }
}
