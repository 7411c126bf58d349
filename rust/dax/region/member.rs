// SPDX-License-Identifier: GPL-2.0

//! A device as a member of its region.

use crate::dax::{
    device::{
        log,
        Device, //
    },
    ops::sync, //
};
use crate::kernel_ext::{
    fs::device_node::Node,
    media::live::LiveMedia,
    mm::memory_failure::Registration,
    sync::srcu::SrcuRevocable, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A device of a region.
#[pin_data]
pub(super) struct Member {
    // Dropped in this order: no new opens and no attributes, no news of errors, then no media.
    /// `None` until the node is made.
    pub(super) node: Option<Node<Device>>,
    pub(super) frames: KVec<Pin<KBox<Registration<Device>>>>,
    pub(super) attached: Attached,
    /// The device's extents changed while it had no node.
    pub(super) changed: bool,
}

/// A device with media. When this is dropped, the media can no longer be reached: not by a call,
/// not by a fault, and not through a mapping.
pub(super) struct Attached {
    pub(super) device: Arc<Device>,
    /// The region's namespace, for the log.
    pub(super) region: Arc<SrcuRevocable<LiveMedia<()>>>,
}

impl Drop for Attached {
    /// Sleeps. The caller does not hold the mmap lock, because a fault may be running. It holds
    /// `Region::state` only if the device was never seen by user space.
    fn drop(&mut self) {
        // The order matters. `revoke()` waits for all handlers, and then unmaps everything, so
        // nothing is written after the write-back. After that, no entry is needed.
        self.device.revoke(|live| {
            if let Err(error) = sync::sync_unmapped(live) {
                let region = self.region.try_access();
                let device = &self.device;
                match region {
                    Some(region) => dev_err!(
                        region.device(),
                        "{device}: write-back at its removal failed ({error:?}): recent writes may be lost, check the data\n"
                    ),
                    None => pr_err!("{device}: write-back at its removal failed ({error:?}): recent writes may be lost, check the data\n"),
                }
            }
            live.entries.clear();
        });
    }
}

impl Member {
    /// Registers the frames of the device again after a resize.
    pub(super) fn renew_frames(self: Pin<&mut Self>) {
        let this = self.project();
        this.frames.clear();
        match register(&this.attached.device) {
            Ok(frames) => *this.frames = frames,
            Err(error) => log!(
                dev_warn,
                pr_warn,
                this.attached.device,
                "{}: registering its page frames failed ({error:?}): processes that map it get no signal for memory errors until it is resized or bound again\n",
                this.attached.device
            ),
        }
    }
}

/// Registers the frames of a device. The caller prevents a resize meanwhile. Sleeps. Errors:
/// `ENOMEM`, `ENXIO` if the device is gone.
pub(super) fn register(device: &Arc<Device>) -> Result<KVec<Pin<KBox<Registration<Device>>>>> {
    // The layout rwsem is not held here, because unregistering may wait for a work that takes it.
    let extents = device.copy_layout(&*device.live().ok_or(ENXIO)?, 0)?;
    let mut frames = KVec::new();
    // The kernel finds the tasks that map a page.
    let registered = extents.as_slice().iter().filter(|_| !device.has_pages());
    for extent in registered {
        let (first, last) = extents.frames(extent);
        let registration = Registration::new(device.clone(), first, last);
        frames.push(KBox::pin_init(registration, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    // The old value is freed after the spinlock is dropped.
    let _old = core::mem::replace(&mut *device.frames.lock(), extents);
    if let Some(live) = device.live() {
        live.listen(device.clone());
    }
    Ok(frames)
}
