// SPDX-License-Identifier: GPL-2.0

//! A device of the dax bus, while it is being bound.
//!
//! The bus makes the device, its number, its node and its attributes. The driver requests and maps
//! its memory.

use crate::kernel_ext::{
    bindings,
    media::{
        badblocks::{
            List,
            OwnBadblocks, //
        },
        live::{
            name,
            publish,
            LiveMedia, //
        },
        windows::{
            request,
            Windows, //
        },
        Backing,
        Media, //
    },
    mm::pages::DevicePages,
    nvdimm::region::is_read_only,
    sync::srcu::{
        Classes,
        SrcuRevocable, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    device::Device,
    error::to_result,
    prelude::*,
    static_lock_class,
    sync::Arc, //
};

/// A range of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The physical address of its first byte.
    pub(crate) start: u64,
    /// The number of bytes, not 0.
    pub(crate) len: u64,
}

/// A device whose memory is not requested yet.
///
/// # Invariants
///
/// `raw` is a valid device of the dax bus that is being bound to this driver, with its lock held.
/// Its alignment does not change meanwhile.
pub(crate) struct Unclaimed<'a> {
    raw: *mut bindings::dev_dax,
    /// Its ranges, as they were in the beginning. A write to the bus's attribute `mapping` may add
    /// one at any time.
    ranges: KVec<Range>,
    _bound: PhantomData<&'a bindings::dev_dax>,
}

impl Unclaimed<'_> {
    /// Checks that the bus's structures are as `helpers/dax_bus.h` has them. Sleeps. Errors: `ENODEV`
    /// if not, `ENOMEM`, `EINTR`.
    ///
    /// # Safety
    ///
    /// `raw` is a valid device of the dax bus that is being bound to this driver, and the structures
    /// have been compared when the driver was registered.
    pub(in crate::kernel_ext) unsafe fn new(raw: *mut bindings::dev_dax) -> Result<Self> {
        // SAFETY: By the requirements of this function.
        if !unsafe { bindings::dev_dax_is_sane(raw) } {
            return Err(ENODEV);
        }
        let mut room = 1;
        let found = loop {
            let none = bindings::range { start: 0, end: 0 };
            let mut found = KVec::from_elem(none, room, GFP_KERNEL)?;
            // SAFETY: As above. `found` has room for as many ranges.
            let nr = unsafe {
                bindings::dev_dax_ranges(raw, found.as_mut_ptr(), c_uint::try_from(room)?)
            };
            to_result(nr)?;
            // There may be more each time.
            let nr = usize::try_from(nr)?;
            if nr <= room {
                found.truncate(nr);
                break found;
            }
            room = nr;
        };
        let mut ranges = KVec::with_capacity(found.len(), GFP_KERNEL)?;
        for range in found {
            let len = range.end.checked_sub(range.start).ok_or(ENODEV)?;
            let len = len.checked_add(1).ok_or(ENODEV)?;
            let start = range.start;
            ranges.push(Range { start, len }, GFP_KERNEL)?;
        }
        // INVARIANT: The bus changes the alignment only with its rwsem held, and only of a device
        // without a driver. `dax_bus_probe()` takes that rwsem after the driver is set.
        Ok(Self {
            raw,
            ranges,
            _bound: PhantomData,
        })
    }

    fn raw_device(&self) -> *mut bindings::device {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { bindings::dev_dax_device(self.raw) }
    }

    /// Returns the device.
    pub(crate) fn device(&self) -> &Device {
        // SAFETY: The device is valid by the type invariants.
        unsafe { Device::from_raw(self.raw_device()) }
    }

    /// Returns its name, `dax3.0`.
    pub(crate) fn name(&self) -> &CStr {
        name(self.device())
    }

    /// Whether a file of another driver is still open.
    pub(crate) fn is_open(&self) -> bool {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { bindings::dev_dax_is_open(self.raw) }
    }

    /// Returns the alignment of its ranges, and of mappings of it, in bytes.
    pub(crate) fn align(&self) -> u64 {
        // SAFETY: `raw` is valid by the type invariants.
        unsafe { bindings::dev_dax_align(self.raw) }.into()
    }

    /// Returns the nearest NUMA node; -1 if unknown.
    pub(crate) fn numa_node(&self) -> i32 {
        // SAFETY: The device is valid by the type invariants.
        unsafe { bindings::dev_to_node(self.raw_device()) }
    }

    /// Returns its ranges, in the order in which they stand in the device.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range> + '_ {
        self.ranges.iter().copied()
    }

    /// Returns the region of the NVDIMM that has its memory, if there is one.
    fn nd_region(&self) -> Option<NonNull<bindings::nd_region>> {
        // SAFETY: `raw` is valid by the type invariants.
        NonNull::new(unsafe { bindings::dev_dax_nd_region(self.raw) })
    }

    /// Requests its memory and maps it, until the driver is unbound. Sleeps.
    ///
    /// `with_pages`: makes a `struct page` for each page, so that others can pin them.
    ///
    /// Errors: `EBUSY` if another driver has some of it; `EINVAL` if its ranges overlap; `ENOMEM`,
    /// and those of `devm_memremap()` or `memremap_pages()`.
    pub(crate) fn claim(&self, with_pages: bool) -> Result<DaxDevice<'_>> {
        let dev = self.raw_device();
        // In the order of their addresses.
        let next = |from: u64| {
            let behind = self.ranges().filter(|range| range.start >= from);
            behind.min_by_key(|range| range.start)
        };
        let mut windows = Windows::new(next(0).ok_or(ENXIO)?.start);
        let mut from = 0;
        let mut claimed = KVec::new();
        while let Some(range) = next(from) {
            // SAFETY: The device is being bound by the type invariants.
            unsafe { request(dev, range.start, range.len)? };
            from = range.start.checked_add(range.len).ok_or(EINVAL)?;
            let raw = bindings::range {
                start: range.start,
                end: from - 1,
            };
            claimed.push(raw, GFP_KERNEL)?;
        }
        // Some overlap.
        if claimed.len() != self.ranges.len() {
            return Err(EINVAL);
        }
        let pages = match with_pages {
            // SAFETY: The device is being bound by the type invariants, and its memory is requested.
            // What uses the pages goes before that: see `publish()`.
            true => Some(unsafe { DevicePages::new(self.raw, &claimed)? }),
            false => None,
        };
        for range in claimed {
            let len = usize::try_from(range.end - range.start + 1)?;
            // A mapping of its own, even if the pages are in the direct map: the kernel removes a
            // broken page from there at any time, and a write-back of it would then fault.
            //
            // SAFETY: The device is being bound by the type invariants, and its memory is requested.
            // The windows are used only through `Media`, while the device is bound.
            unsafe { windows.map(dev, range.start, len, with_pages)? };
        }
        let backing = match self.nd_region() {
            Some(region) => Backing::Nvdimm {
                region: region.as_ptr(),
                // The parent is a device on the region's bus.
                //
                // SAFETY: The device is valid by the type invariants.
                dev: unsafe { (*dev).parent },
            },
            None => Backing::Volatile,
        };
        let bad = List::Own(Arc::pin_init(OwnBadblocks::new(), GFP_KERNEL)?);
        // SAFETY: The device is being bound, and has requested and mapped the memory just above,
        // until it is unbound. An NVDIMM's region and dax device outlive what the bus makes of
        // them, because they are its parents.
        let media = unsafe { Media::new(dev, Arc::new(windows, GFP_KERNEL)?, backing, bad, pages) };
        media.update_bad();
        Ok(DaxDevice {
            unclaimed: self,
            media,
        })
    }
}

