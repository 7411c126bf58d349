// SPDX-License-Identifier: GPL-2.0

//! Attributes of a device in sysfs.
//!
//! C headers: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h),
//! [`include/linux/device.h`](srctree/include/linux/device.h)

use crate::kernel_ext::bindings;
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    device::Device,
    error::{
        from_result,
        to_result, //
    },
    fmt,
    prelude::*,
    str::{
        as_char_ptr_in_const_context,
        CString,
        Formatter, //
    },
    sync::Arc, //
};

/// How an attribute of a device of type `T` is shown.
pub(crate) trait Show<T> {
    /// Writes the value and a newline. May sleep.
    fn show(data: &T, out: &mut Formatter<'_>) -> fmt::Result;
}

/// How a write to an attribute of a device of type `T` is handled.
pub(crate) trait Store<T> {
    /// Handles `text`, without its trailing newline. May sleep. It may remove another device's
    /// attributes, but not this one's.
    fn store(data: &T, text: &[u8]) -> Result;
}

/// An attribute that is one file.
///
/// # Invariants
///
/// Made for devices whose driver data points to a `T`.
#[repr(transparent)]
pub(crate) struct Attribute<T> {
    inner: bindings::rdax_device_attribute,
    _data: PhantomData<fn(&T)>,
}

// SAFETY: It is never written.
unsafe impl<T> Sync for Attribute<T> {}

impl<T> Attribute<T> {
    /// A file `name` with permission bits `mode`, shown by `S`.
    pub(crate) const fn new<S: Show<T>>(name: &'static CStr, mode: u16) -> Self {
        let mut inner: bindings::rdax_device_attribute = pin_init::zeroed();
        inner.attr.name = as_char_ptr_in_const_context(name);
        inner.attr.mode = mode;
        inner.show = Some(Self::show::<S>);
        Self {
            inner,
            _data: PhantomData,
        }
    }

    /// Makes it writable, too, with `S`.
    pub(crate) const fn writable<S: Store<T>>(mut self) -> Self {
        self.inner.store = Some(Self::store::<S>);
        self
    }

    /// A file `name` with permission bits `mode` that can only be written, with `S`.
    pub(crate) const fn write_only<S: Store<T>>(name: &'static CStr, mode: u16) -> Self {
        let mut inner: bindings::rdax_device_attribute = pin_init::zeroed();
        inner.attr.name = as_char_ptr_in_const_context(name);
        inner.attr.mode = mode;
        let this = Self {
            inner,
            _data: PhantomData,
        };
        this.writable::<S>()
    }

    /// # Safety
    ///
    /// `dev` is a registered device with this attribute; `buf` has `len` bytes.
    unsafe extern "C" fn store<S: Store<T>>(
        dev: *mut bindings::device,
        _attr: *mut bindings::device_attribute,
        buf: *const c_char,
        len: usize,
    ) -> isize {
        // SAFETY: The driver data of a device with this attribute points to a `T` (type
        // invariants), which stays until the device's files are gone.
        let data = unsafe { &*bindings::dev_get_drvdata(dev).cast::<T>() };
        // SAFETY: `buf` has `len` bytes by the requirements of this function.
        let text = unsafe { core::slice::from_raw_parts(buf, len) };
        from_result(|| {
            S::store(data, text.strip_suffix(b"\n").unwrap_or(text))?;
            Ok(len as isize)
        })
    }

