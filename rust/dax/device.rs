// SPDX-License-Identifier: GPL-2.0

//! A device, from when its namespace is bound until the last open file is gone.

use super::{
    mapping::Mapping,
    order::Order,
    range::Range,
    stats::Faults,
    sync, //
};
use crate::kernel_ext::{
    fs::AnonInode,
    nd::{
        self,
        Namespace, //
    },
    page::HugeZeroPage,
    rwsem::RwSemaphore,
    srcu::{
        Revocable,
        RevocableGuard, //
    },
};
use kernel::{
    new_work,
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    },
    workqueue::Work, //
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

/// What there is of a device only while its namespace is bound, with the media.
#[pin_data]
pub(crate) struct Contents {
    pub(crate) range: Range,
    #[pin]
    pub(crate) mapping: Mapping,
    /// Held shared by faults, and alone by what changes several entries and the media behind them.
    #[pin]
    pub(crate) layout: RwSemaphore,
    huge_zero: SetOnce<HugeZeroPage>,
}

impl Contents {
    /// Zeroes to map for a 2 MiB hole, if there is memory for them. Sleeps at the first call.
    pub(crate) fn huge_zero(&self) -> Option<&HugeZeroPage> {
        if let Some(zero) = self.huge_zero.as_ref() {
            return Some(zero);
        }
        // If another was faster, this one is dropped.
        self.huge_zero.populate(HugeZeroPage::new().ok()?);
        self.huge_zero.as_ref()
    }
}

/// The way to the media.
pub(crate) type Live = nd::Live<Contents>;

/// A device.
///
/// Its memory is reference-counted: the bound namespace and each open file keep it. Its media is
/// reached only by [`Device::live`].
#[pin_data]
pub(crate) struct Device {
    live: Arc<Revocable<Live>>,
    inode: AnonInode,
    align: Order,
    numa_node: i32,
    synchronous: bool,
    pub(crate) faults: Faults,
    /// Tears down the mappings of what turned out to be bad.
    #[pin]
    pub(crate) unmap_poison: Work<Self>,
}

impl Device {
    /// Sleeps. Errors: `ENOMEM`, `ENFILE`.
    pub(crate) fn new(namespace: &Namespace<'_>, geometry: Geometry) -> Result<Arc<Self>> {
        let Geometry {
            range,
            align,
            numa_node,
            synchronous,
        } = geometry;
        Arc::pin_init(
            try_pin_init!(Self {
                live: namespace.publish(try_pin_init!(Contents {
                    range,
                    mapping <- Mapping::new(),
                    layout <- RwSemaphore::new(c"rdax_layout"),
                    huge_zero: SetOnce::new(),
                }))?,
                inode: AnonInode::new(c"[rdax]")?,
                align,
                numa_node,
                synchronous,
                faults: Faults::new(),
                unmap_poison <- new_work!("rdax_unmap_poison"),
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
        // behind the unmapping; when nothing is mapped, nothing is written behind the write-back; and
        // then no entry is needed.
        self.0.live.revoke(|live| {
            self.0.inode.unmap_all();
            if let Err(error) = sync::sync_unmapped(live) {
                pr_err!("what was written last may be lost: {error:?}\n");
            }
            live.mapping.clear();
        });
    }
}