/// A device whose memory is requested, and mapped write-back, until the driver is unbound.
///
/// # Invariants
///
/// Those of `media` hold until devres of the device releases what was added before.
pub(crate) struct DaxDevice<'a> {
    unclaimed: &'a Unclaimed<'a>,
    media: Media,
}

impl DaxDevice<'_> {
    /// Returns the device.
    pub(crate) fn device(&self) -> &Device {
        self.unclaimed.device()
    }

    /// Whether its content stays when the power is off: it is an NVDIMM's.
    pub(crate) fn is_persistent(&self) -> bool {
        self.unclaimed.nd_region().is_some()
    }

    /// Whether `MAP_SYNC` is supported: stores are durable once user space has flushed them.
    ///
    /// Not for memory that loses its content: nothing makes a store there durable.
    pub(crate) fn is_synchronous(&self) -> bool {
        self.unclaimed
            .nd_region()
            // SAFETY: The region is valid while the device is.
            .is_some_and(|region| unsafe { bindings::is_nvdimm_sync(region.as_ptr()) })
    }

    /// Whether it is persistent, but the platform does not say how to flush it.
    pub(crate) fn is_flush_unknown(&self) -> bool {
        self.unclaimed
            .nd_region()
            // SAFETY: The region is valid while the device is.
            .is_some_and(|region| unsafe { bindings::nvdimm_has_flush(region.as_ptr()) < 0 })
            && self.is_synchronous()
    }

    /// Whether the region of its NVDIMM is read-only now. Sleeps.
    pub(crate) fn is_read_only(&self) -> bool {
        self.unclaimed.nd_region().is_some_and(|_| {
            // SAFETY: The device has a region, which is its parent's parent.
            unsafe { is_read_only((*(*self.unclaimed.raw_device()).parent).parent) }
        })
    }

    /// Whether memory errors in a part of it are not reported: where a section of the memory map
    /// (128 MiB) has ordinary memory, too, `memory_failure()` does not check for registered frames.
    pub(crate) fn shares_section(&self) -> bool {
        // A section that begins and ends in a range contains nothing else.
        self.unclaimed.ranges().any(|range| {
            [range.start, range.start + (range.len - 1)]
                .iter()
                // SAFETY: The C function takes any number. The media itself has no pages.
                .any(|address| unsafe {
                    bindings::pfn_valid((address >> bindings::PAGE_SHIFT) as usize)
                })
        })
    }

    /// Makes a value that can be used until the driver is unbound, together with the media. Sleeps.
    ///
    /// devres revokes the value before the memory is released, whatever the driver does.
    ///
    /// Errors: `ENOMEM`, and those of `value`.
    pub(crate) fn publish<T: Send + Sync + 'static>(
        &self,
        value: impl PinInit<T, Error>,
    ) -> Result<Arc<SrcuRevocable<LiveMedia<T>>>> {
        // SAFETY: By the type invariants the device is being bound, and its memory is in devres.
        // `publish()` drops the media, or makes it reachable until devres revokes it.
        unsafe {
            publish(
                self.media.another(),
                None,
                value,
                Classes {
                    readers: static_lock_class!(),
                    revoking: static_lock_class!(),
                },
            )
        }
    }
}
