// SPDX-License-Identifier: GPL-2.0

use super::{orders, pfn};
use crate::dax::entries::entry::{Entry, Kind};

/// The largest page frame number that x86-64 has: 52 physical address bits.
const LAST_PFN: usize = (1 << (52 - 12)) - 1;

fn kinds() -> impl Iterator<Item = Kind> {
    let pfns = (0..40).flat_map(|bit| [1usize << bit, (1usize << bit) - 1]);
    pfns.chain([LAST_PFN])
        .map(|number| Kind::Mapped { pfn: pfn(number) })
        .chain([Kind::Empty, Kind::Zero])
}

#[test]
fn keeps_kind_and_order() {
    for kind in kinds() {
        for order in orders() {
            let entry = Entry::new(kind, order);
            assert_eq!(entry.kind(), kind);
            assert_eq!(entry.order(), order);
            assert!(!entry.is_locked());
        }
    }
}

#[test]
fn the_lock_bit_changes_nothing_else() {
    for kind in kinds() {
        for order in orders() {
            let entry = Entry::new(kind, order);
            let locked = entry.locked();
            assert!(locked.is_locked());
            assert_eq!((locked.kind(), locked.order()), (kind, order));
            assert_eq!(locked.unlocked(), entry);
            assert_ne!(locked, entry);
        }
    }
}

#[test]
fn fits_into_a_value_entry() {
    for kind in kinds() {
        for order in orders() {
            let entry = Entry::new(kind, order).locked();
            assert_eq!(entry.bits() >> 63, 0, "xa_mk_value() shifts left by one");
            assert_eq!(Entry::from_bits(entry.bits()), entry);
        }
    }
}

#[test]
fn different_entries_are_different_words() {
    let mut seen = std::collections::HashSet::new();
    let kinds: std::collections::HashSet<_> = kinds().map(|kind| format!("{kind:?}")).collect();
    for kind in self::kinds() {
        for order in orders() {
            seen.insert(Entry::new(kind, order).bits());
        }
    }
    assert_eq!(seen.len(), kinds.len() * orders().count());
}
