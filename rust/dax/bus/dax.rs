// SPDX-License-Identifier: GPL-2.0

//! How a device of the dax bus is bound: CXL memory, soft-reserved memory, an NVDIMM in devdax mode.
//!
//! The bus offers only devices that a user has named in `/sys/bus/dax/drivers/rdax/new_id`. It makes
//! their nodes, and divides the memory. So each is a region of its own with one device, whose
//! extents and alignment are the bus's.

use crate::dax::{
    device::{
        Device,
        Name, //
    },
    layout::{
        extents::Run,
        geometry::Geometry,
        span::Span, //
    },
    node::attrs,
    region::{
        single::Single,
        AttributeData, //
    }, //
};
use crate::kernel_ext::{
    dax_bus::{
        device::{
            Range,
            Unclaimed, //
        },
        driver::{
            DaxDriver,
            Parts, //
        }, //
    },
    fs::{
        debugfs::Dir,
        sysfs::GroupList, //
    },
    parameters::{
        List,
        Param, //
    },
    trace,
    units::{
        Order,
        Pages,
        Pfn, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The driver of the dax bus.
pub(crate) struct Driver {
    pub(super) debugfs: Arc<Dir>,
}

impl DaxDriver for Driver {
    type File = Device;
    type Data = Single;
    const NAME: &'static CStr = c"rdax";

    fn groups() -> GroupList<AttributeData> {
        attrs::BUS_GROUPS.as_list()
    }

    fn debugfs(&self) -> Arc<Dir> {
        self.debugfs.clone()
    }

    fn probe(&self, device: Unclaimed<'_>) -> Result<Parts<Self>> {
        if device.is_open() {
            dev_err!(
                device.device(),
                "rdax: refused, because its node is still open by another driver: close these files first\n"
            );
            return Err(EBUSY);
        }
        let misfit = |_: &Error| {
            dev_err!(
                device.device(),
                "rdax: refused, because its ranges do not begin and end at multiples of its alignment: write a smaller one to its file align\n"
            );
        };
        let (span, pages, align) = place(&device).inspect_err(misfit)?;
        let name = Name::given(device.name())?;
        let mut runs = KVec::new();
        for range in device.ranges() {
            let run = run(span, align, range).ok_or(EINVAL);
            runs.push(run.inspect_err(misfit)?, GFP_KERNEL)?;
        }
        let numa_node = device.numa_node();
        let with_pages = {
            let list = List::read(Param::Pages);
            let mut items = list.as_bytes().split(|&byte| byte == b',');
            items.any(|item| item == device.name().to_bytes())
        };
        let media = device.claim(with_pages).inspect_err(|&error| {
            if error == EBUSY {
                dev_err!(
                    device.device(),
                    "rdax: refused, because another driver has some of its memory\n"
                );
            }
        })?;
        let dev = media.device();
        let read_only = media.is_read_only();
        let geometry = Geometry::new(
            span,
            pages,
            align,
            numa_node,
            media.is_synchronous(),
            read_only,
        );
        let single = Single::new(media.publish(Ok(()))?, geometry, runs.into_iter(), name)?;
        if read_only {
            dev_notice!(dev, "rdax: the region is read-only: writes are refused\n");
        }
        if media.is_flush_unknown() {
            dev_warn!(dev, "rdax: unable to guarantee persistence of writes: the platform does not say how to flush this memory\n");
        }
        if !with_pages && media.shares_section() {
            dev_warn!(
                dev,
                "rdax: memory errors near the start or end of a range are not handled, because it shares a section of the memory map with ordinary memory\n"
            );
        }
        let kind = match media.is_persistent() {
            true => "of an NVDIMM",
            false => "volatile",
        };
        dev_info!(
            dev,
            "rdax: device of {} bytes, align {}, {kind}, {}\n",
            pages.bytes(),
            align.bytes(),
            match with_pages {
                true => "with pages",
                false => "page frames",
            }
        );
        super::warn_of_leaves(dev);
        trace::bind(dev, pages.bytes(), align.bytes() as u64);
        Ok(Parts {
            file: single.device().clone(),
            attributes: single.attributes()?,
            data: single,
        })
    }

    fn shutdown(single: &Single) {
        if let Err(error) = single.sync() {
            pr_err!(
                "{}: write-back at shutdown failed ({error:?}): recent writes may be lost, check the data after the reboot\n",
                single.device()
            );
        }
    }
}

/// Returns the page frames from the lowest range to the highest, the number of pages in the ranges,
/// and their alignment. Errors: `EINVAL` if this is no memory that can be mapped.
fn place(device: &Unclaimed<'_>) -> Result<(Span, Pages, Order)> {
    let align = Order::from_bytes(device.align()).ok_or(EINVAL)?;
    let (mut first, mut last, mut bytes) = (u64::MAX, 0, 0u64);
    for Range { start, len } in device.ranges() {
        first = first.min(start);
        last = last.max(start.checked_add(len - 1).ok_or(EINVAL)?);
        bytes = bytes.checked_add(len).ok_or(EINVAL)?;
    }
    let size = last.checked_sub(first).ok_or(EINVAL)?.saturating_add(1);
    let span = Span::new(first, size, align).map_err(|_| EINVAL)?;
    Ok((span, Pages::in_bytes(bytes), align))
}

/// Returns the pages of a range.
fn run(span: Span, align: Order, range: Range) -> Option<Run> {
    let first = Some(Pfn::at(range.start)).filter(|first| first.address() == range.start)?;
    span.run(span.offset_of(first)?, range.len, align)
}
