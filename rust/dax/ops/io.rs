// SPDX-License-Identifier: GPL-2.0

//! Reads and writes of the node as a file.
//!
//! The user's buffer may be a mapping of the same device, or of memory that a slow user-space
//! program pages in. So neither a lock nor the live guard is held while the buffer is faulted in.
//!
//! A copy goes directly between the media and user memory. There are two exceptions, which use a
//! kernel buffer:
//!
//! - A bad block is cleared only when all bytes that overwrite it are available.
//! - If a direct copy makes no progress although the memory was faulted in, a copy that may fault,
//!   with nothing held, makes progress or fails.

use crate::dax::{
    device::{
        Device,
        Live, //
    },
    ops::{
        sync,
        unmap::unmap_entry, //
    }, //
};
use crate::kernel_ext::{
    fs::{
        iov,
        kiocb::Kiocb, //
    },
    media::badblocks::BLOCK,
    sync::srcu::SrcuGuard,
    task,
    units::{
        DeviceOffset,
        Order,
        RegionOffset, //
    }, //
};
use core::mem::MaybeUninit;
use kernel::{
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*, //
};

/// The maximum length of one step in bytes. Between steps, signals are checked and the device may
/// be revoked.
const STEP: usize = Order::PMD.bytes();

/// The maximum number of bytes copied through a buffer at once: a multiple of the size of a bad
/// block.
const BUFFER: usize = Order::PTE.bytes();

/// A copy between the media and the user's memory.
trait Transfer {
    /// Takes the live guard. Errors: `ENXIO` if the device is gone, `EROFS` if it must not be
    /// written.
    fn live<'d>(&self, device: &'d Device) -> Result<SrcuGuard<'d, Live>>;

    /// Returns how many bytes are left to copy.
    fn left(&self) -> usize;

    /// Whether the next bytes, at byte `at` of the media, must go through a buffer.
    fn needs_buffer(&self, _live: &Live, _at: RegionOffset) -> bool {
        false
    }

    /// Copies up to `len` bytes, not 0, at byte `at` of the media. Returns how many: 0 if the
    /// user's memory is absent.
    fn copy(&mut self, live: &Live, at: RegionOffset, len: usize) -> Result<usize>;

    /// Called after up to `len` bytes at byte `offset` of the device were copied.
    fn done(&mut self, _device: &Device, _live: &Live, _offset: DeviceOffset, _len: usize) {}

    /// Faults in the next `len` bytes of the user's memory, or the first of them. Returns how many.
    fn fault_in(&mut self, len: usize) -> Result<usize>;

    /// Copies up to `len` bytes, not 0, at byte `offset` of the device through a buffer. Returns
    /// how many: 0 at the end of the device. Faults, but not while it holds the live guard.
    fn copy_by_buffer(
        &mut self,
        device: &Device,
        offset: DeviceOffset,
        len: usize,
    ) -> Result<usize>;
}

struct Read<'a, 'data>(&'a mut IovIterDest<'data>);

impl Transfer for Read<'_, '_> {
    fn live<'d>(&self, device: &'d Device) -> Result<SrcuGuard<'d, Live>> {
        device.live().ok_or(ENXIO)
    }

    fn left(&self) -> usize {
        self.0.len()
    }

    fn copy(&mut self, live: &Live, at: RegionOffset, len: usize) -> Result<usize> {
        let len = live.media().prepare_read(at, len)?;
        let copied = live.media().copy_to_iter(at, len, self.0)?;
        if copied == 0 {
            // The user's memory is absent, or the media has an unknown bad block.
            live.media().probe(at)?;
        }
        Ok(copied)
    }

    fn fault_in(&mut self, len: usize) -> Result<usize> {
        iov::fault_in_writeable(self.0, len)
    }

    fn copy_by_buffer(
        &mut self,
        device: &Device,
        offset: DeviceOffset,
        len: usize,
    ) -> Result<usize> {
        // Stop at the end of a block, so that a bad block does not fail the read of another.
        let len = len.min((BLOCK - offset.get() % BLOCK) as usize);
        let mut buf = KVec::with_capacity(len, GFP_KERNEL)?;
        let to = buf.spare_capacity_mut().get_mut(..len).ok_or(EINVAL)?;
        let bytes = read_to_kernel(device, offset, to)?;
        match self.0.copy_to_iter(bytes) {
            0 if !bytes.is_empty() => Err(EFAULT),
            copied => Ok(copied),
        }
    }
}

