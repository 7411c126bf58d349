// SPDX-License-Identifier: GPL-2.0

//! Memory errors.
//!
//! What is known to be bad is in the namespace's list of bad blocks, which libnvdimm fills when the
//! namespace is bound, and when it learns of more. An error that is found by an access reaches us
//! through `memory_failure()` besides, also on a bus that knows no bad blocks.

use super::{
    device::{
        Device,
        Live, //
    },
    order::{
        Order,
        PAGE_SHIFT, //
    },
    punch::unmap,
};
use crate::kernel_ext::memory_failure;
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

const PAGE_SIZE: u64 = Order::PTE.bytes() as u64;

impl_has_work! {
    impl HasWork<Self> for Device { self.unmap_poison }
}

impl WorkItem for Device {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if let Some(live) = this.live() {
            unmap_poison(&this, &live);
        }
    }
}

impl memory_failure::Operations for Device {
    fn broken(this: ArcBorrow<'_, Self>, pfn: usize) -> Result<usize> {
        let live = this.live().ok_or(ENOENT)?;
        let pgoff = live.range.pgoff(pfn).ok_or(ENOENT)?;
        let offset = (pgoff as u64) << PAGE_SHIFT;
        // From now on no fault maps it; what is mapped goes in the work.
        if !live.media().bad().note(offset..offset + PAGE_SIZE) {
            pr_warn!("no room for another bad block: {offset:#x} will be used\n");
        }
        // When it is queued already it will see this one, too.
        let _ = workqueue::system_long().enqueue::<Arc<Self>, 0>(this.into());
        Ok(pgoff)
    }

    fn work(&self) -> &Work<Self> {
        &self.unmap_poison
    }
}

/// Takes over what libnvdimm knows, and tears down the mappings of what is bad.
///
/// Process context; sleeps.
pub(crate) fn update(device: &Device) {
    if let Some(live) = device.live() {
        live.media().update_bad();
        unmap_poison(device, &live);
    }
}

/// Whether one of the pages of the run of `order` around `pgoff` is bad. With the layout held, which
/// [`unmap_poison`] holds alone after the block was noted: it is seen here, or unmapped there.
pub(crate) fn is_poisoned(live: &Live, pgoff: usize, order: Order) -> bool {
    let start = (order.align_down(pgoff) as u64) << PAGE_SHIFT;
    live.media().is_bad(start, order.bytes())
}

fn unmap_poison(device: &Device, live: &Live) {
    let size = live.range.size();
    let _layout = live.layout.write();
    let mut from = 0;
    while let Some(bad) = live.media().bad().first_in(from..size) {
        unmap(
            live,
            device.inode(),
            (bad.start / PAGE_SIZE) as usize,
            bad.end.div_ceil(PAGE_SIZE) as usize,
        );
        from = bad.end;
    }
}
