// SPDX-License-Identifier: GPL-2.0

//! Hashes of integers.
//!
//! C header: [`include/linux/hash.h`](srctree/include/linux/hash.h)

/// `GOLDEN_RATIO_64`.
const GOLDEN_RATIO: usize = 0x61C8_8646_80B5_83EB;

/// `hash_long()`: returns the `bits` bits (1 to 63) that depend best on all of `value`.
pub(crate) const fn hash_long(value: usize, bits: u32) -> usize {
    value.wrapping_mul(GOLDEN_RATIO) >> (usize::BITS - bits)
}