struct Write<'a, 'data>(&'a mut IovIterSource<'data>);

impl Transfer for Write<'_, '_> {
    fn live<'d>(&self, device: &'d Device) -> Result<SrcuGuard<'d, Live>> {
        device.live_to_write()
    }

    fn left(&self) -> usize {
        self.0.len()
    }

    fn needs_buffer(&self, live: &Live, at: RegionOffset) -> bool {
        live.media().good(at, 1) == 0
    }

    fn copy(&mut self, live: &Live, at: RegionOffset, len: usize) -> Result<usize> {
        let good = live.media().good(at, len);
        live.media().copy_from_iter(at, good, self.0)
    }

    fn done(&mut self, device: &Device, live: &Live, offset: DeviceOffset, len: usize) {
        // All of it: a copy that stops at a fault may have stored more bytes than it reports.
        fill_holes(device, live, offset, len);
    }

    fn fault_in(&mut self, len: usize) -> Result<usize> {
        iov::fault_in_readable(self.0, len)
    }

    fn copy_by_buffer(
        &mut self,
        device: &Device,
        offset: DeviceOffset,
        len: usize,
    ) -> Result<usize> {
        let mut buf = KVec::from_elem(0, len.min(BUFFER), GFP_KERNEL)?;
        let wanted = buf.len();
        let taken = iov::take(self.0, &mut buf);
        buf.truncate(taken.len());
        let absent = taken.len() < wanted;
        let written = match write_from_kernel(device, offset, &buf) {
            // The user's memory ends within a bad block that has to be overwritten as a whole.
            _ if buf.is_empty() => Err(EFAULT),
            Err(EIO) if absent => Err(EFAULT),
            written => written,
        }?;
        taken.keep(written);
        Ok(written)
    }
}

/// Reads at the position of `kiocb`, and advances it.
///
/// Process context; sleeps, faults. Returns the number of bytes: fewer than requested at the end of
/// the device, at a bad block, on a signal, and where the user's memory cannot be written.
///
/// Errors, if no byte was read: `ENXIO` if the device is gone, `EIO` at a bad block, `EFAULT`,
/// `EAGAIN` if the call must not wait and the user's memory is absent, `EINTR` if the task is being
/// killed.
pub(crate) fn read(
    device: &Device,
    kiocb: &mut Kiocb<'_>,
    to: &mut IovIterDest<'_>,
) -> Result<usize> {
    transfer(device, kiocb, Read(to))
}

/// Writes at the position of `kiocb`, and advances it.
///
/// Same as [`read`]. Additional errors: `ENOSPC` at the end of the device, which is where
/// `O_APPEND` writes; `EROFS` if the region is read-only.
pub(crate) fn write(
    device: &Device,
    kiocb: &mut Kiocb<'_>,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    drop(device.live_to_write()?);
    let size = device.size()?;
    if !from.is_empty() && (kiocb.is_append() || kiocb.pos().get() >= size) {
        return Err(ENOSPC);
    }
    let done = transfer(device, kiocb, Write(from))?;
    if done == 0 && !from.is_empty() {
        // The device has shrunk in the meantime.
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
        match step(device, kiocb, &mut copy, done != 0) {
            Ok(0) => return Ok(done),
            Ok(copied) => done += copied,
            // The next call returns the error.
            Err(_) if done != 0 => return Ok(done),
            Err(error) => return Err(error),
        }
        if task::signal_pending() {
            return Ok(done);
        }
    }
}

