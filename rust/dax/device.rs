// SPDX-License-Identifier: GPL-2.0

//! A device, from when it is made in a region until its last open file is closed.

use crate::dax::{
    entries::table::EntryTable,
    layout::{
        extents::{
            Extents,
            Run, //
        },
        geometry::Geometry, //
    },
    mode::{
        DeviceMode,
        Reason, //
    },
    params,
    stats::Faults, //
};
use crate::kernel_ext::{
    error,
    fs::anon_inode::AnonInode,
    log::RateLimit,
    media::live::{
        LiveMedia,
        UnmappedMedia, //
    },
    sync::{
        percpu_rwsem::PercpuRwSemaphore,
        srcu::{
            SrcuGuard,
            SrcuRevocable, //
        }, //
    },
    trace,
    units::{
        Order,
        PageOffset, //
    }, //
};
use kernel::{
    fmt,
    new_mutex,
    new_spinlock,
    new_work,
    prelude::*,
    static_lock_class,
    str::{
        BStr,
        CString, //
    },
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

/// Logs about a device or a region: with `dev_info!` and the like for the namespace, or with
/// `pr_info!` and the like if the namespace is no longer bound.
macro_rules! log {
    ($dev:ident, $pr:ident, $of:expr, $($text:tt)*) => {
        match $of.live() {
            Some(live) => ::kernel::$dev!(live.device(), $($text)*),
            None => ::kernel::$pr!($($text)*),
        }
    };
}
pub(crate) use log;

/// State of a device that is valid only while its namespace is bound.
#[pin_data]
pub(crate) struct Contents {
    #[pin]
    pub(crate) entries: EntryTable,
    /// Where its pages lie. Faults hold it shared. A task that changes the extents, or several
    /// entries and their media, or unmaps beside syncs, holds it exclusively.
    #[pin]
    pub(crate) layout: PercpuRwSemaphore<Extents>,
    /// Held while something that a pin may have written is written back: once pages were tracked
    /// since the bind, by each sync.
    #[pin]
    pub(crate) pinned: Mutex<()>,
}

/// What the live guard gives access to: the media, and the device's [`Contents`].
pub(crate) type Live = LiveMedia<Contents>;

/// The same without a way to map the media: all that is left when it is revoked.
pub(crate) type Unmapped = UnmappedMedia<Contents>;

/// The users of a device.
struct Users {
    /// The number of files that are open or mapped.
    files: usize,
    /// The device is about to be removed: no file may be opened.
    retired: bool,
}

/// The name of a device.
pub(crate) struct Name {
    /// The minor number of its node, or [`trace::on_dax_bus`].
    number: usize,
    /// The name of the node, if something else has made that.
    given: Option<CString>,
}

impl Name {
    /// That of the node `/dev/rdaxN` that will be made.
    pub(crate) const fn rdax(minor: usize) -> Self {
        Self {
            number: minor,
            given: None,
        }
    }

    /// That of a device of the dax bus. Sleeps. Errors: `ENOMEM`; `EINVAL` if it is no such name.
    pub(crate) fn given(name: &CStr) -> Result<Self> {
        let (region, id) = params::dax_name(name.to_bytes()).ok_or(EINVAL)?;
        Ok(Self {
            number: trace::on_dax_bus(region, id),
            given: Some(CString::try_from(name)?),
        })
    }
}

/// A device.
///
/// Its memory is reference-counted: the region and each open file hold a reference. Its media is
/// reached only through [`Device::live`].
#[pin_data]
pub(crate) struct Device {
    geometry: Arc<Geometry>,
    live: Arc<SrcuRevocable<Live>>,
    inode: Arc<AnonInode>,
    name: SetOnce<Name>,
    /// The exponent of an [`Order`]. Changes only while no file is open.
    align: Atomic<u32>,
    /// No other lock is taken while it is held.
    #[pin]
    users: Mutex<Users>,
    pub(crate) faults: Faults,
    /// Changes with [`Device::users`] locked.
    pub(crate) mode: DeviceMode,
    /// Limits the log lines about `mmap()`, which any user of the device can cause.
    #[pin]
    pub(crate) refused_mmaps: RateLimit,
    /// Limits the log lines about writes to its attributes.
    #[pin]
    pub(crate) refused_writes: RateLimit,
    /// The extents that are registered with `memory_failure()`. A copy, because `memory_failure()`
    /// cannot wait for the layout rwsem.
    #[pin]
    pub(crate) frames: SpinLock<Extents>,
    /// Unmaps bad blocks.
    #[pin]
    pub(crate) unmap_poison: Work<Self>,
}

impl Device {
    /// Makes a device of `extents`, in the region with this geometry. Sleeps. Errors: `ENOMEM`,
    /// `ENFILE`.
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
                    live.make_inode(c"[rdax]", geometry.pages)?,
                    GFP_KERNEL,
                )?,
                name: SetOnce::new(),
                align: Atomic::new(align.get()),
                users <- new_mutex!(Users { files: 0, retired: false }, "rdax_users"),
                faults: Faults::new()?,
                mode: DeviceMode::new(inode.has_pages()),
                refused_mmaps <- RateLimit::new(),
                refused_writes <- RateLimit::new(),
                frames <- new_spinlock!(Extents::new(geometry.span.first()), "rdax_frames"),
                unmap_poison <- new_work!("rdax_unmap_poison"),
                // Last, because what it makes would outlive a failure.
                live: live.publish(inode.clone(), try_pin_init!(Contents {
                    entries <- EntryTable::new(geometry.pages),
                    layout <- PercpuRwSemaphore::new(extents, c"rdax_layout", static_lock_class!()),
                    pinned <- new_mutex!((), "rdax_pinned"),
                }))?,
            }),
            GFP_KERNEL,
        )
    }

    /// Takes the live guard: while it exists, the media does, too. `None` if the device is gone.
    pub(crate) fn live(&self) -> Option<SrcuGuard<'_, Live>> {
        self.live.try_access()
    }

    /// Returns the size in bytes. Sleeps. Errors: `ENXIO` if the device is gone.
    pub(crate) fn size(&self) -> Result<u64> {
        let live = self.live().ok_or(ENXIO)?;
        let layout = live.layout.read();
        Ok(layout.size())
    }

    /// Copies the layout, with room for `more` extents. The caller prevents a resize meanwhile.
    ///
    /// No memory is allocated with the layout rwsem held, because faults wait for it. Sleeps.
    /// Errors: `ENOMEM`.
    pub(crate) fn copy_layout(&self, live: &Live, more: usize) -> Result<Extents> {
        let extents = live.layout.read().as_slice().len();
        let mut copy = Extents::with_room(self.geometry.span.first(), extents + more)?;
        copy.copy_from(&live.layout.read())?;
        Ok(copy)
    }

    /// Returns the region's pages that the device has from its page offset `end`. Same context as
    /// [`Device::copy_layout`]. Errors: `ENOMEM`.
    pub(crate) fn runs_from(&self, live: &Live, end: PageOffset) -> Result<KVec<Run>> {
        let mut runs = KVec::new();
        for run in self.copy_layout(live, 0)?.tail(end) {
            runs.push(run, GFP_KERNEL)?;
        }
        Ok(runs)
    }

    /// Releases the resource that would keep the device's memory until the namespace is unbound.
    /// The caller has revoked the media.
    pub(crate) fn forget(&self, region: &LiveMedia<()>) {
        region.forget(&self.live);
    }

    /// Same as [`Device::live`], for a write. While the guard exists, the write may go on even if
    /// the region becomes read-only. Errors: `ENXIO` if the device is gone, `EROFS` if its region
    /// is read-only.
    pub(crate) fn live_to_write(&self) -> Result<SrcuGuard<'_, Live>> {
        let live = self.live().ok_or(ENXIO)?;
        if self.geometry.is_read_only() {
            return Err(EROFS);
        }
        Ok(live)
    }

    /// Revokes the media: when this returns, it can no longer be reached. Calls `end` with it when
    /// no guard exists and nothing is mapped. Sleeps.
    pub(crate) fn revoke(&self, end: impl FnOnce(&Unmapped)) {
        self.live.revoke(end);
    }

    /// Waits for every guard of [`Device::live`] that exists now. Sleeps. This task holds no guard.
    pub(crate) fn synchronize(&self) {
        self.live.synchronize();
    }

    /// Returns what it has in common with the other devices of its region.
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(crate) fn inode(&self) -> &AnonInode {
        &self.inode
    }

    /// Returns its minor number, which is also that in the name of `/dev/rdaxN`, or
    /// [`trace::on_dax_bus`]. 0 if it has no name yet.
    pub(crate) fn number(&self) -> usize {
        self.name.as_ref().map_or(0, |name| name.number)
    }

    /// Whether mappings map pages, which can be pinned, and not page frames.
    pub(crate) fn has_pages(&self) -> bool {
        self.mode.get().has_pages()
    }

    /// Returns the order of the largest leaf with which it can be mapped.
    pub(crate) fn largest_leaf(&self) -> Order {
        match (self.has_pages(), self.geometry.align >= Order::PMD) {
            (false, _) => Order::PUD,
            // That of a folio.
            (true, true) => Order::PMD,
            (true, false) => Order::PTE,
        }
    }

    /// Sets its name, once.
    pub(crate) fn set_name(&self, name: Name) {
        let number = name.number;
        self.name.populate(name);
        if let Some(live) = self.live() {
            live.entries.set_minor(number);
        }
    }

    /// Returns the alignment of offsets, addresses and lengths of mappings.
    pub(crate) fn align(&self) -> Order {
        Order::new(self.align.load(Relaxed)).unwrap_or(Order::PTE)
    }

    /// Sets the alignment. Sleeps. Errors: `EBUSY` if a file is open, because its mappings rely on
    /// the old one.
    pub(crate) fn set_align(&self, align: Order) -> Result {
        // A task that opens a file later takes this lock, and sees the new value.
        let users = self.users.lock();
        if users.files != 0 {
            return Err(EBUSY);
        }
        self.align.store(align.get(), Relaxed);
        Ok(())
    }

    /// Counts a file that is being opened. Sleeps. Errors: `ENXIO` if the device is being removed.
    pub(crate) fn add_user(&self) -> Result {
        let mut users = self.users.lock();
        if users.retired {
            return Err(ENXIO);
        }
        users.files += 1;
        Ok(())
    }

    /// Stops counting a file that was closed. Sleeps.
    pub(crate) fn remove_user(&self) {
        let mut users = self.users.lock();
        users.files = users.files.saturating_sub(1);
        if users.files == 0 {
            // Nothing maps the device, so no fault runs.
            self.mode.set(Reason::Seen, false);
        }
    }

    /// Sets whether what is written to pages is tracked. Sleeps. Errors: `EBUSY` if a file is open, or
    /// mapped; `EOPNOTSUPP` if there are no pages.
    pub(crate) fn set_tracked(&self, on: bool) -> Result {
        if !self.has_pages() {
            return Err(error::eopnotsupp());
        }
        // A task that opens a file later takes this lock, and sees the new value.
        let users = self.users.lock();
        if users.files != 0 {
            return Err(EBUSY);
        }
        self.mode.set_tracked(on);
        Ok(())
    }

    /// Makes reads map pages writable from now on, and unmaps the device, so that none is mapped
    /// read-only where user space may write. Sleeps. Errors: `ENXIO` if the device is gone.
    pub(crate) fn begin_map_writable(&self, reason: Reason) -> Result {
        let live = self.live().ok_or(ENXIO)?;
        // Exclusive: no fault maps anything meanwhile, and no sync makes a mapping read-only.
        let _layout = live.layout.write();
        let users = self.users.lock();
        let first = !self.mode.get().maps_writable();
        self.mode.set(reason, true);
        drop(users);
        // A mapping that `mprotect()` makes writable meanwhile is unmapped here, or by that.
        if first {
            self.inode().unmap_all();
        }
        Ok(())
    }

    /// Ends what [`Device::begin_map_writable`] began, for this reason. Sleeps.
    pub(crate) fn end_map_writable(&self, reason: Reason) {
        let _users = self.users.lock();
        self.mode.set(reason, false);
    }

    /// Refuses further opens, because the device is about to be removed. Sleeps. Errors: `EBUSY` if
    /// a file is open.
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
        match self.name.as_ref().and_then(|name| name.given.as_deref()) {
            Some(given) => fmt::Display::fmt(BStr::from_bytes(given.to_bytes()), f),
            None => write!(f, "rdax{}", self.number()),
        }
    }
}
