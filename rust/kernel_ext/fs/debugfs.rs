// SPDX-License-Identifier: GPL-2.0

//! Files of a device in debugfs that need no code of the module once they are removed.
//!
//! The file operations of [`kernel::debugfs`] lie in the module and have no owner (as of Linux
//! 7.3), so a file that is open when the module is unloaded calls freed code. The operations used
//! here are debugfs's own (`debugfs_create_devm_seqfile()`). The callback is only called between
//! `debugfs_file_get()` and `debugfs_file_put()`, for which the removal waits. A file that stays
//! open after that reads `EIO`, and is closed without this module. An owner would not be enough: a
//! file opened with `O_PATH` does not pin the module, and opening it again through `/proc/self/fd`
//! reads the operations even after the file was removed.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use crate::kernel_ext::bindings;
use core::marker::PhantomData;
use kernel::{
    fmt,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::Arc, //
};

/// How a file of a device of type `T` is shown.
pub(crate) trait SeqShow<T> {
    /// Writes all of the file. May sleep. Called again if there was no room.
    fn show(data: &T, out: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// A file of devices whose driver data points to a `T`.
pub(crate) struct File<T> {
    name: &'static CStr,
    show: unsafe extern "C" fn(*mut bindings::seq_file, *mut c_void) -> c_int,
    _data: PhantomData<fn(&T)>,
}

impl<T> File<T> {
    /// A file `name`, shown by `S`.
    pub(crate) const fn new<S: SeqShow<T>>(name: &'static CStr) -> Self {
        Self {
            name,
            show: show::<T, S>,
            _data: PhantomData,
        }
    }
}

/// The text that a [`SeqShow`] writes.
struct Shown<'a, T, S>(&'a T, PhantomData<S>);

impl<T, S: SeqShow<T>> fmt::Display for Shown<'_, T, S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        S::show(self.0, out)
    }
}

/// # Safety
///
/// `seq` is the open file of a registered device whose driver data points to a `T`, and no other
/// task uses it meanwhile.
unsafe extern "C" fn show<T, S: SeqShow<T>>(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // SAFETY: `debugfs_create_devm_seqfile()` made the device the file's private data. By the
    // requirements of this function the device has a `T`, until its files are removed, which waits
    // for this.
    let data = unsafe { &*bindings::dev_get_drvdata((*seq).private.cast()).cast::<T>() };
    // SAFETY: `seq` is an open file that only this task uses, by the requirements of this function.
    let seq = unsafe { SeqFile::from_raw(seq) };
    let shown: Shown<'_, T, S> = Shown(data, PhantomData);
    seq_print!(seq, "{}", shown);
    0
}

/// A directory.
///
/// Without debugfs, or without memory, there is no directory. That is not an error.
///
/// # Invariants
///
/// `dentry` is a directory in debugfs that was not removed, null, or an error.
pub(crate) struct Dir {
    dentry: *mut bindings::dentry,
    /// The parent directory, which must be removed later.
    _parent: Option<Arc<Dir>>,
}

// SAFETY: A directory of debugfs may be used and removed from any thread.
unsafe impl Send for Dir {}
// SAFETY: All methods take `&self`, and debugfs does its own locking.
unsafe impl Sync for Dir {}

impl Dir {
    /// Makes a directory `name` in the root of debugfs, which only root may open. Sleeps.
    pub(crate) fn new(name: &'static CStr) -> Self {
        // INVARIANT: Made here, null, or an error.
        Self {
            // SAFETY: The name is a C string, which debugfs copies.
            dentry: unsafe { bindings::debugfs_create_private_dir(name.as_char_ptr()) },
            _parent: None,
        }
    }

    /// Makes `<parent>/<name of the device>` with these files. To be dropped before the device's
    /// driver data, and before the device is unregistered. Sleeps.
    ///
    /// # Safety
    ///
    /// `dev` is a registered device whose driver data points to a `T`.
    pub(in crate::kernel_ext) unsafe fn for_device<T>(
        parent: Arc<Dir>,
        dev: *mut bindings::device,
        files: &'static [File<T>],
    ) -> Self {
        // INVARIANT: Made here, null, or an error.
        let this = Self {
            // SAFETY: A registered device has a name, which debugfs copies. The parent is valid,
            // null or an error by its invariants.
            dentry: unsafe {
                bindings::debugfs_create_subdir(bindings::dev_name(dev), parent.dentry)
            },
            _parent: Some(parent),
        };
        for file in files {
            // SAFETY: The device is valid, and its driver data is of the type that `show` is for,
            // by the requirements of this function. The directory is valid, null or an error.
            unsafe {
                bindings::debugfs_create_devm_seqfile(
                    dev,
                    file.name.as_char_ptr(),
                    this.dentry,
                    Some(file.show),
                )
            };
        }
        this
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // SAFETY: By the type invariants it is a directory; null and errors are ignored. The C
        // function waits for running callbacks. Directories below were removed before, because they
        // hold this one.
        unsafe { bindings::debugfs_remove(self.dentry) };
    }
}
