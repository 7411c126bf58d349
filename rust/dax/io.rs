// SPDX-License-Identifier: GPL-2.0

//! Reading and writing the node as a file.
//!
//! The user's buffer may be a mapping of this very device, or one whose faults are served by a program
//! that takes its time. So nothing is held while it faults in: neither a lock nor the device.

use super::{
    device::{
        Device,
        Live, //
    },
    order::{
        Order,
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    sync,
    unmap::unmap_entry, //
};
use crate::kernel_ext::{
    iov,
    kiocb::Kiocb,
    task, //
};
use core::mem::MaybeUninit;
use kernel::{
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*, //
};

/// The most bytes of one step, between which a signal is seen and the device may go.
const STEP: usize = Order::PMD.bytes();

/// A copy between the media and the user's memory.
trait Transfer {
    /// How many bytes are left to copy.
    fn left(&self) -> usize;

    /// Copies up to `len` bytes, not 0, at `at` bytes of the media; returns how many. None, when the
    /// user's memory is absent.
    fn copy(&mut self, live: &Live, at: u64, len: usize) -> Result<usize>;

    /// Up to `len` bytes at `offset` bytes of the device were copied.
    fn done(&mut self, _device: &Device, _live: &Live, _offset: u64, _len: usize) {}

    /// Makes the next `len` bytes of the user's memory present, or the first of them; returns how many.
    /// Faults.
    fn fault_in(&mut self, len: usize) -> Result<usize>;
}

struct Read<'a, 'data>(&'a mut IovIterDest<'data>);

impl Transfer for Read<'_, '_> {
    fn left(&self) -> usize {
        self.0.len()
    }

    fn copy(&mut self, live: &Live, at: u64, len: usize) -> Result<usize> {
        let len = live.media().prepare_read(at, len)?;
        let copied = live.media().copy_to_iter(at, len, self.0)?;
        if copied == 0 {
            // The user's memory is absent, or the media is bad and nobody knew.
            live.media().probe(at)?;
        }
        Ok(copied)
    }

    fn fault_in(&mut self, len: usize) -> Result<usize> {
        iov::fault_in_writeable(self.0, len)
    }
}

struct Write<'a, 'data> {
    from: &'a mut IovIterSource<'data>,
    /// Clearing bad blocks takes its time.
    may_clear: bool,
}

impl Transfer for Write<'_, '_> {
    fn left(&self) -> usize {
        self.from.len()
    }

    fn copy(&mut self, live: &Live, at: u64, len: usize) -> Result<usize> {
        if !self.may_clear && live.media().is_bad(at, len) {
            return Err(EAGAIN);
        }
        let len = live.media().prepare_write(at, len)?;
        live.media().copy_from_iter(at, len, self.from)
    }

    fn done(&mut self, device: &Device, live: &Live, offset: u64, len: usize) {
        // All that was tried: how much was copied in front of a fault is not said to the byte.
        fill_holes(device, live, offset, len);
    }

    fn fault_in(&mut self, len: usize) -> Result<usize> {
        iov::fault_in_readable(self.from, len)
    }
}

/// Reads at the position of `kiocb`, and moves it.
///
/// Process context; sleeps, faults. Returns how many bytes: fewer than asked for at the end of the
/// device, a bad block, a signal, and where the user's memory can't be written.
///
/// Errors, when it is none: `ENXIO` when the device is gone, `EIO` at a bad block, `EFAULT`, `EAGAIN`
/// when it must not wait and the user's memory is absent, `EINTR` when the task is being killed.
pub(crate) fn read(
    device: &Device,
    kiocb: &mut Kiocb<'_>,
    to: &mut IovIterDest<'_>,
) -> Result<usize> {
    transfer(device, kiocb, Read(to))
}

/// Writes at the position of `kiocb`, and moves it.
///
/// As [`read`]. Errors besides: `ENOSPC` at the end of the device, where `O_APPEND` always is.
pub(crate) fn write(
    device: &Device,
    kiocb: &mut Kiocb<'_>,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    let size = device.size()?;
    if !from.is_empty() && (kiocb.is_append() || kiocb.pos() >= size) {
        return Err(ENOSPC);
    }
    let may_clear = !kiocb.is_nowait();
    let done = transfer(device, kiocb, Write { from, may_clear })?;
    if done == 0 && !from.is_empty() {
        // It has shrunk since.
        return Err(ENOSPC);
    }
    if done != 0 && kiocb.is_dsync() {
        sync::flush(device, &*device.live().ok_or(ENXIO)?)?;
    }
    Ok(done)
}

fn transfer(device: &Device, kiocb: &mut Kiocb<'_>, mut copy: impl Transfer) -> Result<usize> {
    let mut done = 0;
    loop {
        match step(device, kiocb, &mut copy) {
            Ok(0) => return Ok(done),
            Ok(copied) => done += copied,
            // The next call will say why.
            Err(_) if done != 0 => return Ok(done),
            Err(error) => return Err(error),
        }
        if task::signal_pending() {
            return Ok(done);
        }
    }
}

/// Copies some bytes, and returns how many; none at the end of the device, or when none are left.
fn step(device: &Device, kiocb: &mut Kiocb<'_>, copy: &mut impl Transfer) -> Result<usize> {
    let mut most = STEP;
    loop {
        let live = device.live().ok_or(ENXIO)?;
        let offset = kiocb.pos();
        // Not held over the copy: whoever moves the end waits for the guard before others get the pages.
        let located = live.layout.read().locate(offset, most.min(copy.left()));
        let Some((at, len)) = located.filter(|&(_, len)| len != 0) else {
            return Ok(0);
        };
        let copied = copy.copy(&live, at, len)?;
        copy.done(device, &live, offset, len);
        drop(live);
        if copied != 0 {
            kiocb.advance(copied);
            return Ok(copied);
        }
        if kiocb.is_nowait() {
            return Err(EAGAIN);
        }
        if task::fatal_signal_pending() {
            return Err(EINTR);
        }
        // No more than that: a copy that meets an absent byte may copy none of those before it.
        most = copy.fault_in(len)?;
    }
}

/// Lets go of the holes that reach into `len` bytes at `offset` bytes, which were written: whoever maps
/// one is to see the media.
///
/// After the writing: a punch makes a hole after it has zeroed the media, both with the layout held. It
/// did both before this looks, or zeroes what was written.
fn fill_holes(device: &Device, live: &Live, offset: u64, len: usize) {
    let mut from = (offset >> PAGE_SHIFT) as usize;
    let end = ((offset + len as u64).div_ceil(PAGE_SIZE)) as usize;
    let _layout = live.layout.read();
    while let Some(entry) = live.mapping.lock_next_hole(from, end) {
        from = entry.start() + entry.order().pages();
        if entry.is_hole() {
            unmap_entry(device.inode(), &entry);
            entry.delete();
        }
    }
}

/// Reads at `offset` bytes for a debugger; returns how many bytes.
///
/// Process context; sleeps. Errors: `ENXIO` when the device is gone, `EFBIG` beyond its end, `EIO` at a
/// bad block.
pub(crate) fn peek(device: &Device, offset: u64, to: &mut [MaybeUninit<u8>]) -> Result<usize> {
    let live = device.live().ok_or(ENXIO)?;
    let (at, len) = live.layout.read().locate(offset, to.len()).ok_or(EFBIG)?;
    let len = live.media().prepare_read(at, len)?;
    let to = to.get_mut(..len).ok_or(EINVAL)?;
    live.media().read(at, to)?;
    Ok(len)
}

/// Writes at `offset` bytes for a debugger, as [`peek`] reads.
pub(crate) fn poke(device: &Device, offset: u64, from: &[u8]) -> Result<usize> {
    let live = device.live().ok_or(ENXIO)?;
    let (at, len) = live.layout.read().locate(offset, from.len()).ok_or(EFBIG)?;
    let len = live.media().prepare_write(at, len)?;
    let from = from.get(..len).ok_or(EINVAL)?;
    live.media().write(at, from)?;
    fill_holes(device, &live, offset, len);
    Ok(len)
}
