// SPDX-License-Identifier: GPL-2.0

mod entry;
mod extents;
mod free_runs;
mod hash;
mod order;
mod params;
mod protocol;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
mod sequence;
mod signature;
mod span;

use crate::{
    dax::{
        entries::{
            entry::Kind,
            table::{
                Access,
                EntryTable,
                GrabError,
                LockedEntry, //
            }, //
        },
        order::Order, //
    },
    kernel_ext::xarray::Spare, //
};

/// The orders of page-table leaves, smallest first.
const LEAVES: [Order; 3] = [Order::PTE, Order::PMD, Order::PUD];

/// All orders, smallest first.
fn orders() -> impl Iterator<Item = Order> {
    (0..64).filter_map(Order::new)
}

/// As a fault does it: what lacks a node is tried again with a spare one.
fn with_spare<T>(
    mut attempt: impl FnMut(&mut Spare) -> Result<T, GrabError>,
) -> Result<T, GrabError> {
    let mut spare = Spare::new();
    loop {
        match attempt(&mut spare) {
            Err(GrabError::NoNode) => spare.fill().unwrap(),
            result => return result,
        }
    }
}

fn grab(mapping: &EntryTable, pgoff: usize, order: Order) -> Result<LockedEntry<'_>, GrabError> {
    with_spare(|spare| mapping.grab(pgoff, order, Access::Read, spare))
}

fn upgrade(mapping: &EntryTable, pgoff: usize, kind: Kind) -> Result<LockedEntry<'_>, GrabError> {
    with_spare(|spare| mapping.upgrade(pgoff, Order::PMD, kind, spare))
}

fn fill_zero(mapping: &EntryTable, pgoff: usize, pages: usize) {
    mapping.fill_zero(pgoff, pages, &mut Spare::endless());
}

fn access(write: bool) -> Access {
    if write {
        Access::Write
    } else {
        Access::Read
    }
}
