// SPDX-License-Identifier: GPL-2.0

//! Drivers of NVDIMM namespaces.
//!
//! C headers: [`include/linux/nd.h`](srctree/include/linux/nd.h),
//! [`include/linux/libnvdimm.h`](srctree/include/linux/libnvdimm.h)

use super::{
    bindings,
    fs::AnonInode,
    mm::{
        Frames,
        ZeroFrames, //
    },
    page::HugeZeroPage,
    pmem::{
        Media,
        Windows, //
    },
    srcu::{
        Classes,
        Revocable,
        Revoke, //
    },
    sysfs::GroupList, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    num::NonZero,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    container_of,
    device::Device,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    fmt,
    new_mutex,
    prelude::*,
    static_lock_class,
    str::{
        as_char_ptr_in_const_context,
        BStr, //
    },
    sync::{
        Arc,
        Mutex,
        SetOnce, //
    },
    task::Pid,
    types::{
        ForeignOwnable,
        Opaque, //
    },
    ThisModule, //
};

/// The bytes of the leaves that the kernel maps a namespace with.
const LEAF: u64 = (bindings::PAGE_SIZE << bindings::PMD_ORDER) as u64;

/// The name of a device, as in sysfs (`dev_name()`). Any context.
fn name(device: &Device) -> &CStr {
    // SAFETY: A device that is bound, or being bound, is registered, and so has a name, a C string that
    // does not change while the device exists (CAST: `Device` is transparent).
    unsafe { CStr::from_char_ptr(bindings::dev_name(ptr::from_ref(device).cast())) }
}

/// Whether a region is read-only: a DIMM of it is not armed (its writes would be lost when power fails),
/// or somebody has said so in its attribute `read_only`. May sleep.
///
/// `nd_region` is known to libnvdimm alone, and no function tells (`nvdimm_check_and_set_ro()` is for a
/// gendisk). So the attribute is asked, as a reader of the file would. If it can't be, the answer is
/// yes: nothing is lost by that.
///
/// # Safety
///
/// `region` is the valid device of a region.
unsafe fn is_read_only(region: *mut bindings::device) -> bool {
    // SAFETY: By the requirements of this function; a device on the bus has a type. Lists of groups and of
    // attributes end in a null, and the attributes of a device are `struct device_attribute`s.
    unsafe {
        let mut groups = (*(*region).type_).groups;
        while !groups.is_null() && !(*groups).is_null() {
            let mut attrs = (**groups).__bindgen_anon_2.attrs;
            while !attrs.is_null() && !(*attrs).is_null() {
                if CStr::from_char_ptr((**attrs).name) == c"read_only" {
                    let attr = container_of!(*attrs, bindings::rdax_device_attribute, attr);
                    return show(region, attr) != Ok(*b"0\n");
                }
                attrs = attrs.add(1);
            }
            groups = groups.add(1);
        }
    }
    true
}

/// The first two bytes that an attribute shows. May sleep. Errors: `ENOMEM`, those of the attribute.
///
/// # Safety
///
/// `attr` is an attribute of the valid device `dev`.
unsafe fn show(
    dev: *mut bindings::device,
    attr: *mut bindings::rdax_device_attribute,
) -> Result<[u8; 2]> {
    // A page, aligned as one: kmalloc() aligns what is as large as a power of two to that.
    let mut page = KVec::from_elem(0u8, bindings::PAGE_SIZE, GFP_KERNEL)?;
    // SAFETY: By the requirements of this function; what shows an attribute is given a page (CAST: as
    // `compat.h` has it, the one struct is the other).
    let shown = unsafe {
        let show = (*attr).show.ok_or(EIO)?;
        show(dev, attr.cast(), page.as_mut_ptr().cast())
    };
    match page.first_chunk() {
        Some(text) if shown >= 0 => Ok(*text),
        _ => Err(EIO),
    }
}

/// Who asked for a namespace to be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody who named this driver: the bus offers what it has when a driver or a namespace appears,
    /// or when its `drivers_probe` is written.
    Bus,
    /// A user, by a write to the driver's `bind` file.
    User,
}

