// SPDX-License-Identifier: GPL-2.0

//! The operations of a character device's files.
//!
//! [`kernel::miscdevice`] has no `->mmap_prepare()` (as of Linux 7.3).
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h), `struct file_operations`

use crate::kernel_ext::{
    bindings,
    fs::{
        anon_inode::AnonInode,
        cdev::{
            Cdev,
            Class, //
        },
        chrdev,
        debugfs,
        kiocb::Kiocb,
        sysfs::GroupList, //
    },
    mm::{
        vm_operations::VmOperations,
        vma::VmaDesc, //
    },
    units::{
        DeviceOffset,
        PageOffset, //
    }, //
};
use core::marker::PhantomData;
use kernel::{
    container_of,
    error::{
        from_result,
        to_result, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*,
    sync::Arc, //
};

/// The operations of a device's files, which all share one `Self`.
pub(crate) trait FileOperations: VmOperations + Send + Sync + 'static {
    /// The data of the attributes in sysfs.
    type Attributes: Send + Sync + 'static;

    /// Returns the inode that all mappings of the device are mappings of.
    fn inode(&self) -> &AnonInode;

    /// Called when a file is opened. Process context.
    ///
    /// Errors: `ENXIO` if the device is gone, or is being removed.
    fn open(&self) -> Result;

    /// Called when a file is closed and no mapping of it is left. Process context.
    fn close(&self);

    /// Returns the end of the device in bytes, for `lseek()`. Process context.
    ///
    /// Errors: `ENXIO` if the device is gone.
    fn size(&self) -> Result<u64>;

    /// Reads from the file at `kiocb`'s position, and advances that. Process context; may sleep,
    /// and fault.
    ///
    /// Returns the number of bytes, 0 at the end of the device.
    fn read(&self, kiocb: &mut Kiocb<'_>, to: &mut IovIterDest<'_>) -> Result<usize>;

    /// Writes to the file at `kiocb`'s position, and advances that. Process context; may sleep, and
    /// fault. Returns the number of bytes.
    fn write(&self, kiocb: &mut Kiocb<'_>, from: &mut IovIterSource<'_>) -> Result<usize>;

    /// Makes durable what was written earlier to the bytes `first..=last`, through mappings and
    /// files. Process context; may sleep.
    fn fsync(&self, first: DeviceOffset, last: DeviceOffset) -> Result;

    /// Checks and sets up a mapping before it is made. Called with the mmap lock held for write.
    fn mmap_prepare(&self, vma: &mut VmaDesc<'_>) -> Result;

    /// Serves an ioctl. `writable`: the file is open for writing. Process context; may fault.
    ///
    /// Errors: `ENOTTY` if it does not know `cmd`.
    fn ioctl(&self, writable: bool, cmd: u32, arg: usize) -> Result;

    /// Returns the alignment in bytes, a power of two, to which the address of a mapping of `len`
    /// bytes at page offset `pgoff` should be congruent with its offset.
    fn mapping_align(&self, pgoff: PageOffset, len: usize) -> usize;

    /// Returns the attributes of the device in sysfs.
    fn groups() -> GroupList<Self::Attributes>;

    /// Returns the files of the device in debugfs.
    fn views() -> &'static [debugfs::File<Self::Attributes>];
}

pub(in crate::kernel_ext) struct FileVTable<T: FileOperations>(PhantomData<T>);

impl<T: FileOperations> FileVTable<T> {
    const VTABLE: bindings::file_operations = bindings::file_operations {
        owner: &raw mut bindings::__this_module,
        fop_flags: bindings::FOP_MMAP_SYNC,
        open: Some(Self::open),
        release: Some(Self::release),
        llseek: Some(Self::llseek),
        mmap_prepare: Some(Self::mmap_prepare),
        unlocked_ioctl: Some(Self::ioctl),
        compat_ioctl: bindings::compat_ptr_ioctl,
        get_unmapped_area: Some(Self::get_unmapped_area),
        read_iter: Some(Self::read_iter),
        write_iter: Some(Self::write_iter),
        splice_read: Some(bindings::copy_splice_read),
        splice_write: Some(bindings::iter_file_splice_write),
        fsync: Some(Self::fsync),
        ..pin_init::zeroed()
    };

    /// The same for a [`Chrdev`](super::chrdev::Chrdev).
    const CHRDEV: bindings::file_operations = bindings::file_operations {
        open: Some(Self::open_chrdev),
        ..Self::VTABLE
    };

    pub(in crate::kernel_ext) const fn build() -> &'static bindings::file_operations {
        &Self::VTABLE
    }

    pub(in crate::kernel_ext) const fn build_chrdev() -> &'static bindings::file_operations {
        &Self::CHRDEV
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::opened`] and is not yet released.
    unsafe fn data<'a>(file: *const bindings::file) -> &'a T {
        // SAFETY: `opened()` stored a reference, which `release()` takes back.
        unsafe { &*(*file).private_data.cast::<T>() }
    }

    /// # Safety
    ///
    /// `inode` and `file` are those of an open of the cdev of a `Class<T>`, by `chrdev_open()`.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: `chrdev_open()` has set `i_cdev` to the cdev with these operations, which
            // lies in a `Class<T>` by its invariants (CAST: `Cdev` is transparent). The class
            // lives as long as the module, and the open holds the module.
            let class = unsafe {
                let cdev = (*inode).__bindgen_anon_5.i_cdev.cast::<Cdev>();
                &*container_of!(cdev, Class<T>, cdev)
            };
            // SAFETY: The inode of an open is valid. The first minor number is 0.
            let minor = unsafe { (*inode).i_rdev } & ((1 << bindings::MINORBITS) - 1);
            let data = class.device_of(minor as usize).ok_or(ENXIO)?;
            // SAFETY: `file` is being opened, by the requirements of this function.
            unsafe { Self::opened(file, data) }
        })
    }

    /// # Safety
    ///
    /// `inode` and `file` are those of an open of the cdev of a `Chrdev<T>`, by `chrdev_open()`.
    unsafe extern "C" fn open_chrdev(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The inode of an open is valid.
            let data = chrdev::find(unsafe { (*inode).i_rdev }).ok_or(ENXIO)?;
            // SAFETY: `file` is being opened, by the requirements of this function.
            unsafe { Self::opened(file, data) }
        })
    }

    /// # Safety
    ///
    /// `file` is being opened, with operations of this type.
    unsafe fn opened(file: *mut bindings::file, data: Arc<T>) -> Result<c_int> {
        data.open()?;
        // SAFETY: Only the open uses the file until this returns. The inode behind `mapping()` lives
        // as long as `data`, and `data` as long as the file is open.
        unsafe {
            (*file).f_mapping = data.inode().mapping();
            (*file).f_wb_err = bindings::errseq_sample(&raw mut (*(*file).f_mapping).wb_err);
            (*file).private_data = Arc::<T>::into_raw(data).cast_mut().cast();
            // There is no page cache to bypass. A read or write waits only for the user's memory,
            // or for one step of what changes the layout: a punch zeroes 2 MiB and may wait 80 ms
            // for pins, or 100 ms for a broken page; others unmap 1 GiB, or write back 32 MiB.
            (*file).f_mode |= bindings::FMODE_CAN_ODIRECT | bindings::FMODE_NOWAIT;
        }
        Ok(0)
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::opened`], and this is the last call for it.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the requirements of this function, `opened()` stored this reference, and it is
        // not used again.
        unsafe { Arc::from_raw((*file).private_data.cast::<T>()) }.close();
        0
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::opened`] and is not yet released.
    unsafe extern "C" fn llseek(
        file: *mut bindings::file,
        offset: bindings::loff_t,
        whence: c_int,
    ) -> bindings::loff_t {
        // SAFETY: `file` is open by the requirements of this function.
        let size = match unsafe { Self::data(file) }.size() {
            Ok(size) => size,
            Err(error) => return error.to_errno().into(),
        };
        let size = bindings::loff_t::try_from(size).unwrap_or(bindings::loff_t::MAX);
        // SAFETY: `file` is open by the requirements of this function.
        unsafe { bindings::fixed_size_llseek(file, offset, whence, size) }
    }

    /// # Safety
    ///
    /// `kiocb` and `iter` are those of a read under way of a file opened by [`Self::opened`].
    unsafe extern "C" fn read_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: By the requirements of this function, for all three.
        let (data, mut kiocb, to) = unsafe {
            (
                Self::data((*kiocb).ki_filp),
                Kiocb::from_raw(kiocb),
                IovIterDest::from_raw(iter),
            )
        };
        let len = to.len();
        match data.read(&mut kiocb, to) {
            // splice() takes the rest of its pages by this number.
            Ok(bytes) => bytes.min(len.saturating_sub(to.len())) as isize,
            Err(error) => error.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// `kiocb` and `iter` are those of a write under way of a file opened by [`Self::opened`].
    unsafe extern "C" fn write_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: By the requirements of this function, for all three.
        let (data, mut kiocb, from) = unsafe {
            (
                Self::data((*kiocb).ki_filp),
                Kiocb::from_raw(kiocb),
                IovIterSource::from_raw(iter),
            )
        };
        let len = from.len();
        match data.write(&mut kiocb, from) {
            // splice() takes the rest of its pages by this number.
            Ok(bytes) => bytes.min(len.saturating_sub(from.len())) as isize,
            Err(error) => error.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::opened`] and is not yet released.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        first: bindings::loff_t,
        last: bindings::loff_t,
        _datasync: c_int,
    ) -> c_int {
        // SAFETY: `file` is open by the requirements of this function.
        let data = unsafe { Self::data(file) };
        from_result(|| {
            let (first, last) = (u64::try_from(first)?, u64::try_from(last)?);
            let synced = data.fsync(DeviceOffset::new(first), DeviceOffset::new(last));
            // SAFETY: `file` is open by the requirements of this function.
            let noted = to_result(unsafe { bindings::file_check_and_advance_wb_err(file) });
            synced.and(noted)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `desc` describes a mapping being made of a file opened by [`Self::opened`].
    unsafe extern "C" fn mmap_prepare(desc: *mut bindings::vm_area_desc) -> c_int {
        // SAFETY: `desc` is that of a mapping of an open file, by the requirements of this
        // function.
        let (data, mut vma) = unsafe { (Self::data((*desc).file), VmaDesc::from_raw(desc)) };
        from_result(|| {
            data.mmap_prepare(&mut vma)?;
            match data.inode().has_pages() {
                true => vma.set_pages::<T>(data.is_tracked())?,
                false => vma.set_pfnmap::<T>()?,
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::opened`] and is not yet released.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: `file` is open by the requirements of this function.
        let (data, mode) = unsafe { (Self::data(file), (*file).f_mode) };
        match data.ioctl(mode & bindings::FMODE_WRITE != 0, cmd, arg) {
            Ok(()) => 0,
            Err(error) => error.to_errno() as c_long,
        }
    }

    /// Returns an address that is congruent to the offset, so that both reach a huge-page boundary
    /// together. Same as `dax_get_unmapped_area()` of `drivers/dax/device.c`.
    ///
    /// # Safety
    ///
    /// `file` was opened by [`Self::opened`] and is not yet released.
    unsafe extern "C" fn get_unmapped_area(
        file: *mut bindings::file,
        addr: usize,
        len: usize,
        pgoff: usize,
        flags: usize,
    ) -> usize {
        // SAFETY: `file` is open by the requirements of this function.
        let align = unsafe { Self::data(file) }.mapping_align(PageOffset::new(pgoff), len);
        let padded = len.checked_add(align).filter(|_| addr == 0);
        if let Some(padded) = padded {
            // SAFETY: `file` is open by the requirements of this function. The arguments came from
            // `mm`, except the length.
            let found = unsafe { bindings::mm_get_unmapped_area(file, addr, padded, pgoff, flags) };
            // An error is not aligned to a page.
            if found % bindings::PAGE_SIZE == 0 {
                let offset = pgoff << bindings::PAGE_SHIFT;
                return found + (offset.wrapping_sub(found) & (align - 1));
            }
        }
        // SAFETY: `file` is open by the requirements of this function, and the arguments came from
        // `mm`.
        unsafe { bindings::mm_get_unmapped_area(file, addr, len, pgoff, flags) }
    }
}
