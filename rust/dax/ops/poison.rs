// SPDX-License-Identifier: GPL-2.0

//! Memory errors.
//!
//! The namespace's list of bad blocks has the known ones. libnvdimm fills it when the namespace is
//! bound, and when it learns of more. In addition, `memory_failure()` reports errors that an access
//! hits, also on a bus that does not know bad blocks.

use crate::dax::{
    device::{
        log,
        Device,
        Live, //
    },
    layout::extents::Extents,
    ops::unmap::unmap, //
};
use crate::kernel_ext::{
    mm::memory_failure::MemoryFailureOperations,
    task,
    trace,
    units::{
        DeviceOffset,
        PageOffset,
        Pfn,
        PAGE_SIZE, //
    }, //
};
use core::ops::Range;
use kernel::{
    impl_has_work,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    workqueue::{
        self,
        Work,
        WorkItem, //
    },
};

/// For how long a bad page stays mapped, so that tasks are told of it, in milliseconds.
const TELL_MS: u32 = 50;

impl_has_work! {
    impl HasWork<Self> for Device { self.unmap_poison }
}

impl WorkItem for Device {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if this.has_pages() {
            // The kernel tells the tasks that map the page after `broken()` returns, and only those
            // that still map it then. No driver can take the lock under which it does so.
            task::sleep(TELL_MS);
        }
        unmap_poison(&this);
    }
}

impl MemoryFailureOperations for Device {
    fn broken(this: ArcBorrow<'_, Self>, pfn: Pfn) -> Result<PageOffset> {
        let live = this.live().ok_or(ENOENT)?;
        let offset = this.geometry().span.offset_of(pfn).ok_or(ENOENT)?;
        // From now on no fault maps the page. The work unmaps existing mappings.
        if !live.media().bad().note(offset..offset + PAGE_SIZE) {
            log!(
                dev_warn,
                pr_warn,
                this,
                "{}: the list of bad blocks is full: accesses to the bad page at byte {:#x} of the region are not refused\n",
                &*this,
                offset.get()
            );
        }
        // If the work is queued already, it will see this page, too.
        let _ = workqueue::system_long().enqueue::<Arc<Self>, 0>(this.into());
        this.frames.lock().pgoff(pfn).ok_or(ENOENT)
    }

    fn work(&self) -> &Work<Self> {
        &self.unmap_poison
    }
}

/// Returns the first run of bad bytes, in one extent, at or after byte `from` of the device.
pub(crate) fn first_bad(
    live: &Live,
    layout: &Extents,
    from: DeviceOffset,
) -> Option<Range<DeviceOffset>> {
    layout.as_slice().iter().find_map(|extent| {
        let mut bytes = layout.bytes_behind(extent, from)?;
        let bad = live.media().bad().first_in(bytes.clone())?;
        bytes.start = bad.start;
        bytes.end = bad.end;
        Some(layout.device_bytes(extent, bytes))
    })
}

/// Unmaps all bad blocks. Process context; sleeps.
///
/// Holds the layout rwsem exclusively. A fault checks for bad blocks with the rwsem held shared, so
/// a fault that missed one has mapped it by now.
pub(crate) fn unmap_poison(device: &Device) {
    let Some(live) = device.live() else {
        return;
    };
    let layout = live.layout.write();
    let mut from = DeviceOffset::new(0);
    while let Some(bad) = first_bad(&live, &layout, from) {
        unmap(&live, device.inode(), bad.start.page(), bad.end.page_up());
        trace::bad_block(|| device.number(), bad.start.get(), bad.end - bad.start);
        from = bad.end;
    }
}
