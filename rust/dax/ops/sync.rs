// SPDX-License-Identifier: GPL-2.0

//! Durability: writes back to the media what was written through mappings.
//!
//! "Clear the writeable bit and the dirty tag, flush, drop the lock" (thread 000, Feb 2016). All of
//! this happens under the entry lock. So a clean entry has no writable mapping, and its write-back
//! is complete. What was written through pins is written back afterwards, under a mutex.

use crate::dax::{
    device::{
        Device,
        Live,
        Unmapped, //
    },
    entries::{
        run::LockedRun,
        table::{
            Event,
            LockedEntry, //
        }, //
    },
    layout::extents::Extents,
};
use crate::kernel_ext::{
    task,
    trace::Written,
    units::{
        DeviceOffset,
        Order,
        PageOffset,
        Pages, //
    }, //
};
use kernel::prelude::*;

/// Makes durable what was written earlier to the bytes `first..=last`: `fsync()`, `msync(MS_SYNC)`.
///
/// Each entry is visited once, in the order of the offsets. An entry that becomes dirty again after
/// it was visited is left for the next call. So the sync ends while other tasks keep writing, and
/// its cost is proportional to the number of dirty entries.
///
/// Process context; sleeps. Errors: `ENXIO` if the device is gone (which made everything durable),
/// `EINTR` if the task is being killed, `EIO` and others of the region.
pub(crate) fn sync(device: &Device, first: DeviceOffset, last: DeviceOffset) -> Result {
    let mut written = Written::new();
    let result = sync_bytes(device, first, last, &mut written);
    written.end(|| device.number(), first.get()..=last.get(), &result);
    result
}

fn sync_bytes(
    device: &Device,
    first: DeviceOffset,
    last: DeviceOffset,
    written: &mut Written,
) -> Result {
    let mut from = first.page();
    let end = last.page() + Pages::ONE;
    while let Some(behind) = step(device, from, end, written)? {
        if task::fatal_signal_pending() {
            return Err(EINTR);
        }
        from = behind;
    }
    if device.has_pages() {
        // Otherwise what is pinned has a dirty entry.
        if device.mode.get().was_tracked() {
            sync_pinned(device, first, last, written)?;
        }
        let live = device.live().ok_or(ENXIO)?;
        flush(device, &live)?;
    }
    Ok(())
}

/// Writes back what was written through pins to the bytes `first..=last`, unless that was done with
/// the entries. Errors: those of [`sync`].
fn sync_pinned(
    device: &Device,
    first: DeviceOffset,
    last: DeviceOffset,
    written: &mut Written,
) -> Result {
    let mut from = first;
    while from <= last {
        if task::fatal_signal_pending() {
            return Err(EINTR);
        }
        // Held for one folio, as in `step()`.
        let live = device.live().ok_or(ENXIO)?;
        let layout = live.layout.read();
        match pinned_step(&live, &layout, from, (last - from).saturating_add(1))? {
            Some((folio, behind)) => {
                written.add(folio.page().get()..behind.page().get());
                from = behind;
            }
            None => break,
        }
    }
    Ok(())
}

/// Writes back the first folio that was written through a pin, of those with some of the `len` bytes
/// from byte `from` of the device. Returns where these bytes of it begin and end.
fn pinned_step(
    live: &Unmapped,
    layout: &Extents,
    from: DeviceOffset,
    len: u64,
) -> Result<Option<(DeviceOffset, DeviceOffset)>> {
    // A sync that finds no note relies on the write-back by the task that cleared it: here, in
    // `write_back_noted()`, or with the layout rwsem held exclusively.
    let _others = live.pinned.lock();
    let end = layout.size().min(from.get().saturating_add(len));
    let mut from = from;
    while from.get() < end {
        let left = usize::try_from(end - from.get())?;
        let Some((at, part)) = layout.locate(from, left) else {
            break;
        };
        if let Some(folio) = live.media().first_written(at, part)? {
            let len = usize::try_from(folio.end - folio.start)?;
            live.media().write_back(folio.start, len)?;
            live.entries.events.inc(Event::Writeback);
            let start = from + folio.start.saturating_sub(at);
            return Ok(Some((start, from + folio.end.saturating_sub(at))));
        }
        from += part as u64;
    }
    Ok(None)
}

/// Writes back all that was written through pins. Sleeps.
fn sync_all_pinned(live: &Unmapped, layout: &Extents) -> Result {
    let mut from = DeviceOffset::new(0);
    while let Some((_, behind)) = pinned_step(live, layout, from, u64::MAX)? {
        from = behind;
    }
    Ok(())
}

/// Syncs the entry at byte `offset` if it is larger than `order`. Same context and errors as
/// [`sync`].
///
/// For a caller that then splits the entry with the layout rwsem held exclusively. Without this,
/// the caller would have to write back all of a 1 GiB entry while no fault is served. A task that
/// dirties the entry again in between causes that delay.
pub(crate) fn sync_larger(device: &Device, offset: DeviceOffset, order: Order) -> Result {
    let live = device.live().ok_or(ENXIO)?;
    let page = offset.page();
    let found = live.entries.peek(page, page);
    drop(live);
    match found {
        Some((_, entry, true)) if entry.order() > order => sync(device, offset, offset),
        _ => Ok(()),
    }
}

