// SPDX-License-Identifier: GPL-2.0

//! Faults.

use crate::dax::{
    device::{
        Device,
        Live, //
    },
    entries::{
        entry::Kind,
        index::Spare,
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
    mode::{
        Mode,
        Reason, //
    },
    ops::{
        io,
        unmap::unmap_entry, //
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
    trace,
    units::{
        DeviceOffset,
        Order,
        PageOffset,
        Pages,
        Pfn, //
    }, //
};
use core::mem::MaybeUninit;
use kernel::prelude::*;

impl VmOperations for Device {
    #[inline(always)]
    fn fault(&self, vmf: &mut VmFault<'_>) -> FaultResult {
        let level = vmf.level();
        let result = serve(self, vmf);
        self.faults.count(level, result);
        trace::fault(|| self.number(), vmf, result);
        result
    }

    fn may_split(&self, address: usize) -> Result {
        if !self.align().divides(address) {
            return Err(EINVAL);
        }
        Ok(())
    }

    fn maps_writable(&self) -> bool {
        self.mode.get().maps_writable()
    }

    fn is_tracked(&self) -> bool {
        self.mode.get().is_tracked()
    }

    fn pagesize(&self) -> usize {
        self.align().bytes()
    }

    fn peek<'a>(
        &self,
        offset: DeviceOffset,
        to: &'a mut [MaybeUninit<u8>],
    ) -> Result<&'a mut [u8]> {
        io::peek(self, offset, to)
    }

    fn poke(&self, offset: DeviceOffset, from: &[u8]) -> Result<usize> {
        io::poke(self, offset, from)
    }
}

/// Serves a fault.
///
/// The kernel asks for the largest level first, and for the next smaller one at each fallback. The
/// smallest is always served, whatever the device's alignment, because with MADV_NOHUGEPAGE or
/// PR_SET_THP_DISABLE the kernel does not ask for the larger ones.
#[inline(always)]
fn serve(device: &Device, vmf: &mut VmFault<'_>) -> FaultResult {
    match attempt(device, vmf, None) {
        Ok(result) | Err(Stop::Result(result)) => result,
        Err(stop) => serve_again(device, vmf, stop),
    }
}

/// Serves a fault whose first attempt was stopped.
#[cold]
#[inline(never)]
fn serve_again(device: &Device, vmf: &mut VmFault<'_>, mut stop: Stop) -> FaultResult {
    let mut spare = Spare::new();
    // Without a spare, the first attempt could not say which memory it lacked.
    let mut is_known = false;
    loop {
        match stop {
            Stop::Result(result) => return result,
            Stop::NoNode if !is_known => (),
            // No lock is held here, so the task may be throttled for memory as long as necessary.
            Stop::NoNode if spare.fill().is_err() => return FaultResult::Oom,
            Stop::NoNode => (),
            Stop::Seen if device.begin_map_writable(Reason::Seen).is_err() => {
                return FaultResult::Sigbus
            }
            Stop::Seen => (),
            Stop::NoZeroes => {
                // Not charged to the task, so it is not throttled while it holds the guard.
                let made = device.live().is_some_and(|live| live.make_huge_zero());
                if !made {
                    return FaultResult::Fallback;
                }
            }
        }
        stop = match attempt(device, vmf, Some(&mut spare)) {
            Ok(result) => Stop::Result(result),
            Err(stop) => stop,
        };
        is_known = true;
    }
}

