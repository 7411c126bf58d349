// SPDX-License-Identifier: GPL-2.0

use crate::kernel_ext::hash::hash_long;

/// How many of `keys` the fullest of 256 queues has.
fn fullest(keys: impl Iterator<Item = usize>) -> usize {
    let mut queues = [0usize; 256];
    for key in keys {
        queues[hash_long(key, 8)] += 1;
    }
    queues.into_iter().max().unwrap_or(0)
}

/// Entries of every order begin at multiples of its size: these must not meet in one queue.
#[test]
fn starts_of_entries_are_spread() {
    for order in [0u32, 1, 4, 8, 9, 18] {
        for base in [0usize, 1 << 30, 12_345 << 18] {
            let keys = (0..256 * 16).map(|n| base + (n << order));
            assert!(fullest(keys) <= 32, "order {order}, from {base:#x}");
        }
    }
}

#[test]
fn stays_in_range() {
    for key in [0, 1, usize::MAX, usize::MAX / 3] {
        for bits in [1, 8, 12, 63] {
            assert!(hash_long(key, bits) < 1 << bits);
        }
    }
}
