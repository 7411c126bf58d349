// SPDX-License-Identifier: GPL-2.0

//! A region: a bound namespace, and the devices that it is divided into.
//!
//! As on the dax bus (`drivers/dax/bus.c`, thread 004), devices are made, deleted and resized. A
//! device is a list of extents, so that all free pages can be used, wherever they are. No record of
//! this is kept on the media: after the next bind there is one device, the whole region, or none.
//! User space makes the devices again, by name and with the same extents.
//!
//! `Documentation/locking.rst` has the order of the locks of [`Region`]. `nodes` is held while a
//! node is made or removed. `state` is not held then: removing a node waits for writes to the
//! node's attributes, which take `state`. Making a node also does so if it fails late. No attribute
//! of a node takes `nodes`.

mod block;
mod devices;
mod member;
mod resize;
pub(crate) mod single;

use crate::dax::{
    device::Device,
    layout::{
        free_runs::FreeRuns,
        geometry::Geometry, //
    },
    ops::unmap::unmap_device,
    region::{
        block::Block,
        member::Member, //
    }, //
};
use crate::kernel_ext::{
    error::eopnotsupp,
    fs::{
        cdev::Class,
        debugfs::Dir, //
    },
    log::RateLimit,
    media::live::LiveMedia,
    nvdimm::namespace::Namespace,
    sync::srcu::{
        SrcuGuard,
        SrcuRevocable, //
    },
    trace, //
};
use core::ops::Deref;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

struct State {
    free: FreeRuns,
    members: KVec<Pin<KBox<Member>>>,
    /// The minor number of the youngest device.
    youngest: Option<usize>,
    /// `None` when the namespace is being unbound.
    block: Option<Block>,
}

/// The data of a device's attributes.
pub(crate) struct AttributeData {
    device: Arc<Device>,
    /// `None` on a bus that divides the region itself.
    region: Option<Arc<Region>>,
}

impl AttributeData {
    /// Returns the region that makes, resizes and deletes the device. Errors: `EOPNOTSUPP` if its
    /// bus does that.
    pub(crate) fn region(&self) -> Result<&Region> {
        self.region.as_deref().ok_or(eopnotsupp())
    }
}

impl Deref for AttributeData {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.device
    }
}

/// The driver data of a bound namespace.
pub(crate) struct Bound {
    pub(crate) region: Arc<Region>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.region.clear();
        if let Some(live) = self.region.live() {
            trace::unbind(live.device());
        }
    }
}

/// A region.
#[pin_data]
pub(crate) struct Region {
    pub(crate) geometry: Arc<Geometry>,
    class: Arc<Class<Device>>,
    debugfs: Arc<Dir>,
    live: Arc<SrcuRevocable<LiveMedia<()>>>,
    /// Limits the log lines about writes to its attributes.
    #[pin]
    pub(crate) refused_writes: RateLimit,
    /// Serializes making and deleting devices.
    #[pin]
    nodes: Mutex<()>,
    #[pin]
    state: Mutex<State>,
}

impl Region {
    /// Makes the region of a namespace that is being bound, without devices. Sleeps. Errors:
    /// `ENOMEM`.
    pub(crate) fn new(
        namespace: &Namespace<'_>,
        geometry: Geometry,
        class: Arc<Class<Device>>,
        debugfs: Arc<Dir>,
    ) -> Result<Arc<Self>> {
        let span = geometry.span;
        let free = FreeRuns::new(span.first(), span.pages())?;
        let block = Block::new(namespace.device())?;
        Arc::pin_init(
            try_pin_init!(Self {
                geometry: Arc::new(geometry, GFP_KERNEL)?,
                class,
                debugfs,
                live: namespace.publish(Ok(()))?,
                refused_writes <- RateLimit::new(),
                nodes <- new_mutex!((), "rdax_nodes"),
                state <- new_mutex!(
                    State {
                        free,
                        members: KVec::new(),
                        youngest: None,
                        block: Some(block),
                    },
                    "rdax_region"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the namespace, which stays bound while the guard exists. `None` if it is not bound.
    pub(crate) fn live(&self) -> Option<SrcuGuard<'_, LiveMedia<()>>> {
        self.live.try_access()
    }

    /// Refuses writes from now on, or allows them. When it returns after it has refused them, no
    /// write that began before is running, and no mapping is writable. Process context; sleeps.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        self.geometry.set_read_only(read_only);
        self.for_each(|device| {
            // Where reads map writable, they could not do so while writes were refused.
            if read_only || device.mode.get().maps_writable() {
                device.synchronize();
                unmap_device(device);
            }
        });
    }

    /// Returns the number of free bytes. Sleeps.
    pub(crate) fn available(&self) -> u64 {
        self.state.lock().free.available().bytes()
    }

    /// Returns the minor number of the device that was made last, if that still exists. Sleeps.
    pub(crate) fn youngest(&self) -> Option<usize> {
        self.state.lock().youngest
    }

    /// Updates the list of bad blocks from libnvdimm. Process context; sleeps.
    pub(crate) fn update_bad(&self) {
        if let Some(live) = self.live.try_access() {
            live.media().update_bad();
        }
    }

    /// Calls `f` for each device. Process context; sleeps.
    pub(crate) fn for_each(&self, f: impl Fn(&Device)) {
        for member in self.state.lock().members.iter() {
            f(&member.attached.device);
        }
    }

    /// Removes all devices, because the namespace is being unbound. Process context; sleeps.
    pub(crate) fn clear(&self) {
        let _nodes = self.nodes.lock();
        let (members, block) = {
            let mut state = self.state.lock();
            (core::mem::take(&mut state.members), state.block.take())
        };
        // Without `state`: attributes of the nodes may be waiting for it.
        drop(block);
        drop(members);
    }
}

impl State {
    fn index(&self, is: impl Fn(&Member) -> bool) -> Option<usize> {
        self.members.iter().position(|member| is(member))
    }

    fn member(&mut self, device: &Device) -> Option<Pin<&mut Member>> {
        let mut members = self.members.iter_mut();
        members
            .find(|member| core::ptr::eq(&*member.attached.device, device))
            .map(|member| member.as_mut())
    }

    /// Updates what depends on the extents of `device` after they changed.
    fn changed(&mut self, device: &Device) {
        let Some(mut member) = self.member(device) else {
            return;
        };
        member.as_mut().renew_frames();
        match &member.node {
            Some(node) => node.changed(),
            None => *member.project().changed = true,
        }
    }
}
