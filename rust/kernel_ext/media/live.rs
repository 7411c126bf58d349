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
        Arc,
        SetOnce, //
    }, //
};

/// Returns the name of a device, as in sysfs (`dev_name()`). Any context.
pub(in crate::kernel_ext) fn name(device: &Device) -> &CStr {
    // SAFETY: A device that is bound, or being bound, is registered, and so has a name, a C string
    // that does not change while the device exists (CAST: `Device` is transparent).
    unsafe { CStr::from_char_ptr(bindings::dev_name(ptr::from_ref(device).cast())) }
}

/// The media of a bound device, with data of its driver.
///
/// A reference to one comes only from a [`SrcuRevocable`] that is alive, or is being revoked.
#[pin_data]
pub(crate) struct LiveMedia<T> {
    media: Media,
    /// The inode whose mappings may map the media, if any may.
    inode: Option<Arc<AnonInode>>,
    huge_zero: SetOnce<HugeZeroPage>,
    #[pin]
    value: T,
}

impl<T> Revoke for LiveMedia<T> {
    /// Unmaps the media. Nothing is inserted any more, because that needs a reference to this.
    fn revoked(&self) {
        if let Some(inode) = &self.inode {
            inode.unmap_all();
            // SAFETY: All mappings of this inode were unmapped just above. No other inode maps these
            // pages, because `publish()` takes them once.
            unsafe { self.media.end_pages(self.name()) };
            inode.leave();
        }
    }
}

impl<T> LiveMedia<T> {
    /// Returns the media.
    pub(crate) fn media(&self) -> &Media {
        &self.media
    }

    /// Returns the bound device. The caller must not keep a reference to it: libnvdimm frees the
    /// region under a namespace that outlives its removal.
    pub(crate) fn device(&self) -> &Device {
        // SAFETY: `self` is alive, so the device is, too.
        unsafe { Device::from_raw(self.media.device()) }
    }

    /// Returns the name of the bound device, `namespace0.0`. Any context.
    pub(crate) fn name(&self) -> &BStr {
        BStr::from_bytes(name(self.device()).to_bytes())
    }

    /// Returns the `pages` page frames of the media from `pfn`, for mappings of the inode. `None`
    /// if they are not all of this media, or there is no inode.
    #[inline(always)]
    pub(crate) fn frames(&self, pfn: Pfn, pages: Pages) -> Option<Frames<'_>> {
        let inode = self.inode.as_deref()?;
        // SAFETY: `revoked()` unmaps the inode's mappings before the device is unbound, and
        // after the last reference to `self`, without which nothing is inserted.
        unsafe { self.media.frames(pfn, pages, inode) }
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

    /// Notes pages that break, if the media has pages, until the value is revoked. Sleeps.
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
    /// it has pages and there is such a value already; `ENOMEM`, and those of `value`.
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
        let entered = inode.clone();
        // SAFETY: `self` is alive, so the device is bound. Its devres is not being released, because
        // that begins with revoking `self`.
        let published = unsafe {
            publish(
                self.media.clone(),
                Some(inode),
                value,
                Classes {
                    readers: static_lock_class!(),
                    revoking: static_lock_class!(),
                },
            )?
        };
        // `revoked()` leaves it.
        entered.enter();
        Ok(published)
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
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Makes a value that is revoked, at the latest, when devres releases what `media` consists of.
/// Sleeps.
///
/// # Safety
///
/// The invariants of `media` hold until devres of its device, which is bound or being bound to this
/// driver, releases what was added before this call.
pub(in crate::kernel_ext) unsafe fn publish<T: Send + Sync + 'static>(
    media: Media,
    inode: Option<Arc<AnonInode>>,
    value: impl PinInit<T, Error>,
    classes: Classes,
) -> Result<Arc<SrcuRevocable<LiveMedia<T>>>> {
    let dev = media.device();
    let live = Arc::pin_init(
        SrcuRevocable::new(
            try_pin_init!(LiveMedia {
                media,
                inode,
                huge_zero: SetOnce::new(),
                value <- value,
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
        bindings::devres_add(dev, found);
    }
    Ok(live)
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
