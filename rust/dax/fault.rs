// SPDX-License-Identifier: GPL-2.0

//! Faults.

use super::{
    device::{
        Device,
        Live, //
    },
    entry::Kind,
    mapping::GrabError,
    order::{
        Order,
        PAGE_SHIFT, //
    },
    range::leaf_fits,
};
use crate::kernel_ext::mm::{
    self,
    FaultResult,
    Level,
    VmFault, //
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

impl mm::Operations for Device {
    fn fault(&self, vmf: &mut VmFault<'_>, level: Level) -> FaultResult {
        let result = match self.live() {
            Some(live) => serve(&live, vmf, level),
            None => FaultResult::Sigbus,
        };
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
}

/// Serves a fault of a device that stays alive meanwhile.
///
/// The kernel asks for the largest level first, and for the next smaller one at each fallback. The
/// smallest is always served, whatever the device's alignment: MADV_NOHUGEPAGE and
/// PR_SET_THP_DISABLE keep the larger ones from being asked for.
fn serve(live: &Live, vmf: &mut VmFault<'_>, level: Level) -> FaultResult {
    let order = Order::from(level);
    let (address, pgoff) = (vmf.address(), vmf.pgoff());
    if level != Level::Pte && !leaf_fits(order, address, pgoff, vmf.vma_range()) {
        return FaultResult::Fallback;
    }
    let Some(pfn) = live.range.pfn(pgoff, order) else {
        return match level {
            Level::Pte => FaultResult::Sigbus,
            Level::Pmd | Level::Pud => FaultResult::Fallback,
        };
    };

    let mut entry = match live.mapping.grab(pgoff, order) {
        Ok(entry) => entry,
        Err(GrabError::Conflict) => return FaultResult::Fallback,
        Err(GrabError::NoMemory) => return FaultResult::Oom,
    };
    if entry.kind() == Kind::Empty {
        // The entry may span more than the leaf.
        let (start, entry_order) = entry.run();
        let Some(pfn) = live.range.pfn(start, entry_order) else {
            return FaultResult::Sigbus;
        };
        entry.set_kind(Kind::Mapped { pfn });
    }
    // Under the entry lock: whoever takes it next finds the page table as the entry says.
    vmf.insert_pfn(level, pfn)
}
