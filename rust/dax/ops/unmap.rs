// SPDX-License-Identifier: GPL-2.0

//! Unmapping.

use crate::dax::{
    device::{
        Device,
        Live, //
    },
    entries::table::LockedEntry, //
};
use crate::kernel_ext::{
    fs::anon_inode::AnonInode,
    units::{
        Order,
        PageOffset, //
    }, //
};

/// Unmaps everything under an entry. Sleeps.
pub(crate) fn unmap_entry(inode: &AnonInode, entry: &LockedEntry<'_>) {
    inode.unmap_pages(entry.start(), entry.order().pages());
}

/// Unmaps `pgoff..behind`, and the whole of each entry that reaches into it. A leaf is unmapped as
/// a whole, because splitting a PUD leaf needs the mmap lock (`zap_pud_range()`).
///
/// The caller holds the layout rwsem exclusively, or the range and these entries lie past the
/// device's end. So no other entry appears, and nothing that is left of the device is unmapped
/// while a sync may run: until the unmapping ends, a CPU may still write through a leaf that is gone
/// from the page table but not from its TLB. A sync that sees no leaf would clean the entry. Sleeps.
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

/// Unmaps the entry that begins before page offset `end` and ends after it, if there is one. Returns
/// the page after it; otherwise, `end`. The caller holds the layout rwsem exclusively. Sleeps.
pub(crate) fn unmap_across(live: &Live, inode: &AnonInode, end: PageOffset) -> PageOffset {
    match live.entries.peek(end, end) {
        Some((start, entry, _)) if start < end => {
            let pages = entry.order().pages();
            inode.unmap_pages(start, pages);
            start + pages
        }
        _ => end,
    }
}

/// Unmaps the whole device, 1 GiB at a time, so that faults do not wait for all of it. The caller
/// holds `Region::state`, so its extents do not change meanwhile. The layout rwsem excludes syncs,
/// for the reason that [`unmap`] gives.
///
/// Process context; sleeps.
pub(crate) fn unmap_device(device: &Device) {
    let mut from = PageOffset::new(0);
    // Without the device, nothing is mapped.
    while let Some(live) = device.live() {
        let layout = live.layout.write();
        if from >= layout.end() {
            break;
        }
        let next = next_part(from, layout.end());
        device.inode().unmap_pages(from, next - from);
        from = next;
    }
}

/// Returns the page after the aligned 1 GiB around `from`, or `end` if that comes first.
pub(crate) fn next_part(from: PageOffset, end: PageOffset) -> PageOffset {
    (from.align_down(Order::PUD) + Order::PUD.pages()).min(end)
}
