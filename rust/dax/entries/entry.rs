// SPDX-License-Identifier: GPL-2.0

//! The index entry of a run of pages: one word.
//!
//! The word has 63 bits, as an XArray value entry: the lock bit, the kind, the order and the page
//! frame number. Compare `RADIX_DAX_*` of the 2016 patches and `DAX_*` of `fs/dax.c`. The order
//! takes five bits instead of one for "PMD".

use crate::kernel_ext::units::{
    Order,
    PageOffset,
    Pfn, //
};

const LOCKED: usize = 1 << 0;
const EMPTY: usize = 1 << 1;
const ZERO: usize = 1 << 2;
const ORDER_SHIFT: u32 = 3;
const ORDER_MASK: usize = (1 << 5) - 1;
const PFN_SHIFT: u32 = ORDER_SHIFT + 5;
const PFN_MASK: usize = (1 << (63 - PFN_SHIFT)) - 1;

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing known; made to be locked.
    Empty,
    /// A hole: the media is all zeroes, and readers may get shared zeroes.
    Zero,
    /// The media, from this page frame.
    Mapped {
        /// The page frame of the entry's first page.
        pfn: Pfn,
    },
}

/// An entry of the index.
///
/// # Invariants
///
/// The topmost bit is clear, and the order bits are those of an [`Order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(usize);

impl Entry {
    /// Returns an unlocked entry of that kind and order.
    pub(crate) const fn new(kind: Kind, order: Order) -> Self {
        let order = (order.get() as usize) << ORDER_SHIFT;
        // INVARIANT: The mask keeps the topmost bit clear. A page frame number has 40 bits on
        // x86-64, so the mask loses none of it.
        match kind {
            Kind::Empty => Self(EMPTY | order),
            Kind::Zero => Self(ZERO | order),
            Kind::Mapped { pfn } => Self((pfn.get() & PFN_MASK) << PFN_SHIFT | order),
        }
    }

    /// Returns the kind.
    pub(crate) const fn kind(self) -> Kind {
        if self.0 & EMPTY != 0 {
            Kind::Empty
        } else if self.0 & ZERO != 0 {
            Kind::Zero
        } else {
            Kind::Mapped {
                pfn: Pfn::new(self.0 >> PFN_SHIFT),
            }
        }
    }

    /// Returns the page frame of the first page if the entry is MAPPED.
    pub(crate) const fn pfn(self) -> Option<Pfn> {
        match self.kind() {
            Kind::Mapped { pfn } => Some(pfn),
            Kind::Empty | Kind::Zero => None,
        }
    }

    /// Returns the order of the run.
    pub(crate) const fn order(self) -> Order {
        match Order::new((self.0 >> ORDER_SHIFT & ORDER_MASK) as u32) {
            Some(order) => order,
            // Not reached, by the type invariants.
            None => Order::PTE,
        }
    }

    /// Returns the first page offset after the run of the entry, where `index` is in it. `None` if
    /// it would overflow.
    pub(crate) fn behind(self, index: PageOffset) -> Option<PageOffset> {
        let order = self.order();
        index.align_down(order).checked_add(order.pages())
    }

    /// Whether a task holds the entry's lock.
    pub(crate) const fn is_locked(self) -> bool {
        self.0 & LOCKED != 0
    }

    /// Whether the entry is MAPPED and unlocked.
    pub(crate) const fn is_settled(self) -> bool {
        self.0 & (LOCKED | EMPTY | ZERO) == 0
    }

    /// Returns the entry with the lock bit set.
    pub(crate) const fn locked(self) -> Self {
        Self(self.0 | LOCKED)
    }

    /// Returns the entry with the lock bit clear.
    pub(crate) const fn unlocked(self) -> Self {
        Self(self.0 & !LOCKED)
    }

    /// Returns the word.
    pub(crate) const fn bits(self) -> usize {
        self.0
    }

    /// Returns the entry with that word, which came from [`Entry::bits`].
    pub(crate) const fn from_bits(bits: usize) -> Self {
        Self(bits)
    }
}

#[cfg(CONFIG_KUNIT = "y")]
#[kernel::prelude::kunit_tests(rdax_entry)]
mod tests {
    use super::*;

    const ORDERS: [u32; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 18];
    /// The smallest, both sides of a bit at which another field begins, and the last of 52 address
    /// bits.
    const KINDS: [Kind; 7] = [
        Kind::Empty,
        Kind::Zero,
        mapped(0),
        mapped(1),
        mapped(255),
        mapped(256),
        mapped((1 << 40) - 1),
    ];

    const fn mapped(pfn: usize) -> Kind {
        Kind::Mapped { pfn: Pfn::new(pfn) }
    }

    fn entries() -> impl Iterator<Item = (Kind, Order, Entry)> {
        KINDS.into_iter().flat_map(|kind| {
            ORDERS
                .into_iter()
                .filter_map(Order::new)
                .map(move |order| (kind, order, Entry::new(kind, order)))
        })
    }

    #[test]
    fn keeps_kind_and_order() {
        assert_eq!(entries().count(), KINDS.len() * ORDERS.len());
        for (kind, order, entry) in entries() {
            for entry in [entry, entry.locked(), entry.locked().unlocked()] {
                assert!(entry.kind() == kind);
                assert!(entry.order() == order);
                assert!(Entry::from_bits(entry.bits()) == entry);
            }
        }
    }

    #[test]
    fn lock_bit() {
        for (_, _, entry) in entries() {
            assert!(!entry.is_locked());
            assert!(entry.locked().is_locked());
            assert!(entry.locked() != entry);
            assert!(entry.locked().unlocked() == entry);
            // xa_mk_value() takes 63 bits.
            assert_eq!(entry.locked().bits() >> 63, 0);
        }
    }

    #[test]
    fn different_words() {
        for (i, (_, _, one)) in entries().enumerate() {
            for (j, (_, _, other)) in entries().enumerate() {
                let same = one == other;
                assert_eq!(same, i == j);
            }
        }
    }

    #[test]
    fn behind() {
        for (_, order, entry) in entries() {
            let len = order.pages().get();
            let behind = |index| entry.behind(PageOffset::new(index)).map(PageOffset::get);
            assert_eq!(behind(0), Some(len));
            assert_eq!(behind(3 * len - 1), Some(3 * len));
            assert_eq!(behind(3 * len), Some(4 * len));
            assert_eq!(behind(usize::MAX), None);
        }
    }
}
