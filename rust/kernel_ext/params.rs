// SPDX-License-Identifier: GPL-2.0

//! Module parameters that are strings.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h), by
//! `rust/helpers/params.c`, which says what each is for.

use super::bindings;

/// A parameter of the module.
#[derive(Clone, Copy)]
pub(crate) enum Param {
    /// Namespaces to take at load or when they appear.
    Bind,
    /// Namespaces to bind although something known lies at their head.
    Force,
    /// Alignment of the devices bound from now on.
    Align,
    /// Namespaces to bind without a first device.
    Divided,
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
    // SAFETY: As above.
    unsafe { bindings::param_fault_around() as usize }
}

/// The value of a parameter at one moment.
///
/// # Invariants
///
/// `len` is at most the length of `buf`.
pub(crate) struct Value {
    buf: [u8; bindings::RDAX_PARAM_LEN as usize],
    len: usize,
}

impl Value {
    /// Reads `param`. May sleep: takes the module's parameter lock.
    pub(crate) fn read(param: Param) -> Self {
        let mut buf = [0; bindings::RDAX_PARAM_LEN as usize];
        let raw = match param {
            Param::Bind => bindings::rdax_param_RDAX_PARAM_BIND,
            Param::Force => bindings::rdax_param_RDAX_PARAM_FORCE,
            Param::Align => bindings::rdax_param_RDAX_PARAM_ALIGN,
            Param::Divided => bindings::rdax_param_RDAX_PARAM_DIVIDED,
        };
        // SAFETY: `buf` is valid for writes of its length, and `raw` is one of the parameters
        // that the C side knows.
        let len = unsafe { bindings::param_read(raw, buf.as_mut_ptr(), buf.len()) };
        let len = len.min(buf.len());
        // INVARIANT: Bounded just above.
        Self { buf, len }
    }

    /// The value, without the newline that `echo` leaves behind it.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default().trim_ascii()
    }
}
