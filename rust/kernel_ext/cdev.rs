// SPDX-License-Identifier: GPL-2.0

//! Character devices of one class, whose files can be mapped.
//!
//! [`kernel::miscdevice`] has no module owner, no class, and no `->mmap_prepare()` (as of Linux
//! 7.3).
//!
//! Two lifetimes meet here. What C keeps after the device is gone (the `struct device`, its
//! kobject) is allocated and freed by the driver core, so that no code of this module need run
//! then. What an open file keeps is a reference to the driver's data, and to the module.
//!
//! C headers: [`include/linux/cdev.h`](srctree/include/linux/cdev.h),
//! [`include/linux/device/class.h`](srctree/include/linux/device/class.h)

use super::{
    bindings, debugfs,
    fs::AnonInode,
    ida::Ida,
    kiocb::Kiocb,
    mm,
    sysfs::{
        Directory,
        GroupList,
        Link, //
    },
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    container_of,
    device::Device,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*,
    str::CString,
    sync::Arc,
    types::Opaque,
    xarray::{
        AllocKind,
        XArray, //
    }, //
};

/// What the files of a device do. `Self` is what all of them share.
pub(crate) trait Operations: mm::Operations + Send + Sync + 'static {
    /// The inode whose mappings stand for all mappings of the device.
    fn inode(&self) -> &AnonInode;

    /// A file is being opened. Process context.
    ///
    /// Errors: `ENXIO` when the device is gone, or is to go.
    fn open(&self) -> Result;

    /// A file that was opened is closed, and nothing of it is mapped. Process context.
    fn close(&self);

    /// The end of the device in bytes, for `lseek()`. Process context.
    ///
    /// Errors: `ENXIO` when the device is gone.
    fn size(&self) -> Result<u64>;

    /// Reads from the file, from `kiocb`'s position on, which it moves. Process context; may sleep, and
    /// fault.
    ///
    /// Returns how many bytes, 0 at the end of the device.
    fn read(&self, kiocb: &mut Kiocb<'_>, to: &mut IovIterDest<'_>) -> Result<usize>;

    /// Writes to the file, as [`Operations::read`] reads.
    fn write(&self, kiocb: &mut Kiocb<'_>, from: &mut IovIterSource<'_>) -> Result<usize>;

    /// Makes durable what was written before to the bytes `first..=last`, through mappings and through
    /// files. Process context; may sleep.
    fn fsync(&self, first: u64, last: u64) -> Result;

    /// Whether `vma` may be made, and how; nothing is made yet. Called with the mmap lock held for write.
    fn mmap_prepare(&self, vma: &mut mm::VmaDesc<'_>) -> Result;

    /// Serves an ioctl of a file that is open for writing if `writable`. Process context; may fault.
    ///
    /// Errors: `ENOTTY` for a `cmd` that it does not know.
    fn ioctl(&self, writable: bool, cmd: u32, arg: usize) -> Result;

    /// The alignment in bytes, a power of two, that address and offset of a mapping of `len` bytes
    /// at page offset `pgoff` should share.
    fn mapping_align(&self, pgoff: usize, len: usize) -> usize;

    /// The attributes of the device in sysfs.
    fn groups() -> GroupList<Self>;

    /// The files of the device in debugfs.
    fn views() -> &'static [debugfs::File<Self>];
}

/// How many devices there can be: all minor numbers of a major number. Memory is taken for those that are
/// used only.
pub(crate) const MINORS: u32 = 1 << bindings::MINORBITS;

/// A class, registered.
///
/// # Invariants
///
/// The pointer is what `class_create()` gave, not yet destroyed.
struct ClassHandle(NonNull<bindings::class>);

impl ClassHandle {
    fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is static.
        let class = from_err_ptr(unsafe { bindings::class_create(name.as_char_ptr()) })?;
        // INVARIANT: Created just above.
        Ok(Self(NonNull::new(class).ok_or(ENOMEM)?))
    }
}

impl Drop for ClassHandle {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::class_destroy(self.0.as_ptr()) };
    }
}

/// [`MINORS`] device numbers, the first of which has minor number 0.
///
/// # Invariants
///
/// They are allocated by `alloc_chrdev_region()`.
struct Numbers(bindings::dev_t);

