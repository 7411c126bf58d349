// SPDX-License-Identifier: GPL-2.0

//! Faults.

use super::{
    device::{
        Device,
        Live, //
    },
    entry::Kind,
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
    let order = Order::from(level);
    let (address, pgoff) = (vmf.address(), vmf.pgoff());
    if level != Level::Pte && !leaf_fits(order, address, pgoff, vmf.vma_range()) {
        return Err(FaultResult::Fallback);
    }

    let inode = device.inode();
    let live = device.live().ok_or(FaultResult::Sigbus)?;
    // Shared: excludes a punch, which changes what is behind several entries, and a change of the size.
    let layout = live.layout.read();
    let Some(pfn) = layout.pfn(pgoff, order) else {
        return Err(match level {
            Level::Pte => FaultResult::Sigbus,
            Level::Pmd | Level::Pud => FaultResult::Fallback,
        });
    };

    // What is noted as bad after this is unmapped by whoever noted it, with the layout held alone.
    if live.media().is_bad(layout.offset_of(pfn), order.bytes()) {
        return Err(match level {
            Level::Pte => FaultResult::Hwpoison,
            // What is around it is served.
            Level::Pmd | Level::Pud => FaultResult::Fallback,
        });
    }

    let mut entry = match live.mapping.grab(pgoff, order) {
        Err(GrabError::Conflict) if level == Level::Pmd && params::upgrade() => {
            upgrade(&live, inode, pgoff, pfn)
        }
        entry => entry,
    }?;
    loop {
        match entry.kind() {
            Kind::Mapped { .. } => break,
            // A page of a larger hole is read under the hole's lock: nothing need be split.
            Kind::Zero if !vmf.is_write() => return Ok(insert_zero(&live, vmf, level)),
            Kind::Zero | Kind::Empty if entry.order() > order => {
                unmap_zero(inode, &entry);
                // Another may have come first, with an entry of any order.
                entry = entry.split(pgoff, order)?;
            }
            Kind::Zero | Kind::Empty => {
                // The zeroes go before the media comes: nobody reads them after it was written.
                unmap_zero(inode, &entry);
                entry.set_kind(Kind::Mapped { pfn });
            }
        }
    }
    // Under the entry lock: whoever takes it next finds the page table as the entry says, and an
    // entry that is not dirty has no writable mapping.
    if vmf.is_write() {
        entry.set_dirty();
    }
    match live.media().frame(level, pfn) {
        Some(frame) => Ok(vmf.insert(level, frame, vmf.is_write())),
        None => Err(FaultResult::Sigbus),
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

/// Makes one 2 MiB entry of the smaller ones in the range, if none of them is locked.
///
/// Thread 003 held this to be not worth the complexity. It is one atomic step of the index; the
/// mappings that others have of the smaller pages are torn down under the new entry's lock.
fn upgrade<'a>(
    live: &'a Live,
    inode: &AnonInode,
    pgoff: usize,
    pfn: usize,
) -> Result<LockedEntry<'a>, GrabError> {
    let entry = live
        .mapping
        .upgrade(pgoff, Order::PMD, Kind::Mapped { pfn })?;
    unmap_entry(inode, &entry);
    Ok(entry)
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
            Some(zero) => vmf.insert(level, zero.frame(), false),
            None => FaultResult::Fallback,
        },
        // There is no hole of this order.
        Level::Pud => FaultResult::Fallback,
    }
}
