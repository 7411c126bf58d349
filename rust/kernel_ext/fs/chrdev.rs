// SPDX-License-Identifier: GPL-2.0

//! A character device whose number and node something else has made.
//!
//! The `struct cdev` is allocated and freed by C. An inode keeps the cdev with which it was opened
//! until the last of its files is closed, also after the cdev was deleted, and even if another one
//! was added for the number meanwhile. So an open may arrive here after the device is gone, or was
//! bound again. It looks up the number in a table, and fails with `ENXIO` if that has none.
//!
//! C header: [`include/linux/cdev.h`](srctree/include/linux/cdev.h)

use crate::kernel_ext::{
    bindings,
    fs::file_operations::{
        FileOperations,
        FileVTable, //
    }, //
};
use core::{
    any::TypeId,
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    types::ForeignOwnable, //
};

/// What the table has for a number.
///
/// # Invariants
///
/// `data` is an `Arc<T>` made into a pointer, and `kind` is the type `T`.
struct Entry {
    kind: TypeId,
    data: *mut c_void,
}

/// A character device. While it exists its node can be opened. After it is dropped, no open finds
/// the data. Open files continue to work, and keep the data.
///
/// # Invariants
///
/// `cdev` was added, and this owns it. `entry` is that of `number` in the table; this owns it and
/// the reference in it, which is one to a `T`.
pub(crate) struct Chrdev<T: FileOperations> {
    cdev: NonNull<bindings::cdev>,
    number: bindings::dev_t,
    entry: NonNull<Entry>,
    _data: PhantomData<Arc<T>>,
}

// SAFETY: A cdev may be deleted from any thread, and the data is `Send` by `FileOperations`.
unsafe impl<T: FileOperations> Send for Chrdev<T> {}

// SAFETY: There is no method on `&self`.
unsafe impl<T: FileOperations> Sync for Chrdev<T> {}

impl<T: FileOperations> Chrdev<T> {
    /// Makes files that are opened by `number` share `data`. Sleeps.
    ///
    /// Errors: `ENOMEM`; `EBUSY` if the number has been given to another.
    ///
    /// # Safety
    ///
    /// `number` belongs to a device that is bound to this driver, while the result exists.
    pub(in crate::kernel_ext) unsafe fn new(number: bindings::dev_t, data: Arc<T>) -> Result<Self> {
        let entry = KBox::new_uninit(GFP_KERNEL)?;
        // INVARIANT (`Entry`): A reference to a `T`. From here on nothing fails without `free()`.
        let entry = KBox::write(
            entry,
            Entry {
                kind: TypeId::of::<T>(),
                data: data.into_foreign(),
            },
        );
        let entry = NonNull::from(KBox::leak(entry));
        // SAFETY: The table takes any pointer that is aligned to 4 bytes. What was made here is
        // taken back on each way out. The operations are static. If `cdev_add()` fails, nothing
        // refers to the cdev but its own reference.
        unsafe {
            let inserted = to_result(bindings::chrdevs_insert(number, entry.as_ptr().cast()));
            if let Err(error) = inserted {
                free::<T>(entry);
                return Err(error);
            }
            let cdev = bindings::cdev_alloc();
            let added = match NonNull::new(cdev) {
                None => Err(ENOMEM),
                Some(_) => {
                    (*cdev).ops = FileVTable::<T>::build_chrdev();
                    (*cdev).owner = &raw mut bindings::__this_module;
                    to_result(bindings::cdev_add(cdev, number, 1)).inspect_err(|_| {
                        bindings::kobject_put(&raw mut (*cdev).kobj);
                    })
                }
            };
            if let Err(error) = added {
                bindings::chrdevs_erase(number);
                free::<T>(entry);
                return Err(error);
            }
            // INVARIANT: Added just above, both.
            Ok(Self {
                cdev: NonNull::new_unchecked(cdev),
                number,
                entry,
                _data: PhantomData,
            })
        }
    }
}

impl<T: FileOperations> Drop for Chrdev<T> {
    fn drop(&mut self) {
        // SAFETY: Entry and cdev are owned by the type invariants. After the erase no open finds the
        // entry, because it looks with the lock of the table held.
        unsafe {
            bindings::chrdevs_erase(self.number);
            bindings::cdev_del(self.cdev.as_ptr());
            free::<T>(self.entry);
        }
    }
}

/// # Safety
///
/// `entry` was leaked by [`Chrdev::new`] for a `T`, and is not in the table.
unsafe fn free<T: FileOperations>(entry: NonNull<Entry>) {
    // SAFETY: By the requirements of this function, and the invariants of `Entry`.
    unsafe {
        let entry = KBox::from_raw(entry.as_ptr());
        drop(<Arc<T> as ForeignOwnable>::from_foreign(entry.data));
    }
}

/// Returns what files that are opened by `number` share, if there is such a device now.
pub(in crate::kernel_ext) fn find<T: FileOperations>(number: bindings::dev_t) -> Option<Arc<T>> {
    // SAFETY: The table has only pointers to `Entry`s, which are erased, with the lock held, before
    // they are freed. An entry of this type has a reference to a `T`.
    unsafe {
        let entry: *const Entry = bindings::chrdevs_lock(number).cast();
        let found = entry
            .as_ref()
            .filter(|entry| entry.kind == TypeId::of::<T>())
            .map(|entry| -> Arc<T> {
                let data: ArcBorrow<'_, T> = <Arc<T> as ForeignOwnable>::borrow(entry.data);
                data.into()
            });
        bindings::chrdevs_unlock();
        found
    }
}