impl Numbers {
    fn new(name: &'static CStr) -> Result<Self> {
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
        // SAFETY: By the type invariants.
        unsafe { bindings::unregister_chrdev_region(self.0, MINORS) };
    }
}

/// A `struct cdev`, registered.
///
/// # Invariants
///
/// `inner` was added with `cdev_add()`.
#[pin_data(PinnedDrop)]
#[repr(transparent)]
struct Cdev {
    #[pin]
    inner: Opaque<bindings::cdev>,
}

impl Cdev {
    fn new(
        numbers: bindings::dev_t,
        fops: &'static bindings::file_operations,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Added here, or construction fails.
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::cdev| {
                // SAFETY: `slot` is valid for writes and pinned until `drop()`; the operations
                // are static. When `cdev_add()` fails, nothing refers to `slot`.
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
        // long as its module: no open file is left, since each holds the module.
        unsafe { bindings::cdev_del(self.inner.get()) };
    }
}

/// A class of devices, and the `cdev` that serves all of them.
///
/// # Invariants
///
/// The operations of `cdev` are [`FileOperations<T>`]'s, and it lies in a `Class<T>`.
#[pin_data]
pub(crate) struct Class<T: Operations> {
    // Fields are dropped in this order: no opens, then no numbers, then no class.
    #[pin]
    cdev: Cdev,
    numbers: Numbers,
    class: ClassHandle,
    /// The minor numbers that are taken.
    #[pin]
    minors: Ida,
    /// The devices whose nodes can be opened, by minor number.
    #[pin]
    devices: XArray<Arc<T>>,
    name: &'static CStr,
}

// SAFETY: The class, the numbers and the cdev may be used and unregistered from any thread; the
// devices are `Send` and `Sync` by `Operations`.
unsafe impl<T: Operations> Send for Class<T> {}
// SAFETY: What changes is behind the locks of `minors` and `devices`; the devices are as above.
unsafe impl<T: Operations> Sync for Class<T> {}

impl<T: Operations> Class<T> {
    /// Registers a class `class` for devices `/dev/<name>0`, `/dev/<name>1`, ...
    ///
    /// Sleeps. Errors: `ENOMEM`, `EBUSY` when no device numbers are left, `EEXIST` when there is
    /// such a class. To be dropped in the module's exit, not before.
    pub(crate) fn new(class: &'static CStr, name: &'static CStr) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            class: ClassHandle::new(class)?,
            numbers: Numbers::new(name)?,
            minors <- Ida::new(),
            devices <- XArray::new(AllocKind::Alloc),
            name,
            // INVARIANT: In this very `Class<T>`.
            cdev <- Cdev::new(numbers.0, FileOperations::<T>::build()),
        })
    }

    fn device_of(&self, minor: usize) -> Option<Arc<T>> {
        let devices = self.devices.lock();
        devices.get(minor).map(Arc::from)
    }

    /// Gives `data` the minor number `wanted`, or the smallest that is free. Sleeps.
    ///
    /// Errors: `EEXIST` when `wanted` is taken; `ENOSPC` when there is no such number, or none is left;
    /// `ENOMEM`.
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
        let stored = self
            .devices
            .lock()
            .store(minor.number, data.clone(), GFP_KERNEL);
        // What could not be stored is dropped without the lock.
        stored.map_err(|failure| failure.error)?;
        Ok(minor)
    }

    /// The device with that number can't be opened any more.
    fn forget(&self, minor: usize) {
        let device = self.devices.lock().remove(minor);
        // Dropped without the lock.
        drop(device);
    }
}

/// A minor number of a class, taken for a device.
pub(crate) struct Minor<T: Operations> {
    class: Arc<Class<T>>,
    number: usize,
}

impl<T: Operations> Minor<T> {
    /// The number, which is also that in the node's name.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl<T: Operations> Drop for Minor<T> {
    fn drop(&mut self) {
        // If there is a node, dropping it did that.
        self.class.forget(self.number);
        self.class.minors.give(self.number as u32);
    }
}

