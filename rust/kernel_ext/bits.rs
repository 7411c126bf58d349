// SPDX-License-Identifier: GPL-2.0

//! A word of bits that is read without a lock.

use crate::kernel_ext::sync::atomic::read_once;
use kernel::sync::atomic::{
    Atomic,
    Full, //
};

/// 64 bits. Only the holder of a bit's lock changes it; each bit may have a lock of its own.
pub(crate) struct Bits(Atomic<u64>);

impl Bits {
    /// Makes a word without bits.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Returns the bits. Any context. Orders nothing.
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        read_once(&self.0)
    }

    /// Same as [`Bits::get`], after a full memory barrier.
    pub(crate) fn get_after_barrier(&self) -> u64 {
        self.0.fetch_add(0, Full)
    }

    /// Sets the bit `bit`, less than 64. If it was clear, this is a full memory barrier.
    ///
    /// Any context. The caller holds the bit's lock.
    #[inline(always)]
    pub(crate) fn set(&self, bit: u32) {
        let mask = 1u64.wrapping_shl(bit);
        if self.get() & mask == 0 {
            // The bit is clear, and only this task changes it, so the sum is the union.
            self.0.fetch_add(mask, Full);
        }
    }

    /// Clears the bit `bit`. Same context as [`Bits::set`].
    pub(crate) fn clear(&self, bit: u32) {
        let mask = 1u64.wrapping_shl(bit);
        if self.get() & mask != 0 {
            self.0.fetch_sub(mask, Full);
        }
    }
}
