// SPDX-License-Identifier: GPL-2.0

//! A driver of NVDIMM namespaces, and its files `bind` and `unbind`.
//!
//! C header: [`include/linux/nd.h`](srctree/include/linux/nd.h)

use crate::kernel_ext::{
    bindings,
    fs::sysfs::GroupList,
    media::live,
    nvdimm::{
        namespace::{
            Identity,
            Namespace, //
        },
        region::is_read_only, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    container_of,
    error::{
        from_result,
        to_result, //
    },
    new_mutex,
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::Mutex,
    task::Pid,
    types::{
        ForeignOwnable,
        Opaque, //
    },
    ThisModule, //
};

/// The origin of a request to bind a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The bus: it offers namespaces when a driver or a namespace appears, or when its
    /// `drivers_probe` is written.
    Bus,
    /// A user: by a write to the driver's `bind` file.
    User,
}

/// A driver for namespaces.
pub(crate) trait NvdimmDriver: Send + Sync + Sized + 'static {
    /// The driver data of a bound namespace. Dropped when it is unbound, while the namespace's
    /// resources still exist.
    type Data: Send + Sync + 'static;

    /// The name of the driver on the bus.
    const NAME: &'static CStr;

    /// Returns the attributes in the directory of each bound namespace.
    fn groups() -> GroupList<Self::Data>;

    /// Whether the namespace may be offered at all. Called before anything else about it is
    /// checked. Process context, may sleep; the device lock is held.
    fn wants(&self, identity: &Identity<'_>, origin: Origin) -> bool;

    /// Binds a namespace. Process context, may sleep; the device lock is held.
    fn probe(&self, namespace: &Namespace<'_>) -> Result<Pin<KBox<Self::Data>>>;

    /// Called at a shutdown of the machine; the namespace stays bound. Process context, may sleep;
    /// the device lock is held.
    fn shutdown(data: &Self::Data);

    /// Called when libnvdimm has learnt of bad blocks in the region. Process context, may sleep;
    /// the device lock is held.
    fn poisoned(data: &Self::Data);

    /// Called after a write to the region's attribute `read_only`. Process context, may sleep; the
    /// device lock is held.
    fn set_read_only(data: &Self::Data, read_only: bool);
}

/// A driver, registered on the bus while this exists.
///
/// # Invariants
///
/// `inner` is registered, with the callbacks below, and lies in a `Registration<T>`.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T: NvdimmDriver> {
    #[pin]
    inner: Opaque<bindings::nd_device_driver>,
    driver: T,
    /// The requests of users that are being served.
    #[pin]
    asked: Mutex<KVec<Asked>>,
}

// SAFETY: A driver may be registered and unregistered from any thread.
unsafe impl<T: NvdimmDriver> Send for Registration<T> {}

// SAFETY: `driver` is `Sync`, `asked` is protected by a mutex, and no method on `&self` uses
// `inner`.
unsafe impl<T: NvdimmDriver> Sync for Registration<T> {}

/// A running write to `bind`: the task that writes, and the device that it named.
///
/// A probe is a user's request only in that task and for that device. The task alone does not tell,
/// because the driver core may probe a new device in the task that made it appear, if
/// `async_schedule()` has no memory or too much to do.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Asked {
    task: Pid,
    /// The address, which is never dereferenced.
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

