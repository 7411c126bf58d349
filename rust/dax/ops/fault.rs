// SPDX-License-Identifier: GPL-2.0

//! Faults.

use crate::dax::{
    device::{
        Device,
        Live, //
    },
    entries::{
        entry::Kind,
        table::{
            Access,
            GrabError,
            LockedEntry, //
        }, //
    },
    layout::{
        extents::Extents,
        span::leaf_fits, //
    },
    ops::{
        io,
        unmap::unmap_entry, //
    },
    order::{
        Order,
        PAGE_SHIFT, //
    }, //
};
use crate::kernel_ext::{
    fs::anon_inode::AnonInode,
    mm::{
        fault::{
            FaultResult,
            Level,
            VmFault, //
        },
        frames::Frames,
        vm_operations::VmOperations, //
    },
    parameters,
    xarray::Spare, //
};
use core::{
    mem::MaybeUninit,
    num::NonZero, //
};
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

impl VmOperations for Device {
    fn fault(&self, vmf: &mut VmFault<'_>) -> FaultResult {
        let result = serve(self, vmf);
        self.faults.count(vmf.level(), result);
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
fn serve(device: &Device, vmf: &mut VmFault<'_>) -> FaultResult {
    let mut spare = Spare::new();
    loop {
        match attempt(device, vmf, &mut spare) {
            Ok(result) | Err(Stop::Result(result)) => return result,
            // No lock is held here: the task may be made to wait for memory as long as it takes.
            Err(Stop::NoNode) if spare.fill().is_err() => return FaultResult::Oom,
            Err(Stop::NoNode) => (),
            Err(Stop::NoZeroes) => {
                // Not charged to the task, so that it is not throttled with the guard held.
                let made = device.live().is_some_and(|live| live.make_huge_zero());
                if !made {
                    return FaultResult::Fallback;
                }
            }
        }
    }
}

/// Why a fault can't be served now.
enum Stop {
    /// This is how it ends.
    Result(FaultResult),
    /// The index needs a node.
    NoNode,
    /// There is no huge page of zeroes yet.
    NoZeroes,
}

impl From<FaultResult> for Stop {
    fn from(result: FaultResult) -> Self {
        Self::Result(result)
    }
}

impl From<GrabError> for Stop {
    fn from(error: GrabError) -> Self {
        match error {
            GrabError::Conflict => Self::Result(FaultResult::Fallback),
            GrabError::NoNode => Self::NoNode,
        }
    }
}

fn attempt(device: &Device, vmf: &mut VmFault<'_>, spare: &mut Spare) -> Result<FaultResult, Stop> {
    let (level, address, pgoff) = (vmf.level(), vmf.address(), vmf.pgoff());
    let mut order = Order::from(level);
    if level == Level::Pte {
        order = ahead(vmf, pgoff);
    } else if level.order() > parameters::max_leaf()
        || !leaf_fits(order, address, pgoff, vmf.vma_range())
    {
        return Err(FaultResult::Fallback.into());
    }

    let live = device.live().ok_or(FaultResult::Sigbus)?;
    if vmf.is_write() && device.geometry().is_read_only() {
        return Err(FaultResult::Sigbus.into());
    }
    // Shared: excludes a punch, which changes what is behind several entries, and a change of the size.
    let layout = live.layout.read();
    loop {
        let result = match Target::find(&live, &layout, pgoff, order) {
            Ok(run) => run.map(device.inode(), &live, vmf, spare),
            Err(error) if level == Level::Pte => Err(error.into()),
            // What is around it is served.
            Err(_) => Err(FaultResult::Fallback.into()),
        };
        match result {
            // Not all of it can be mapped as one.
            Err(Stop::Result(_)) if level == Level::Pte && order != Order::PTE => {
                order = Order::PTE;
            }
            result => return result,
        }
    }
}

/// How much a 4 KiB fault at `pgoff` maps: the order of a run that begins there.
///
/// Where the page before is mapped already, memory is touched in order, and several pages are served by
/// one fault: twice as many each time, up to `fault_around`. They share an entry, and so are dirty
/// together.
fn ahead(vmf: &VmFault<'_>, pgoff: usize) -> Order {
    let most = parameters::fault_around() >> PAGE_SHIFT;
    if pgoff % 2 != 0 || most < 2 || !vmf.follows() {
        return Order::PTE;
    }
    Order::largest(pgoff, most.min(vmf.room())).unwrap_or(Order::PTE)
}

/// The pages that a fault is to map.
struct Target<'a> {
    /// The first, where the run is aligned to `order`.
    start: usize,
    order: Order,
    /// Its page frame.
    pfn: usize,
    frames: Frames<'a>,
}

impl<'a> Target<'a> {
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
        // What is noted as bad after this is unmapped by the task that noted it, with the layout held
        // exclusively.
        if live.media().is_bad(layout.offset_of(pfn), order.bytes()) {
            return Err(FaultResult::Hwpoison);
        }
        let frames = NonZero::new(order.pages()).and_then(|pages| live.frames(pfn, pages));
        Ok(Self {
            start: order.align_down(pgoff),
            order,
            pfn,
            frames: frames.ok_or(FaultResult::Sigbus)?,
        })
    }