/// A driver for namespaces.
pub(crate) trait Driver: Send + Sync + Sized + 'static {
    /// What exists while a namespace is bound. Dropped when it is unbound, while the namespace's
    /// resources are still there.
    type Data: Send + Sync + 'static;

    /// The name of the driver on the bus.
    const NAME: &'static CStr;

    /// The attributes in the directory of each namespace that is bound.
    fn groups() -> GroupList<Self::Data>;

    /// Whether that namespace may be offered at all. Process context, may sleep; the device lock is
    /// held.
    ///
    /// It has not been looked at yet.
    fn wants(&self, identity: &Identity<'_>, origin: Origin) -> bool;

    /// Binds a namespace. Process context, may sleep; the device lock is held.
    fn probe(&self, namespace: &Namespace<'_>) -> Result<Pin<KBox<Self::Data>>>;

    /// The machine shuts down; the namespace stays bound. Process context, may sleep; the device lock
    /// is held.
    fn shutdown(data: &Self::Data);

    /// libnvdimm has learnt of bad blocks in the region. Process context, may sleep; the device lock
    /// is held.
    fn poisoned(data: &Self::Data);

    /// Whether the region is read-only was set anew (its attribute `read_only`). Process context, may
    /// sleep; the device lock is held.
    fn set_read_only(data: &Self::Data, read_only: bool);
}

/// A driver, registered on the bus while this exists.
///
/// # Invariants
///
/// `inner` is registered, with the callbacks below, and lies in a `Registration<T>`.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T: Driver> {
    #[pin]
    inner: Opaque<bindings::nd_device_driver>,
    driver: T,
    /// What users are asking for.
    #[pin]
    asked: Mutex<KVec<Asked>>,
}

// SAFETY: A driver may be registered and unregistered from any thread.
unsafe impl<T: Driver> Send for Registration<T> {}
// SAFETY: `driver` is `Sync`, `asked` is behind a mutex, and there is no method on `&self` that uses
// `inner`.
unsafe impl<T: Driver> Sync for Registration<T> {}

/// A write to `bind` that is under way: the task that writes, and the device that it named.
///
/// Only in that task, and for that device, a probe is what the user has asked for. The context alone
/// does not tell: the driver core probes a new device in the context of the task that made it appear where
/// `async_schedule()` has no memory, or too much to do.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Asked {
    task: Pid,
    /// The address, which is not used as one.
    device: usize,
}

impl Asked {
    fn here(dev: *mut bindings::device) -> Self {
        Self {
            task: current!().pid(),
            device: dev as usize,
        }
    }
}

