// SPDX-License-Identifier: GPL-2.0

//! A namespace, while it is being bound.
//!
//! C headers: [`include/linux/nd.h`](srctree/include/linux/nd.h),
//! [`include/linux/libnvdimm.h`](srctree/include/linux/libnvdimm.h)

use crate::kernel_ext::{
    bindings,
    media::{
        badblocks::List,
        live::{
            name,
            publish,
            LiveMedia, //
        },
        windows::{
            first_part,
            request,
            Windows, //
        },
        Backing,
        Media, //
    },
    nvdimm::region::is_read_only,
    sync::srcu::{
        Classes,
        SrcuRevocable, //
    },
    units::RegionOffset, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr, //
};
use kernel::{
    container_of,
    device::Device,
    error::{
        from_err_ptr,
        to_result, //
    },
    fmt,
    prelude::*,
    static_lock_class,
    str::BStr,
    sync::Arc, //
};

/// What identifies a namespace that is being bound.
///
/// As text: the UUID if it has one, otherwise the name.
pub(crate) struct Identity<'a> {
    device: &'a Device,
    uuid: Option<[u8; bindings::RDAX_UUID_SIZE as usize]>,
    size: u64,
}

impl Identity<'_> {
    /// # Safety
    ///
    /// `dev` is a valid namespace (not a btt, pfn or dax device), whose device lock is held while
    /// the result exists.
    pub(in crate::kernel_ext) unsafe fn new(dev: *mut bindings::device) -> Self {
        let mut uuid = [0; bindings::RDAX_UUID_SIZE as usize];
        // SAFETY: `dev` is a locked namespace by the requirements of this function, and `uuid` has
        // room for what is written. The namespace lies in an `nd_namespace_io`
        // (`to_nd_namespace_io()`), whose resource changes only under the device lock.
        unsafe {
            let has_uuid = bindings::nd_namespace_uuid(dev, uuid.as_mut_ptr());
            let common = container_of!(dev, bindings::nd_namespace_common, dev);
            let io: *mut bindings::nd_namespace_io =
                container_of!(common, bindings::nd_namespace_io, common);
            let res = &raw const (*io).res;
            Self {
                device: Device::from_raw(dev),
                uuid: has_uuid.then_some(uuid),
                // Like `resource_size()`: a namespace without memory ends before it starts.
                size: (*res).end.wrapping_sub((*res).start).wrapping_add(1),
            }
        }
    }

    /// Returns its device.
    pub(crate) fn device(&self) -> &Device {
        self.device
    }

    /// Returns the name in sysfs, `namespace0.0`.
    pub(crate) fn name(&self) -> &[u8] {
        name(self.device).to_bytes()
    }

    /// Returns the UUID in its labels, in lower case, if it has one.
    pub(crate) fn uuid(&self) -> Option<&[u8]> {
        // Without the terminating 0.
        self.uuid.as_ref()?.split_last().map(|(_, text)| text)
    }

    /// Returns the number of bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

impl fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.uuid().unwrap_or_else(|| self.name());
        fmt::Display::fmt(BStr::from_bytes(text), f)
    }
}

/// A namespace, enabled for the driver that is being bound to it.
///
/// # Invariants
///
/// - `common` is a namespace (not a btt, pfn or dax device), whose device lock is held and which no
///   other personality had claimed when it was enabled.
/// - It is enabled: its memory is reserved and mapped (write-back) by `windows` until the driver is
///   unbound.
pub(crate) struct Namespace<'a> {
    common: *mut bindings::nd_namespace_common,
    windows: Arc<Windows>,
    _bound: PhantomData<&'a bindings::nd_namespace_common>,
}

