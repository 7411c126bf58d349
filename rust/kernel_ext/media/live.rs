// SPDX-License-Identifier: GPL-2.0

//! Values that can be used while a device is bound.
//!
//! C header: [`include/linux/device/devres.h`](srctree/include/linux/device/devres.h)

use crate::kernel_ext::{
    bindings,
    fs::anon_inode::AnonInode,
    media::Media,
    mm::{
        frames::{
            Frames,
            ZeroFrames, //
        },
        memory_failure::MemoryFailureOperations,
        page::HugeZeroPage,
        pages::DevicePages, //
    },
    sync::srcu::{
        Classes,
        Revoke,
        SrcuRevocable, //
    },
    units::{
        PageOffset,
        Pages,
        Pfn, //
    }, //
};
use core::{
    ops::Deref,
    ptr, //
};
use kernel::{
    device::Device,
    prelude::*,
    static_lock_class,
    str::BStr,
    sync::{
        new_mutex,
        Arc,
        Mutex,
        SetOnce, //
    },
    types::ForeignOwnable, //
};

/// Returns the name of a device, as in sysfs (`dev_name()`). Any context.
pub(in crate::kernel_ext) fn name(device: &Device) -> &CStr {
    // SAFETY: A device that is bound, or being bound, is registered, and so has a name, a C string
    // that does not change while the device exists (CAST: `Device` is transparent).
    unsafe { CStr::from_char_ptr(bindings::dev_name(ptr::from_ref(device).cast())) }
}

/// The media of a bound device, with data of its driver, which may be mapped.
///
/// A reference to one comes only from a [`SrcuRevocable`] that is alive.
#[pin_data]
pub(crate) struct LiveMedia<T> {
    /// The inode whose mappings may map the media, if any may.
    inode: Option<Arc<AnonInode>>,
    huge_zero: SetOnce<HugeZeroPage>,
    #[pin]
    unmapped: UnmappedMedia<T>,
}

/// The media of a bound device, with data of its driver. It cannot be mapped through this.
///
/// A reference to one comes only from a [`SrcuRevocable`] that is alive, or is being revoked.
#[pin_data]
pub(crate) struct UnmappedMedia<T> {
    media: Media,
    #[pin]
    value: T,
}

impl<T> Revoke for LiveMedia<T> {
    type Rest = UnmappedMedia<T>;

    /// Unmaps the media. Nothing is inserted any more, because that needs a reference to this.
    fn revoked(&self) -> &UnmappedMedia<T> {
        if let Some(inode) = &self.inode {
            inode.unmap_all();
            // SAFETY: All mappings of this inode were unmapped just above. No other inode maps these
            // pages, because `publish()` takes them once.
            unsafe { self.media.end_pages(self.name()) };
            inode.leave();
        }
        &self.unmapped
    }
}

impl<T> UnmappedMedia<T> {
    /// Returns the media.
    pub(crate) fn media(&self) -> &Media {
        &self.media
    }

    /// Returns the bound device. The caller must not keep a reference to it: libnvdimm frees the
    /// region under a namespace that outlives its removal.
    pub(crate) fn device(&self) -> &Device {
        // SAFETY: `self` is alive or being revoked, so the device is still bound.
        unsafe { Device::from_raw(self.media.device()) }
    }

    /// Returns the name of the bound device, `namespace0.0`. Any context.
    pub(crate) fn name(&self) -> &BStr {
        BStr::from_bytes(name(self.device()).to_bytes())
    }
}

