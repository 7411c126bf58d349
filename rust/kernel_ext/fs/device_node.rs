// SPDX-License-Identifier: GPL-2.0

//! A device node, and its directories in sysfs and debugfs.
//!
//! C header: [`include/linux/device.h`](srctree/include/linux/device.h)

use crate::kernel_ext::{
    bindings,
    fs::{
        cdev::Minor,
        debugfs,
        file_operations::FileOperations,
        sysfs::{
            Directory,
            Link, //
        }, //
    }, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    device::Device,
    error::from_err_ptr,
    prelude::*,
    str::CString,
    sync::Arc, //
};

/// A device node, and its directory in sysfs.
///
/// While it exists the node can be opened. After it is dropped, no open succeeds, and no attribute
/// is being read. Open files continue to work, and keep the data.
///
/// # Invariants
///
/// `dev` is a registered device of `minor.class`, whose driver data points to `*_attributes`.
pub(crate) struct Node<T: FileOperations> {
    dev: NonNull<bindings::device>,
    views: Option<debugfs::Dir>,
    minor: Minor<T>,
    _attributes: Arc<T::Attributes>,
}

// SAFETY: A device may be unregistered from any thread. The rest is `Send` by `FileOperations`.
unsafe impl<T: FileOperations> Send for Node<T> {}

// SAFETY: There is no method that changes anything through `&self`.
unsafe impl<T: FileOperations> Sync for Node<T> {}

impl<T: FileOperations> Node<T> {
    /// Makes the node of the device whose number is `minor`, below `parent` in sysfs, with
    /// `attributes` there. Also makes its files below `views` in debugfs, unless there is no
    /// memory. Sleeps.
    ///
    /// Errors: `ENOMEM`.
    pub(crate) fn new(
        minor: Minor<T>,
        parent: &Device,
        attributes: Arc<T::Attributes>,
        views: Arc<debugfs::Dir>,
    ) -> Result<Self> {
        // SAFETY: Class and numbers are registered by their invariants. `parent` is valid (CAST:
        // `Device` is transparent). `_attributes` keeps the driver data until `drop()` unregisters
        // the device. The format takes a string and an unsigned.
        let dev = from_err_ptr(unsafe {
            bindings::device_create_with_groups(
                minor.class.class.0.as_ptr(),
                ptr::from_ref(parent).cast_mut().cast(),
                minor.class.numbers.0 + minor.number as bindings::dev_t,
                ptr::from_ref(&*attributes).cast_mut().cast(),
                T::groups().as_ptr(),
                c"%s%u".as_char_ptr(),
                minor.class.name.as_char_ptr(),
                minor.number as c_uint,
            )
        })?;
        // SAFETY: Registered just above, with `T::Attributes` as its driver data. `drop()` removes
        // the views first.
        let views = unsafe { debugfs::Dir::for_device(views, dev, T::views()) };
        // INVARIANT: Registered just above.
        Ok(Self {
            dev: NonNull::new(dev).ok_or(ENOMEM)?,
            views: Some(views),
            minor,
            _attributes: attributes,
        })
    }

    /// Returns its minor number.
    pub(crate) fn number(&self) -> usize {
        self.minor.number
    }

    /// Makes a link to the node's directory in sysfs, with the node's name. To be dropped before
    /// `self`. Sleeps. Errors: `ENOMEM`.
    pub(crate) fn link_from(&self, directory: Arc<Directory>) -> Result<Link> {
        let name = CString::try_from_fmt(fmt!("{}{}", self.minor.class.name, self.minor.number))?;
        // SAFETY: `dev` is registered by the type invariants.
        let dev: &Device = unsafe { Device::from_raw(self.dev.as_ptr()) };
        Link::new(directory, dev, name)
    }

    /// Tells user space that the device has changed (a uevent). Sleeps.
    pub(crate) fn changed(&self) {
        // SAFETY: `dev` is registered by the type invariants.
        unsafe {
            bindings::kobject_uevent(
                &raw mut (*self.dev.as_ptr()).kobj,
                bindings::kobject_action_KOBJ_CHANGE,
            )
        };
    }
}

impl<T: FileOperations> Drop for Node<T> {
    fn drop(&mut self) {
        self.views = None;
        // First no open may find the data, then the node is removed, and only then is the number
        // free.
        self.minor.class.forget(self.minor.number);
        // SAFETY: `dev` is registered by the type invariants.
        unsafe { bindings::device_unregister(self.dev.as_ptr()) };
    }
}