impl Namespace<'_> {
    /// Checks what `dev` is, and enables it. Sleeps.
    ///
    /// Errors: `ENODEV` if it is not a namespace, is not wanted, is smaller than libnvdimm allows,
    /// or has no UUID yet; `EBUSY` if a btt, pfn or dax device has claimed it; `EACCES` if a DIMM
    /// is locked; those of `devm_nsio_enable()`.
    ///
    /// # Safety
    ///
    /// `dev` must be a device on the nd bus that is being bound to this driver.
    pub(in crate::kernel_ext) unsafe fn new(
        dev: *mut bindings::device,
        wants: impl FnOnce(&Identity<'_>) -> bool,
    ) -> Result<Self> {
        // btt and pfn devices have the same type number on the bus, and are no
        // `nd_namespace_common` (`to_nd_device_type()`). Their device types are not exported.
        //
        // SAFETY: A device on the bus has a type, and that a name, a C string.
        let type_name = unsafe { CStr::from_char_ptr((*(*dev).type_).name) };
        if type_name != c"nd_namespace_io" && type_name != c"nd_namespace_pmem" {
            return Err(ENODEV);
        }

        // SAFETY: `dev` is a namespace by its type. The bus holds its lock.
        if !wants(&unsafe { Identity::new(dev) }) {
            return Err(ENODEV);
        }

        // SAFETY: By its type, `dev` lies in an `nd_namespace_common`.
        let common = unsafe { container_of!(dev, bindings::nd_namespace_common, dev) };
        // SAFETY: `common` is valid, because `dev` lies in it. `claim` may change at any time, but
        // a claim of a namespace that has a driver fails when it is enabled, as
        // `nvdimm_namespace_common_probe()` does below for one that was claimed.
        if !unsafe { (&raw const (*common).claim).read_volatile() }.is_null() {
            return Err(EBUSY);
        }
        // SAFETY: `dev` is a device on the bus being bound.
        let common = from_err_ptr(unsafe { bindings::nvdimm_namespace_common_probe(dev) })?;
        // SAFETY: `common` is what the common probe returned.
        let windows = unsafe { Self::enable(common) }?;
        // INVARIANT: Enabled just above.
        Ok(Self {
            common,
            windows,
            _bound: PhantomData,
        })
    }

    /// Reserves the memory of a namespace and maps it, until the driver is unbound. Sleeps.
    ///
    /// Errors: those of `devm_nsio_enable()` and `devm_memremap()`, `EBUSY`, `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `common` is a namespace that is being bound and not yet enabled.
    unsafe fn enable(common: *mut bindings::nd_namespace_common) -> Result<Arc<Windows>> {
        // SAFETY: Every namespace of libnvdimm lies in an `nd_namespace_io`
        // (`to_nd_namespace_io()`). Its resource does not change while the device lock is held.
        // libnvdimm requests the first part and maps it write-back.
        unsafe {
            let dev = &raw mut (*common).dev;
            let nsio: *mut bindings::nd_namespace_io =
                container_of!(common, bindings::nd_namespace_io, common);
            let (start, end) = ((*nsio).res.start, (*nsio).res.end);
            let size = usize::try_from(end - start + 1)?;
            let seam = first_part(start, size);
            let rest = size - seam;
            let mut windows = Windows::new(start);
            to_result(bindings::devm_namespace_enable(dev, common, seam as u64))?;
            windows.push(start, seam, (*nsio).addr.cast())?;
            if rest != 0 {
                request(dev, start + seam as u64, rest as u64)?;
                windows.map(dev, start + seam as u64, rest, false)?;
            }
            Ok(Arc::new(windows, GFP_KERNEL)?)
        }
    }

    /// Returns the media. It is valid until the driver is unbound.
    fn media(&self) -> Media {
        // SAFETY: The namespace is enabled by the type invariants: the windows map its memory, its
        // list of bad blocks is initialised, and its parent is its region.
        unsafe {
            let dev = &raw mut (*self.common).dev;
            let region = bindings::to_nd_region((*dev).parent);
            Media::new(
                dev,
                self.windows.clone(),
                Backing::Nvdimm { region, dev },
                List::Namespace(&raw mut (*self.io()).bb),
                None,
            )
        }
    }

    fn io(&self) -> *mut bindings::nd_namespace_io {
        // SAFETY: Every namespace that libnvdimm has lies in an `nd_namespace_io`
        // (`to_nd_namespace_io()`).
        unsafe { container_of!(self.common, bindings::nd_namespace_io, common) }
    }

    /// Returns the physical address of the first byte, and the number of bytes.
    fn resource(&self) -> (u64, u64) {
        // SAFETY: `common` is valid by the type invariants; `res` does not change while the device
        // lock is held.
        unsafe {
            let res = &raw const (*self.io()).res;
            ((*res).start, (*res).end - (*res).start + 1)
        }
    }

    /// Returns the physical address of the first byte.
    pub(crate) fn start(&self) -> u64 {
        self.resource().0
    }

    /// Returns the number of bytes.
    pub(crate) fn size(&self) -> u64 {
        self.resource().1
    }

    /// Returns its device.
    pub(crate) fn device(&self) -> &Device {
        // SAFETY: `common` and so the device in it are valid by the type invariants.
        unsafe { Device::from_raw(&raw mut (*self.common).dev) }
    }

    /// Returns what identifies it. Process context.
    pub(crate) fn identity(&self) -> Identity<'_> {
        // SAFETY: `common` is a namespace, whose device lock is held, by the type invariants.
        unsafe { Identity::new(&raw mut (*self.common).dev) }
    }

    /// Returns the nearest NUMA node; -1 if unknown.
    pub(crate) fn numa_node(&self) -> i32 {
        // SAFETY: `common`, and so the device in it, is valid by the type invariants.
        unsafe { bindings::dev_to_node(&raw const (*self.common).dev) }
    }

    /// Whether `MAP_SYNC` is supported: stores are durable once user space has flushed them.
    pub(crate) fn is_synchronous(&self) -> bool {
        // SAFETY: The parent of a namespace is its region.
        unsafe {
            let region = bindings::to_nd_region((*self.common).dev.parent);
            bindings::is_nvdimm_sync(region)
        }
    }

    /// Whether its region is read-only now. Sleeps.
    ///
    /// When that changes later, [`NvdimmDriver::set_read_only`] is called.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: The parent of a namespace is its region.
        unsafe { is_read_only((*self.common).dev.parent) }
    }

    /// Whether it is unknown what makes writes durable: libnvdimm knows no DIMMs of the region
    /// (`nvdimm_has_flush()`), as with legacy pmem of the e820 map, and the host does not flush it
    /// either.
    pub(crate) fn is_flush_unknown(&self) -> bool {
        // SAFETY: The parent of a namespace is its region.
        let has_flush = unsafe {
            let region = bindings::to_nd_region((*self.common).dev.parent);
            bindings::nvdimm_has_flush(region)
        };
        // virtio-pmem has no DIMMs, but its own flush, which this C function does not consider
        // then.
        has_flush < 0 && self.is_synchronous()
    }

    /// Whether memory errors in a part of it are not reported: where a section of the memory map
    /// (128 MiB) has ordinary memory, too, `memory_failure()` does not check for registered frames.
    pub(crate) fn shares_section(&self) -> bool {
        let (start, size) = self.resource();
        // A section that begins and ends in the namespace contains nothing else.
        [start, start + (size - 1)].iter().any(|address| {
            let pfn = (address >> bindings::PAGE_SHIFT) as usize;
            // SAFETY: The C function takes any number. The media itself has no pages.
            unsafe { bindings::pfn_valid(pfn) }
        })
    }

    /// Makes a value that can be used until the driver is unbound, together with the media. Sleeps.
    ///
    /// devres revokes the value before the bus releases the namespace's memory, whatever the driver
    /// does.
    ///
    /// Errors: `ENOMEM`, and those of `value`.
    pub(crate) fn publish<T: Send + Sync + 'static>(
        &self,
        value: impl PinInit<T, Error>,
    ) -> Result<Arc<SrcuRevocable<LiveMedia<T>>>> {
        // SAFETY: The namespace is enabled, and being bound, by the type invariants. What was enabled
        // is in devres already.
        unsafe {
            publish(
                self.media(),
                None,
                value,
                Classes {
                    readers: static_lock_class!(),
                    revoking: static_lock_class!(),
                },
            )
        }
    }

    /// Reads from the media at byte `offset` into `buf`.
    ///
    /// Errors: `EIO` at a bad block, `EFBIG` past the end.
    pub(crate) fn read(&self, offset: RegionOffset, buf: &mut [u8]) -> Result {
        let media = self.media();
        if media.is_bad(offset, buf.len()) {
            return Err(EIO);
        }
        // SAFETY: `read()` only writes initialised bytes (CAST: `MaybeUninit<u8>` is transparent).
        let buf = unsafe { &mut *(ptr::from_mut(buf) as *mut [MaybeUninit<u8>]) };
        media.read(offset, buf)?;
        Ok(())
    }
}