impl<T> LiveMedia<T> {
    /// Returns the `pages` page frames of the media from `pfn`, for mappings of the inode. `None`
    /// if they are not all of this media, or there is no inode.
    #[inline(always)]
    pub(crate) fn frames(&self, pfn: Pfn, pages: Pages) -> Option<Frames<'_>> {
        let inode = self.inode.as_deref()?;
        // SAFETY: `revoked()` unmaps the inode's mappings before the device is unbound, and
        // after the last reference to `self`, without which nothing is inserted.
        unsafe { self.media.frames(pfn, pages, inode) }
    }

    /// Makes read-only and clean what maps these page frames of the inode: see
    /// [`AnonInode::write_protect_pages`].
    pub(crate) fn write_protect_pages(&self, pgoff: PageOffset, pfn: Pfn, pages: Pages) {
        if let Some(inode) = &self.inode {
            // SAFETY: `self` is alive, so `revoked()` has not left the inode to another driver.
            unsafe { inode.write_protect_pages(pgoff, pfn, pages) };
        }
    }

    /// Makes an inode for mappings of the media, all of which are in the first `pages` pages. Sleeps.
    /// Errors: `ENOMEM`, `ENFILE`.
    pub(crate) fn make_inode(&self, name: &'static CStr, pages: Pages) -> Result<AnonInode> {
        match self.media.pages() {
            // SAFETY: The device is bound, because `self` is alive.
            Some(pages) => unsafe { AnonInode::of_device(pages) },
            None => AnonInode::new(name, pages),
        }
    }

    /// Notes pages that break, or broke before, if the media has pages, until the value is revoked.
    /// Sleeps.
    pub(crate) fn listen<D: MemoryFailureOperations>(&self, device: Arc<D>) {
        if let Some(pages) = self.media.pages().filter(|_| self.inode.is_some()) {
            // SAFETY: The device is bound, because `self` is alive. `revoked()` ends it, before the
            // device is unbound.
            unsafe { pages.listen(device) };
        }
    }

    /// Allocates the page of [`LiveMedia::huge_zero`], unless it exists. Returns whether it exists
    /// now. Sleeps.
    pub(crate) fn make_huge_zero(&self) -> bool {
        if self.huge_zero.as_ref().is_none() {
            if let Ok(zero) = HugeZeroPage::new() {
                // If another task was faster, this page is dropped.
                self.huge_zero.populate(zero);
            }
        }
        self.huge_zero.as_ref().is_some()
    }

    /// Returns zeroes of the size of a PMD leaf, for mappings of the inode, if
    /// [`LiveMedia::make_huge_zero`] has made them. Any context.
    pub(crate) fn huge_zero(&self) -> Option<ZeroFrames<'_>> {
        let inode = self.inode.as_deref()?;
        let zero = self.huge_zero.as_ref()?;
        // SAFETY: `revoked()` unmaps the inode's mappings before `self`, and the page with it, is
        // dropped.
        Some(unsafe { zero.frames(inode) })
    }

    /// Makes another value that can be used until the driver is unbound, or until it is revoked.
    /// After that no mapping of `inode` maps the media. Sleeps.
    ///
    /// Errors: `EINVAL` if the inode is not from [`LiveMedia::make_inode`] of this media; `EBUSY` if
    /// it has pages and there is such a value already; `ENXIO` if the driver is being unbound;
    /// `ENOMEM`, and those of `value`.
    pub(crate) fn publish<U: Send + Sync + 'static>(
        &self,
        inode: Arc<AnonInode>,
        value: impl PinInit<U, Error>,
    ) -> Result<Arc<SrcuRevocable<LiveMedia<U>>>> {
        if inode.pages() != self.media.pages().map(DevicePages::id) {
            return Err(EINVAL);
        }
        if let Some(pages) = self.media.pages() {
            // SAFETY: The device is bound, because `self` is alive.
            unsafe { pages.take()? };
        }
        // SAFETY: `self` is alive, so the device is bound. `publish()` drops the media, or makes it
        // reachable until devres revokes it. devres is not released before the gate is closed, and
        // then nothing is published any more.
        unsafe {
            publish(
                self.media.another(),
                Some(inode),
                value,
                Classes {
                    readers: static_lock_class!(),
                    revoking: static_lock_class!(),
                },
            )
        }
        .inspect_err(|_| {
            if let Some(pages) = self.media.pages() {
                // SAFETY: The device is bound, because `self` is alive. They were taken just above.
                unsafe { pages.give_back() };
            }
        })
    }

    /// Releases a value that [`LiveMedia::publish`] made of the same media and that is revoked, so
    /// that no part of it is kept until the driver is unbound.
    pub(crate) fn forget<U: Send + Sync + 'static>(
        &self,
        other: &Arc<SrcuRevocable<LiveMedia<U>>>,
    ) {
        let live = Arc::as_ptr(other).cast_mut().cast();
        // SAFETY: `self` is alive, so the device is, too. `matches()` is called only for
        // resources of `RELEASE`. The one that it finds has the address of `other`, so it is a
        // `Published` of a `SrcuRevocable<LiveMedia<U>>`. It is no longer a resource, so this gives
        // back its reference.
        unsafe {
            let dev = self.media.device();
            let found = bindings::devres_remove(dev, Some(RELEASE), Some(Published::matches), live);
            if !found.is_null() {
                let revoke = (*found.cast::<Published>()).revoke;
                bindings::devres_free(found);
                revoke(live);
            }
        }
    }
}