impl<T: Driver> Registration<T> {
    /// Registers `driver`. Every namespace that has no driver is offered to it before this returns,
    /// with [`Origin::Bus`].
    ///
    /// The driver's files `bind` and `unbind` are ours ([`BindFiles`]), and work as those of other
    /// drivers.
    ///
    /// Sleeps. Errors: those of `driver_register()`.
    pub(crate) fn new(driver: T, module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            driver,
            asked <- new_mutex!(KVec::new(), "rdax_asked"),
            // INVARIANT: Registered here, in this `Registration`, or construction fails. The
            // other fields are initialised: probing begins at once.
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::nd_device_driver| {
                // SAFETY: `slot` is valid for writes and pinned until `drop()`, which
                // unregisters; the name is static.
                unsafe {
                    slot.write(pin_init::zeroed());
                    (*slot).drv.name = T::NAME.as_char_ptr();
                    // What is bound is decided in the context of whoever asks for it.
                    (*slot).drv.probe_type = bindings::probe_type_PROBE_FORCE_SYNCHRONOUS;
                    (*slot).drv.dev_groups = T::groups().as_ptr();
                    (*slot).drv.suppress_bind_attrs = true;
                    // CAST: The list is only read; C has no const there.
                    (*slot).drv.groups = BindFiles::<T>::GROUPS.as_ptr().cast_mut();
                    (*slot).type_ = (bindings::nd_driver_flags_ND_DRIVER_NAMESPACE_IO
                        | bindings::nd_driver_flags_ND_DRIVER_NAMESPACE_PMEM) as usize;
                    (*slot).probe = Some(Self::probe_callback);
                    (*slot).remove = Some(Self::remove_callback);
                    (*slot).shutdown = Some(Self::shutdown_callback);
                    (*slot).notify = Some(Self::notify_callback);
                    to_result(bindings::__nd_driver_register(
                        slot,
                        module.as_ptr(),
                        T::NAME.as_char_ptr(),
                    ))
                }
            }),
        })
    }

    /// # Safety
    ///
    /// `drv` must be a driver registered by a `Registration<T>`.
    unsafe fn from_driver<'a>(drv: *const bindings::device_driver) -> &'a Self {
        // SAFETY: The driver lies in an `nd_device_driver`, and that in a `Registration<T>` by the type
        // invariants (CAST: `Opaque` is transparent).
        unsafe {
            let drv = container_of!(drv, bindings::nd_device_driver, drv);
            &*container_of!(drv.cast::<Opaque<_>>(), Self, inner)
        }
    }

    /// Where the request for `dev`, which is being probed in this context, came from.
    fn origin(&self, dev: *mut bindings::device) -> Origin {
        match self.asked.lock().contains(&Asked::here(dev)) {
            true => Origin::User,
            false => Origin::Bus,
        }
    }

    /// Binds `dev` because a user has asked for it. Sleeps.
    ///
    /// Errors: those of `device_driver_attach()`, `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `drv` is the driver of this registration, and `dev` a valid device on its bus.
    unsafe fn attach(
        &self,
        drv: *mut bindings::device_driver,
        dev: *mut bindings::device,
    ) -> Result {
        let asked = Asked::here(dev);
        self.asked.lock().push(asked, GFP_KERNEL)?;
        // SAFETY: By the requirements of this function.
        let attached = to_result(unsafe { bindings::device_driver_attach(drv, dev) });
        // A task has one write under way, so that there is one of its own.
        self.asked.lock().retain(|other| *other != asked);
        attached
    }

    /// # Safety
    ///
    /// `dev` is being bound to a driver registered by a `Registration<T>`, with its lock held.
    unsafe extern "C" fn probe_callback(dev: *mut bindings::device) -> c_int {
        // SAFETY: By the requirements of this function.
        let this = unsafe { Self::from_driver((*dev).driver) };
        from_result(|| {
            let wants = |identity: &Identity<'_>| this.driver.wants(identity, this.origin(dev));
            // SAFETY: The bus hands in a valid device, and holds its lock.
            let namespace = unsafe { Namespace::new(dev, wants) }?;
            let data = this.driver.probe(&namespace)?;
            // SAFETY: `dev` is valid, and its driver data is ours while it is bound.
            unsafe { bindings::dev_set_drvdata(dev, data.into_foreign()) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `dev` is being unbound after a probe by [`Self::probe_callback`] that succeeded.
    unsafe extern "C" fn remove_callback(dev: *mut bindings::device) {
        // SAFETY: `probe_callback()` stored it, since only a device whose probe succeeded is
        // removed. devres, and with it the namespace's mapping, goes only after this returns.
        unsafe {
            let data = bindings::dev_get_drvdata(dev);
            bindings::dev_set_drvdata(dev, ptr::null_mut());
            drop(<Pin<KBox<T::Data>> as ForeignOwnable>::from_foreign(data));
        }
    }

    /// Calls `f` with the data of `dev`, if it is bound.
    ///
    /// # Safety
    ///
    /// `dev` has a driver registered by a `Registration<T>`, and its lock is held.
    unsafe fn with_data(dev: *mut bindings::device, f: impl FnOnce(&T::Data)) {
        // SAFETY: By the requirements of this function: bound or not does not change meanwhile. The
        // driver data is what `probe_callback()` stored, or null.
        unsafe {
            let data = bindings::dev_get_drvdata(dev);
            if !data.is_null() {
                f(&<Pin<KBox<T::Data>> as ForeignOwnable>::borrow(data));
            }
        }
    }

    /// # Safety
    ///
    /// As [`Self::with_data`].
    unsafe extern "C" fn shutdown_callback(dev: *mut bindings::device) {
        // SAFETY: By the requirements of this function.
        unsafe { Self::with_data(dev, T::shutdown) };
    }

    /// # Safety
    ///
    /// As [`Self::with_data`].
    unsafe extern "C" fn notify_callback(
        dev: *mut bindings::device,
        event: bindings::nvdimm_event,
    ) {
        // SAFETY: By the requirements of this function. The parent of a namespace is its region.
        unsafe {
            match event {
                bindings::nvdimm_event_NVDIMM_REVALIDATE_POISON => {
                    Self::with_data(dev, T::poisoned);
                }
                bindings::nvdimm_event_NVDIMM_REVALIDATE_REGION => {
                    let read_only = is_read_only((*dev).parent);
                    Self::with_data(dev, |data| T::set_read_only(data, read_only));
                }
                _ => (),
            }
        }
    }
}

#[pinned_drop]
impl<T: Driver> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the type invariants. All its devices are unbound when this
        // returns.
        unsafe { bindings::driver_unregister(&raw mut (*self.inner.get()).drv) };
    }
}

/// The files `bind` and `unbind` in the directory of a driver, in place of the driver core's.
///
/// They do what those do (`bind_store()` and `unbind_store()` in `drivers/base/bus.c`); besides,
/// `bind` lets the driver know that it was asked for this device.
struct BindFiles<T>(PhantomData<T>);

impl<T: Driver> BindFiles<T> {
    const BIND: &'static bindings::driver_attribute = &Self::file(c"bind", Self::bind);
    const UNBIND: &'static bindings::driver_attribute = &Self::file(c"unbind", Self::unbind);

    const FILES: &'static [*mut bindings::attribute; 3] = &[
        // CAST: The attributes are only read; C has no const there.
        ptr::from_ref(&Self::BIND.attr).cast_mut(),
        ptr::from_ref(&Self::UNBIND.attr).cast_mut(),
        ptr::null_mut(),
    ];

    const GROUP: &'static bindings::attribute_group = &{
        let mut group: bindings::attribute_group = pin_init::zeroed();
        group.__bindgen_anon_2 = bindings::attribute_group__bindgen_ty_2 {
            // CAST: As above.
            attrs: Self::FILES.as_ptr().cast_mut(),
        };
        group
    };

    const GROUPS: &'static [*const bindings::attribute_group; 2] =
        &[ptr::from_ref(Self::GROUP), ptr::null()];

    const fn file(
        name: &'static CStr,
        store: unsafe extern "C" fn(*mut bindings::device_driver, *const c_char, usize) -> isize,
    ) -> bindings::driver_attribute {
        let mut file: bindings::driver_attribute = pin_init::zeroed();
        file.attr.name = as_char_ptr_in_const_context(name);
        file.attr.mode = 0o200;
        file.store = Some(store);
        file
    }

    /// # Safety
    ///
    /// `drv` is a driver registered by a `Registration<T>`, and `name` a C string of `len` bytes.
    unsafe extern "C" fn bind(
        drv: *mut bindings::device_driver,
        name: *const c_char,
        len: usize,
    ) -> isize {
        from_result(|| {
            // SAFETY: By the requirements of this function, for all three.
            unsafe {
                let dev = BusDevice::find(drv, name)?;
                if !bindings::nd_driver_matches(drv, dev.0.as_ptr()) {
                    return Err(ENODEV);
                }
                Registration::<T>::from_driver(drv).attach(drv, dev.0.as_ptr())?;
            }
            Ok(len as isize)
        })
    }

    /// # Safety
    ///
    /// As [`Self::bind`].
    unsafe extern "C" fn unbind(
        drv: *mut bindings::device_driver,
        name: *const c_char,
        len: usize,
    ) -> isize {
        from_result(|| {
            // SAFETY: By the requirements of this function. As in the driver core, the device's driver
            // is looked at without the device's lock.
            unsafe {
                let dev = BusDevice::find(drv, name)?;
                if !ptr::addr_eq((*dev.0.as_ptr()).driver, drv) {
                    return Err(ENODEV);
                }
                bindings::device_release_driver(dev.0.as_ptr());
            }
            Ok(len as isize)
        })
    }
}

