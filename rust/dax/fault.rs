// SPDX-License-Identifier: GPL-2.0

//! Faults.

use super::{
    device::{
        Device,
        Live, //
    },
    entry::Kind,
    extents::Extents,
    io,
    mapping::{
        GrabError,
        LockedEntry, //
    },
    order::{
        Order,
        PAGE_SHIFT, //
    },
    range::leaf_fits,
    unmap::unmap_entry, //
};
use crate::kernel_ext::{
    fs::AnonInode,
    mm::{
        self,
        FaultResult,
        Frames,
        Level,
        VmFault, //
    },
    params, //
};
use core::mem::MaybeUninit;
use kernel::prelude::*;

impl From<Level> for Order {
    fn from(level: Level) -> Self {
        match level {
            Level::Pte => Self::PTE,
            Level::Pmd => Self::PMD,
            Level::Pud => Self::PUD,
        }
    }
}

impl mm::Operations for Device {
    fn fault(&self, vmf: &mut VmFault<'_>, level: Level) -> FaultResult {
        let result = serve(self, vmf, level).unwrap_or_else(|result| result);
        self.faults.count(level, result);
        result
    }

    fn may_split(&self, address: usize) -> Result {
        if !self.align().is_aligned(address >> PAGE_SHIFT) {
            return Err(EINVAL);
        }
        Ok(())
    }

    fn pagesize(&self) -> usize {
        self.align().bytes()
    }

    fn peek(&self, offset: u64, to: &mut [MaybeUninit<u8>]) -> Result<usize> {
        io::peek(self, offset, to)
    }

    fn poke(&self, offset: u64, from: &[u8]) -> Result<usize> {
        io::poke(self, offset, from)
    }
}

/// Serves a fault.
///
/// The kernel asks for the largest level first, and for the next smaller one at each fallback. The
/// smallest is always served, whatever the device's alignment: MADV_NOHUGEPAGE and
/// PR_SET_THP_DISABLE keep the larger ones from being asked for.
fn serve(device: &Device, vmf: &mut VmFault<'_>, level: Level) -> Result<FaultResult, FaultResult> {
    let (address, pgoff) = (vmf.address(), vmf.pgoff());
    let mut order = Order::from(level);
    if level == Level::Pte {
        order = ahead(vmf, pgoff);
    } else if !leaf_fits(order, address, pgoff, vmf.vma_range()) {
        return Err(FaultResult::Fallback);
    }

    let live = device.live().ok_or(FaultResult::Sigbus)?;
    // Shared: excludes a punch, which changes what is behind several entries, and a change of the size.
    let layout = live.layout.read();
    loop {
        let result = match Run::find(&live, &layout, pgoff, order) {
            Ok(run) => run
                .map(device.inode(), &live, vmf, level)
                .map_err(Into::into),
            Err(error) if level == Level::Pte => Err(error),
            // What is around it is served.
            Err(_) => Err(FaultResult::Fallback),
        };
        if result.is_ok() || level != Level::Pte || order == Order::PTE {
            return result;
        }
        // Not all of it can be mapped as one.
        order = Order::PTE;
    }
}

impl From<GrabError> for FaultResult {
    fn from(error: GrabError) -> Self {
        match error {
            GrabError::Conflict => Self::Fallback,
            GrabError::NoMemory => Self::Oom,
        }
    }
}

/// How much a 4 KiB fault at `pgoff` maps: the order of a run that begins there.
///
/// Where the page before is mapped already, memory is touched in order, and several pages are served by
/// one fault: twice as many each time, up to `fault_around`. They share an entry, and so are dirty
/// together.
fn ahead(vmf: &VmFault<'_>, pgoff: usize) -> Order {
    let most = params::fault_around() >> PAGE_SHIFT;
    if pgoff % 2 != 0 || most < 2 || !vmf.follows() {
        return Order::PTE;
    }
    Order::largest(pgoff, most.min(vmf.room())).unwrap_or(Order::PTE)
}

/// The pages that a fault is to map.
struct Run<'a> {
    /// The first, where the run is aligned to `order`.
    start: usize,
    order: Order,
    /// Its page frame.
    pfn: usize,
    frames: Frames<'a>,
}

