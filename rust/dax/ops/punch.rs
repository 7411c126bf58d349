// SPDX-License-Identifier: GPL-2.0

//! Holes, zeroes, and moving the end of a device.
//!
//! No record of a hole is kept on the media: a punch really zeroes it, and the index only remembers
//! the fact. A crash loses nothing else.

use crate::dax::{
    device::{
        Device,
        Live, //
    },
    entries::index::Spare,
    layout::extents::Extents,
    ops::{
        sync,
        unmap::{
            next_part,
            unmap,
            unmap_across,
            unmap_entry, //
        }, //
    }, //
};
use crate::kernel_ext::{
    fs::anon_inode::AnonInode,
    task,
    trace,
    uapi::RdaxRange,
    units::{
        DeviceOffset,
        Order,
        PageOffset,
        RegionOffset, //
    }, //
};
use kernel::{
    prelude::*,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// The length of one step in bytes. Between steps the call can be interrupted, and faults are
/// served.
const STEP: u64 = Order::PMD.bytes() as u64;

/// The maximum number of bytes that one step of [`cut`] writes back with the layout rwsem held
/// exclusively: about 10 ms.
const CUT_STEP: usize = 16 * Order::PMD.bytes();

/// For how long a punch sleeps after its second try, and at most, before it looks again whether a
/// page is pinned, in milliseconds. The former is also for how long the second try keeps pins out.
const PIN_WAIT_MS: u32 = 10;
const PIN_WAIT_MAX_MS: u32 = 1000;

/// The longest time for which a try of a punch keeps new pins out, in milliseconds.
const PIN_HOLD_MAX_MS: u32 = 80;

/// Punches holes into the whole pages of `range`, and zeroes the rest (`RDAX_IOC_PUNCH`).
///
/// Process context; sleeps. Errors: those in `rust/uapi/rdax.h`.
pub(crate) fn punch(device: &Device, range: &RdaxRange) -> Result {
    let before = |offset, len| {
        let (first, last) = whole_pages(offset, len);
        if first >= last {
            return Ok(());
        }
        prepare(device, first)?;
        sync::sync_larger(device, first.byte(), Order::PMD)
    };
    let result = steps(device, range, before, |live, layout, offset, len, pins| {
        let (first, last) = whole_pages(offset, len);
        let mut zeroed = Ok(());
        if first < last {
            if device.has_pages() {
                unmap_unpinned(device, live, layout, first, last, pins)?;
            }
            zeroed = delete(live, layout, device.inode(), first, last);
        }
        zeroed = zeroed.and_then(|()| zero_media(live, layout, offset, len));
        if zeroed.is_err() && first < last {
            // A bad block, which may appear at any time. The entries past it are deleted already,
            // so the record that they were dirty is lost.
            each_part(layout, first.byte(), (last - first).bytes(), |at, part| {
                live.media().write_back(at, part)
            })?;
        }
        zeroed?;
        if first < last && !device.has_pages() {
            // The media is zero, so readers may get any zeroes from now on.
            live.entries
                .fill_zero(first, last - first, &mut Spare::new());
        }
        Ok(())
    });
    trace::punch(
        || device.number(),
        range.offset().get(),
        range.length(),
        &result,
    );
    result
}

/// Allocates what the first hole around `pgoff` needs, while no lock is held. Sleeps. Errors: `ENXIO`
/// if the device is gone. Without memory, the holes are not recorded.
fn prepare(device: &Device, pgoff: PageOffset) -> Result {
    let mut spare = Spare::new();
    loop {
        let live = device.live().ok_or(ENXIO)?;
        let prepared = live.entries.prepare(pgoff, &mut spare);
        drop(live);
        if prepared.is_ok() || spare.fill().is_err() {
            return Ok(());
        }
    }
}

/// Returns the first whole page in `len` bytes at byte `offset`, and the page after the last. There
/// are no whole pages unless the former is smaller.
fn whole_pages(offset: DeviceOffset, len: u64) -> (PageOffset, PageOffset) {
    (offset.page_up(), (offset + len).page())
}

/// Unmaps the pages `first..behind`, and those that share a folio with one of them, because a folio
/// counts its mappings and pins together. Their entries stay, because the pages may still be
/// written. Sleeps. Errors: `EAGAIN` if one is pinned, and remains so for [`Pins::hold`].
///
/// The layout rwsem is held exclusively, so a page that is not pinned now is not pinned again: that
/// takes a fault.
fn unmap_unpinned(
    device: &Device,
    live: &Live,
    layout: &Extents,
    first: PageOffset,
    behind: PageOffset,
    pins: &Pins,
) -> Result {
    let folio = device.largest_leaf();
    let end = behind.align_up(folio).ok_or(EFBIG)?;
    unmap(live, device.inode(), first.align_down(folio), end);
    let begun = Instant::<Monotonic>::now();
    loop {
        let result = unpinned(live, layout, first, behind, false);
        if result.is_ok() || begun.elapsed() >= pins.hold() || task::signal_pending() {
            return result;
        }
        task::sleep(1);
    }
}

/// Zeroes `range` (`RDAX_IOC_ZERO`).
///
/// Process context; sleeps. Errors: those in `rust/uapi/rdax.h`.
pub(crate) fn zero(device: &Device, range: &RdaxRange) -> Result {
    let result = steps(
        device,
        range,
        |_, _| Ok(()),
        |live, layout, offset, len, _| zero_media(live, layout, offset, len),
    );
    trace::zero(
        || device.number(),
        range.offset().get(),
        range.length(),
        &result,
    );
    result
}

fn zero_media(live: &Live, layout: &Extents, offset: DeviceOffset, len: u64) -> Result {
    each_part(layout, offset, len, |at, part| live.media().zero(at, part))
}

/// Calls `f` for each part of `len` bytes at byte `offset` that lies in one extent, with its byte
/// offset in the region and its length in bytes.
fn each_part(
    layout: &Extents,
    offset: DeviceOffset,
    len: u64,
    f: impl Fn(RegionOffset, usize) -> Result,
) -> Result {
    let mut done = 0;
    while done < len {
        let left = (len - done) as usize;
        let (at, part) = layout.locate(offset + done, left).ok_or(EFBIG)?;
        f(at, part)?;
        done += part as u64;
    }
    Ok(())
}

/// Truncates the device to the pages before page offset `new`: what is mapped past them is
/// unmapped, what was written there is written back, and its entries are deleted.
///
/// Process context; sleeps. Errors: `ENXIO` if the device is gone, `EFBIG`. The device is
/// truncated even then.
pub(crate) fn cut(device: &Device, new: PageOffset) -> Result {
    let (mut from, end) = {
        let live = device.live().ok_or(ENXIO)?;
        let mut layout = live.layout.write();
        let end = layout.end();
        layout.truncate(new);
        (unmap_across(&live, device.inode(), new), end)
    };
    // From now on no fault maps anything there. Read-only mappings have no entries, so unmap the
    // whole range.
    while from < end {
        let live = device.live().ok_or(ENXIO)?;
        let next = next_part(from, end);
        unmap(&live, device.inode(), from, next);
        from = next;
    }
    let mut result = Ok(());
    // The entry that earlier steps have written back in part, and how many bytes of it. A sync may
    // have removed it in between.
    let mut begun = (new, 0);
    loop {
        let live = device.live().ok_or(ENXIO)?;
        let layout = live.layout.write();
        let mut left = CUT_STEP;
        // A limited number of entries and bytes, so that neither an unbind nor a fault waits for
        // all of them.
        for _ in 0..Order::PMD.pages().get() {
            let Some(entry) = live.entries.lock_next(new, PageOffset::MAX) else {
                return result;
            };
            // The whole entry, even if it begins before the end: see `unmap()`.
            unmap_entry(device.inode(), &entry);
            if entry.is_dirty() {
                let done = if begun.0 == entry.start() { begun.1 } else { 0 };
                let mut part = entry.order().bytes().saturating_sub(done);
                // An entry that begins before the end may be written again when it is unlocked, so
                // write back all of it. There is at most one such entry.
                if entry.start() >= new {
                    part = part.min(left);
                }
                result = result.and(sync::write_back_part(&live, &layout, &entry, done, part));
                begun = (entry.start(), done + part);
                left = left.saturating_sub(part);
                if begun.1 < entry.order().bytes() {
                    break;
                }
            }
            entry.delete();
            if left == 0 {
                break;
            }
        }
    }
}

/// For each part of `range` that lies in one aligned [`STEP`], calls `before` while faults may
/// still be served, and then `step` with faults excluded.
///
/// The live guard is held for one step at a time, so that neither an unbind nor a fault waits for
/// all steps.
fn steps(
    device: &Device,
    range: &RdaxRange,
    before: impl Fn(DeviceOffset, u64) -> Result,
    step: impl Fn(&Live, &Extents, DeviceOffset, u64, &Pins) -> Result,
) -> Result {
    let size = device.size()?;
    let mut offset = range.offset();
    let end = offset.checked_add(range.length()).ok_or(EINVAL)?;
    if offset == end {
        return Err(EINVAL);
    }
    if end.get() > size {
        return Err(EFBIG);
    }
    let mut done = Ok(());
    while offset < end && done.is_ok() {
        let next = (offset.get() / STEP + 1) * STEP;
        let len = next.min(end.get()) - offset.get();
        done = before(offset, len);
        let mut pins = Pins::new();
        while done.is_ok() {
            done = one_step(device, offset, len, |live, layout| {
                step(live, layout, offset, len, &pins)
            });
            match done {
                // Faults are served meanwhile, so that no task waits long for a pin unless it
                // punches. They may also make new pins.
                Err(EAGAIN) => {
                    let (first, behind) = whole_pages(offset, len);
                    done = pins.wait(device, first, behind);
                }
                _ => break,
            }
        }
        offset += len;
    }
    // Make durable what was done, even if a step failed.
    let live = device.live().ok_or(ENXIO)?;
    done.and(sync::flush(device, &live))
}

/// How a step of a punch waits for pins.
///
/// The first try only looks: a task that waits in `->page_mkwrite()` for the layout rwsem has a
/// reference to its page, so it has to go on before the page is free.
///
/// Programs may pin a page again and again, each time for a moment, so that it is always pinned. So
/// further tries keep new pins out, each for longer than the one before. But one pin may last for
/// hours, and faults, reads, writes and syncs wait with a try. So after a try of
/// [`PIN_HOLD_MAX_MS`] there is no other until the pin seems to be gone.
struct Pins {
    /// For how long the next of the first tries keeps new pins out, in milliseconds; and then for
    /// how long it sleeps before the one after it, or before it looks again.
    pause: u32,
}

impl Pins {
    fn new() -> Self {
        Self { pause: 0 }
    }

    fn is_first(&self) -> bool {
        self.pause <= PIN_HOLD_MAX_MS
    }

    /// For how long a try keeps new pins out.
    fn hold(&self) -> Delta {
        Delta::from_millis(i64::from(if self.is_first() {
            self.pause
        } else {
            PIN_WAIT_MS
        }))
    }

    /// Waits until it is time for another of the first tries, or until none of the pages
    /// `first..behind` seems to be pinned. It looks from time to time, and unmaps nothing, so other
    /// tasks are not disturbed. Sleeps. Errors: `ERESTARTSYS`; `ENXIO` if the device is gone; `EFBIG`.
    fn wait(&mut self, device: &Device, first: PageOffset, behind: PageOffset) -> Result {
        loop {
            task::sleep_interruptible(self.pause.max(1));
            if task::signal_pending() {
                // A punch that begins again does no harm. The freezer interrupts a task, too, and
                // no program expects that.
                return Err(ERESTARTSYS);
            }
            self.pause = (2 * self.pause).clamp(PIN_WAIT_MS, PIN_WAIT_MAX_MS);
            if self.is_first() {
                return Ok(());
            }
            let live = device.live().ok_or(ENXIO)?;
            let layout = live.layout.read();
            match unpinned(&live, &layout, first, behind, true) {
                Err(EAGAIN) => (),
                result => return result,
            }
        }
    }
}

/// Returns `EAGAIN` if one of the pages `first..behind` is pinned. `mapped`: see
/// [`Media::first_pinned`](crate::kernel_ext::media::Media::first_pinned). Other errors: `EFBIG`.
fn unpinned(
    live: &Live,
    layout: &Extents,
    first: PageOffset,
    behind: PageOffset,
    mapped: bool,
) -> Result {
    each_part(
        layout,
        first.byte(),
        (behind - first).bytes(),
        |at, part| match live.media().first_pinned(at, part as u64, mapped) {
            Some(_) => Err(EAGAIN),
            None => Ok(()),
        },
    )
}

/// Calls `step` for `len` bytes at byte `offset` with the layout rwsem held exclusively. Errors:
/// `EINTR`; `ENXIO`, `EROFS`; `EFBIG` if the device does not have all of these bytes.
fn one_step(
    device: &Device,
    offset: DeviceOffset,
    len: u64,
    step: impl FnOnce(&Live, &Extents) -> Result,
) -> Result {
    if task::fatal_signal_pending() {
        return Err(EINTR);
    }
    let live = device.live_to_write()?;
    // Exclusive, and taken before the entry locks: "higher up the stack", as thread 001 says of
    // truncate.
    let layout = live.layout.write();
    // The device may have shrunk since the last step. Entries past the new end are left to `cut()`,
    // which writes them back: they cannot be zeroed any more, so they must not be deleted here.
    if (offset + len).get() > layout.size() {
        return Err(EFBIG);
    }
    step(&live, &layout)
}

/// Unmaps and deletes all entries that reach into the pages `pgoff..behind`. If an entry reaches
/// out of them, the dirty rest of it is written back. The caller zeroes the pages inside, or writes
/// them back.
fn delete(
    live: &Live,
    layout: &Extents,
    inode: &AnonInode,
    mut pgoff: PageOffset,
    behind: PageOffset,
) -> Result {
    unmap(live, inode, pgoff, behind);
    let Some(last) = behind.before() else {
        return Ok(());
    };
    while let Some((start, found, _)) = live.entries.peek(pgoff, last) {
        let next = found.behind(start);
        let inside = start >= pgoff && next.is_some_and(|next| next <= behind);
        live.entries.delete(start, |entry| {
            if inside {
                return Ok(());
            }
            // The rest of a larger entry will be mapped again under new entries, which do not
            // record that it was written.
            sync::write_back_dirty(live, layout, entry)
        })?;
        match next {
            Some(next) => pgoff = next,
            None => break,
        }
    }
    Ok(())
}