/// Why a fault cannot be served now.
enum Stop {
    /// The fault ends with this result.
    Result(FaultResult),
    /// The index needs memory.
    NoNode,
    /// No huge page of zeroes exists yet.
    NoZeroes,
    /// A virtual machine uses the device, which was not known.
    Seen,
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

/// Serves a fault, or says what it lacks. The caller holds no lock. Without a `spare` there is less to
/// set up; an entry may lack memory then, which the next attempt allocates.
///
/// Inlined where the level is known, as the functions are that it calls on the way of a fault that
/// has to wait for nothing.
#[inline(always)]
fn attempt(
    device: &Device,
    vmf: &mut VmFault<'_>,
    mut spare: Option<&mut Spare>,
) -> Result<FaultResult, Stop> {
    let (level, pgoff) = (vmf.level(), vmf.pgoff());
    let order = level.order();
    if level != Level::Pte
        && (!parameters::allows_leaf(order)
            || !leaf_fits(order, vmf.address(), pgoff, vmf.vma_range()))
    {
        return Err(FaultResult::Fallback.into());
    }

    let live = device.live().ok_or(FaultResult::Sigbus)?;
    if vmf.is_write() && device.geometry().is_read_only() {
        return Err(FaultResult::Sigbus.into());
    }
    // Shared: excludes a resize, and a punch, which changes several entries and their media.
    let layout = live.layout.read();
    let mode = device.mode.get();
    if mode.is_usual() {
        if vmf.has_notifiers() {
            return Err(Stop::Seen);
        }
    } else if order > device.largest_leaf() {
        return Err(FaultResult::Fallback.into());
    }

    if level == Level::Pte {
        let ahead = ahead(mode, vmf, pgoff);
        if ahead != order {
            match map_ahead(
                mode,
                device,
                &live,
                &layout,
                vmf,
                ahead,
                spare.as_deref_mut(),
            ) {
                // Not all of the run can be mapped.
                Err(Stop::Result(_)) => (),
                result => return result,
            }
        }
    }
    match map(mode, device, &live, &layout, vmf, order, spare) {
        // The smaller pages around the bad block can still be mapped.
        Err(Stop::Result(_)) if level != Level::Pte => Err(FaultResult::Fallback.into()),
        result => result,
    }
}

/// Maps the run of `order` that begins with the faulting page.
#[inline(never)]
fn map_ahead(
    mode: Mode,
    device: &Device,
    live: &Live,
    layout: &Extents,
    vmf: &mut VmFault<'_>,
    order: Order,
    spare: Option<&mut Spare>,
) -> Result<FaultResult, Stop> {
    map(mode, device, live, layout, vmf, order, spare)
}

/// Maps the run of `order` around the faulting page. That page is its first, or the run is a larger
/// leaf around it.
///
/// Stops with `Sigbus` if the run is not in one extent of the media, with `Hwpoison` if it has a bad
/// block.
#[inline(always)]
fn map(
    mode: Mode,
    device: &Device,
    live: &Live,
    layout: &Extents,
    vmf: &mut VmFault<'_>,
    order: Order,
    mut spare: Option<&mut Spare>,
) -> Result<FaultResult, Stop> {
    let pgoff = vmf.pgoff();
    let Some(pfn) = layout.pfn(pgoff, order) else {
        return Err(FaultResult::Sigbus.into());
    };
    // A task that notes a bad block after this check unmaps it with the layout rwsem held
    // exclusively.
    if live.media().is_bad(layout.offset_of(pfn), order.bytes()) {
        return Err(FaultResult::Hwpoison.into());
    }
    let Some(frames) = live.frames(pfn, order.pages()) else {
        return Err(FaultResult::Sigbus.into());
    };
    let access = access_of(mode, device, live, vmf);
    // Mapping pages sleeps.
    if !mode.has_pages() {
        let run = Target::new(vmf, order, pfn, frames);
        if let Some(result) = run.map_settled(live, access, vmf, spare.as_deref_mut()) {
            return Ok(result);
        }
    }
    map_locked(device.inode(), live, order, pfn, access, vmf, spare)
}

/// Maps the run of `order` at `pfn`, with its entry locked.
#[inline(never)]
fn map_locked(
    inode: &AnonInode,
    live: &Live,
    order: Order,
    pfn: Pfn,
    access: Access,
    vmf: &mut VmFault<'_>,
    spare: Option<&mut Spare>,
) -> Result<FaultResult, Stop> {
    // Again, instead of an argument: that would be in memory for all faults.
    let Some(frames) = live.frames(pfn, order.pages()) else {
        return Err(FaultResult::Sigbus.into());
    };
    let mut none = Spare::new();
    let spare = spare.unwrap_or(&mut none);
    Target::new(vmf, order, pfn, frames).map_locked(inode, live, access, vmf, spare)
}

/// Returns the order of the run that a 4 KiB fault at `pgoff` maps. The run begins there.
///
/// If the page before is mapped already, the program touches memory in order, so one fault maps
/// several pages: twice as many each time, up to `fault_around`. They share an entry, and become
/// dirty together.
#[inline(always)]
fn ahead(mode: Mode, vmf: &VmFault<'_>, pgoff: PageOffset) -> Order {
    let most = Pages::in_bytes(parameters::fault_around());
    if pgoff.get() % 2 != 0 || most.get() < 2 || mode.has_pages() || !vmf.follows() {
        return Order::PTE;
    }
    Order::largest(pgoff, most.min(vmf.room())).unwrap_or(Order::PTE)
}

/// The pages that a fault is to map.
#[derive(Clone, Copy)]
struct Target<'a> {
    /// The first page offset of the run, aligned to `order`.
    start: PageOffset,
    order: Order,
    /// The page frame of `start`.
    pfn: Pfn,
    frames: Frames<'a>,
}