impl<T: NvdimmDriver> Registration<T> {
    /// Registers `driver`. Before this returns, every namespace without a driver is offered to it,
    /// with [`Origin::Bus`].
    ///
    /// The driver's files `bind` and `unbind` are [`BindFiles`], and work as those of other
    /// drivers.
    ///
    /// Sleeps. Errors: those of `driver_register()`.
    pub(crate) fn new(driver: T, module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            driver,
            asked <- new_mutex!(KVec::new(), "rdax_asked"),
            // INVARIANT: Registered here, in this `Registration`, or construction fails. The other
            // fields are initialised before, because probing begins at once.
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::nd_device_driver| {
                // SAFETY: `slot` is valid for writes and pinned until `drop()`, which
                // unregisters; the name is static.
                unsafe {
                    slot.write(pin_init::zeroed());
                    (*slot).drv.name = T::NAME.as_char_ptr();
                    // Synchronous, because `origin()` depends on the task in which a probe runs.
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
        // SAFETY: By the type invariants the driver lies in an `nd_device_driver`, and that in a
        // `Registration<T>` (CAST: `Opaque` is transparent).
        unsafe {
            let drv = container_of!(drv, bindings::nd_device_driver, drv);
            &*container_of!(drv.cast::<Opaque<_>>(), Self, inner)
        }
    }

    /// Returns the origin of the request for `dev`, which is being probed in this task.
    fn origin(&self, dev: *mut bindings::device) -> Origin {
        match self.asked.lock().contains(&Asked::here(dev)) {
            true => Origin::User,
            false => Origin::Bus,
        }
    }

    /// Binds `dev` at a user's request. Sleeps.
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
        // SAFETY: `drv` is registered and `dev` valid, by the requirements of this function.
        let attached = to_result(unsafe { bindings::device_driver_attach(drv, dev) });
        // A task does one write at a time, so this removes only its own request.
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
            // SAFETY: The bus hands in a valid device, which is being bound, and holds its lock.
            let namespace = unsafe {
                live::open(dev)?;
                Namespace::new(dev, wants)?
            };
            let data = this.driver.probe(&namespace).inspect_err(|_| {
                // SAFETY: The probe of `dev` has failed.
                unsafe { live::close(dev) };
            })?;
            // SAFETY: `dev` is valid, and its driver data belongs to this driver while it is bound.
            unsafe { bindings::dev_set_drvdata(dev, data.into_foreign()) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `dev` is being unbound after a probe by [`Self::probe_callback`] that succeeded.
    unsafe extern "C" fn remove_callback(dev: *mut bindings::device) {
        // SAFETY: `probe_callback()` stored the data, because only a device whose probe succeeded
        // is removed. devres releases the namespace's mapping only after this returns.
        unsafe {
            live::close(dev);
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
        // SAFETY: The device lock is held by the requirements of this function, so `dev` stays
        // bound, or unbound. The driver data is what `probe_callback()` stored, or null.
        unsafe {
            let data = bindings::dev_get_drvdata(dev);
            if !data.is_null() {
                f(&<Pin<KBox<T::Data>> as ForeignOwnable>::borrow(data));
            }
        }
    }

    /// # Safety
    ///
    /// `dev` has a driver registered by a `Registration<T>`, and its lock is held.
    unsafe extern "C" fn shutdown_callback(dev: *mut bindings::device) {
        // SAFETY: `dev` is such a device, by the requirements of this function.
        unsafe { Self::with_data(dev, T::shutdown) };
    }

    /// # Safety
    ///
    /// `dev` has a driver registered by a `Registration<T>`, and its lock is held.
    unsafe extern "C" fn notify_callback(
        dev: *mut bindings::device,
        event: bindings::nvdimm_event,
    ) {
        // SAFETY: `dev` is such a device, by the requirements of this function. The parent of a
        // namespace is its region.
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
impl<T: NvdimmDriver> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the type invariants. All devices are unbound when this returns.
        unsafe { bindings::driver_unregister(&raw mut (*self.inner.get()).drv) };
    }
}

/// The files `bind` and `unbind` in the directory of a driver, in place of the driver core's.
///
/// They do what those do (`bind_store()` and `unbind_store()` in `drivers/base/bus.c`). In
/// addition, `bind` tells the driver which device was requested.
struct BindFiles<T>(PhantomData<T>);

impl<T: NvdimmDriver> BindFiles<T> {
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
            // CAST: The list of files is only read; C has no const there.
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
    /// `drv` is a driver registered by a `Registration<T>`, and `name` a C string of `len` bytes.
    unsafe extern "C" fn unbind(
        drv: *mut bindings::device_driver,
        name: *const c_char,
        len: usize,
    ) -> isize {
        from_result(|| {
            // SAFETY: `drv` is registered and `name` a C string, by the requirements of this
            // function. As in the driver core, the device's driver is read without the device's
            // lock.
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
    /// Finds the device of that name on the bus of `drv`. Errors: `ENODEV`.
    ///
    /// # Safety
    ///
    /// `drv` is registered, and `name` a C string.
    unsafe fn find(drv: *mut bindings::device_driver, name: *const c_char) -> Result<Self> {
        // SAFETY: `drv` is registered, by the requirements of this function. The match function
        // takes a name.
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
