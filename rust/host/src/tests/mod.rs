// SPDX-License-Identifier: GPL-2.0

mod entry;
mod extents;
mod free_runs;
mod hash;
mod params;
mod protocol;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
mod sequence;
mod signature;
mod span;
mod units;

use crate::{
    dax::entries::{
        entry::Kind,
        index::Spare,
        table::{
            Access,
            EntryTable,
            GrabError,
            LockedEntry, //
        }, //
    },
    kernel_ext::{
        units::{
            Order,
            PageOffset,
            Pages,
            Pfn,
            RegionOffset,
            RegionPage, //
        },
        xarray, //
    }, //
};
use std::pin::Pin;

/// The orders of page-table leaves, smallest first.
const LEAVES: [Order; 3] = [Order::PTE, Order::PMD, Order::PUD];

const fn at(number: usize) -> PageOffset {
    PageOffset::new(number)
}

const fn pages(number: usize) -> Pages {
    Pages::new(number)
}

const fn page(number: usize) -> RegionPage {
    RegionPage::new(number)
}

const fn pfn(number: usize) -> Pfn {
    Pfn::new(number)
}

const fn byte(offset: u64) -> RegionOffset {
    RegionOffset::new(offset)
}

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
    with_spare(|spare| mapping.grab(at(pgoff), order, Access::Read, spare))
}

fn upgrade(mapping: &EntryTable, pgoff: usize, kind: Kind) -> Result<LockedEntry<'_>, GrabError> {
    with_spare(|spare| mapping.upgrade(at(pgoff), Order::PMD, kind, spare))
}

/// As a punch does it.
fn fill_zero(mapping: &EntryTable, first: usize, number: usize) {
    prepare(mapping, first);
    mapping.fill_zero(at(first), pages(number), &mut endless());
}

/// A spare node that never runs out.
fn endless() -> Spare {
    Spare::with(xarray::Spare::endless())
}

/// Makes what the entries near `pgoff` share.
fn prepare(mapping: &EntryTable, pgoff: usize) {
    let prepared = with_spare(|spare| mapping.prepare(at(pgoff), spare));
    prepared.unwrap();
}

/// A table for a device of 8 GiB.
fn table() -> Pin<Box<EntryTable>> {
    let table = EntryTable::new(pages(8 << Order::PUD.get()));
    pinned_init::InPlaceInit::try_pin_init(table).unwrap()
}

fn access(write: bool) -> Access {
    if write {
        Access::Write
    } else {
        Access::Read
    }
}