impl<'a> Target<'a> {
    /// `pfn` is the first of `frames`.
    #[inline(always)]
    fn new(vmf: &VmFault<'_>, order: Order, pfn: Pfn, frames: Frames<'a>) -> Self {
        Self {
            start: vmf.pgoff().align_down(order),
            order,
            pfn,
            frames,
        }
    }

    /// Maps the run, with the entry locked.
    fn map_locked(
        self,
        inode: &AnonInode,
        live: &Live,
        access: Access,
        vmf: &mut VmFault<'_>,
        spare: &mut Spare,
    ) -> Result<FaultResult, Stop> {
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
                // A clean larger entry gives way. Otherwise all pages of it would become dirty.
                Kind::Mapped { .. } if access == Access::Write && larger && !entry.is_dirty() => {
                    unmap_entry(inode, &entry);
                    entry = entry.split(self.start, self.order, access, spare)?;
                }
                Kind::Mapped { .. } => break,
                // A read of a page of a larger hole needs no split: the hole's lock is enough.
                Kind::Zero if !write => return insert_zero(live, vmf),
                Kind::Zero | Kind::Empty if larger => {
                    unmap_zero(inode, &entry);
                    // Another task may have made an entry of any order first.
                    entry = entry.split(self.start, self.order, access, spare)?;
                }
                Kind::Zero | Kind::Empty => {
                    // Unmap the zeroes before the media is mapped, so that no task reads zeroes
                    // after a write.
                    unmap_zero(inode, &entry);
                    entry.set_kind(Kind::Mapped { pfn: self.pfn });
                }
            }
        }
        // Under the entry lock, so that the next holder finds the page table as the entry describes
        // it. Where writes are tracked, a clean entry has no writable mapping.
        if access == Access::Write {
            entry.set_dirty();
        }
        let result = vmf.insert(self.frames, write);
        entry.release();
        Ok(result)
    }

    /// Maps the run, or its first pages, if no entry lock has to be taken or waited for.
    #[inline(always)]
    fn map_settled(
        self,
        live: &Live,
        access: Access,
        vmf: &mut VmFault<'_>,
        spare: Option<&mut Spare>,
    ) -> Option<FaultResult> {
        let kind = Kind::Mapped { pfn: self.pfn };
        let write = access != Access::Read;
        let single = vmf.level() != Level::Pte || self.order == Order::PTE;
        let mut table = vmf.lock().ok()?;
        let entries = &live.entries;
        if let Some(_settled) = entries.touch(self.start, self.order, kind, access, spare) {
            return Some(table.set(self.frames, write));
        }
        if single {
            return None;
        }
        let pages = self.order.pages();
        let (_settled, pages) = entries.touch_settled(self.start, pages, access)?;
        Some(table.set(self.frames.first(pages), write))
    }

    /// Replaces the smaller entries of the run by one 2 MiB entry for a writer, if none is locked.
    ///
    /// Thread 003 thought this not worth the complexity. It is one atomic step of the index. The
    /// smaller pages that other tasks have mapped are unmapped under the new entry's lock.
    fn upgrade<'l>(
        self,
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

/// Returns the access that the fault is for.
#[inline(always)]
fn access_of(mode: Mode, device: &Device, live: &Live, vmf: &VmFault<'_>) -> Access {
    let write = vmf.is_write() || (!mode.is_usual() && read_counts_as_write(mode, device, vmf));
    match (write, live.media().has_cache()) {
        (false, _) => Access::Read,
        (true, false) => Access::UntrackedWrite,
        (true, true) => Access::Write,
    }
}

/// Whether a read fault counts as a write.
#[cold]
fn read_counts_as_write(mode: Mode, device: &Device, vmf: &VmFault<'_>) -> bool {
    (mode.maps_writable() && vmf.may_write() && !device.geometry().is_read_only())
        || (mode.is_untracked() && vmf.may_ever_write())
}

/// Unmaps the zeroes that are mapped for a hole.
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
        // Holes have no larger order than that of a PMD leaf.
        Level::Pud => FaultResult::Fallback,
    })
}
