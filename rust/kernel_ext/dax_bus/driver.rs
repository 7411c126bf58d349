// SPDX-License-Identifier: GPL-2.0

//! A driver of devices on the dax bus.
//!
//! It has a type that the bus does not know. So the bus offers it only devices that a user has named
//! in the driver's file `new_id`, and neither loading the module nor a new device binds anything.

use crate::kernel_ext::{
    bindings,
    dax_bus::device::Unclaimed,
    fs::{
        chrdev::Chrdev,
        debugfs::Dir,
        file_operations::FileOperations,
        sysfs::GroupList, //
    },
    media::live, //
};
use core::ptr;
use kernel::{
    container_of,
    error::{
        from_result,
        to_result, //
    },
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    types::Opaque,
    ThisModule, //
};

/// What is known of the bus's private structures, and so whether a driver can be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bus {
    /// They are as `helpers/dax_bus.h` has them.
    Known,
    /// They differ.
    Differs,
    /// Neither the kernel's BTF nor its source was there to compare with.
    Unknown,
    /// The kernel has no dax bus.
    Absent,
}

impl Bus {
    /// Compares them. Sleeps.
    pub(crate) fn find() -> Self {
        // SAFETY: The C function takes no arguments.
        match unsafe { bindings::dax_bus() } {
            bindings::rdax_dax_bus_RDAX_DAX_BUS_KNOWN => Self::Known,
            bindings::rdax_dax_bus_RDAX_DAX_BUS_DIFFERS => Self::Differs,
            bindings::rdax_dax_bus_RDAX_DAX_BUS_ABSENT => Self::Absent,
            _ => Self::Unknown,
        }
    }
}

/// The data of a device's attributes.
type Attributes<T> = <<T as DaxDriver>::File as FileOperations>::Attributes;

/// What a driver makes of a device that it binds.
pub(crate) struct Parts<T: DaxDriver> {
    /// What the opens of the node find.
    pub(crate) file: Arc<T::File>,
    /// What attributes and files in debugfs show.
    pub(crate) attributes: Arc<Attributes<T>>,
    /// The driver's own.
    pub(crate) data: T::Data,
}

/// A driver of devices on the dax bus.
pub(crate) trait DaxDriver: Send + Sync + Sized + 'static {
    /// What the files of a node share.
    type File: FileOperations;

    /// Dropped when the device is unbound, after its node and its attributes are gone, and while
    /// its memory still exists.
    type Data: Send + Sync + 'static;

    /// The name of the driver on the bus.
    const NAME: &'static CStr;

    /// Returns the attributes in the directory of each bound device.
    fn groups() -> GroupList<Attributes<Self>>;

    /// Returns the directory in debugfs for those of devices.
    fn debugfs(&self) -> Arc<Dir>;

    /// Binds a device. Process context, may sleep; the device lock is held.
    fn probe(&self, device: Unclaimed<'_>) -> Result<Parts<Self>>;

    /// Called at a shutdown of the machine; the device stays bound. Process context, may sleep; the
    /// device lock is held.
    fn shutdown(data: &Self::Data);
}

/// A bound device.
struct Bound<T: DaxDriver> {
    /// Its address, which is never dereferenced.
    device: usize,
    node: Chrdev<T::File>,
    views: Dir,
    data: T::Data,
    attributes: Arc<Attributes<T>>,
}

/// A driver, registered on the bus while this exists. A module has at most one.
///
/// # Invariants
///
/// `inner` is registered, with the callbacks below, and lies in a `Registration<T>`.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T: DaxDriver> {
    #[pin]
    inner: Opaque<bindings::rdax_dax_driver>,
    driver: T,
    #[pin]
    bound: Mutex<KVec<KBox<Bound<T>>>>,
}

// SAFETY: A driver may be registered and unregistered from any thread.
unsafe impl<T: DaxDriver> Send for Registration<T> {}

// SAFETY: `driver` is `Sync`, `bound` is protected by a mutex, and no method on `&self` uses
// `inner`.
unsafe impl<T: DaxDriver> Sync for Registration<T> {}

