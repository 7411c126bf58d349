// SPDX-License-Identifier: GPL-2.0

//! Durability: what was written through mappings is written back to the media.
//!
//! "Clear the writeable bit and the dirty tag, flush, drop the lock" (thread 000, Feb 2016). All of it
//! under the entry's lock, so that an entry which is not dirty has no writable mapping, and whoever
//! finds it clean knows that its write-back is over.

use crate::dax::{
    device::{
        Device,
        Live, //
    },
    entries::table::LockedEntry,
    layout::extents::Extents,
    ops::unmap::unmap_entry,
    order::{
        Order,
        PAGE_SHIFT, //
    }, //
};
use crate::kernel_ext::{
    fs::anon_inode::AnonInode,
    task, //
};
use kernel::prelude::*;

/// Makes durable what was written before to the bytes `first..=last`: `fsync()`, `msync(MS_SYNC)`.
///
/// Each entry is looked at once, in the order of the offsets: what is dirtied meanwhile behind the
/// place that was reached is left for the next call. So it ends, however much others write, and its
/// cost follows the number of dirty entries.
///
/// Process context; sleeps. Errors: `ENXIO` when the device is gone (which made it durable), `EINTR`
/// when the task is being killed, `EIO` and others of the region.
pub(crate) fn sync(device: &Device, first: u64, last: u64) -> Result {
    let mut from = (first >> PAGE_SHIFT) as usize;
    let end = (last >> PAGE_SHIFT) as usize + 1;
    while let Some(behind) = step(device, from, end)? {
        if task::fatal_signal_pending() {
            return Err(EINTR);
        }
        from = behind;
    }
    Ok(())
}

/// As [`sync`], of the entry at byte `offset` if that is larger than `order`.
///
/// For a caller that is to take it apart with the layout held alone, and would have to write all of it
/// back then: some 0.2 s of a 1 GiB entry in which no fault could be served. Who makes it dirty again
/// in between has only itself to thank.
pub(crate) fn sync_larger(device: &Device, offset: u64, order: Order) -> Result {
    let live = device.live().ok_or(ENXIO)?;
    let found = live.entries.peek((offset >> PAGE_SHIFT) as usize);
    drop(live);
    match found {
        Some((_, entry, true)) if entry.order() > order => sync(device, offset, offset),
        _ => Ok(()),
    }
}

/// As [`sync`], of all there is, whatever happens to the task: for a shutdown.
pub(crate) fn sync_all(device: &Device) -> Result {
    let mut from = 0;
    while let Some(behind) = step(device, from, usize::MAX)? {
        from = behind;
    }
    Ok(())
}

/// Syncs the first dirty entry that reaches into the pages `from..end`, and returns the page offset
/// behind it. When there is none, flushes the region, and returns `None`.
fn step(device: &Device, from: usize, end: usize) -> Result<Option<usize>> {
    // Held for one entry: an unbind does not wait for the rest, which it will write back itself.
    let live = device.live().ok_or(ENXIO)?;
    // Where the platform writes the caches back, a flush of the region is all there is to do.
    if live.media().has_cache() {
        // Shared: excludes a punch, which takes a dirty entry away before it has zeroed the media and
        // written that back.
        let layout = live.layout.read();
        if let Some(entry) = live.entries.lock_next_dirty(from, end) {
            let behind = entry.start() + entry.order().pages();
            write_protect(device.inode(), &entry);
            write_back(&live, &layout, entry)?;
            return Ok(Some(behind));
        }
    }
    flush(device, &live)?;
    Ok(None)
}

/// Makes durable all that was written. Nobody has a mapping, and nobody will: for the end of a device.
///
/// Sleeps. Errors: those of the region; everything was tried.
pub(crate) fn sync_unmapped(live: &Live) -> Result {
    let mut result = Ok(());
    let mut from = 0;
    let layout = live.layout.read();
    while let Some(entry) = live.entries.lock_next_dirty(from, usize::MAX) {
        from = entry.start() + entry.order().pages();
        result = result.and(write_back(live, &layout, entry));
    }
    result.and(live.media().flush())
}

/// Makes durable what was written back or around the caches. An error is also noted for the other open
/// files: what it is about is clean now.
///
/// Sleeps. Errors: those of the region.
pub(crate) fn flush(device: &Device, live: &Live) -> Result {
    live.media()
        .flush()
        .inspect_err(|&error| device.inode().set_error(error))
}

/// Writes back what was written through an entry, if it was. It stays dirty: for an entry that is about
/// to go. Nothing is mapped under it.
pub(crate) fn write_back_dirty(live: &Live, layout: &Extents, entry: &LockedEntry<'_>) -> Result {
    write_back_part(live, layout, entry, 0, entry.order().bytes())
}

/// As [`write_back_dirty`], but only `len` bytes from byte `from` of the entry on.
pub(crate) fn write_back_part(
    live: &Live,
    layout: &Extents,
    entry: &LockedEntry<'_>,
    from: usize,
    len: usize,
) -> Result {
    match entry.pfn() {
        Some(pfn) if entry.is_dirty() => live
            .media()
            .write_back(layout.offset_of(pfn) + from as u64, len),
        _ => Ok(()),
    }
}

fn write_back(live: &Live, layout: &Extents, entry: LockedEntry<'_>) -> Result {
    write_back_dirty(live, layout, &entry)?;
    entry.clean();
    Ok(())
}

/// Takes care that the next write through any mapping of the entry faults.
fn write_protect(inode: &AnonInode, entry: &LockedEntry<'_>) {
    match entry.pfn() {
        Some(pfn) if entry.order() <= Order::PMD => {
            inode.write_protect_pages(entry.start(), pfn, entry.order().pages());
        }
        // What write-protects can't go through a PUD leaf.
        _ => unmap_entry(inode, entry),
    }
}
