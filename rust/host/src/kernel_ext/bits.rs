// SPDX-License-Identifier: GPL-2.0

//! Stand-in for `rust/kernel_ext/bits.rs`.

use crate::kernel_ext::sync::atomic::{
    fence,
    AtomicU64,
    Ordering::{
        Relaxed,
        SeqCst, //
    }, //
};

pub(crate) struct Bits(AtomicU64);

impl Bits {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn get_after_barrier(&self) -> u64 {
        fence(SeqCst);
        self.get()
    }

    pub(crate) fn set(&self, bit: u32) {
        let mask = 1 << bit;
        if self.get() & mask == 0 {
            self.0.fetch_add(mask, Relaxed);
            fence(SeqCst);
        }
    }

    pub(crate) fn clear(&self, bit: u32) {
        let mask = 1 << bit;
        if self.get() & mask != 0 {
            self.0.fetch_sub(mask, Relaxed);
            fence(SeqCst);
        }
    }
}
