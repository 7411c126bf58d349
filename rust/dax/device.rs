// SPDX-License-Identifier: GPL-2.0

//! A device, from when it is made of a region until the last open file is gone.

use crate::dax::{
    entries::table::EntryTable,
    layout::{
        extents::Extents,
        geometry::Geometry, //
    },
    order::Order,
    stats::Faults, //
};
use crate::kernel_ext::{
    fs::anon_inode::AnonInode,
    log::RateLimit,
    nvdimm::live::LiveMedia,
    sync::{
        rwsem::RwSemaphore,
        srcu::{
            SrcuGuard,
            SrcuRevocable, //
        }, //
    }, //
};
use kernel::{
    fmt,
    new_mutex,
    new_spinlock,
    new_work,
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SetOnce,
        SpinLock, //
    },
    workqueue::Work, //
};

/// Logs about a device or a region: as `dev_info!` and so on with the namespace, or as `pr_info!` if that is
/// not bound any more.
macro_rules! log {
    ($dev:ident, $pr:ident, $of:expr, $($text:tt)*) => {
        match $of.live() {
            Some(live) => ::kernel::$dev!(live.device(), $($text)*),
            None => ::kernel::$pr!($($text)*),
        }
    };
}
pub(crate) use log;

/// What there is of a device only while its namespace is bound, with the media.
#[pin_data]
pub(crate) struct Contents {
    #[pin]
    pub(crate) entries: EntryTable,
    /// Where its pages lie. Held shared by faults, and alone by what changes that, or several entries
    /// and the media behind them.
    #[pin]
    pub(crate) layout: RwSemaphore<Extents>,
}

/// The way to the media.
pub(crate) type Live = LiveMedia<Contents>;

/// Who uses a device.
struct Users {
    /// Files that are open, or mapped.
    files: usize,
    /// It is to go: no file may be opened.
    retired: bool,
}

/// A device.
///
/// Its memory is reference-counted: the region and each open file keep it. Its media is reached only by
/// [`Device::live`].
#[pin_data]
pub(crate) struct Device {
    geometry: Arc<Geometry>,
    live: Arc<SrcuRevocable<Live>>,
    inode: Arc<AnonInode>,
    number: SetOnce<usize>,
    /// The exponent of an [`Order`]. Changes only while no file is open.
    align: Atomic<u32>,
    #[pin]
    users: Mutex<Users>,
    pub(crate) faults: Faults,
    /// Limits the lines in the log about `mmap()`, which any user of the device can cause.
    #[pin]
    pub(crate) refused_mmaps: RateLimit,
    /// Limits those about writes to its attributes.
    #[pin]
    pub(crate) refused_writes: RateLimit,
    /// What `memory_failure()` was told of, for it: it can't wait for the layout.
    #[pin]
    pub(crate) frames: SpinLock<Extents>,
    /// Tears down the mappings of what turned out to be bad.
    #[pin]
    pub(crate) unmap_poison: Work<Self>,
}

impl Device {
    /// A device of these extents of the region of that geometry. Sleeps. Errors: `ENOMEM`, `ENFILE`.
    pub(crate) fn new(
        geometry: &Arc<Geometry>,
        live: &LiveMedia<()>,
        extents: Extents,
        align: Order,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                geometry: geometry.clone(),
                inode: Arc::new(
                    AnonInode::new(c"[rdax]", geometry.span.pages())?,
                    GFP_KERNEL,
                )?,
                number: SetOnce::new(),
                align: Atomic::new(align.get()),
                users <- new_mutex!(Users { files: 0, retired: false }, "rdax_users"),
                faults: Faults::new(),
                refused_mmaps <- RateLimit::new(),
                refused_writes <- RateLimit::new(),
                frames <- new_spinlock!(Extents::new(geometry.span.first()), "rdax_frames"),
                unmap_poison <- new_work!("rdax_unmap_poison"),
                // Last: what it makes outlives a failure.
                live: live.publish(inode.clone(), try_pin_init!(Contents {
                    entries <- EntryTable::new(),
                    layout <- RwSemaphore::new(extents, c"rdax_layout", static_lock_class!()),
                }))?,
            }),
            GFP_KERNEL,
        )
    }

    /// The way to the media, which stays while the guard exists; `None` when it is gone.
    pub(crate) fn live(&self) -> Option<SrcuGuard<'_, Live>> {
        self.live.try_access()
    }

    /// The size in bytes. Sleeps. Errors: `ENXIO` when the device is gone.
    pub(crate) fn size(&self) -> Result<u64> {
        let live = self.live().ok_or(ENXIO)?;
        let layout = live.layout.read();
        Ok(layout.size())
    }

    /// Lets go of what is kept of it until its namespace is unbound. To be called when its
    /// media is revoked.
    pub(crate) fn forget(&self, region: &LiveMedia<()>) {
        region.forget(&self.live);
    }

    /// Like [`Device::live`], to write: while the guard exists, writes need not stop. Errors: `ENXIO` when
    /// the device is gone, `EROFS` when its region is read-only.
    pub(crate) fn live_to_write(&self) -> Result<SrcuGuard<'_, Live>> {
        let live = self.live().ok_or(ENXIO)?;
        if self.geometry.is_read_only() {
            return Err(EROFS);
        }
        Ok(live)
    }

    /// Revokes the media: when this returns nobody reaches it any more. Calls `end` with it, when no guard
    /// exists and nothing is mapped. Sleeps.
    pub(crate) fn revoke(&self, end: impl FnOnce(&Live)) {
        self.live.revoke(end);
    }

    /// Waits for every guard of [`Device::live`] that exists now. Sleeps; none may be held by this task.
    pub(crate) fn synchronize(&self) {
        self.live.synchronize();
    }

    /// What it has in common with the other devices of its region.
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(crate) fn inode(&self) -> &AnonInode {
        &self.inode
    }

    /// Its minor number, which is also that in its name. 0 before it has one.
    pub(crate) fn number(&self) -> usize {
        self.number.as_ref().copied().unwrap_or_default()
    }

    /// Gives it its minor number, once.
    pub(crate) fn set_number(&self, number: usize) {
        self.number.populate(number);
    }

    /// What offsets, addresses and lengths of mappings must be a multiple of.
    pub(crate) fn align(&self) -> Order {
        Order::new(self.align.load(Relaxed)).unwrap_or(Order::PTE)
    }

    /// Errors: `EBUSY` when a file is open: its mappings rely on what it is.
    pub(crate) fn set_align(&self, align: Order) -> Result {
        // Whoever opens a file next has the lock after this.
        let users = self.users.lock();
        if users.files != 0 {
            return Err(EBUSY);
        }
        self.align.store(align.get(), Relaxed);
        Ok(())
    }

    /// A file is being opened. Errors: `ENXIO` when the device is going.
    pub(crate) fn add_user(&self) -> Result {
        let mut users = self.users.lock();
        if users.retired {
            return Err(ENXIO);
        }
        users.files += 1;
        Ok(())
    }

    /// A file was closed.
    pub(crate) fn remove_user(&self) {
        let mut users = self.users.lock();
        users.files = users.files.saturating_sub(1);
    }

    /// From now on no file can be opened: the device is to go. Errors: `EBUSY` when one is.
    pub(crate) fn retire(&self) -> Result {
        let mut users = self.users.lock();
        if users.files != 0 {
            return Err(EBUSY);
        }
        users.retired = true;
        Ok(())
    }
}

/// The name of its node.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rdax{}", self.number())
    }
}
