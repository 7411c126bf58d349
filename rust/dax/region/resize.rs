// SPDX-License-Identifier: GPL-2.0

//! Changing the extents and the alignment of a device.

use crate::dax::{
    device::Device,
    layout::{
        extents::Run,
        free_runs::FreeRuns, //
    },
    ops::{
        punch,
        sync, //
    },
    region::Region, //
};
use crate::kernel_ext::{
    trace,
    units::{
        DeviceOffset,
        Order,
        PageOffset,
        Pages,
        RegionOffset,
        RegionPage, //
    }, //
};
use kernel::prelude::*;

impl Region {
    /// Makes `device` `size` bytes long.
    ///
    /// Open files see added bytes at once, with what was on the media. Removed bytes are unmapped
    /// and written back, and then become free. Faults on them get SIGBUS.
    ///
    /// Process context; sleeps. Errors: `EINVAL` if `size` is not a multiple of the device's
    /// alignment, `ENOSPC`, `ENOMEM`, `ENXIO` if the device is gone, `EIO` if removed bytes could
    /// not be made durable; they are removed even then.
    pub(crate) fn resize(&self, device: &Device, size: u64) -> Result {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.member(device).ok_or(ENXIO)?;
        if size % device.align().bytes() as u64 != 0 {
            return Err(EINVAL);
        }
        let new = DeviceOffset::new(size).page();
        let (old, near) = {
            let live = device.live().ok_or(ENXIO)?;
            let layout = live.layout.read();
            let last = layout.as_slice().last();
            (layout.end(), last.map(|last| last.run().behind()))
        };
        let result = match new {
            _ if new > old => grow(&mut state.free, device, old, new - old, near),
            _ if new < old => shrink(&mut state.free, device, new),
            _ => return Ok(()),
        };
        trace::resize(|| device.number(), old.byte().get(), size, &result);
        if device.size().is_ok_and(|now| now == size) {
            state.changed(device);
        }
        result
    }

    /// Adds the `len` bytes of the region from its byte `offset` to the end of `device`.
    ///
    /// Open files see them at once, with what was on the media.
    ///
    /// Process context; sleeps. Errors: `EINVAL` if `len` is 0, if the bytes are not all in the
    /// region, or if they are not multiples of the device's alignment; `EBUSY` if some belong to a
    /// device; `ENOMEM`; `ENXIO` if the device is gone.
    pub(crate) fn append(&self, device: &Device, offset: RegionOffset, len: u64) -> Result {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.member(device).ok_or(ENXIO)?;
        // The device's size is a multiple already, because `set_align()` requires that.
        let range = self.geometry.span;
        let run = range.run(offset, len, device.align()).ok_or(EINVAL)?;
        let old = device.size()?;
        state.free.take_run(run)?;
        let result = extend(device, &[run]).inspect_err(|_| state.free.give_back(&[run]));
        trace::resize(|| device.number(), old, old.saturating_add(len), &result);
        result?;
        state.changed(device);
        Ok(())
    }

    /// Changes the alignment of `device`.
    ///
    /// Process context; sleeps. Errors: `EBUSY` if it is open or mapped, `EINVAL` if its pages do
    /// not have this alignment, `ENXIO` if it is gone.
    pub(crate) fn set_align(&self, device: &Device, align: Order) -> Result {
        // Excludes a change of the size.
        let _state = self.state.lock();
        let live = device.live().ok_or(ENXIO)?;
        if !live.layout.read().is_aligned(align) {
            return Err(EINVAL);
        }
        device.set_align(align)
    }
}

fn grow(
    free: &mut FreeRuns,
    device: &Device,
    old: PageOffset,
    pages: Pages,
    near: Option<RegionPage>,
) -> Result {
    let runs = free.take_all(pages, device.align(), old, near)?;
    extend(device, &runs).inspect_err(|_| free.give_back(&runs))
}

/// Adds `runs` to the end of a device. The caller prevents another resize meanwhile.
///
/// Errors: `ENOMEM`, `ENXIO` if the device is gone. The device is unchanged then.
fn extend(device: &Device, runs: &[Run]) -> Result {
    let live = device.live().ok_or(ENXIO)?;
    let mut longer = device.copy_layout(&live, runs.len())?;
    for run in runs {
        longer.push(*run)?;
    }
    // The old value is freed after the layout rwsem is dropped.
    let _old = core::mem::replace(&mut *live.layout.write(), longer);
    Ok(())
}

fn shrink(free: &mut FreeRuns, device: &Device, new: PageOffset) -> Result {
    let runs = device.runs_from(&*device.live().ok_or(ENXIO)?, new)?;
    free.promise(runs.len())?;
    let cut = punch::cut(device, new);
    // Wait for copies that looked up their extents before the end moved.
    device.synchronize();
    let flushed = match device.live() {
        Some(live) => sync::flush(device, &live),
        None => Err(ENXIO),
    };
    for run in runs.iter() {
        free.give(*run);
    }
    cut.and(flushed)
}