impl<'a> Run<'a> {
    /// The run of `order` around `pgoff`.
    ///
    /// Errors: `Sigbus` when it is not all there in one piece of the media, `Hwpoison` when something in it
    /// is bad.
    #[inline]
    fn find(
        live: &'a Live,
        layout: &Extents,
        pgoff: usize,
        order: Order,
    ) -> Result<Self, FaultResult> {
        let pfn = layout.pfn(pgoff, order).ok_or(FaultResult::Sigbus)?;
        // What is noted as bad after this is unmapped by whoever noted it, with the layout held alone.
        if live.media().is_bad(layout.offset_of(pfn), order.bytes()) {
            return Err(FaultResult::Hwpoison);
        }
        let frames = live.media().frames(pfn, order.pages());
        Ok(Self {
            start: order.align_down(pgoff),
            order,
            pfn,
            frames: frames.ok_or(FaultResult::Sigbus)?,
        })
    }

    /// Maps it, at `level`: the page of the fault is its first, or it is a larger leaf around that.
    #[inline]
    fn map(
        &self,
        inode: &AnonInode,
        live: &Live,
        vmf: &mut VmFault<'_>,
        level: Level,
    ) -> Result<FaultResult, GrabError> {
        match self.map_settled(live, vmf, level) {
            Some(result) => Ok(result),
            None => self.map_locked(inode, live, vmf, level),
        }
    }

    /// As [`Run::map`], with the entry locked.
    #[inline(never)]
    fn map_locked(
        &self,
        inode: &AnonInode,
        live: &Live,
        vmf: &mut VmFault<'_>,
        level: Level,
    ) -> Result<FaultResult, GrabError> {
        let write = vmf.is_write();
        let mut entry = match live.mapping.grab_for(self.start, self.order, write) {
            Err(GrabError::Conflict) if level == Level::Pmd && params::upgrade() => {
                self.upgrade(inode, live)
            }
            entry => entry,
        }?;
        loop {
            match entry.kind() {
                Kind::Mapped { .. } => break,
                // A page of a larger hole is read under the hole's lock: nothing need be split.
                Kind::Zero if !write => return Ok(insert_zero(live, vmf, level)),
                Kind::Zero | Kind::Empty if entry.order() > self.order => {
                    unmap_zero(inode, &entry);
                    // Another may have come first, with an entry of any order.
                    entry = entry.split(self.start, self.order)?;
                }
                Kind::Zero | Kind::Empty => {
                    // The zeroes go before the media comes: nobody reads them after it was written.
                    unmap_zero(inode, &entry);
                    entry.set_kind(Kind::Mapped { pfn: self.pfn });
                }
            }
        }
        // Under the entry lock: whoever takes it next finds the page table as the entry says, and an
        // entry that is not dirty has no writable mapping.
        if write {
            entry.set_dirty();
        }
        Ok(vmf.insert(level, self.frames, write))
    }

    /// Maps it, or the first of several pages, if no entry lock need be taken for that, nor waited for.
    fn map_settled(&self, live: &Live, vmf: &mut VmFault<'_>, level: Level) -> Option<FaultResult> {
        let (write, kind) = (vmf.is_write(), Kind::Mapped { pfn: self.pfn });
        let mut table = vmf.lock(level).ok()?;
        let mapping = &live.mapping;
        let mapped = mapping.touch(self.start, self.order, kind, write, || {
            table.set(self.frames, write)
        });
        if mapped.is_some() || level != Level::Pte || self.order == Order::PTE {
            return mapped;
        }
        mapping.touch_settled(self.start, self.order.pages(), write, |pages| {
            table.set(self.frames.first(pages), write)
        })
    }

    /// Makes one 2 MiB entry of the smaller ones in the run, if none of them is locked.
    ///
    /// Thread 003 held this to be not worth the complexity. It is one atomic step of the index; the
    /// mappings that others have of the smaller pages are torn down under the new entry's lock.
    fn upgrade<'l>(&self, inode: &AnonInode, live: &'l Live) -> Result<LockedEntry<'l>, GrabError> {
        let kind = Kind::Mapped { pfn: self.pfn };
        let entry = live.mapping.upgrade(self.start, self.order, kind)?;
        unmap_entry(inode, &entry);
        Ok(entry)
    }
}

/// Tears down the zeroes that are mapped for a hole.
fn unmap_zero(inode: &AnonInode, entry: &LockedEntry<'_>) {
    if entry.kind() == Kind::Zero {
        unmap_entry(inode, entry);
    }
}

/// Maps zeroes for a hole, read-only.
fn insert_zero(live: &Live, vmf: &mut VmFault<'_>, level: Level) -> FaultResult {
    match level {
        Level::Pte => vmf.insert_zero_page(),
        Level::Pmd => match live.huge_zero() {
            Some(zero) => vmf.insert(level, zero.frames(), false),
            None => FaultResult::Fallback,
        },
        // There is no hole of this order.
        Level::Pud => FaultResult::Fallback,
    }
}