/// A device that was found on a bus.
///
/// # Invariants
///
/// The device is valid, and this owns a reference to it.
struct BusDevice(NonNull<bindings::device>);

impl BusDevice {
    /// The device of that name on the bus of `drv`. Errors: `ENODEV`.
    ///
    /// # Safety
    ///
    /// `drv` is registered, and `name` a C string.
    unsafe fn find(drv: *mut bindings::device_driver, name: *const c_char) -> Result<Self> {
        // SAFETY: By the requirements of this function. The match function is what takes a name.
        let dev = unsafe {
            bindings::bus_find_device(
                (*drv).bus,
                ptr::null_mut(),
                name.cast(),
                Some(bindings::device_match_name),
            )
        };
        // INVARIANT: `bus_find_device()` took the reference.
        Ok(Self(NonNull::new(dev).ok_or(ENODEV)?))
    }
}

impl Drop for BusDevice {
    fn drop(&mut self) {
        // SAFETY: This owns a reference by the type invariants.
        unsafe { bindings::put_device(self.0.as_ptr()) };
    }
}

/// The media of a bound namespace, and what its driver keeps with it.
///
/// A reference to one is to be had only from a [`Revocable`] that is alive, or is being revoked.
#[pin_data]
pub(crate) struct Live<T> {
    media: Media,
    /// Whose mappings may map the media, if any do.
    inode: Option<Arc<AnonInode>>,
    huge_zero: SetOnce<HugeZeroPage>,
    #[pin]
    value: T,
}

impl<T> Revoke for Live<T> {
    /// Unmaps the media: nothing is inserted any more, since that takes a reference to this.
    fn revoked(&self) {
        if let Some(inode) = &self.inode {
            inode.unmap_all();
        }
    }
}

impl<T> Live<T> {
    /// The media.
    pub(crate) fn media(&self) -> &Media {
        &self.media
    }

