// SPDX-License-Identifier: GPL-2.0

//! One table of mutexes for all mappings, hashed by mapping and index (thread 000).

use super::scheme::{
    Excludes,
    Footprint,
    Scheme, //
};
use crate::{
    dax::entries::entry::{
        Entry,
        Kind, //
    },
    kernel_ext::{
        hash::hash_long,
        topology,
        units::{
            Order,
            PageOffset,
            Pfn, //
        },
        xarray::{
            Spare,
            XArray,
            XaState, //
        },
    },
};
use core::{
    hint::black_box,
    mem::size_of, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Mutex,
        MutexGuard, //
    },
};

#[pin_data]
struct Bucket {
    #[pin]
    mutex: Mutex<()>,
}

impl Bucket {
    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            mutex <- new_mutex!((), "bucket"),
        })
    }
}

/// A table of mutexes: eight for each CPU that there may be, as `hugetlb_fault_mutex_table` has.
///
/// # Invariants
///
/// It has `1 << bits` buckets, and `bits` is at least 3.
pub(crate) struct Table {
    buckets: Pin<KBox<[Bucket]>>,
    bits: u32,
}

impl Table {
    pub(crate) fn new() -> Result<Self> {
        let len = topology::possible_cpus()
            .checked_mul(8)
            .and_then(usize::checked_next_power_of_two)
            .ok_or(EOVERFLOW)?;
        let buckets = KBox::pin_slice(|_| Bucket::new(), len, GFP_KERNEL)?;
        // INVARIANT: A power of two, and not below 8.
        Ok(Self {
            buckets,
            bits: len.max(8).ilog2(),
        })
    }

    /// Locks the mutex for `index` of the mapping at the address `mapping`.
    pub(crate) fn lock(&self, mapping: usize, index: PageOffset) -> Result<MutexGuard<'_, ()>> {
        // As `page_waitqueue()` and the like: the address is as good as a number.
        let hash = hash_long(mapping.wrapping_add(index.get()), self.bits);
        // Always there, by the type invariants.
        Ok(self.buckets.get(hash).ok_or(EINVAL)?.mutex.lock())
    }

    /// Locks all of them, in one order for everybody.
    fn lock_all(&self) -> Result<KVec<MutexGuard<'_, ()>>> {
        let mut guards = KVec::with_capacity(self.buckets.len(), GFP_KERNEL)?;
        for bucket in self.buckets.iter() {
            guards.push(bucket.mutex.lock(), GFP_KERNEL)?;
        }
        Ok(guards)
    }

    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.buckets.len() * size_of::<Bucket>()
    }
}

/// By the first page of the range: one size of range at a time.
pub(crate) struct Hashed(Table);

impl Scheme for Hashed {
    const NAME: &'static str = "hashed";
    const EXCLUDES: Excludes = Excludes {
        faults: true,
        sizes: false,
        nodes: true,
    };

    fn new() -> impl PinInit<Self, Error> {
        Table::new().map(Self)
    }

    fn with<R>(
        &self,
        pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        let mapping = core::ptr::from_ref(self).addr();
        let _guard = self.0.lock(mapping, pgoff.align_down(order))?;
        Ok(section(order))
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: 0,
            shared: self.0.bytes(),
        }
    }
}

/// By the 2 MiB that the range is in: all sizes up to that exclude each other, and so do neighbours.
pub(crate) struct HashedPmd(Table);

impl Scheme for HashedPmd {
    const NAME: &'static str = "hashed-pmd";
    const EXCLUDES: Excludes = Excludes::ALL;

    fn new() -> impl PinInit<Self, Error> {
        Table::new().map(Self)
    }

    fn with<R>(
        &self,
        pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        let mapping = core::ptr::from_ref(self).addr();
        let _guard = self.0.lock(mapping, pgoff.align_down(Order::PMD))?;
        Ok(section(order))
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: 0,
            shared: self.0.bytes(),
        }
    }
}

/// By the page; a larger range takes every mutex of the table. It would do to take those to which
/// one of its pages hashes, but for 512 pages these are all of a table of this size, or nearly.
///
/// Lockdep would ask for `mutex_lock_nest_lock()`, which `kernel::sync` doesn't have.
pub(crate) struct HashedAll(Table);

impl Scheme for HashedAll {
    const NAME: &'static str = "hashed-all";
    const EXCLUDES: Excludes = Excludes::ALL;

    fn new() -> impl PinInit<Self, Error> {
        Table::new().map(Self)
    }

    fn with<R>(
        &self,
        pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        if order == Order::PTE {
            let mapping = core::ptr::from_ref(self).addr();
            let _guard = self.0.lock(mapping, pgoff)?;
            Ok(section(order))
        } else {
            let _guards = self.0.lock_all()?;
            Ok(section(order))
        }
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: 0,
            shared: self.0.bytes(),
        }
    }
}

/// As [`HashedPmd`], and whoever has the lock looks in the index what lies behind the range, and enters
/// it at the first time: what the entry bit does by the way, any other lock leaves to do.
#[pin_data]
pub(crate) struct HashedIndex {
    table: Table,
    #[pin]
    entries: XArray<Entry>,
}

impl HashedIndex {
    /// The entry of, or in, the range.
    fn look_up(&self, pgoff: PageOffset, order: Order) -> Result<Entry> {
        let xas = XaState::new(&self.entries, pgoff.get(), order.get());
        let mut spare = Spare::new();
        loop {
            let mut guard = xas.lock();
            if let Some(entry) = guard.find_conflict() {
                return Ok(entry);
            }
            let pfn = Pfn::new(pgoff.align_down(order).get());
            let entry = Entry::new(Kind::Mapped { pfn }, order);
            if guard.store(entry, &mut spare).is_ok() {
                return Ok(entry);
            }
            drop(guard);
            spare.fill()?;
        }
    }
}

impl Scheme for HashedIndex {
    const NAME: &'static str = "hashed-index";
    const EXCLUDES: Excludes = Excludes::ALL;

    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            table: Table::new()?,
            entries <- XArray::new(),
        })
    }

    fn with<R>(
        &self,
        pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        let mapping = core::ptr::from_ref(self).addr();
        let _guard = self.table.lock(mapping, pgoff.align_down(Order::PMD))?;
        black_box(self.look_up(pgoff, order)?);
        Ok(section(order))
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: size_of::<XArray<Entry>>(),
            shared: self.table.bytes(),
        }
    }
}
