// SPDX-License-Identifier: GPL-2.0

//! How a namespace becomes a region, and how the region ends.
//!
//! Loading the module binds no namespace. What the bus offers automatically is refused, unless the
//! parameter `bind` names it. A write to `/sys/bus/nd/drivers/rdax/bind` asks for one. Before a
//! namespace is bound, its head and tail are read. Binding never writes to the media.

use crate::dax::{
    device::{
        log,
        Device, //
    },
    layout::{
        geometry::Geometry,
        span::{
            Misfit,
            Span, //
        }, //
    },
    node::attrs::{
        self,
        NotMade, //
    },
    ops::{
        poison,
        sync, //
    },
    params::{
        self,
        Listed, //
    },
    region::{
        Bound,
        Region, //
    },
    signature, //
};
use crate::kernel_ext::{
    fs::{
        cdev::Class,
        debugfs::Dir,
        sysfs::GroupList, //
    },
    nvdimm::{
        driver::{
            NvdimmDriver,
            Origin, //
        },
        namespace::{
            Identity,
            Namespace, //
        }, //
    },
    parameters::{
        self,
        List,
        Param, //
    },
    trace,
    units::{
        Order,
        RegionOffset, //
    }, //
};
use kernel::{
    dev_err,
    dev_info,
    dev_notice,
    dev_warn,
    prelude::*,
    sync::Arc, //
};

/// The smallest namespace that is bound, in bytes. A smaller one has no room for a huge page.
const MIN_SIZE: u64 = Order::PMD.bytes() as u64;

/// The driver of the nd bus.
pub(crate) struct Driver {
    pub(super) class: Arc<Class<Device>>,
    pub(super) debugfs: Arc<Dir>,
}

impl NvdimmDriver for Driver {
    type Data = Bound;
    const NAME: &'static CStr = c"rdax";

    fn groups() -> GroupList<Bound> {
        attrs::REGION_GROUPS.as_list()
    }

    fn wants(&self, identity: &Identity<'_>, origin: Origin) -> bool {
        match origin {
            Origin::User => true,
            Origin::Bus => is_listed(Param::Bind, identity),
        }
    }

    fn probe(&self, namespace: &Namespace<'_>) -> Result<Pin<KBox<Bound>>> {
        let geometry = examine(namespace)?;
        let (span, align) = (geometry.span, geometry.align);
        let (class, debugfs) = (self.class.clone(), self.debugfs.clone());
        let bound = Bound {
            region: Region::new(namespace, geometry, class, debugfs)?,
        };
        let dev = namespace.device();
        if bound.region.geometry.is_read_only() {
            dev_notice!(dev, "rdax: the region is read-only: writes are refused\n");
        }
        if namespace.is_flush_unknown() {
            dev_warn!(dev, "rdax: unable to guarantee persistence of writes: the platform does not say how to flush this memory\n");
        }
        if namespace.shares_section() {
            dev_warn!(
                dev,
                "rdax: memory errors near its start or end are not handled, because it shares a section of the memory map with ordinary memory\n"
            );
        }
        if is_listed(Param::Divided, &namespace.identity()) {
            dev_info!(
                dev,
                "rdax: {} bytes, align {}, bound without a device because parameter divided lists it: create its devices\n",
                span.size(),
                align.bytes()
            );
        } else {
            let minor = bound
                .region
                .create(span.pages(), None)
                .inspect_err(|&error| {
                    let number = None;
                    let reason = NotMade { error, number };
                    dev_err!(
                        dev,
                        "rdax: not bound, because no device could be made: {reason}\n"
                    );
                })?;
            dev_info!(
                dev,
                "rdax{minor}: device of {} bytes, align {}\n",
                span.size(),
                align.bytes()
            );
        }
        super::warn_of_leaves(dev);
        let bound = KBox::pin(bound, GFP_KERNEL)?;
        trace::bind(dev, span.size(), align.bytes() as u64);
        Ok(bound)
    }

