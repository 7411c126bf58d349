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

use crate::dax::{
    device::{
        log,
        Device,
        Live, //
    },
    layout::{
        extents::{
            Extents,
            Run, //
        },
        free_runs::FreeRuns,
        geometry::Geometry, //
    },
    ops::{
        punch,
        sync, //
    },
};
use crate::kernel_ext::{
    fs::{
        cdev::{
            Class,
            Minor, //
        },
        debugfs::Dir,
        device_node::Node,
        sysfs::{
            Directory,
            Link, //
        }, //
    },
    log::RateLimit,
    mm::memory_failure::Registration,
    nvdimm::{
        live::LiveMedia,
        namespace::Namespace, //
    },
    sync::srcu::{
        SrcuGuard,
        SrcuRevocable, //
    },
    units::{
        DeviceOffset,
        Order,
        PageOffset,
        Pages,
        RegionOffset,
        RegionPage, //
    }, //
};
use core::ops::Deref;
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// A device of a region.
#[pin_data]
struct Member {
    // Dropped in this order: no new opens and no attributes, no news of errors, then no media.
    /// `None` until the node is made.
    node: Option<Node<Device>>,
    frames: KVec<Pin<KBox<Registration<Device>>>>,
    attached: Attached,
    /// The device's extents changed while it had no node.
    changed: bool,
}

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
    region: Arc<Region>,
}

impl AttributeData {
    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.region
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
    }
}

/// A device with media. When this is dropped, the media can no longer be reached: not by a call,
/// not by a fault, and not through a mapping.
struct Attached {
    device: Arc<Device>,
    /// The region's namespace, for the log.
    region: Arc<SrcuRevocable<LiveMedia<()>>>,
}

impl Drop for Attached {
    /// Sleeps. The caller holds no lock of this module, and not the mmap lock, because a fault may
    /// be running.
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
                        "{device}: what was written last may be lost: {error:?}\n"
                    ),
                    None => pr_err!("{device}: what was written last may be lost: {error:?}\n"),
                }
            }
            live.entries.clear();
        });
    }
}

/// The directory in which `ndctl` looks for the block device of a namespace that it wants to
/// disable. ndctl opens the node of that name, and gives up unless the directory has exactly one.
struct Block {
    // Dropped first.
    link: Option<Link>,
    directory: Arc<Directory>,
    /// The minor number of the device that the link names. `None` if it names `null`.
    named: Option<usize>,
}

impl Block {
    /// Makes the link name the device whose node is `first`, or `null`, which can always be opened.
    fn name(&mut self, namespace: &kernel::device::Device, first: Option<&Node<Device>>) {
        let number = first.map(Node::number);
        if self.link.is_some() && self.named == number {
            return;
        }
        self.link = None;
        let directory = self.directory.clone();
        // Without this link, only ndctl fails: the namespace can be unbound through sysfs.
        self.link = match first {
            Some(node) => node.link_from(directory).ok(),
            None => CString::try_from_fmt(format_args!("null"))
                .and_then(|name| Link::new(directory, namespace, name))
                .ok(),
        };
        self.named = number;
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
        let mut block = Block {
            link: None,
            directory: Arc::new(Directory::new(namespace.device(), c"block")?, GFP_KERNEL)?,
            named: None,
        };
        block.name(namespace.device(), None);
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
        if read_only {
            self.for_each(|device| {
                device.synchronize();
                device.inode().unmap_all();
            });
        }
    }

    /// Returns the number of free bytes. Sleeps.
    pub(crate) fn available(&self) -> u64 {
        self.state.lock().free.available().bytes()
    }

    /// Returns the minor number of the device that was made last, if that still exists. Sleeps.
    pub(crate) fn youngest(&self) -> Option<usize> {
        self.state.lock().youngest
    }