/// A device node, and its directory in sysfs.
///
/// While it exists the node can be opened. When it is dropped, no further open succeeds, and no
/// attribute is being read; open files go on, and keep the data.
///
/// # Invariants
///
/// `dev` is a registered device of `minor.class`, whose driver data points to `*data`.
pub(crate) struct Node<T: Operations> {
    dev: NonNull<bindings::device>,
    views: Option<debugfs::Dir>,
    minor: Minor<T>,
    _data: Arc<T>,
}

// SAFETY: A device may be unregistered from any thread; the rest is `Send` by `Operations`.
unsafe impl<T: Operations> Send for Node<T> {}
// SAFETY: There is no method that changes anything through `&self`.
unsafe impl<T: Operations> Sync for Node<T> {}

impl<T: Operations> Node<T> {
    /// Makes a node for `data`, whose number is `minor`, below `parent` in sysfs, and its files below
    /// `views` in debugfs, for which there may be no memory. Sleeps.
    ///
    /// Errors: `ENOMEM`.
    pub(crate) fn new(
        minor: Minor<T>,
        parent: &Device,
        data: Arc<T>,
        views: Arc<debugfs::Dir>,
    ) -> Result<Self> {
        // SAFETY: Class and numbers are registered by their invariants. `parent` is valid
        // (CAST: `Device` is transparent). The driver data stays valid until the device is
        // unregistered in `drop()`: `_data` keeps it. The format takes a string and an unsigned.
        let dev = from_err_ptr(unsafe {
            bindings::device_create_with_groups(
                minor.class.class.0.as_ptr(),
                ptr::from_ref(parent).cast_mut().cast(),
                minor.class.numbers.0 + minor.number as bindings::dev_t,
                ptr::from_ref(&*data).cast_mut().cast(),
                T::groups().as_ptr(),
                c"%s%u".as_char_ptr(),
                minor.class.name.as_char_ptr(),
                minor.number as c_uint,
            )
        })?;
        // SAFETY: Registered just above, with a `T` as its driver data; `drop()` removes the views first.
        let views = unsafe { debugfs::Dir::for_device(views, dev, T::views()) };
        // INVARIANT: Registered just above.
        Ok(Self {
            dev: NonNull::new(dev).ok_or(ENOMEM)?,
            views: Some(views),
            minor,
            _data: data,
        })
    }

    /// Its minor number.
    pub(crate) fn number(&self) -> usize {
        self.minor.number
    }

    /// Makes a link to the node's directory in sysfs, by the node's name. To be dropped before `self`.
    /// Sleeps. Errors: `ENOMEM`.
    pub(crate) fn link_from(&self, directory: Arc<Directory>) -> Result<Link> {
        let name = CString::try_from_fmt(fmt!("{}{}", self.minor.class.name, self.minor.number))?;
        // SAFETY: Registered by the type invariants.
        let dev: &Device = unsafe { Device::from_raw(self.dev.as_ptr()) };
        Link::new(directory, dev, name)
    }

    /// Tells user space that something about the device has changed (a uevent). Sleeps.
    pub(crate) fn changed(&self) {
        // SAFETY: Registered by the type invariants.
        unsafe {
            bindings::kobject_uevent(
                &raw mut (*self.dev.as_ptr()).kobj,
                bindings::kobject_action_KOBJ_CHANGE,
            )
        };
    }
}

impl<T: Operations> Drop for Node<T> {
    fn drop(&mut self) {
        self.views = None;
        // No open may find the data any more, then the node goes, and only then the number is free.
        self.minor.class.forget(self.minor.number);
        // SAFETY: Registered by the type invariants.
        unsafe { bindings::device_unregister(self.dev.as_ptr()) };
    }
}

struct FileOperations<T: Operations>(PhantomData<T>);

impl<T: Operations> FileOperations<T> {
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

