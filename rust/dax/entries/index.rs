// SPDX-License-Identifier: GPL-2.0

//! The index of a device: its entries by page offset.

use crate::dax::entries::entry::Entry;
use crate::kernel_ext::{
    units::{
        Order,
        PageOffset, //
    },
    xarray::{
        Guard,
        XArray,
        XaState, //
    }, //
};
use kernel::prelude::*;
use pin_init::pin_init_array_from_fn;

/// The number of arrays, each with its own lock. On the host two are enough to test several.
const ARRAYS: usize = if cfg!(test) { 2 } else { 16 };

/// Returns which aligned 1 GiB a page offset is in. No entry spans two of them.
const fn part(pgoff: PageOffset) -> usize {
    pgoff.get() >> Order::PUD.get()
}

/// The index: entries by page offset.
///
/// It is several XArrays, assigned round-robin per aligned 1 GiB, so that tasks in different places
/// seldom contend for one `xa_lock`. No task holds two of these locks.
#[pin_data]
pub(crate) struct Index {
    #[pin]
    arrays: [XArray<Entry>; ARRAYS],
}

impl Index {
    /// Makes an empty index.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            arrays <- pin_init_array_from_fn(|_| XArray::new()),
        })
    }

    /// Returns a walk to the run of `order` around page offset `pgoff`.
    pub(crate) fn walk(&self, pgoff: PageOffset, order: Order) -> XaState<'_, Entry> {
        let [first, ..] = &self.arrays;
        let array = self.arrays.get(part(pgoff) % ARRAYS).unwrap_or(first);
        XaState::new(array, pgoff.get(), order.get())
    }

    /// Of the entries that `find` finds, takes the first that ends after page offset `from` and
    /// begins at or before `last`. Returns what `then` makes of the lock, an index in the entry,
    /// and the entry. If `then` returns `None`, searches again.
    ///
    /// An entry that another task adds meanwhile before the result may be missed.
    pub(crate) fn next<R>(
        &self,
        from: PageOffset,
        last: PageOffset,
        find: impl Fn(&mut Guard<'_, '_, Entry>, usize) -> Option<(usize, Entry)>,
        mut then: impl FnMut(Guard<'_, '_, Entry>, PageOffset, Entry) -> Option<R>,
    ) -> Option<R> {
        // A search finds the first entry of an array, perhaps in one of its later parts.
        let (mut at, mut looked, mut nearest) = (from, 1, None);
        loop {
            let mut xas = self.walk(at, Order::PTE);
            let mut guard = xas.lock();
            let found = find(&mut guard, last.get());
            let found = found.map(|(index, entry)| (PageOffset::new(index), entry));
            if let Some((index, entry)) = found.filter(|&(index, _)| part(index) == part(at)) {
                match then(guard, index, entry) {
                    None => continue,
                    done => return done,
                }
            }
            drop(guard);
            let found = found.map(|(index, _)| index);
            nearest = [nearest, found].into_iter().flatten().min();
            let next = at.align_down(Order::PUD).checked_add(Order::PUD.pages());
            (at, looked) = match next.filter(|&next| looked < ARRAYS && next <= last) {
                Some(next) => (next, looked + 1),
                None => (nearest.take()?, 1),
            };
        }
    }

    /// Removes all entries.
    pub(crate) fn clear(&self) {
        for array in &self.arrays {
            array.clear();
        }
    }
}
