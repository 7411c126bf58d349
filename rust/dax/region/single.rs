// SPDX-License-Identifier: GPL-2.0

//! A region that is one device, because its bus divides the memory.

use crate::dax::{
    device::{
        Device,
        Name, //
    },
    layout::{
        extents::{
            Extents,
            Run, //
        },
        geometry::Geometry, //
    },
    ops::sync,
    region::{
        member::{
            register,
            Attached, //
        },
        AttributeData, //
    }, //
};
use crate::kernel_ext::{
    media::live::LiveMedia,
    mm::memory_failure::Registration,
    sync::srcu::SrcuRevocable,
    trace, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The only device of a region. When this is dropped, its media can no longer be reached.
pub(crate) struct Single {
    // Dropped in this order: no news of errors, then no media.
    _frames: KVec<Pin<KBox<Registration<Device>>>>,
    attached: Attached,
    _unbound: Unbound,
}

/// Emits an event when a device is gone.
struct Unbound(Arc<SrcuRevocable<LiveMedia<()>>>);

impl Drop for Unbound {
    fn drop(&mut self) {
        if let Some(live) = self.0.try_access() {
            trace::unbind(live.device());
        }
    }
}

impl Single {
    /// Makes the device, of `runs` in the order of their page offsets. Sleeps. Errors: `ENOMEM`,
    /// `ENFILE`; `EBUSY` if one of its page frames is registered with `memory_failure()`.
    pub(crate) fn new(
        live: Arc<SrcuRevocable<LiveMedia<()>>>,
        geometry: Geometry,
        runs: impl Iterator<Item = Run>,
        name: Name,
    ) -> Result<Self> {
        let align = geometry.align;
        let mut extents = Extents::new(geometry.span.first());
        for run in runs {
            extents.push(run)?;
        }
        let geometry = Arc::new(geometry, GFP_KERNEL)?;
        let device = {
            let media = live.try_access().ok_or(ENXIO)?;
            Device::new(&geometry, &media, extents, align)?
        };
        // From here on its drop ends the device.
        let attached = Attached {
            device,
            region: live.clone(),
        };
        attached.device.set_name(name);
        Ok(Self {
            _frames: register(&attached.device)?,
            attached,
            _unbound: Unbound(live),
        })
    }

    /// Returns the device.
    pub(crate) fn device(&self) -> &Arc<Device> {
        &self.attached.device
    }

    /// Returns the data of its attributes. Sleeps. Errors: `ENOMEM`.
    pub(crate) fn attributes(&self) -> Result<Arc<AttributeData>> {
        let attributes = AttributeData {
            device: self.attached.device.clone(),
            region: None,
        };
        Ok(Arc::new(attributes, GFP_KERNEL)?)
    }

    /// Makes durable what was written, because the machine is going down. Sleeps. Errors: those of
    /// the media.
    pub(crate) fn sync(&self) -> Result {
        sync::sync_all(&self.attached.device)
    }
}