    /// The namespace. No reference to it may be kept: libnvdimm frees the region under a namespace that
    /// outlives its removal.
    pub(crate) fn device(&self) -> &Device {
        // SAFETY: `self` is alive, and the namespace with it.
        unsafe { Device::from_raw(&raw mut (*self.media.namespace()).common.dev) }
    }

    /// The namespace's name, `namespace0.0`. Any context.
    pub(crate) fn name(&self) -> &BStr {
        BStr::from_bytes(name(self.device()).to_bytes())
    }

    /// `pages` page frames of the media from `pfn` on, to be mapped by mappings of the inode; `None` when
    /// they are not all of this media, or when there is no inode.
    pub(crate) fn frames(&self, pfn: usize, pages: NonZero<usize>) -> Option<Frames<'_>> {
        let inode = self.inode.as_deref()?;
        // SAFETY: `revoked()` unmaps the inode's mappings: before the namespace is disabled, and after the
        // last reference to `self`, without which nothing is inserted.
        unsafe { self.media.frames(pfn, pages, inode) }
    }

    /// Allocates what [`Live::huge_zero`] gives, unless that was done; whether it is there now. Sleeps.
    pub(crate) fn make_huge_zero(&self) -> bool {
        if self.huge_zero.as_ref().is_none() {
            if let Ok(zero) = HugeZeroPage::new() {
                // If another was faster, this one is dropped.
                self.huge_zero.populate(zero);
            }
        }
        self.huge_zero.as_ref().is_some()
    }

    /// Zeroes of the size of a PMD leaf, to be mapped by mappings of the inode, if
    /// [`Live::make_huge_zero`] has made them. Any context.
    pub(crate) fn huge_zero(&self) -> Option<ZeroFrames<'_>> {
        let inode = self.inode.as_deref()?;
        let zero = self.huge_zero.as_ref()?;
        // SAFETY: `revoked()` unmaps the inode's mappings, before `self` is dropped and the page with it.
        Some(unsafe { zero.frames(inode) })
    }

    /// Makes another value that can be used until the driver is unbound, or until it is revoked, and then
    /// no mapping of `inode` maps the media any more. Sleeps.
    ///
    /// Errors: `ENOMEM`, and those of `value`.
    pub(crate) fn publish<U: Send + Sync + 'static>(
        &self,
        inode: Arc<AnonInode>,
        value: impl PinInit<U, Error>,
    ) -> Result<Arc<Revocable<Live<U>>>> {
        // SAFETY: `self` is alive, so that the namespace is bound and enabled, and its devres is not
        // being released: that begins with revoking `self`.
        unsafe {
            publish(
                self.media.namespace(),
                self.media.windows(),
                Some(inode),
                value,
                Classes {
                    readers: static_lock_class!(),
                    revoking: static_lock_class!(),
                },
            )
        }
    }

    /// Forgets a value that [`Live::publish`] made of the same media, and that is revoked: nothing of it
    /// is kept until the driver is unbound.
    pub(crate) fn forget<U: Send + Sync + 'static>(&self, other: &Arc<Revocable<Live<U>>>) {
        let live = Arc::as_ptr(other).cast_mut().cast();
        // SAFETY: `self` is alive, and the namespace with it. `matches()` is called for resources of
        // `RELEASE` only. What is found has the address of `other`, so that it is a `Published` for a
        // `Revocable<Live<U>>`, whose reference is ours to give back once it is no resource any more.
        unsafe {
            let dev = &raw mut (*self.media.namespace()).common.dev;
            let found = bindings::devres_remove(dev, Some(RELEASE), Some(Published::matches), live);
            if !found.is_null() {
                let revoke = (*found.cast::<Published>()).revoke;
                bindings::devres_free(found);
                revoke(live);
            }
        }
    }
}

impl<T> Deref for Live<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Makes a value that is revoked at the latest when the bus releases the memory of `nsio`.
///
/// # Safety
///
/// `nsio` is a namespace that is enabled, and bound or being bound to this driver; `windows` are its
/// mappings.
unsafe fn publish<T: Send + Sync + 'static>(
    nsio: *mut bindings::nd_namespace_io,
    windows: Windows,
    inode: Option<Arc<AnonInode>>,
    value: impl PinInit<T, Error>,
    classes: Classes,
) -> Result<Arc<Revocable<Live<T>>>> {
    // SAFETY: The namespace is enabled by the requirements of this function; its mapping, its list of
    // bad blocks and its region are there until devres releases them, after the resource added below
    // has revoked `live`.
    let media = unsafe {
        let region = bindings::to_nd_region((*nsio).common.dev.parent);
        Media::new(nsio, windows, region)
    };
    let live = Arc::pin_init(
        Revocable::new(
            try_pin_init!(Live {
                media,
                inode,
                huge_zero: SetOnce::new(),
                value <- value,
            }),
            classes,
        ),
        GFP_KERNEL,
    )?;
    // SAFETY: `nsio` is valid and bound by the requirements of this function. The resource is ours until
    // it is added; it gets a reference of its own, which `revoke()` gives back.
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
        bindings::devres_add(&raw mut (*nsio).common.dev, found);
    }
    Ok(live)
}