impl<T> Deref for LiveMedia<T> {
    type Target = UnmappedMedia<T>;

    #[inline(always)]
    fn deref(&self) -> &UnmappedMedia<T> {
        &self.unmapped
    }
}

impl<T> Deref for UnmappedMedia<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Makes a value that is revoked, at the latest, when devres releases what `media` consists of.
/// Sleeps. Errors: `ENXIO` if the driver is being unbound; `ENOMEM`, and those of `value`.
///
/// # Safety
///
/// The invariants of `media` hold until devres of its device, which is bound or being bound to this
/// driver, releases what was added before this call. [`open`] was called for it.
pub(in crate::kernel_ext) unsafe fn publish<T: Send + Sync + 'static>(
    media: Media,
    inode: Option<Arc<AnonInode>>,
    value: impl PinInit<T, Error>,
    classes: Classes,
) -> Result<Arc<SrcuRevocable<LiveMedia<T>>>> {
    let dev = media.device();
    let entered = inode.clone();
    let live = Arc::pin_init(
        SrcuRevocable::new(
            try_pin_init!(LiveMedia {
                inode,
                huge_zero: SetOnce::new(),
                unmapped <- try_pin_init!(UnmappedMedia {
                    media,
                    value <- value,
                }),
            }),
            classes,
        ),
        GFP_KERNEL,
    )?;
    // SAFETY: `dev` is valid and bound by the requirements of this function. This owns the
    // resource until it is added. The resource gets a reference of its own, which `revoke()` gives
    // back.
    unsafe {
        let found = bindings::__devres_alloc_node(
            Some(RELEASE),
            size_of::<Published>(),
            bindings::GFP_KERNEL,
            bindings::NUMA_NO_NODE,
            c"rdax_published".as_char_ptr(),
        );
        if found.is_null() {
            live.revoke(|_| ());
            return Err(ENOMEM);
        }
        found.cast::<Published>().write(Published {
            revoke: revoke::<T>,
            live: Arc::into_raw(live.clone()).cast_mut().cast(),
        });
        // devres_release_all() takes all resources before it releases the first, so one that is
        // added meanwhile would stay.
        let gate = Gate::of(dev);
        let open = gate.as_ref().map(|gate| gate.open.lock());
        if !open.as_ref().is_some_and(|open| **open) {
            drop(open);
            Published::release(dev, found);
            bindings::devres_free(found);
            return Err(ENXIO);
        }
        bindings::devres_add(dev, found);
        // `revoked()` leaves it.
        if let Some(inode) = entered {
            inode.enter();
        }
    }
    Ok(live)
}

/// Whether values of a device may be published. A resource of the device is a pointer to one, which
/// comes from a [`KBox`].
#[pin_data]
struct Gate {
    #[pin]
    open: Mutex<bool>,
}

/// The release function of each resource that is a [`Gate`], by which devres finds it: see
/// [`RELEASE`].
static GATE: unsafe extern "C" fn(*mut bindings::device, *mut c_void) = Gate::release;

impl Gate {
    /// # Safety
    ///
    /// `resource` is a [`Gate`]'s, and no longer a resource of its device.
    unsafe extern "C" fn release(_dev: *mut bindings::device, resource: *mut c_void) {
        // SAFETY: By the requirements of this function. Nothing finds the gate any more.
        drop(unsafe { Pin::<KBox<Self>>::from_foreign(resource.cast::<*mut c_void>().read()) });
    }