/// Syncs the whole device, even if the task is being killed: for a shutdown. Errors: those of
/// [`sync`], without `EINTR`.
pub(crate) fn sync_all(device: &Device) -> Result {
    let mut from = PageOffset::new(0);
    while let Some(behind) = step(device, from, PageOffset::MAX, &mut Written::new())? {
        from = behind;
    }
    if device.has_pages() {
        let live = device.live().ok_or(ENXIO)?;
        sync_all_pinned(&live, &live.layout.read())?;
        flush(device, &live)?;
    }
    Ok(())
}

/// Writes back the first dirty entries that reach into the pages `from..end`, up to some 2 MiB, and
/// returns the page offset after them. If there are less, flushes the region and returns `None`. With
/// pages, the caller flushes it.
fn step(
    device: &Device,
    from: PageOffset,
    end: PageOffset,
    written: &mut Written,
) -> Result<Option<PageOffset>> {
    // Held for some entries, so that an unbind does not wait for the rest. The unbind writes that
    // back.
    let live = device.live().ok_or(ENXIO)?;
    // Where the platform writes the caches back, a flush of the region is enough.
    if live.media().has_cache() {
        // Shared: excludes a punch, which deletes a dirty entry before it zeroes the media, and
        // whatever unmaps pages that are still written through a TLB, see `unmap()`.
        let layout = live.layout.read();
        let (mut from, mut done) = (from, Pages::ZERO);
        while let Some(run) = live.entries.lock_dirty_run(from, end) {
            let (first, behind) = (run.first(), run.behind());
            done += run.pages();
            if device.mode.get().is_untracked() {
                write_back_noted(device, &live, &layout, &run)?;
                run.keep();
            } else {
                write_protect(device, &live, &run);
                write_back_noted(device, &live, &layout, &run)?;
                run.clean();
            }
            written.add(first.get()..behind.get());
            from = behind;
            if done >= Order::PMD.pages() {
                return Ok(Some(from));
            }
        }
    }
    if !device.has_pages() {
        flush(device, &live)?;
    }
    Ok(None)
}

/// Makes durable everything that was written, at the end of a device. The caller guarantees that no
/// mapping exists or is made.
///
/// Sleeps. Errors: those of the region. An error does not stop the write-back of other entries.
pub(crate) fn sync_unmapped(live: &Unmapped) -> Result {
    let mut from = PageOffset::new(0);
    let layout = live.layout.read();
    let mut result = Ok(());
    while let Some(run) = live.entries.lock_dirty_run(from, PageOffset::MAX) {
        from = run.behind();
        result = result.and(write_back(live, &layout, &run).map(|()| run.clean()));
    }
    result = result.and(sync_all_pinned(live, &layout));
    result.and(live.media().flush())
}

/// Makes durable what was written back from the CPU caches or bypassed them. An error is also
/// recorded for other open files, because the entries concerned are clean now.
///
/// Sleeps. Errors: those of the region.
pub(crate) fn flush(device: &Device, live: &Live) -> Result {
    live.media()
        .flush()
        .inspect_err(|&error| device.inode().set_error(error))
}

/// Writes back an entry if it is dirty. It stays dirty, because it is about to be deleted. Nothing
/// is mapped under it. Errors: those of the region.
pub(crate) fn write_back_dirty(live: &Live, layout: &Extents, entry: &LockedEntry<'_>) -> Result {
    write_back_part(live, layout, entry, 0, entry.order().bytes())
}

/// Same as [`write_back_dirty`], but only for `len` bytes from byte `from` of the entry.
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

fn write_back(live: &Unmapped, layout: &Extents, run: &LockedRun<'_>) -> Result {
    if let Some(pfn) = run.pfn() {
        let len = usize::try_from(run.pages().bytes())?;
        live.media().write_back(layout.offset_of(pfn), len)?;
    }
    Ok(())
}

/// Same as [`write_back`], while other syncs may be looking for what was written through pins.
fn write_back_noted(
    device: &Device,
    live: &Unmapped,
    layout: &Extents,
    run: &LockedRun<'_>,
) -> Result {
    // See `pinned_step()`: this clears notes, too.
    let _others = device.mode.get().was_tracked().then(|| live.pinned.lock());
    write_back(live, layout, run)
}

/// Makes the next write through any mapping of the entries fault. The layout rwsem is held.
fn write_protect(device: &Device, live: &Live, run: &LockedRun<'_>) {
    match run.pfn() {
        Some(pfn) if run.pages() <= Order::PMD.pages() && !device.mode.get().maps_writable() => {
            live.write_protect_pages(run.first(), pfn, run.pages());
        }
        // The walk that write-protects cannot handle a PUD leaf. A virtual machine cannot handle
        // a read-only one.
        _ => device.inode().unmap_pages(run.first(), run.pages()),
    }
}
