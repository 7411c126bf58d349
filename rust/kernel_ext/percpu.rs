// SPDX-License-Identifier: GPL-2.0

//! Counters that each CPU counts for itself.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use crate::kernel_ext::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// What can be counted.
pub(crate) trait Event: Copy {
    /// The number of different events, not 0.
    const NUMBER: usize;

    /// Returns the number of this event, less than [`Event::NUMBER`].
    fn index(self) -> usize;
}

/// A counter for each event, which counts from 0 and wraps after many years.
///
/// Counting writes no cache line that other CPUs use. Reading adds up what all CPUs have counted.
///
/// # Invariants
///
/// `counts` is an allocation of [`Event::NUMBER`] `u64` for each CPU, which this owns.
pub(crate) struct Counters<E: Event> {
    counts: NonNull<u64>,
    _events: PhantomData<fn(E)>,
}

// SAFETY: Memory for each CPU may be used and freed by any thread.
unsafe impl<E: Event> Send for Counters<E> {}
// SAFETY: Each CPU counts by one instruction, and readers read whole words.
unsafe impl<E: Event> Sync for Counters<E> {}

impl<E: Event> Counters<E> {
    /// Makes counters, charged to the control group of this task. Sleeps. Errors: `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The C function accepts any number.
        let counts = unsafe { bindings::alloc_percpu_counters(E::NUMBER) };
        // INVARIANT: Allocated just above.
        Ok(Self {
            counts: NonNull::new(counts).ok_or(ENOMEM)?,
            _events: PhantomData,
        })
    }

    /// Counts one event. Any context. Orders nothing.
    #[inline]
    pub(crate) fn inc(&self, event: E) {
        let index = event.index();
        if index < E::NUMBER {
            // SAFETY: By the type invariants there are `NUMBER` counters.
            unsafe { bindings::inc_percpu_counter(self.counts.as_ptr(), index) };
        }
    }

    /// Counts `number` events. Any context. Orders nothing.
    pub(crate) fn add(&self, event: E, number: u64) {
        let index = event.index();
        if index < E::NUMBER {
            // SAFETY: By the type invariants there are `NUMBER` counters.
            unsafe { bindings::add_percpu_counter(self.counts.as_ptr(), index, number) };
        }
    }

    /// Returns how often `event` was counted. Any context. Of what is counted meanwhile, some may
    /// be missing.
    pub(crate) fn get(&self, event: E) -> u64 {
        let index = event.index();
        if index < E::NUMBER {
            // SAFETY: By the type invariants there are `NUMBER` counters.
            unsafe { bindings::sum_percpu_counter(self.counts.as_ptr(), index) }
        } else {
            0
        }
    }
}

impl<E: Event> Drop for Counters<E> {
    fn drop(&mut self) {
        // SAFETY: This owns the allocation by the type invariants.
        unsafe { bindings::free_percpu_counters(self.counts.as_ptr()) };
    }
}

#[kunit_tests(rdax_percpu)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    struct Number(usize);

    impl Event for Number {
        const NUMBER: usize = 3;

        fn index(self) -> usize {
            self.0
        }
    }

    /// Each event is counted on its own. One that does not exist is ignored.
    #[test]
    fn counts() -> Result {
        let counters = Counters::new()?;
        for event in [0, 2, 2, 3, usize::MAX] {
            counters.inc(Number(event));
        }
        counters.add(Number(1), 40);
        counters.add(Number(3), 40);
        let counted = [0, 1, 2, 3, usize::MAX].map(|event| counters.get(Number(event)));
        assert_eq!(counted, [1, 40, 2, 0, 0]);
        Ok(())
    }
}