    const fn build() -> &'static bindings::file_operations {
        &Self::VTABLE
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::open`] and is not yet released.
    unsafe fn data<'a>(file: *const bindings::file) -> &'a T {
        // SAFETY: `open()` stored a reference that `release()` will take back.
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
            data.open()?;

            // SAFETY: The file is ours to set up until this returns. The inode behind `mapping()`
            // lives as long as `data`, and `data` as long as the file is open.
            unsafe {
                (*file).f_mapping = data.inode().mapping();
                (*file).f_wb_err = bindings::errseq_sample(&raw mut (*(*file).f_mapping).wb_err);
                (*file).private_data = Arc::<T>::into_raw(data).cast_mut().cast();
                // There is no cache to go around, and nothing to wait for but the user's memory, and a
                // punch for the time that it takes to zero 2 MiB.
                (*file).f_mode |= bindings::FMODE_CAN_ODIRECT | bindings::FMODE_NOWAIT;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::open`], and this is the last call for it.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the requirements of this function, `open()` stored this reference and nobody
        // will use it again.
        unsafe { Arc::from_raw((*file).private_data.cast::<T>()) }.close();
        0
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::open`] and is not yet released.
    unsafe extern "C" fn llseek(
        file: *mut bindings::file,
        offset: bindings::loff_t,
        whence: c_int,
    ) -> bindings::loff_t {
        // SAFETY: By the requirements of this function.
        let size = match unsafe { Self::data(file) }.size() {
            Ok(size) => size,
            Err(error) => return error.to_errno().into(),
        };
        let size = bindings::loff_t::try_from(size).unwrap_or(bindings::loff_t::MAX);
        // SAFETY: As above.
        unsafe { bindings::fixed_size_llseek(file, offset, whence, size) }
    }

    /// # Safety
    ///
    /// `kiocb` and `iter` are those of a read under way of a file opened by [`Self::open`].
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
        match data.read(&mut kiocb, to) {
            Ok(bytes) => bytes as isize,
            Err(error) => error.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// `kiocb` and `iter` are those of a write under way of a file opened by [`Self::open`].
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
        match data.write(&mut kiocb, from) {
            Ok(bytes) => bytes as isize,
            Err(error) => error.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::open`] and is not yet released.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        first: bindings::loff_t,
        last: bindings::loff_t,
        _datasync: c_int,
    ) -> c_int {
        // SAFETY: By the requirements of this function.
        let data = unsafe { Self::data(file) };
        from_result(|| {
            let synced = data.fsync(first.try_into()?, last.try_into()?);
            // SAFETY: As above.
            let noted = to_result(unsafe { bindings::file_check_and_advance_wb_err(file) });
            synced.and(noted)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `desc` describes a mapping being made of a file opened by [`Self::open`].
    unsafe extern "C" fn mmap_prepare(desc: *mut bindings::vm_area_desc) -> c_int {
        // SAFETY: By the requirements of this function, for both.
        let (data, mut vma) = unsafe { (Self::data((*desc).file), mm::VmaDesc::from_raw(desc)) };
        from_result(|| {
            data.mmap_prepare(&mut vma)?;
            vma.set_pfnmap::<T>()?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::open`] and is not yet released.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: By the requirements of this function.
        let (data, mode) = unsafe { (Self::data(file), (*file).f_mode) };
        match data.ioctl(mode & bindings::FMODE_WRITE != 0, cmd, arg) {
            Ok(()) => 0,
            Err(error) => error.to_errno() as c_long,
        }
    }

    /// As `dax_get_unmapped_area()` of `drivers/dax/device.c`: an address that is congruent to the
    /// offset, so that both reach a boundary of huge pages together.
    ///
    /// # Safety
    ///
    /// `file` was opened by [`Self::open`] and is not yet released.
    unsafe extern "C" fn get_unmapped_area(
        file: *mut bindings::file,
        addr: usize,
        len: usize,
        pgoff: usize,
        flags: usize,
    ) -> usize {
        // SAFETY: By the requirements of this function.
        let align = unsafe { Self::data(file) }.mapping_align(pgoff, len);
        let padded = len.checked_add(align).filter(|_| addr == 0);
        if let Some(padded) = padded {
            // SAFETY: As above; the arguments are what `mm` gave, but for the length.
            let found = unsafe { bindings::mm_get_unmapped_area(file, addr, padded, pgoff, flags) };
            // An error is not aligned to a page.
            if found % bindings::PAGE_SIZE == 0 {
                let offset = pgoff << bindings::PAGE_SHIFT;
                return found + (offset.wrapping_sub(found) & (align - 1));
            }
        }
        // SAFETY: As above.
        unsafe { bindings::mm_get_unmapped_area(file, addr, len, pgoff, flags) }
    }
}
