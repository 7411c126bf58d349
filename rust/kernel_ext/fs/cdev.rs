// SPDX-License-Identifier: GPL-2.0

//! Character devices of one class, whose files can be mapped.
//!
//! [`kernel::miscdevice`] has no module owner, no class, and no `->mmap_prepare()` (as of Linux
//! 7.3).
//!
//! Two lifetimes meet here. The driver core allocates and frees what C keeps after the device is
//! gone (the `struct device`, its kobject), so that no code of this module has to run then. An open
//! file holds a reference to the driver's data, and to the module.
//!
//! C headers: [`include/linux/cdev.h`](srctree/include/linux/cdev.h),
//! [`include/linux/device/class.h`](srctree/include/linux/device/class.h)

use crate::kernel_ext::{
    bindings,
    fs::file_operations::{
        FileOperations,
        FileVTable, //
    },
    ida::Ida, //
};
use core::ptr::NonNull;
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

/// The maximum number of devices: all minor numbers of a major number. Only those in use take
/// memory.
pub(crate) const MINORS: u32 = 1 << bindings::MINORBITS;

/// A registered class.
///
/// # Invariants
///
/// The pointer came from `class_create()`, and is not yet destroyed.
pub(in crate::kernel_ext) struct ClassHandle(pub(in crate::kernel_ext) NonNull<bindings::class>);

impl ClassHandle {
    pub(in crate::kernel_ext) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is static.
        let class = from_err_ptr(unsafe { bindings::class_create(name.as_char_ptr()) })?;
        // INVARIANT: Created just above.
        Ok(Self(NonNull::new(class).ok_or(ENOMEM)?))
    }
}

impl Drop for ClassHandle {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the class exists.
        unsafe { bindings::class_destroy(self.0.as_ptr()) };
    }
}

/// [`MINORS`] device numbers, the first of which has minor number 0.
///
/// # Invariants
///
/// They are allocated by `alloc_chrdev_region()`.
pub(in crate::kernel_ext) struct Numbers(pub(in crate::kernel_ext) bindings::dev_t);

impl Numbers {
    pub(in crate::kernel_ext) fn new(name: &'static CStr) -> Result<Self> {
        let mut first = 0;
        // SAFETY: `first` is valid for writes, and the name is static.
        to_result(unsafe {
            bindings::alloc_chrdev_region(&mut first, 0, MINORS, name.as_char_ptr())
        })?;
        // INVARIANT: Allocated just above.
        Ok(Self(first))
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the numbers are allocated.
        unsafe { bindings::unregister_chrdev_region(self.0, MINORS) };
    }
}

/// A registered `struct cdev`.
///
/// # Invariants
///
/// `inner` was added with `cdev_add()`.
#[pin_data(PinnedDrop)]
#[repr(transparent)]
pub(in crate::kernel_ext) struct Cdev {
    #[pin]
    inner: Opaque<bindings::cdev>,
}

impl Cdev {
    pub(in crate::kernel_ext) fn new(
        numbers: bindings::dev_t,
        fops: &'static bindings::file_operations,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Added here, or construction fails.
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::cdev| {
                // SAFETY: `slot` is valid for writes and pinned until `drop()`. The operations are
                // static. If `cdev_add()` fails, nothing refers to `slot`.
                unsafe {
                    bindings::cdev_init(slot, fops);
                    (*slot).owner = fops.owner;
                    to_result(bindings::cdev_add(slot, numbers, MINORS))
                }
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Cdev {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Added by the type invariants. The memory is that of a `Class`, which lives as
        // long as its module. No file is open any more, because each pins the module.
        unsafe { bindings::cdev_del(self.inner.get()) };
    }
}

/// A class of devices, and the `cdev` that serves all of them.
///
/// # Invariants
///
/// The operations of `cdev` are [`FileOperations<T>`]'s, and it lies in a `Class<T>`.
#[pin_data]
pub(crate) struct Class<T: FileOperations> {
    // Fields are dropped in this order: first no more opens, then the numbers, then the class.
    #[pin]
    pub(in crate::kernel_ext) cdev: Cdev,
    pub(in crate::kernel_ext) numbers: Numbers,
    pub(in crate::kernel_ext) class: ClassHandle,
    /// The minor numbers that are in use.
    #[pin]
    minors: Ida,
    /// The devices whose nodes can be opened, by minor number.
    #[pin]
    devices: Mutex<RBTree<usize, Arc<T>>>,
    pub(in crate::kernel_ext) name: &'static CStr,
}

// SAFETY: The class, the numbers and the cdev may be used and unregistered from any thread. The
// devices are `Send` and `Sync` by `FileOperations`.
unsafe impl<T: FileOperations> Send for Class<T> {}

// SAFETY: The locks of `minors` and `devices` protect what changes. The devices are `Send` and
// `Sync` by `FileOperations`.
unsafe impl<T: FileOperations> Sync for Class<T> {}

impl<T: FileOperations> Class<T> {
    /// Registers a class `class` for devices `/dev/<name>0`, `/dev/<name>1`, ...
    ///
    /// Sleeps. Errors: `ENOMEM`, `EBUSY` if no device numbers are left, `EEXIST` if the class
    /// exists. To be dropped in the module's exit, not before.
    pub(crate) fn new(class: &'static CStr, name: &'static CStr) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            class: ClassHandle::new(class)?,
            numbers: Numbers::new(name)?,
            minors <- Ida::new(),
            devices <- new_mutex!(RBTree::new(), "rdax_class_devices"),
            name,
            // INVARIANT: It lies in this `Class<T>`.
            cdev <- Cdev::new(numbers.0, FileVTable::<T>::build()),
        })
    }

    pub(in crate::kernel_ext) fn device_of(&self, minor: usize) -> Option<Arc<T>> {
        let devices = self.devices.lock();
        devices.get(&minor).cloned()
    }

    /// Gives `data` the minor number `wanted`, or the smallest free one. Sleeps.
    ///
    /// Errors: `EEXIST` if `wanted` is in use; `ENOSPC` if there is no such number, or none is
    /// left; `ENOMEM`.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        data: &Arc<T>,
        wanted: Option<usize>,
    ) -> Result<Minor<T>> {
        let number = match wanted {
            None => self.minors.take(0, MINORS - 1)?,
            Some(wanted) if wanted < MINORS as usize => self
                .minors
                .take(wanted as u32, wanted as u32)
                .map_err(|error| if error == ENOSPC { EEXIST } else { error })?,
            Some(_) => return Err(ENOSPC),
        };
        let minor = Minor {
            number: number as usize,
            class: self.clone(),
        };
        let stored =
            self.devices
                .lock()
                .try_create_and_insert(minor.number, data.clone(), GFP_KERNEL);
        // After the lock was dropped, because dropping `minor` takes it.
        stored?;
        Ok(minor)
    }

    /// Makes the device with that number impossible to open.
    pub(in crate::kernel_ext) fn forget(&self, minor: usize) {
        let device = self.devices.lock().remove(&minor);
        // Dropped without the lock held.
        drop(device);
    }
}

/// A minor number of a class, in use by a device.
pub(crate) struct Minor<T: FileOperations> {
    pub(in crate::kernel_ext) class: Arc<Class<T>>,
    pub(in crate::kernel_ext) number: usize,
}

impl<T: FileOperations> Minor<T> {
    /// Returns the number, which is also that in the node's name.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl<T: FileOperations> Drop for Minor<T> {
    fn drop(&mut self) {
        // If there was a node, its drop has done this already.
        self.class.forget(self.number);
        self.class.minors.give(self.number as u32);
    }
}
