// SPDX-License-Identifier: GPL-2.0

//! Stand-in for `rust/kernel_ext/percpu.rs`.
//!
//! Counters only: the model checker need not interleave at them.

use kernel::prelude::*;
use std::{
    marker::PhantomData,
    sync::atomic::{
        AtomicU64,
        Ordering::Relaxed, //
    }, //
};

pub(crate) trait Event: Copy {
    const NUMBER: usize;
    fn index(self) -> usize;
}

pub(crate) struct Counters<E>(Vec<AtomicU64>, PhantomData<fn(E)>);

impl<E: Event> Counters<E> {
    pub(crate) fn new() -> Result<Self> {
        let counts = (0..E::NUMBER).map(|_| AtomicU64::new(0));
        Ok(Self(counts.collect(), PhantomData))
    }

    pub(crate) fn inc(&self, event: E) {
        self.0[event.index()].fetch_add(1, Relaxed);
    }

    pub(crate) fn add(&self, event: E, number: u64) {
        self.0[event.index()].fetch_add(number, Relaxed);
    }

    pub(crate) fn get(&self, event: E) -> u64 {
        self.0[event.index()].load(Relaxed)
    }
}