    fn shutdown(bound: &Bound) {
        bound.region.for_each(|device| {
            if let Err(error) = sync::sync_all(device) {
                log!(
                    dev_err,
                    pr_err,
                    bound.region,
                    "{device}: write-back at shutdown failed ({error:?}): recent writes may be lost, check the data after the reboot\n"
                );
            }
        });
    }

    fn set_read_only(bound: &Bound, read_only: bool) {
        if bound.region.geometry.is_read_only() == read_only {
            return;
        }
        bound.region.set_read_only(read_only);
        let what = match read_only {
            true => "read-only now: writes are refused",
            false => "writable now",
        };
        log!(
            dev_notice,
            pr_notice,
            bound.region,
            "rdax: the region is {what}\n"
        );
    }

    fn poisoned(bound: &Bound) {
        bound.region.update_bad();
        bound.region.for_each(poison::unmap_poison);
    }
}

/// Whether a parameter lists a namespace. If it names the namespace in the wrong way, logs how.
fn is_listed(param: Param, identity: &Identity<'_>) -> bool {
    let wanted = params::Identity {
        name: identity.name(),
        uuid: identity.uuid(),
        size: identity.size(),
    };
    let found = params::find(List::read(param).as_bytes(), &wanted);
    let (dev, param) = (identity.device(), param.name());
    match found {
        Listed::Yes => return true,
        Listed::No => (),
        Listed::NotByUuid => dev_warn!(
            dev,
            "rdax: parameter {param} lists its name, which is ignored because names of namespaces with labels may change: list its UUID {identity}\n"
        ),
        Listed::OtherSize(size) => dev_warn!(
            dev,
            "rdax: parameter {param} lists it with {size} bytes, which is ignored because it has {} bytes: correct the size\n",
            wanted.size
        ),
    }
    false
}

/// Returns the geometry of the region that a namespace would become. Only reads the media.
fn examine(namespace: &Namespace<'_>) -> Result<Geometry> {
    let dev = namespace.device();
    let align = parameters::align();
    if namespace.size() < MIN_SIZE {
        dev_err!(
            dev,
            "rdax: refused, {} bytes are too few: at least {} are needed\n",
            namespace.size(),
            MIN_SIZE
        );
        return Err(ENOSPC);
    }
    let span = match Span::new(namespace.start(), namespace.size(), align) {
        Ok(span) => span,
        Err(Misfit::Small) => {
            dev_err!(
                dev,
                "rdax: refused, {} bytes are less than align {}: use a smaller align\n",
                namespace.size(),
                align.bytes()
            );
            return Err(ENOSPC);
        }
        Err(Misfit::Unaligned) => {
            dev_err!(
                dev,
                "rdax: refused, the media does not begin at a multiple of align {}: use a smaller align\n",
                align.bytes()
            );
            return Err(EINVAL);
        }
    };

    let identity = namespace.identity();
    let forced = is_listed(Param::Force, &identity);
    match signature::find(namespace.size(), |offset, buf| {
        namespace.read(RegionOffset::new(offset), buf)
    }) {
        Ok(None) => (),
        Ok(Some(found)) if forced => {
            dev_notice!(
                dev,
                "rdax: it may hold data ({}), but parameter force allows the bind\n",
                found.name
            );
        }
        Ok(Some(found)) => {
            dev_err!(
                dev,
                "rdax: refused, it may hold data: {} at byte {:#x} (parameter force={identity} overrides)\n",
                found.name,
                found.offset
            );
            return Err(EEXIST);
        }
        Err(_) if forced => {
            dev_notice!(
                dev,
                "rdax: its head or tail can't be read, but parameter force allows the bind\n"
            );
        }
        Err(error) => {
            dev_err!(
                dev,
                "rdax: refused, it may hold data: its head or tail can't be read (parameter force={identity} overrides)\n"
            );
            return Err(error);
        }
    }

    Ok(Geometry::new(
        span,
        span.pages(),
        align,
        namespace.numa_node(),
        namespace.is_synchronous(),
        namespace.is_read_only(),
    ))
}