/// A resource of the namespace's device: a value that [`publish`] made.
///
/// # Invariants
///
/// `live` is an `Arc<Revocable<Live<T>>>` made into a pointer, and `revoke` is [`revoke`] for that `T`.
struct Published {
    revoke: unsafe fn(*mut c_void),
    live: *mut c_void,
}

/// The release function of each [`Published`], by which devres finds them.
///
/// Compared and passed as the value of a static: a function may have several addresses, which may
/// also be those of others. A `revoke::<T>` would have one for each unit of code that uses it.
static RELEASE: unsafe extern "C" fn(*mut bindings::device, *mut c_void) = Published::release;

impl Published {
    /// # Safety
    ///
    /// `resource` is a [`Published`] that is no resource of its device any more.
    unsafe extern "C" fn release(_dev: *mut bindings::device, resource: *mut c_void) {
        // SAFETY: By the requirements of this function and the type invariants.
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
        // SAFETY: By the requirements of this function.
        unsafe { ((*resource.cast::<Self>()).live == live).into() }
    }
}

/// Revokes a value that [`publish`] made, and gives back the reference of its [`Published`].
///
/// # Safety
///
/// `live` is an `Arc<Revocable<Live<T>>>` made into a pointer, which this takes back.
unsafe fn revoke<T>(live: *mut c_void) {
    // SAFETY: By the requirements of this function.
    let live = unsafe { Arc::from_raw(live.cast_const().cast::<Revocable<Live<T>>>()) };
    live.revoke(|_| ());
}

/// What identifies a namespace that is being bound.
///
/// As text: the UUID if it has one, otherwise the name.
pub(crate) struct Identity<'a> {
    device: &'a Device,
    uuid: Option<[u8; bindings::RDAX_UUID_SIZE as usize]>,
    size: u64,
}

impl Identity<'_> {
    /// # Safety
    ///
    /// `dev` is a valid namespace (not a btt, pfn or dax device), whose device lock is held as long as
    /// this exists.
    unsafe fn new(dev: *mut bindings::device) -> Self {
        let mut uuid = [0; bindings::RDAX_UUID_SIZE as usize];
        // SAFETY: By the requirements of this function, and `uuid` has room for what is written. The
        // namespace lies in an `nd_namespace_io` (`to_nd_namespace_io()`), whose resource changes
        // only under the device lock.
        unsafe {
            let has_uuid = bindings::nd_namespace_uuid(dev, uuid.as_mut_ptr());
            let common = container_of!(dev, bindings::nd_namespace_common, dev);
            let io: *mut bindings::nd_namespace_io =
                container_of!(common, bindings::nd_namespace_io, common);
            let res = &raw const (*io).res;
            Self {
                device: Device::from_raw(dev),
                uuid: has_uuid.then_some(uuid),
                // As `resource_size()`: a namespace without memory ends before it starts.
                size: (*res).end.wrapping_sub((*res).start).wrapping_add(1),
            }
        }
    }

    /// Its device.
    pub(crate) fn device(&self) -> &Device {
        self.device
    }

    /// The name in sysfs, `namespace0.0`.
    pub(crate) fn name(&self) -> &[u8] {
        name(self.device).to_bytes()
    }

    /// The UUID in its labels, in lower case, if it has one.
    pub(crate) fn uuid(&self) -> Option<&[u8]> {
        // Without the 0 at its end.
        self.uuid.as_ref()?.split_last().map(|(_, text)| text)
    }

    /// The number of bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

impl fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.uuid().unwrap_or_else(|| self.name());
        fmt::Display::fmt(BStr::from_bytes(text), f)
    }
}

/// A namespace, enabled for the driver that is being bound to it.
///
/// # Invariants
///
/// - `common` is a namespace (not a btt, pfn or dax device), whose device lock is held and which no
///   other personality has claimed.
/// - It is enabled: its memory is reserved and mapped (write-back) by `windows` until the driver is
///   unbound.
pub(crate) struct Namespace<'a> {
    common: *mut bindings::nd_namespace_common,
    windows: Windows,
    _bound: PhantomData<&'a bindings::nd_namespace_common>,
}

