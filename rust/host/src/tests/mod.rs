// SPDX-License-Identifier: GPL-2.0

mod entry;
mod extents;
mod hash;
mod order;
mod params;
mod protocol;
mod range;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
mod sequence;
mod signature;
mod space;

use crate::{
    entry::Kind,
    kernel_ext::xarray::Spare,
    mapping::{
        Access,
        GrabError,
        LockedEntry,
        Mapping, //
    },
    order::Order, //
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

fn grab(mapping: &Mapping, pgoff: usize, order: Order) -> Result<LockedEntry<'_>, GrabError> {
    with_spare(|spare| mapping.grab(pgoff, order, Access::Read, spare))
}

fn upgrade(mapping: &Mapping, pgoff: usize, kind: Kind) -> Result<LockedEntry<'_>, GrabError> {
    with_spare(|spare| mapping.upgrade(pgoff, Order::PMD, kind, spare))
}

fn fill_zero(mapping: &Mapping, pgoff: usize, pages: usize) {
    mapping.fill_zero(pgoff, pages, &mut Spare::endless());
}

fn access(write: bool) -> Access {
    if write {
        Access::Write
    } else {
        Access::Read
    }
}
