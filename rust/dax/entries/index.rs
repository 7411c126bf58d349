// SPDX-License-Identifier: GPL-2.0

//! The index of a device: its entries by page offset.

use crate::dax::{
    entries::entry::Entry,
    order::Order, //
};
use crate::kernel_ext::xarray::{
    Guard,
    XArray,
    XaState, //
};
use kernel::prelude::*;
use pin_init::pin_init_array_from_fn;

/// So many arrays, each with its lock. On the host two are enough to have more than one.
const ARRAYS: usize = if cfg!(test) { 2 } else { 16 };

/// Which aligned 1 GiB a page offset is in. No entry reaches into two of them.
const fn part(pgoff: usize) -> usize {
    pgoff >> Order::PUD.get()
}

/// Entries by page offset.
///
/// Each aligned 1 GiB in turn is in another of several arrays, so that who works in different ones does not
/// wait for one lock. No array's lock is taken with that of another held.
#[pin_data]
pub(crate) struct Index {
    #[pin]
    arrays: [XArray<Entry>; ARRAYS],
}

impl Index {
    /// No entries.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            arrays <- pin_init_array_from_fn(|_| XArray::new()),
        })
    }

    /// A walk to the run of `order` around page offset `pgoff`.
    pub(crate) fn walk(&self, pgoff: usize, order: Order) -> XaState<'_, Entry> {
        let [first, ..] = &self.arrays;
        let array = self.arrays.get(part(pgoff) % ARRAYS).unwrap_or(first);
        XaState::new(array, pgoff, order.get())
    }

    /// The first entry, of those that `find` finds, that ends behind page offset `from` and begins at or
    /// before `last`: what `then` makes of it, an index in it and the lock. Looks again where it returns `None`.
    ///
    /// What others add meanwhile before what is found, is found or not.
    pub(crate) fn next<R>(
        &self,
        from: usize,
        last: usize,
        find: impl Fn(&mut Guard<'_, '_, Entry>, usize) -> Option<(usize, Entry)>,
        mut then: impl FnMut(Guard<'_, '_, Entry>, usize, Entry) -> Option<R>,
    ) -> Option<R> {
        // In each array, what is found is the first of all its parts, perhaps of a later one.
        let (mut at, mut looked, mut nearest) = (from, 1, None);
        loop {
            let mut xas = self.walk(at, Order::PTE);
            let mut guard = xas.lock();
            let found = find(&mut guard, last);
            if let Some((index, entry)) = found.filter(|&(index, _)| part(index) == part(at)) {
                match then(guard, index, entry) {
                    None => continue,
                    done => return done,
                }
            }
            drop(guard);
            let found = found.map(|(index, _)| index);
            nearest = [nearest, found].into_iter().flatten().min();
            let next = Order::PUD.align_down(at).checked_add(Order::PUD.pages());
            (at, looked) = match next.filter(|&next| looked < ARRAYS && next <= last) {
                Some(next) => (next, looked + 1),
                None => (nearest.take()?, 1),
            };
        }
    }

    /// Forgets all entries.
    pub(crate) fn clear(&self) {
        for array in &self.arrays {
            array.clear();
        }
    }
}