impl<T: DaxDriver> Registration<T> {
    /// Registers `driver`. Sleeps.
    ///
    /// Errors: `EOPNOTSUPP` if the bus's structures are not [`Bus::Known`]; those of
    /// `driver_register()`.
    pub(crate) fn new(driver: T, module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            driver,
            bound <- new_mutex!(KVec::new(), "rdax_bound"),
            // INVARIANT: Registered here, in this `Registration`, or construction fails. The other
            // fields are initialised before.
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::rdax_dax_driver| {
                if Bus::find() != Bus::Known {
                    return Err(crate::kernel_ext::error::eopnotsupp());
                }
                // SAFETY: `slot` is valid for writes and pinned until `drop()`, which unregisters;
                // the name is static. The structure is the bus's, as compared just above.
                unsafe {
                    slot.write(pin_init::zeroed());
                    (*slot).drv.dev_groups = T::groups().as_ptr();
                    (*slot).drv.shutdown = Some(Self::shutdown_callback);
                    (*slot).probe = Some(Self::probe_callback);
                    (*slot).remove = Some(Self::remove_callback);
                    to_result(bindings::dax_bus_register(
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
    /// `dev` has a driver registered by a `Registration<T>`.
    unsafe fn of_device<'a>(dev: *mut bindings::device) -> &'a Self {
        // SAFETY: By the type invariants the device's driver lies in an `rdax_dax_driver`, and that
        // in a `Registration<T>` (CAST: `Opaque` is transparent).
        unsafe {
            let drv = container_of!((*dev).driver, bindings::rdax_dax_driver, drv);
            &*container_of!(drv.cast::<Opaque<_>>(), Self, inner)
        }
    }

    fn probe(&self, dev: *mut bindings::device, device: Unclaimed<'_>) -> Result {
        let Parts {
            file,
            attributes,
            data,
        } = self.driver.probe(device)?;
        // SAFETY: `dev` is being bound. Its driver data belongs to this driver, and is kept by
        // `Bound` until `remove_callback()`, or, if the probe fails, until its views are removed
        // (CAST: only read).
        let (views, node) = unsafe {
            bindings::dev_set_drvdata(dev, Arc::as_ptr(&attributes).cast_mut().cast());
            let views = Dir::for_device(self.driver.debugfs(), dev, T::File::views());
            (views, Chrdev::new((*dev).devt, file)?)
        };
        let bound = KBox::new(
            Bound {
                device: dev as usize,
                node,
                views,
                data,
                attributes,
            },
            GFP_KERNEL,
        )?;
        let mut list = self.bound.lock();
        // If it fails, the mutex is unlocked before `bound` is dropped, which sleeps.
        list.reserve(1, GFP_KERNEL)?;
        list.push(bound, GFP_KERNEL)?;
        Ok(())
    }

    /// # Safety
    ///
    /// `raw` is being bound to a driver registered by a `Registration<T>`, with its lock held.
    unsafe extern "C" fn probe_callback(raw: *mut bindings::dev_dax) -> c_int {
        from_result(|| {
            // SAFETY: By the requirements of this function. `new()` has compared the structures, and
            // `Unclaimed` has checked that the driver is the registered one.
            let (device, dev, this) = unsafe {
                let device = Unclaimed::new(raw)?;
                let dev = bindings::dev_dax_device(raw);
                (device, dev, Self::of_device(dev))
            };
            // SAFETY: `dev` is being bound.
            unsafe { live::open(dev) }?;
            this.probe(dev, device).inspect_err(|_| {
                // SAFETY: `dev` is being bound, which has failed, and its views are gone.
                unsafe {
                    live::close(dev);
                    bindings::dev_set_drvdata(dev, ptr::null_mut());
                }
            })?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `raw` is being unbound after a probe by [`Self::probe_callback`] that succeeded.
    unsafe extern "C" fn remove_callback(raw: *mut bindings::dev_dax) {
        // SAFETY: By the requirements of this function.
        let (dev, this) = unsafe {
            let dev = bindings::dev_dax_device(raw);
            live::close(dev);
            (dev, Self::of_device(dev))
        };
        let found = {
            let mut bound = this.bound.lock();
            let index = bound.iter().position(|bound| bound.device == dev as usize);
            index.and_then(|index| bound.remove(index).ok())
        };
        let Some(bound) = found else {
            return;
        };
        // The driver core has removed the attributes. Now no open, then no file in debugfs finds
        // the data. devres releases the memory only after this returns.
        let Bound {
            node,
            views,
            data,
            attributes,
            ..
        } = KBox::into_inner(bound);
        drop(node);
        drop(views);
        // SAFETY: `dev` is being unbound.
        unsafe { bindings::dev_set_drvdata(dev, ptr::null_mut()) };
        drop(data);
        drop(attributes);
    }

    /// # Safety
    ///
    /// `dev` has a driver registered by a `Registration<T>`, and its lock is held.
    unsafe extern "C" fn shutdown_callback(dev: *mut bindings::device) {
        // SAFETY: By the requirements of this function.
        let this = unsafe { Self::of_device(dev) };
        let bound = this.bound.lock();
        if let Some(bound) = bound.iter().find(|bound| bound.device == dev as usize) {
            T::shutdown(&bound.data);
        }
    }
}

#[pinned_drop]
impl<T: DaxDriver> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the type invariants. All devices are unbound when this returns.
        unsafe { bindings::dax_bus_unregister(self.inner.get()) };
    }
}