impl Namespace<'_> {
    /// Checks what `dev` is, and enables it.
    ///
    /// Errors: `ENODEV` for what is not a namespace, is not wanted, is smaller than libnvdimm
    /// allows or has no UUID yet; `EBUSY` when a btt, pfn or dax device has claimed it; `EACCES`
    /// when a DIMM is locked; those of `devm_nsio_enable()`.
    ///
    /// # Safety
    ///
    /// `dev` must be a device on the nd bus being bound to this driver.
    unsafe fn new(
        dev: *mut bindings::device,
        wants: impl FnOnce(&Identity<'_>) -> bool,
    ) -> Result<Self> {
        // btt and pfn devices have the same type number on the bus, and are no
        // `nd_namespace_common` (`to_nd_device_type()`). Their device types are not exported.
        //
        // SAFETY: A device on the bus has a type, and that a name, a C string.
        let type_name = unsafe { CStr::from_char_ptr((*(*dev).type_).name) };
        if type_name != c"nd_namespace_io" && type_name != c"nd_namespace_pmem" {
            return Err(ENODEV);
        }

        // SAFETY: `dev` is a namespace by its type. The bus holds its lock.
        if !wants(&unsafe { Identity::new(dev) }) {
            return Err(ENODEV);
        }

        // SAFETY: By its type, `dev` lies in an `nd_namespace_common`.
        let common = unsafe { container_of!(dev, bindings::nd_namespace_common, dev) };
        // SAFETY: As above. `claim` changes under the device lock, which is held.
        if !unsafe { (*common).claim }.is_null() {
            return Err(EBUSY);
        }
        // SAFETY: `dev` is a device on the bus being bound.
        let common = from_err_ptr(unsafe { bindings::nvdimm_namespace_common_probe(dev) })?;
        // SAFETY: `common` is what the common probe returned.
        let windows = unsafe { Self::enable(common) }?;
        // INVARIANT: Enabled just above.
        Ok(Self {
            common,
            windows,
            _bound: PhantomData,
        })
    }

    /// Reserves the memory of a namespace and maps it, until the driver is unbound.
    ///
    /// Errors: those of `devm_nsio_enable()` and `devm_memremap()`, `EBUSY`.
    ///
    /// # Safety
    ///
    /// `common` is a namespace being bound, not enabled yet.
    unsafe fn enable(common: *mut bindings::nd_namespace_common) -> Result<Windows> {
        // SAFETY: As in `io()`. The resource does not change while the device lock is held.
        unsafe {
            let dev = &raw mut (*common).dev;
            let nsio: *mut bindings::nd_namespace_io =
                container_of!(common, bindings::nd_namespace_io, common);
            let (start, end) = ((*nsio).res.start, (*nsio).res.end);
            let size = usize::try_from(end - start + 1)?;
            let first = (start.next_multiple_of(LEAF) - start) as usize;
            let seam = match first {
                0 => size,
                first => first.min(size),
            };
            to_result(bindings::devm_namespace_enable(dev, common, seam as u64))?;
            let rest = match size - seam {
                0 => ptr::null_mut(),
                rest => Self::map(dev, start + seam as u64, rest)?,
            };
            Ok(Windows::new((*nsio).addr.cast(), seam, rest, size))
        }
    }

    /// As `devm_nsio_enable()` does for what it is told of.
    ///
    /// # Safety
    ///
    /// `dev` is a namespace being bound, which has these `len` bytes from the physical address `start` on.
    unsafe fn map(dev: *mut bindings::device, start: u64, len: usize) -> Result<*mut u8> {
        // SAFETY: By the requirements of this function.
        unsafe {
            let name = bindings::dev_name(dev);
            let iomem = &raw mut bindings::iomem_resource;
            if bindings::__devm_request_region(dev, iomem, start, len as u64, name).is_null() {
                return Err(EBUSY);
            }
            let mapped = bindings::devm_memremap(dev, start, len, bindings::MEMREMAP_WB as usize);
            Ok(from_err_ptr(mapped)?.cast())
        }
    }

    fn io(&self) -> *mut bindings::nd_namespace_io {
        // SAFETY: Every namespace that libnvdimm has lies in an `nd_namespace_io`
        // (`to_nd_namespace_io()`).
        unsafe { container_of!(self.common, bindings::nd_namespace_io, common) }
    }

    /// Where it lies: the physical address of the first byte, and the number of bytes.
    fn resource(&self) -> (u64, u64) {
        // SAFETY: `common` is valid by the type invariants; `res` does not change while the device
        // lock is held.
        unsafe {
            let res = &raw const (*self.io()).res;
            ((*res).start, (*res).end - (*res).start + 1)
        }
    }

    /// The physical address of the first byte.
    pub(crate) fn start(&self) -> u64 {
        self.resource().0
    }

    /// The number of bytes.
    pub(crate) fn size(&self) -> u64 {
        self.resource().1
    }

    /// Its device.
    pub(crate) fn device(&self) -> &Device {
        // SAFETY: `common` and so the device in it are valid by the type invariants.
        unsafe { Device::from_raw(&raw mut (*self.common).dev) }
    }

    /// What identifies it. Process context.
    pub(crate) fn identity(&self) -> Identity<'_> {
        // SAFETY: `common` is a namespace, whose device lock is held, by the type invariants.
        unsafe { Identity::new(&raw mut (*self.common).dev) }
    }

    /// The node of the machine that it is nearest to; -1 when not known.
    pub(crate) fn numa_node(&self) -> i32 {
        // SAFETY: As above.
        unsafe { bindings::dev_to_node(&raw const (*self.common).dev) }
    }

    /// Whether `MAP_SYNC` can be kept: stores are durable once user space has flushed them.
    pub(crate) fn is_synchronous(&self) -> bool {
        // SAFETY: The parent of a namespace is its region.
        unsafe {
            let region = bindings::to_nd_region((*self.common).dev.parent);
            bindings::is_nvdimm_sync(region)
        }
    }

    /// Whether its region is read-only now. Sleeps.
    ///
    /// When that changes later, [`Driver::set_read_only`] is called.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: The parent of a namespace is its region.
        unsafe { is_read_only((*self.common).dev.parent) }
    }

    /// Whether it is unknown what makes writes durable: libnvdimm knows no DIMMs of the region
    /// (`nvdimm_has_flush()`), as with legacy pmem of the e820 map, and the host does not flush it either.
    pub(crate) fn is_flush_unknown(&self) -> bool {
        // SAFETY: The parent of a namespace is its region.
        let has_flush = unsafe {
            let region = bindings::to_nd_region((*self.common).dev.parent);
            bindings::nvdimm_has_flush(region)
        };
        // virtio-pmem has no DIMMs, but a flush of its own, which this C function does not look at then.
        has_flush < 0 && self.is_synchronous()
    }

    /// Whether memory errors in a part of it are not told to us: `memory_failure()` does not ask whose
    /// frames they are where a section of the memory map (128 MiB) has ordinary memory, too.
    pub(crate) fn shares_section(&self) -> bool {
        let (start, size) = self.resource();
        // A section that begins and ends in the namespace has nothing else.
        [start, start + (size - 1)].iter().any(|address| {
            let pfn = (address >> bindings::PAGE_SHIFT) as usize;
            // SAFETY: The C function takes any number. The media itself has no pages.
            unsafe { bindings::pfn_valid(pfn) }
        })
    }

    /// Makes a value that can be used until the driver is unbound, together with the media.
    ///
    /// When the bus releases the namespace's memory, the value has been revoked, whatever the driver
    /// did: devres releases this before. Sleeps.
    ///
    /// Errors: `ENOMEM`, and those of `value`.
    pub(crate) fn publish<T: Send + Sync + 'static>(
        &self,
        value: impl PinInit<T, Error>,
    ) -> Result<Arc<Revocable<Live<T>>>> {
        // SAFETY: The namespace is enabled, and being bound, by the type invariants.
        unsafe {
            publish(
                self.io(),
                self.windows,
                None,
                value,
                Classes {
                    readers: static_lock_class!(),
                    revoking: static_lock_class!(),
                },
            )
        }
    }

    /// Reads from the media at `offset` bytes into `buf`.
    ///
    /// Errors: `EIO` at a bad block, `EFBIG` beyond the end.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result {
        // SAFETY: The namespace is enabled and mapped so by the type invariants; its parent is its region.
        let media = unsafe {
            let region = bindings::to_nd_region((*self.common).dev.parent);
            Media::new(self.io(), self.windows, region)
        };
        if media.is_bad(offset, buf.len()) {
            return Err(EIO);
        }
        // SAFETY: `read()` only writes what is initialised (CAST: `MaybeUninit<u8>` is transparent).
        let buf = unsafe { &mut *(ptr::from_mut(buf) as *mut [MaybeUninit<u8>]) };
        media.read(offset, buf)?;
        Ok(())
    }
}