    /// Makes a device of `pages` pages, with the minor number `number` or the smallest free one.
    /// Returns the number.
    ///
    /// Process context; sleeps. Errors: `ENOSPC` if there are not enough free pages, or no such
    /// number; `EEXIST` if another device has the number; `ENOMEM`, `ENFILE`; `ENXIO` if the
    /// namespace is being unbound.
    pub(crate) fn create(self: &Arc<Self>, pages: Pages, number: Option<usize>) -> Result<usize> {
        let _nodes = self.nodes.lock();
        let live = self.live.try_access().ok_or(ENXIO)?;
        let (device, minor, runs) = self.add(&live, pages, number)?;
        let number = minor.number();
        let attributes = Arc::new(
            AttributeData {
                device: device.clone(),
                region: self.clone(),
            },
            GFP_KERNEL,
        );
        let node = attributes.map_err(Error::from).and_then(|attributes| {
            Node::new(minor, live.device(), attributes, self.debugfs.clone())
        });
        match node {
            Ok(node) => {
                self.publish(&device, node, runs.len());
                Ok(number)
            }
            Err(error) => {
                self.undo(&live, &device, runs);
                Err(error)
            }
        }
    }

    /// Adds a device without a node to the region, so that its attributes work as soon as they
    /// exist.
    fn add(
        self: &Arc<Self>,
        live: &LiveMedia<()>,
        pages: Pages,
        number: Option<usize>,
    ) -> Result<(Arc<Device>, Minor<Device>, KVec<Run>)> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.members.reserve(1, GFP_KERNEL)?;
        let runs = state
            .free
            .take_all(pages, self.geometry.align, PageOffset::new(0), None)?;
        // Reserve room to give the runs back later, because other devices may take pages in
        // between.
        let made = state.free.promise(runs.len()).and_then(|()| {
            self.make(live, &runs, number)
                .inspect_err(|_| state.free.unpromise(runs.len()))
        });
        match made {
            Ok((member, minor)) => {
                let device = member.attached.device.clone();
                // Reserved above.
                let _ = state.members.push_within_capacity(member);
                Ok((device, minor, runs))
            }
            Err(error) => {
                state.free.give_back(&runs);
                Err(error)
            }
        }
    }

    fn make(
        self: &Arc<Self>,
        live: &LiveMedia<()>,
        runs: &[Run],
        number: Option<usize>,
    ) -> Result<(Pin<KBox<Member>>, Minor<Device>)> {
        let mut extents = Extents::new(self.geometry.span.first());
        for run in runs {
            extents.push(*run)?;
        }
        let device = Device::new(&self.geometry, live, extents, self.geometry.align)?;
        self.make_member(&device, number)
            .inspect_err(|_| device.forget(live))
    }

    fn make_member(
        &self,
        new: &Arc<Device>,
        number: Option<usize>,
    ) -> Result<(Pin<KBox<Member>>, Minor<Device>)> {
        let attached = Attached {
            device: new.clone(),
            region: self.live.clone(),
        };
        let frames = register(new)?;
        let minor = self.class.reserve(new, number)?;
        new.set_number(minor.number());
        let member = KBox::pin_init(
            try_pin_init!(Member {
                attached,
                frames,
                node: None,
                changed: false,
            }),
            GFP_KERNEL,
        )?;
        Ok((member, minor))
    }

    /// Adds the node of `device`. The `promised` runs will not be given back.
    fn publish(&self, device: &Device, node: Node<Device>, promised: usize) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.free.unpromise(promised);
        // Always found, because `nodes` is held.
        let Some(member) = state.member(device) else {
            return;
        };
        let member = member.project();
        if *member.changed {
            node.changed();
        }
        *member.node = Some(node);
        state.youngest = Some(device.number());
        self.name_block(state);
    }

    /// Makes ndctl's directory name the oldest device. The caller does this before it removes the
    /// node that the directory names.
    fn name_block(&self, state: &mut State) {
        if let (Some(live), Some(block)) = (self.live.try_access(), &mut state.block) {
            let first = state.members.iter().find_map(|member| member.node.as_ref());
            block.name(live.device(), first);
        }
    }

    /// Removes `device`, whose node could not be made. Its pages, initially `runs`, become free.
    fn undo(&self, live: &LiveMedia<()>, device: &Device, mut runs: KVec<Run>) {
        let mut state = self.state.lock();
        let index = state.index(|member| core::ptr::eq(&*member.attached.device, device));
        // Always found, because `nodes` is held.
        let Some(Ok(member)) = index.map(|index| state.members.remove(index)) else {
            return;
        };
        if member.changed {
            // Without memory to list its present pages, these become free only after the next bind.
            let now = device.live().ok_or(ENXIO);
            let now = now
                .and_then(|live| runs_after(device, &live, PageOffset::new(0)))
                .and_then(|now| {
                    state.free.promise(now.len())?;
                    Ok(now)
                });
            state.free.unpromise(runs.len());
            runs = now.unwrap_or_default();
        }
        drop(state);

        drop(member);
        device.forget(live);
        let mut state = self.state.lock();
        for run in runs.iter() {
            state.free.give(*run);
        }
    }

    /// Deletes the device with the minor number `minor`. Its pages become free.
    ///
    /// Process context; sleeps. Errors: `ENXIO` if this region has no such device, `EBUSY` if it is
    /// open or mapped, `ENOMEM`.
    pub(crate) fn delete(&self, minor: usize) -> Result {
        let _nodes = self.nodes.lock();
        let mut state = self.state.lock();
        let index = state
            .index(|member| member.attached.device.number() == minor)
            .ok_or(ENXIO)?;
        let member = state.members.get(index).ok_or(ENXIO)?;
        let device = member.attached.device.clone();
        let runs = runs_after(&device, &*device.live().ok_or(ENXIO)?, PageOffset::new(0))?;
        state.free.promise(runs.len())?;
        if let Err(error) = device.retire() {
            state.free.unpromise(runs.len());
            return Err(error);
        }
        let member = state.members.remove(index);
        if state.youngest == Some(minor) {
            state.youngest = None;
        }
        self.name_block(&mut state);
        drop(state);

        drop(member);
        if let Some(live) = self.live.try_access() {
            device.forget(&live);
        }
        let mut state = self.state.lock();
        for run in runs.iter() {
            state.free.give(*run);
        }
        Ok(())
    }

    /// Makes `device` `size` bytes long.
    ///
    /// Open files see added bytes at once, with what was on the media. Removed bytes are unmapped
    /// and written back, and then become free. Faults on them get SIGBUS.
    ///
    /// Process context; sleeps. Errors: `EINVAL` if `size` is not a multiple of the device's
    /// alignment, `ENOSPC`, `ENOMEM`, `ENXIO` if the device is gone, `EIO` if removed bytes could
    /// not be made durable; they are removed even then.
    pub(crate) fn resize(&self, device: &Device, size: u64) -> Result {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.member(device).ok_or(ENXIO)?;
        if size % device.align().bytes() as u64 != 0 {
            return Err(EINVAL);
        }
        let new = DeviceOffset::new(size).page();
        let (old, near) = {
            let live = device.live().ok_or(ENXIO)?;
            let layout = live.layout.read();
            let last = layout.as_slice().last();
            (layout.end(), last.map(|last| last.run().behind()))
        };
        let result = match new {
            _ if new > old => grow(&mut state.free, device, old, new - old, near),
            _ if new < old => shrink(&mut state.free, device, new),
            _ => return Ok(()),
        };
        if device.size().is_ok_and(|now| now == size) {
            state.changed(device);
        }
        result
    }

    /// Adds the `len` bytes of the region from its byte `offset` to the end of `device`.
    ///
    /// Open files see them at once, with what was on the media.
    ///
    /// Process context; sleeps. Errors: `EINVAL` if `len` is 0, if the bytes are not all in the
    /// region, or if they are not multiples of the device's alignment; `EBUSY` if some belong to a
    /// device; `ENOMEM`; `ENXIO` if the device is gone.
    pub(crate) fn append(&self, device: &Device, offset: RegionOffset, len: u64) -> Result {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.member(device).ok_or(ENXIO)?;
        // The device's size is a multiple already, because `set_align()` requires that.
        let range = self.geometry.span;
        let run = range.run(offset, len, device.align()).ok_or(EINVAL)?;
        state.free.take_run(run)?;
        extend(device, &[run]).inspect_err(|_| state.free.give_back(&[run]))?;
        state.changed(device);
        Ok(())
    }

    /// Changes the alignment of `device`.
    ///
    /// Process context; sleeps. Errors: `EBUSY` if it is open or mapped, `EINVAL` if its pages do
    /// not have this alignment, `ENXIO` if it is gone.
    pub(crate) fn set_align(&self, device: &Device, align: Order) -> Result {
        // Excludes a change of the size.
        let _state = self.state.lock();
        let live = device.live().ok_or(ENXIO)?;
        if !live.layout.read().is_aligned(align) {
            return Err(EINVAL);
        }
        device.set_align(align)
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

impl Member {
    /// Registers the frames of the device again after a resize.
    fn renew_frames(self: Pin<&mut Self>) {
        let this = self.project();
        this.frames.clear();
        match register(&this.attached.device) {
            Ok(frames) => *this.frames = frames,
            Err(error) => log!(
                dev_warn,
                pr_warn,
                this.attached.device,
                "{}: processes that map it will not be told of memory errors: {error:?}\n",
                this.attached.device
            ),
        }
    }
}

/// Registers the frames of a device. The caller prevents a resize meanwhile. Sleeps. Errors:
/// `ENOMEM`, `ENXIO` if the device is gone.
fn register(device: &Arc<Device>) -> Result<KVec<Pin<KBox<Registration<Device>>>>> {
    // The layout rwsem is not held here, because unregistering may wait for a work that takes it.
    let extents = copy_layout(device, &*device.live().ok_or(ENXIO)?, 0)?;
    let mut frames = KVec::new();
    for extent in extents.as_slice() {
        let (first, last) = extents.frames(extent);
        let registration = Registration::new(device.clone(), first, last);
        frames.push(KBox::pin_init(registration, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    // The old value is freed after the spinlock is dropped.
    let _old = core::mem::replace(&mut *device.frames.lock(), extents);
    Ok(frames)
}

/// Copies the layout of a device, with room for `more` extents. The caller prevents a resize
/// meanwhile.
///
/// No memory is allocated with the layout rwsem held, because faults wait for it. Sleeps. Errors:
/// `ENOMEM`.
fn copy_layout(device: &Device, live: &Live, more: usize) -> Result<Extents> {
    let base = device.geometry().span.first();
    let extents = live.layout.read().as_slice().len();
    let mut copy = Extents::with_room(base, extents + more)?;
    copy.copy_from(&live.layout.read())?;
    Ok(copy)
}

/// Returns the region's pages that a device has from its page offset `end`. Sleeps. Errors:
/// `ENOMEM`.
fn runs_after(device: &Device, live: &Live, end: PageOffset) -> Result<KVec<Run>> {
    let mut runs = KVec::new();
    for run in copy_layout(device, live, 0)?.tail(end) {
        runs.push(run, GFP_KERNEL)?;
    }
    Ok(runs)
}

fn grow(
    free: &mut FreeRuns,
    device: &Device,
    old: PageOffset,
    pages: Pages,
    near: Option<RegionPage>,
) -> Result {
    let runs = free.take_all(pages, device.align(), old, near)?;
    extend(device, &runs).inspect_err(|_| free.give_back(&runs))
}

/// Adds `runs` to the end of a device. The caller prevents another resize meanwhile.
///
/// Errors: `ENOMEM`, `ENXIO` if the device is gone. The device is unchanged then.
fn extend(device: &Device, runs: &[Run]) -> Result {
    let live = device.live().ok_or(ENXIO)?;
    let mut longer = copy_layout(device, &live, runs.len())?;
    for run in runs {
        longer.push(*run)?;
    }
    // The old value is freed after the layout rwsem is dropped.
    let _old = core::mem::replace(&mut *live.layout.write(), longer);
    Ok(())
}

fn shrink(free: &mut FreeRuns, device: &Device, new: PageOffset) -> Result {
    let runs = runs_after(device, &*device.live().ok_or(ENXIO)?, new)?;
    free.promise(runs.len())?;
    let cut = punch::cut(device, new);
    // Wait for copies that looked up their extents before the end moved.
    device.synchronize();
    let flushed = match device.live() {
        Some(live) => sync::flush(device, &live),
        None => Err(ENXIO),
    };
    for run in runs.iter() {
        free.give(*run);
    }
    cut.and(flushed)
}
