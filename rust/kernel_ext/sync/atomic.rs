// SPDX-License-Identifier: GPL-2.0

//! Loads of atomic values without a call.
//!
//! C header: [`include/asm-generic/rwonce.h`](srctree/include/asm-generic/rwonce.h)

use kernel::sync::atomic::{
    Atomic,
    AtomicType, //
};

/// Loads a value (`READ_ONCE()`). Any context. Orders nothing.
///
/// Same as [`Atomic::load`] with `Relaxed`, which is a call of a C function for each load, since the
/// kernel is built without link-time optimization.
#[inline(always)]
pub(crate) fn read_once<T: AtomicType>(value: &Atomic<T>) -> T {
    const { assert!(size_of::<T>() <= size_of::<usize>()) };
    // SAFETY: The pointer comes from a reference, so it is valid and aligned. The value is no larger
    // than a word, so a volatile load is one instruction, as `READ_ONCE()` is.
    unsafe { value.as_ptr().read_volatile() }
}
