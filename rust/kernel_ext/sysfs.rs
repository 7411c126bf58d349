// SPDX-License-Identifier: GPL-2.0

//! Read-only attributes of a device in sysfs.
//!
//! C headers: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h),
//! [`include/linux/device.h`](srctree/include/linux/device.h)

use super::bindings;
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    error::from_result,
    fmt,
    prelude::*,
    str::{
        as_char_ptr_in_const_context,
        Formatter, //
    }, //
};

/// How an attribute of a device of type `T` is shown.
pub(crate) trait Show<T> {
    /// Writes the value and a newline. May sleep.
    fn show(data: &T, out: &mut Formatter<'_>) -> fmt::Result;
}

/// An attribute that is one file.
///
/// # Invariants
///
/// Made for devices whose driver data points to a `T`.
#[repr(transparent)]
pub(crate) struct Attribute<T> {
    inner: bindings::device_attribute,
    _data: PhantomData<fn(&T)>,
}

// SAFETY: It is never written.
unsafe impl<T> Sync for Attribute<T> {}

impl<T> Attribute<T> {
    /// A file `name` with permission bits `mode`, shown by `S`.
    pub(crate) const fn new<S: Show<T>>(name: &'static CStr, mode: u16) -> Self {
        let mut inner: bindings::device_attribute = pin_init::zeroed();
        inner.attr.name = as_char_ptr_in_const_context(name);
        inner.attr.mode = mode;
        inner.__bindgen_anon_1 = bindings::device_attribute__bindgen_ty_1 {
            show: Some(Self::show::<S>),
        };
        Self {
            inner,
            _data: PhantomData,
        }
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
        // invariants), which `cdev::Node` keeps until the device, and so its files, are gone.
        let data = unsafe { &*bindings::dev_get_drvdata(dev).cast::<T>() };
        // SAFETY: By the requirements of this function.
        let buf = unsafe { core::slice::from_raw_parts_mut(buf, bindings::PAGE_SIZE) };
        let mut out = Formatter::new(buf);
        from_result(|| {
            S::show(data, &mut out).map_err(|_| EIO)?;
            Ok(out.bytes_written() as isize)
        })
    }
}

/// The attributes of one [`Group`]: `N` of them is one less than `LEN`, which ends in a null.
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
    /// The list of `attributes`; the place of the last must be `None`.
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

/// A directory of attributes, or those of the device's own directory.
#[repr(transparent)]
pub(crate) struct Group<T> {
    inner: bindings::attribute_group,
    _data: PhantomData<fn(&T)>,
}

// SAFETY: It is never written.
unsafe impl<T> Sync for Group<T> {}

impl<T> Group<T> {
    /// The `attributes`, in a directory of that `name` if there is one.
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

/// All groups of a device, ended by a null.
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
    /// The list of `groups`; the place of the last must be `None`.
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

    /// For [`cdev`](super::cdev), whatever the number of groups.
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
    pub(super) fn as_ptr(&self) -> *mut *const bindings::attribute_group {
        self.first
    }
}
