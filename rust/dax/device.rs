// SPDX-License-Identifier: GPL-2.0

//! A device, from when its namespace is bound until the last open file is gone.

use super::{
    mapping::Mapping,
    order::Order,
    range::Range,
    stats::Faults, //
};
use crate::kernel_ext::{
    fs::AnonInode,
    srcu::{
        Revocable,
        RevocableGuard, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// What a device is made of.
pub(crate) struct Geometry {
    /// Where its media lies.
    pub(crate) range: Range,
    /// What offsets, addresses and lengths of mappings must be a multiple of.
    pub(crate) align: Order,
    /// The node of the machine that it is nearest to; -1 when not known.
    pub(crate) numa_node: i32,
    /// Whether `MAP_SYNC` can be kept.
    pub(crate) synchronous: bool,
}

/// What there is of a device only while its namespace is bound: the way to the media.
#[pin_data]
pub(crate) struct Live {
    pub(crate) range: Range,
    #[pin]
    pub(crate) mapping: Mapping,
}

/// A device.
///
/// Its memory is reference-counted: the bound namespace and each open file keep it. Its media is
/// reached only by [`Device::live`].
#[pin_data]
pub(crate) struct Device {
    #[pin]
    live: Revocable<Live>,
    inode: AnonInode,
    align: Order,
    numa_node: i32,
    synchronous: bool,
    pub(crate) faults: Faults,
}

impl Device {
    /// Sleeps. Errors: `ENOMEM`, `ENFILE`.
    pub(crate) fn new(geometry: Geometry) -> Result<Arc<Self>> {
        let Geometry {
            range,
            align,
            numa_node,
            synchronous,
        } = geometry;
        Arc::pin_init(
            try_pin_init!(Self {
                live <- Revocable::new(try_pin_init!(Live {
                    range,
                    mapping <- Mapping::new(),
                })),
                inode: AnonInode::new(c"[rdax]")?,
                align,
                numa_node,
                synchronous,
                faults: Faults::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// The way to the media, which stays while the guard exists; `None` when it is gone.
    pub(crate) fn live(&self) -> Option<RevocableGuard<'_, Live>> {
        self.live.try_access()
    }

    pub(crate) fn inode(&self) -> &AnonInode {
        &self.inode
    }

    pub(crate) fn align(&self) -> Order {
        self.align
    }

    pub(crate) fn numa_node(&self) -> i32 {
        self.numa_node
    }

    pub(crate) fn is_synchronous(&self) -> bool {
        self.synchronous
    }
}

/// A device whose media is there. When this is dropped nobody reaches the media any more: not by a
/// call, not by a fault, and not by a mapping.
pub(crate) struct Attached(pub(crate) Arc<Device>);

impl Drop for Attached {
    /// Sleeps. No lock of ours may be held, nor the mmap lock: a fault may be under way.
    fn drop(&mut self) {
        // In this order: when no handler is under way and none can begin, nothing is inserted
        // behind the unmapping; and when nothing is mapped, no entry is needed.
        let live = self.0.live.revoke();
        self.0.inode.unmap_all();
        live.mapping.clear();
    }
}
