// SPDX-License-Identifier: GPL-2.0

//! Files of a device in debugfs, which no code of the module is needed for once they are removed.
//!
//! The file operations of [`kernel::debugfs`] lie in the module and have no owner (as of Linux 7.3):
//! a file that is open when the module goes calls what is gone. The operations here are debugfs's own
//! (`debugfs_create_devm_seqfile()`). The callback is only called between `debugfs_file_get()` and
//! `debugfs_file_put()`, for which the removal waits; a file that stays open after that reads `EIO`,
//! and is closed without this module. An owner would not be enough: a file that was opened with
//! `O_PATH` does not hold the module, and opening it again through `/proc/self/fd` reads the
//! operations even if the file was removed.
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
    /// Writes all of the file. May sleep. It is called again if there was no room.
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

/// What a [`SeqShow`] writes.
struct Shown<'a, T, S>(&'a T, PhantomData<S>);

impl<T, S: SeqShow<T>> fmt::Display for Shown<'_, T, S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        S::show(self.0, out)
    }
}

/// # Safety
///
/// `seq` is the open file of a registered device whose driver data points to a `T`, and nobody else
/// uses it meanwhile.
unsafe extern "C" fn show<T, S: SeqShow<T>>(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // SAFETY: `debugfs_create_devm_seqfile()` made the device the file's private data. It has a `T` by
    // the requirements of this function, and has it until its files are removed, which waits for this.
    let data = unsafe { &*bindings::dev_get_drvdata((*seq).private.cast()).cast::<T>() };
    // SAFETY: By the requirements of this function.
    let seq = unsafe { SeqFile::from_raw(seq) };
    let shown: Shown<'_, T, S> = Shown(data, PhantomData);
    seq_print!(seq, "{}", shown);
    0
}

/// A directory.
///
/// Where there is no debugfs, or no memory, there is no directory, and that is no error.
///
/// # Invariants
///
/// `dentry` is a directory in debugfs that was not removed, null, or an error.
pub(crate) struct Dir {
    dentry: *mut bindings::dentry,
    /// What this lies in is not removed before.
    _parent: Option<Arc<Dir>>,
}

// SAFETY: A directory of debugfs may be used and removed from any thread.
unsafe impl Send for Dir {}
// SAFETY: As above.
unsafe impl Sync for Dir {}

impl Dir {
    /// Makes a directory `name`, which only root may look into, in the root of debugfs. Sleeps.
    pub(crate) fn new(name: &'static CStr) -> Self {
        // INVARIANT: Made here, null, or an error.
        Self {
            // SAFETY: The name is a C string, of which debugfs makes a copy.
            dentry: unsafe { bindings::debugfs_create_private_dir(name.as_char_ptr()) },
            _parent: None,
        }
    }

    /// Makes `<parent>/<name of the device>` with these files. To be dropped before the device's driver
    /// data, and before the device is unregistered. Sleeps.
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
            // SAFETY: A registered device has a name, of which debugfs makes a copy; the parent is as
            // its invariants say.
            dentry: unsafe {
                bindings::debugfs_create_subdir(bindings::dev_name(dev), parent.dentry)
            },
            _parent: Some(parent),
        };
        for file in files {
            // SAFETY: The device is valid, and its driver data is of the type that `show` is for, by the
            // requirements of this function; the directory is as its invariants say.
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
        // SAFETY: By the type invariants; null and errors are passed over. It waits for callbacks
        // under way. What is below was removed before, since it holds this.
        unsafe { bindings::debugfs_remove(self.dentry) };
    }
}