/// Copies some bytes, and returns how many: 0 at the end of the device, or if none are left.
///
/// A call that must not wait (`IOCB_NOWAIT`) does not fault in its first bytes: io_uring then
/// repeats it where it may wait. After some were copied (`progress`), it faults in the rest, as
/// `filemap_read()` does. Otherwise NUMA balancing, which makes present pages fault, would make
/// io_uring return short counts.
fn step(
    device: &Device,
    kiocb: &mut Kiocb<'_>,
    copy: &mut impl Transfer,
    progress: bool,
) -> Result<usize> {
    let mut most = STEP;
    let mut faulted_in = false;
    loop {
        let live = copy.live(device)?;
        let offset = kiocb.pos();
        // The layout rwsem is not held during the copy: a shrink waits for the guard before it
        // frees the pages.
        let located = live.layout.read().locate(offset, most.min(copy.left()));
        let Some((at, len)) = located.filter(|&(_, len)| len != 0) else {
            return Ok(0);
        };
        let buffered = copy.needs_buffer(&live, at);
        let mut copied = 0;
        if !buffered {
            copied = copy.copy(&live, at, len)?;
            copy.done(device, &live, offset, len);
        }
        drop(live);
        if copied == 0 {
            if kiocb.is_nowait() && (buffered || !progress) {
                return Err(EAGAIN);
            }
            if task::fatal_signal_pending() {
                return Err(EINTR);
            }
            if !buffered && !faulted_in {
                // No more than that: a copy that meets an absent byte may copy none of those before
                // it.
                most = copy.fault_in(len)?;
                faulted_in = true;
                continue;
            }
            // The memory may be absent again, or may not be accessible although it is present (a
            // shadow stack). A copy that may fault makes progress or fails.
            copied = copy.copy_by_buffer(device, offset, len)?;
        }
        kiocb.advance(copied);
        return Ok(copied);
    }
}

/// Removes the holes in the `len` bytes at byte `offset`, which were written, so that a fault maps
/// the media.
///
/// Called after the copy. A punch zeroes the media and then makes a hole, with the layout rwsem
/// held exclusively. So either both are complete before this search, or the punch zeroes what was
/// written.
fn fill_holes(device: &Device, live: &Live, offset: DeviceOffset, len: usize) {
    let mut from = offset.page();
    let end = (offset + len as u64).page_up();
    let _layout = live.layout.read();
    while let Some(entry) = live.entries.lock_next_hole(from, end) {
        from = entry.behind();
        if entry.is_hole() {
            unmap_entry(device.inode(), &entry);
            entry.delete();
        }
    }
}

/// Reads at byte `offset` into `to`, and returns the part that was read: empty at the end of the
/// device.
///
/// Process context; sleeps. Errors: `ENXIO` if the device is gone, `EIO` at a bad block.
fn read_to_kernel<'a>(
    device: &Device,
    offset: DeviceOffset,
    to: &'a mut [MaybeUninit<u8>],
) -> Result<&'a mut [u8]> {
    let live = device.live().ok_or(ENXIO)?;
    let located = live.layout.read().locate(offset, to.len());
    let Some((at, len)) = located else {
        return Ok(&mut []);
    };
    let len = live.media().prepare_read(at, len)?;
    live.media().read(at, to.get_mut(..len).ok_or(EINVAL)?)
}

/// Writes the first bytes of `from` at byte `offset`, and returns how many: 0 at the end of the
/// device.
///
/// Process context; sleeps. Errors: `ENXIO` if the device is gone, `EROFS` if its region is
/// read-only, `EIO` at a bad block that cannot be cleared, or that `from` covers only in part. On
/// an error nothing is written.
fn write_from_kernel(device: &Device, offset: DeviceOffset, from: &[u8]) -> Result<usize> {
    let live = device.live_to_write()?;
    let located = live.layout.read().locate(offset, from.len());
    let Some((at, len)) = located else {
        return Ok(0);
    };
    let written = live.media().write(at, from.get(..len).ok_or(EINVAL)?)?;
    fill_holes(device, &live, offset, written);
    Ok(written)
}

/// Reads at byte `offset` for a debugger. Returns the bytes that it has read.
///
/// Process context; sleeps. Errors: `ENXIO` if the device is gone, `EFBIG` past its end, `EIO` at a
/// bad block.
pub(crate) fn peek<'a>(
    device: &Device,
    offset: DeviceOffset,
    to: &'a mut [MaybeUninit<u8>],
) -> Result<&'a mut [u8]> {
    let read = read_to_kernel(device, offset, to)?;
    if read.is_empty() {
        return Err(EFBIG);
    }
    Ok(read)
}

/// Writes at byte `offset` for a debugger. Returns the number of bytes.
///
/// Process context; sleeps. Errors: those of [`peek`], and `EROFS` if the region is read-only.
pub(crate) fn poke(device: &Device, offset: DeviceOffset, from: &[u8]) -> Result<usize> {
    match write_from_kernel(device, offset, from)? {
        0 => Err(EFBIG),
        written => Ok(written),
    }
}