    /// # Safety
    ///
    /// `dev` is a registered device with this attribute; `buf` is a page.
    unsafe extern "C" fn show<S: Show<T>>(
        dev: *mut bindings::device,
        _attr: *mut bindings::device_attribute,
        buf: *mut c_char,
    ) -> isize {
        // SAFETY: The driver data of a device with this attribute points to a `T` (type
        // invariants). `cdev::Node`, or `nd::Registration`, keeps it until the device, or its
        // binding, and so its files, are gone.
        let data = unsafe { &*bindings::dev_get_drvdata(dev).cast::<T>() };
        // SAFETY: `buf` is a page by the requirements of this function.
        let buf = unsafe { core::slice::from_raw_parts_mut(buf, bindings::PAGE_SIZE) };
        let mut out = Formatter::new(buf);
        from_result(|| {
            S::show(data, &mut out).map_err(|_| EIO)?;
            Ok(out.bytes_written() as isize)
        })
    }
}

/// The attributes of one [`Group`], at most `LEN` - 1, and a terminating null.
///
/// # Invariants
///
/// The pointers are to static [`Attribute<T>`]s; the last is null.
pub(crate) struct Attributes<T, const LEN: usize> {
    list: [*mut bindings::attribute; LEN],
    _data: PhantomData<fn(&T)>,
}

// SAFETY: It is never written.
unsafe impl<T, const LEN: usize> Sync for Attributes<T, LEN> {}

impl<T, const LEN: usize> Attributes<T, LEN> {
    /// Makes the list of `attributes`. The last element must be `None`.
    pub(crate) const fn new(attributes: [Option<&'static Attribute<T>>; LEN]) -> Self {
        let mut list = [ptr::null_mut(); LEN];
        let mut i = 0;
        while i < LEN {
            list[i] = match attributes[i] {
                // CAST: `Attribute` is transparent, and `attr` is the first field of
                // `struct device_attribute`.
                Some(attribute) => ptr::from_ref(attribute).cast_mut().cast(),
                None => ptr::null_mut(),
            };
            i += 1;
        }
        // INVARIANT: Filled just above. Evaluated at compile time, where this is an error.
        assert!(LEN > 0 && attributes[LEN - 1].is_none());
        Self {
            list,
            _data: PhantomData,
        }
    }
}

/// The attributes in one directory: a subdirectory, or the device's own.
#[repr(transparent)]
pub(crate) struct Group<T> {
    inner: bindings::attribute_group,
    _data: PhantomData<fn(&T)>,
}

// SAFETY: It is never written.
unsafe impl<T> Sync for Group<T> {}

impl<T> Group<T> {
    /// Makes a group of the `attributes`, in a subdirectory `name` if there is one.
    pub(crate) const fn new<const LEN: usize>(
        name: Option<&'static CStr>,
        attributes: &'static Attributes<T, LEN>,
    ) -> Self {
        let mut inner: bindings::attribute_group = pin_init::zeroed();
        if let Some(name) = name {
            inner.name = as_char_ptr_in_const_context(name);
        }
        inner.__bindgen_anon_2 = bindings::attribute_group__bindgen_ty_2 {
            // CAST: The list is only read; C has no const there.
            attrs: attributes.list.as_ptr().cast_mut(),
        };
        Self {
            inner,
            _data: PhantomData,
        }
    }
}

/// All groups of a device, and a terminating null.
///
/// # Invariants
///
/// The pointers are to static [`Group<T>`]s; the last is null.
pub(crate) struct Groups<T, const LEN: usize> {
    list: [*const bindings::attribute_group; LEN],
    _data: PhantomData<fn(&T)>,
}

// SAFETY: It is never written.
unsafe impl<T, const LEN: usize> Sync for Groups<T, LEN> {}

impl<T, const LEN: usize> Groups<T, LEN> {
    /// Makes the list of `groups`. The last element must be `None`.
    pub(crate) const fn new(groups: [Option<&'static Group<T>>; LEN]) -> Self {
        let mut list = [ptr::null(); LEN];
        let mut i = 0;
        while i < LEN {
            list[i] = match groups[i] {
                // CAST: `Group` is transparent.
                Some(group) => ptr::from_ref(group).cast(),
                None => ptr::null(),
            };
            i += 1;
        }
        // INVARIANT: Filled just above. Evaluated at compile time, where this is an error.
        assert!(LEN > 0 && groups[LEN - 1].is_none());
        Self {
            list,
            _data: PhantomData,
        }
    }

    /// Returns the list for [`cdev`](super::cdev), without the number of groups in its type.
    pub(crate) const fn as_list(&'static self) -> GroupList<T> {
        // INVARIANT: From `self`, whose list is static and ends in a null.
        GroupList {
            // CAST: The list is only read; C has no const there.
            first: self.list.as_ptr().cast_mut(),
            _data: PhantomData,
        }
    }
}

/// A list of groups for a device whose driver data is a `T`.
///
/// # Invariants
///
/// `first` points to a static list of groups for `T` that ends in a null.
pub(crate) struct GroupList<T> {
    first: *mut *const bindings::attribute_group,
    _data: PhantomData<fn(&T)>,
}

impl<T> GroupList<T> {
    pub(in crate::kernel_ext) fn as_ptr(&self) -> *mut *const bindings::attribute_group {
        self.first
    }
}

/// A directory for links, in that of a device.
///
/// # Invariants
///
/// `kobj` is valid and in sysfs, and this owns it.
pub(crate) struct Directory {
    kobj: NonNull<bindings::kobject>,
}

// SAFETY: A kobject may be used and put from any thread.
unsafe impl Send for Directory {}
// SAFETY: There is no method that changes anything through `&self`.
unsafe impl Sync for Directory {}

impl Directory {
    /// Makes `<device>/<name>`. To be dropped before the device. Sleeps. Errors: `ENOMEM`.
    pub(crate) fn new(device: &Device, name: &'static CStr) -> Result<Self> {
        let dev: *mut bindings::device = ptr::from_ref(device).cast_mut().cast();
        // SAFETY: The device is valid (CAST: `Device` is transparent). It is registered, because
        // only a registered device can be bound.
        let kobj =
            unsafe { bindings::kobject_create_and_add(name.as_char_ptr(), &raw mut (*dev).kobj) };
        // INVARIANT: Made just above.
        Ok(Self {
            kobj: NonNull::new(kobj).ok_or(ENOMEM)?,
        })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: This owns the kobject by the type invariants. It has only links in it, which were
        // removed before.
        unsafe { bindings::kobject_put(self.kobj.as_ptr()) };
    }
}

/// A link in a [`Directory`].
pub(crate) struct Link {
    directory: Arc<Directory>,
    name: CString,
}

impl Link {
    /// Makes a link `name` to the directory of `target`. To be dropped before the target. Sleeps.
    ///
    /// Errors: `ENOMEM`, `EEXIST`; `ENOENT` if the device is not registered.
    pub(crate) fn new(directory: Arc<Directory>, target: &Device, name: CString) -> Result<Self> {
        // SAFETY: The directory is valid by its invariants, and so is the device (CAST: `Device` is
        // transparent). The link pins what it needs of both directories.
        to_result(unsafe {
            let target: *mut bindings::device = ptr::from_ref(target).cast_mut().cast();
            bindings::sysfs_create_link(
                directory.kobj.as_ptr(),
                &raw mut (*target).kobj,
                name.as_char_ptr(),
            )
        })?;
        Ok(Self { directory, name })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // SAFETY: The link was made in this directory.
        unsafe {
            bindings::sysfs_remove_link(self.directory.kobj.as_ptr(), self.name.as_char_ptr())
        };
    }
}
