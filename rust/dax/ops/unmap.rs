// SPDX-License-Identifier: GPL-2.0

//! Tearing down mappings.

use crate::dax::{
    device::Live,
    entries::table::LockedEntry, //
};
use crate::kernel_ext::fs::anon_inode::AnonInode;

/// Tears down what is mapped under an entry. Sleeps.
pub(crate) fn unmap_entry(inode: &AnonInode, entry: &LockedEntry<'_>) {
    inode.unmap_pages(entry.start(), entry.order().pages());
}

/// Tears down the mappings of `pgoff..behind`, and of all that is in one entry with a part of it: a
/// leaf goes as a whole, and to cut a PUD leaf needs the mmap lock (`zap_pud_range()`).
///
/// With the layout held alone, or behind the device's end, so that no other entry comes in. Sleeps.
pub(crate) fn unmap(live: &Live, inode: &AnonInode, pgoff: usize, behind: usize) {
    let (mut first, mut end) = (pgoff, behind);
    if let Some((start, _, _)) = live.entries.peek(pgoff) {
        first = first.min(start);
    }
    if let Some((start, entry, _)) = live.entries.peek(behind - 1) {
        if start < behind {
            end = entry.behind(start).unwrap_or(behind);
        }
    }
    inode.unmap_pages(first, end - first);
}
