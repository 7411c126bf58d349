// SPDX-License-Identifier: GPL-2.0

//! The node as a file.

use crate::dax::{
    device::{
        log,
        Device, //
    },
    layout::span::best_order,
    node::{
        attrs,
        debugfs, //
    },
    ops::{
        io,
        prefault,
        punch,
        sync, //
    },
    region::AttributeData, //
};
use crate::kernel_ext::{
    error,
    fs::{
        anon_inode::AnonInode,
        debugfs::File,
        file_operations::FileOperations,
        kiocb::Kiocb,
        sysfs::GroupList, //
    },
    mm::vma::VmaDesc,
    task,
    uapi,
    units::{
        DeviceOffset,
        PageOffset,
        Pages, //
    }, //
};
use kernel::{
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*, //
};

impl FileOperations for Device {
    type Attributes = AttributeData;

    fn inode(&self) -> &AnonInode {
        self.inode()
    }

    fn open(&self) -> Result {
        self.add_user()
    }

    fn close(&self) {
        self.remove_user();
    }

    fn size(&self) -> Result<u64> {
        self.size()
    }

    fn mmap_prepare(&self, vma: &mut VmaDesc<'_>) -> Result {
        let (reason, errno) = match refuse(self, vma) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        if self.refused_mmaps.allows(fmt!("{self}: refused mmaps")) {
            let (start, end) = vma.range();
            log!(
                dev_info,
                pr_info,
                self,
                "{self}: mmap of {:#x} bytes at page offset {:#x} by {} ({}) refused: {}\n",
                end - start,
                vma.pgoff().get(),
                task::Name::current(),
                current!().pid(),
                reason
            );
        }
        Err(errno)
    }

    fn read(&self, kiocb: &mut Kiocb<'_>, to: &mut IovIterDest<'_>) -> Result<usize> {
        io::read(self, kiocb, to)
    }

    fn write(&self, kiocb: &mut Kiocb<'_>, from: &mut IovIterSource<'_>) -> Result<usize> {
        io::write(self, kiocb, from)
    }

    fn fsync(&self, first: DeviceOffset, last: DeviceOffset) -> Result {
        sync::sync(self, first, last)
    }

    fn ioctl(&self, writable: bool, cmd: u32, arg: usize) -> Result {
        let call = match cmd {
            uapi::RDAX_IOC_PUNCH => punch::punch,
            uapi::RDAX_IOC_ZERO => punch::zero,
            uapi::RDAX_IOC_PREFAULT => return prefault::prefault(self, arg),
            _ => return Err(ENOTTY),
        };
        if !writable {
            return Err(EBADF);
        }
        // Read before the live guard is taken, because the argument may lie in a mapping of this
        // device.
        let range = uapi::RdaxRange::read(arg)?;
        call(self, &range)
    }

    fn mapping_align(&self, pgoff: PageOffset, len: usize) -> usize {
        best_order(pgoff, len, self.align()).bytes()
    }

    fn groups() -> GroupList<AttributeData> {
        attrs::GROUPS.as_list()
    }

    fn views() -> &'static [File<AttributeData>] {
        &debugfs::FILES
    }
}

/// Returns why a mapping is refused. Its faults check again, because the device may go at any time.
fn refuse(device: &Device, vma: &mut VmaDesc<'_>) -> Result<(), (&'static str, Error)> {
    let (start, end) = vma.range();
    let pages = Pages::in_bytes((end - start) as u64);
    let Some(live) = device.live() else {
        return Err(("the device is gone", ENXIO));
    };
    if !vma.is_shared() {
        return Err(("a mapping must be shared, not MAP_PRIVATE", EINVAL));
    }
    if !live.layout.read().contains(vma.pgoff(), pages) {
        return Err(("beyond the end of the device", EINVAL));
    }
    let align = device.align();
    if !vma.pgoff().is_aligned(align) || !pages.is_aligned(align) {
        return Err((
            "its offset or length is not a multiple of the device's align",
            EINVAL,
        ));
    }
    if !align.divides(start) {
        return Err((
            "its address is not a multiple of the device's align",
            EINVAL,
        ));
    }
    if vma.is_sync() && !device.geometry().synchronous {
        return Err(("MAP_SYNC needs a synchronous region", error::eopnotsupp()));
    }
    if device.geometry().is_read_only() {
        if vma.is_writable() {
            return Err(("the region is read-only", EROFS));
        }
        vma.keep_read_only();
    }
    Ok(())
}