    /// Returns the gate of `dev`, if it has one.
    ///
    /// # Safety
    ///
    /// `dev` is valid, and its devres is not released as long as the result is used.
    unsafe fn of<'a>(dev: *mut bindings::device) -> Option<Pin<&'a Self>> {
        // SAFETY: By the requirements of this function. A resource whose release function is `GATE`
        // is a pointer to a gate.
        unsafe {
            let found = bindings::devres_find(dev, Some(GATE), None, ptr::null_mut());
            let gate = found.cast::<*mut c_void>().as_ref()?;
            Some(Pin::<KBox<Self>>::borrow(*gate))
        }
    }
}

/// Allows values of `dev` to be published, until [`close`]. Sleeps. Errors: `ENOMEM`.
///
/// # Safety
///
/// `dev` is valid, and being bound to this driver.
pub(in crate::kernel_ext) unsafe fn open(dev: *mut bindings::device) -> Result {
    let gate = KBox::pin_init(
        pin_init!(Gate {
            open <- new_mutex!(true, "rdax_gate"),
        }),
        GFP_KERNEL,
    )?;
    // SAFETY: `dev` is valid by the requirements of this function. This owns the resource until it
    // is added. It has the size of a pointer.
    unsafe {
        let found = bindings::__devres_alloc_node(
            Some(GATE),
            size_of::<*mut c_void>(),
            bindings::GFP_KERNEL,
            bindings::NUMA_NO_NODE,
            c"rdax_gate".as_char_ptr(),
        );
        if found.is_null() {
            return Err(ENOMEM);
        }
        found.cast::<*mut c_void>().write(gate.into_foreign());
        bindings::devres_add(dev, found);
    }
    Ok(())
}

/// Ends what [`open`] allows: no further value of `dev` is published. Sleeps.
///
/// # Safety
///
/// `dev` is being unbound from this driver, or its probe has failed. Its devres is released later.
pub(in crate::kernel_ext) unsafe fn close(dev: *mut bindings::device) {
    // SAFETY: By the requirements of this function.
    if let Some(gate) = unsafe { Gate::of(dev) } {
        *gate.open.lock() = false;
    }
}

/// A resource of the device: a value that [`publish`] made.
///
/// # Invariants
///
/// `live` is an `Arc<SrcuRevocable<LiveMedia<T>>>` made into a pointer, and `revoke` is [`revoke`]
/// for that `T`.
struct Published {
    revoke: unsafe fn(*mut c_void),
    live: *mut c_void,
}

/// The release function of each [`Published`], by which devres finds them.
///
/// Compared and passed as the value of a static, because a function may have several addresses, and
/// other functions may share them: a `revoke::<T>` has one for each codegen unit that uses it.
static RELEASE: unsafe extern "C" fn(*mut bindings::device, *mut c_void) = Published::release;

impl Published {
    /// # Safety
    ///
    /// `resource` is a [`Published`] that is no longer a resource of its device.
    unsafe extern "C" fn release(_dev: *mut bindings::device, resource: *mut c_void) {
        // SAFETY: `resource` is a `Published` by the requirements of this function, and `revoke` is
        // for its `live` by the type invariants.
        unsafe {
            let this = &*resource.cast::<Self>();
            (this.revoke)(this.live);
        }
    }

    /// # Safety
    ///
    /// `resource` is a [`Published`].
    unsafe extern "C" fn matches(
        _dev: *mut bindings::device,
        resource: *mut c_void,
        live: *mut c_void,
    ) -> c_int {
        // SAFETY: `resource` is a `Published` by the requirements of this function.
        unsafe { ((*resource.cast::<Self>()).live == live).into() }
    }
}

/// Revokes a value that [`publish`] made, and gives back the reference of its [`Published`].
///
/// # Safety
///
/// `live` is an `Arc<SrcuRevocable<LiveMedia<T>>>` made into a pointer, which this takes back.
unsafe fn revoke<T>(live: *mut c_void) {
    // SAFETY: `live` is such a pointer by the requirements of this function, which gives it up.
    let live = unsafe { Arc::from_raw(live.cast_const().cast::<SrcuRevocable<LiveMedia<T>>>()) };
    live.revoke(|_| ());
}
