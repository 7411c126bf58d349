// SPDX-License-Identifier: GPL-2.0

//! Unmapping.

use crate::dax::{
    device::Live,
    entries::table::LockedEntry, //
};
use crate::kernel_ext::{
    fs::anon_inode::AnonInode,
    units::PageOffset, //
};

/// Unmaps everything under an entry. Sleeps.
pub(crate) fn unmap_entry(inode: &AnonInode, entry: &LockedEntry<'_>) {
    inode.unmap_pages(entry.start(), entry.order().pages());
}

/// Unmaps `pgoff..behind`, and the whole of each entry that reaches into it. A leaf is unmapped as
/// a whole, because splitting a PUD leaf needs the mmap lock (`zap_pud_range()`).
///
/// The caller holds the layout rwsem exclusively, or the range lies past the device's end, so that
/// no other entry appears. Sleeps.
pub(crate) fn unmap(live: &Live, inode: &AnonInode, pgoff: PageOffset, behind: PageOffset) {
    let (mut first, mut end) = (pgoff, behind);
    if let Some((start, _, _)) = live.entries.peek(pgoff, pgoff) {
        first = first.min(start);
    }
    let last = behind.before();
    if let Some((start, entry, _)) = last.and_then(|last| live.entries.peek(last, last)) {
        end = entry.behind(start).unwrap_or(behind);
    }
    inode.unmap_pages(first, end - first);
}