    /// Maps it: the page of the fault is its first, or it is a larger leaf around that.
    #[inline]
    fn map(
        &self,
        inode: &AnonInode,
        live: &Live,
        vmf: &mut VmFault<'_>,
        spare: &mut Spare,
    ) -> Result<FaultResult, Stop> {
        match self.map_settled(live, vmf, spare) {
            Some(result) => Ok(result),
            None => self.map_locked(inode, live, vmf, spare),
        }
    }

    /// As [`Target::map`], with the entry locked.
    #[inline(never)]
    fn map_locked(
        &self,
        inode: &AnonInode,
        live: &Live,
        vmf: &mut VmFault<'_>,
        spare: &mut Spare,
    ) -> Result<FaultResult, Stop> {
        let access = access_of(live, vmf);
        let write = access != Access::Read;
        let mut entry = match live.entries.grab(self.start, self.order, access, spare) {
            Err(GrabError::Conflict)
                if write && vmf.level() == Level::Pmd && parameters::upgrade() =>
            {
                self.upgrade(inode, live, spare)
            }
            entry => entry,
        }?;
        loop {
            let larger = entry.order() > self.order;
            match entry.kind() {
                // One that only readers need gives way: otherwise all that it stands for would be dirty.
                Kind::Mapped { .. } if access == Access::Write && larger && !entry.is_dirty() => {
                    unmap_entry(inode, &entry);
                    entry = entry.split(self.start, self.order, access, spare)?;
                }
                Kind::Mapped { .. } => break,
                // A page of a larger hole is read under the hole's lock: nothing need be split.
                Kind::Zero if !write => return insert_zero(live, vmf),
                Kind::Zero | Kind::Empty if larger => {
                    unmap_zero(inode, &entry);
                    // Another may have come first, with an entry of any order.
                    entry = entry.split(self.start, self.order, access, spare)?;
                }
                Kind::Zero | Kind::Empty => {
                    // The zeroes go before the media comes: nobody reads them after it was written.
                    unmap_zero(inode, &entry);
                    entry.set_kind(Kind::Mapped { pfn: self.pfn });
                }
            }
        }
        // Under the entry lock: a task that takes it next finds the page table as the entry says, and where
        // writes are tracked an entry that is not dirty has no writable mapping.
        if access == Access::Write {
            entry.set_dirty();
        }
        let result = vmf.insert(self.frames, write);
        entry.release();
        Ok(result)
    }

    /// Maps it, or the first of several pages, if no entry lock need be taken for that, nor waited for.
    fn map_settled(
        &self,
        live: &Live,
        vmf: &mut VmFault<'_>,
        spare: &mut Spare,
    ) -> Option<FaultResult> {
        let (access, kind) = (access_of(live, vmf), Kind::Mapped { pfn: self.pfn });
        let write = access != Access::Read;
        let single = vmf.level() != Level::Pte || self.order == Order::PTE;
        let mut table = vmf.lock().ok()?;
        let entries = &live.entries;
        let mapped = entries.touch(self.start, self.order, kind, access, spare, || {
            table.set(self.frames, write)
        });
        if mapped.is_some() || single {
            return mapped;
        }
        entries.touch_settled(self.start, self.order.pages(), access, |pages| {
            table.set(self.frames.first(pages), write)
        })
    }

    /// Makes one 2 MiB entry of the smaller ones in the run, if none of them is locked, for a writer.
    ///
    /// Thread 003 held this to be not worth the complexity. It is one atomic step of the index; the
    /// mappings that others have of the smaller pages are torn down under the new entry's lock.
    fn upgrade<'l>(
        &self,
        inode: &AnonInode,
        live: &'l Live,
        spare: &mut Spare,
    ) -> Result<LockedEntry<'l>, GrabError> {
        let kind = Kind::Mapped { pfn: self.pfn };
        let entry = live.entries.upgrade(self.start, self.order, kind, spare)?;
        unmap_entry(inode, &entry);
        Ok(entry)
    }
}

/// What the fault is for.
fn access_of(live: &Live, vmf: &VmFault<'_>) -> Access {
    match (vmf.is_write(), live.media().has_cache()) {
        (false, _) => Access::Read,
        (true, false) => Access::UntrackedWrite,
        (true, true) => Access::Write,
    }
}

/// Tears down the zeroes that are mapped for a hole.
fn unmap_zero(inode: &AnonInode, entry: &LockedEntry<'_>) {
    if entry.kind() == Kind::Zero {
        unmap_entry(inode, entry);
    }
}

/// Maps zeroes for a hole, read-only.
fn insert_zero(live: &Live, vmf: &mut VmFault<'_>) -> Result<FaultResult, Stop> {
    Ok(match vmf.level() {
        Level::Pte => vmf.insert_zero_page(),
        Level::Pmd => vmf.insert_zeroes(live.huge_zero().ok_or(Stop::NoZeroes)?),
        // There is no hole of this order.
        Level::Pud => FaultResult::Fallback,
    })
}
