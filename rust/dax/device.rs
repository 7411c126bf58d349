// SPDX-License-Identifier: GPL-2.0

//! A device, from when it is made of a region until the last open file is gone.

use super::{
    extents::Extents,
    mapping::Mapping,
    order::Order,
    region::{
        log,
        Region, //
    },
    stats::Faults,
    sync, //
};
use crate::kernel_ext::{
    fs::AnonInode,
    log::RateLimit,
    nd,
    rwsem::RwSemaphore,
    srcu::{
        Revocable,
        RevocableGuard, //
    },
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

/// What there is of a device only while its namespace is bound, with the media.
#[pin_data]
pub(crate) struct Contents {
    #[pin]
    pub(crate) mapping: Mapping,
    /// Where its pages lie. Held shared by faults, and alone by what changes that, or several entries
    /// and the media behind them.
    #[pin]
    pub(crate) layout: RwSemaphore<Extents>,
}

/// The way to the media.
pub(crate) type Live = nd::Live<Contents>;

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
    region: Arc<Region>,
    live: Arc<Revocable<Live>>,
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
    /// A device of these extents of a region. Sleeps. Errors: `ENOMEM`, `ENFILE`.
    pub(crate) fn new(
        region: &Arc<Region>,
        live: &nd::Live<()>,
        extents: Extents,
        align: Order,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                region: region.clone(),
                inode: Arc::new(
                    AnonInode::new(c"[rdax]", region.geometry.range.pages())?,
                    GFP_KERNEL,
                )?,
                number: SetOnce::new(),
                align: Atomic::new(align.get()),
                users <- new_mutex!(Users { files: 0, retired: false }, "rdax_users"),
                faults: Faults::new(),
                refused_mmaps <- RateLimit::new(),
                refused_writes <- RateLimit::new(),
                frames <- new_spinlock!(Extents::new(region.geometry.range.first()), "rdax_frames"),
                unmap_poison <- new_work!("rdax_unmap_poison"),
                // Last: what it makes outlives a failure.
                live: live.publish(inode.clone(), try_pin_init!(Contents {
                    mapping <- Mapping::new(),
                    layout <- RwSemaphore::new(extents, c"rdax_layout", static_lock_class!()),
                }))?,
            }),
            GFP_KERNEL,
        )
    }

    /// The way to the media, which stays while the guard exists; `None` when it is gone.
    pub(crate) fn live(&self) -> Option<RevocableGuard<'_, Live>> {
        self.live.try_access()
    }

    /// The size in bytes. Sleeps. Errors: `ENXIO` when the device is gone.
    pub(crate) fn size(&self) -> Result<u64> {
        let live = self.live().ok_or(ENXIO)?;
        let layout = live.layout.read();
        Ok(layout.size())
    }

    /// Lets go of what is kept of it until its namespace is unbound. To be called when it is not
    /// [`Attached`] any more.
    pub(crate) fn forget(&self, region: &nd::Live<()>) {
        region.forget(&self.live);
    }

    /// Like [`Device::live`], to write: while the guard exists, writes need not stop. Errors: `ENXIO` when
    /// the device is gone, `EROFS` when its region is read-only.
    pub(crate) fn live_to_write(&self) -> Result<RevocableGuard<'_, Live>> {
        let live = self.live().ok_or(ENXIO)?;
        if self.region.is_read_only() {
            return Err(EROFS);
        }
        Ok(live)
    }

    /// Waits for every guard of [`Device::live`] that exists now. Sleeps; none may be held by this task.
    pub(crate) fn synchronize(&self) {
        self.live.synchronize();
    }

    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.region
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

/// A device whose media is there. When this is dropped nobody reaches the media any more: not by a
/// call, not by a fault, and not by a mapping.
pub(crate) struct Attached(pub(crate) Arc<Device>);

impl Drop for Attached {
    /// Sleeps. No lock of ours may be held, nor the mmap lock: a fault may be under way.
    fn drop(&mut self) {
        // In this order: when no handler is under way and none can begin, `revoke()` unmaps all; when
        // nothing is mapped, nothing is written after the write-back; then no entry is needed.
        self.0.live.revoke(|live| {
            if let Err(error) = sync::sync_unmapped(live) {
                log!(
                    dev_err,
                    pr_err,
                    self.0.region,
                    "{}: what was written last may be lost: {error:?}\n",
                    self.0
                );
            }
            live.mapping.clear();
        });
    }
}
