// SPDX-License-Identifier: GPL-2.0

//! How a namespace becomes a device, and how it ends.
//!
//! Loading the module takes no namespace: what the bus offers by itself is refused, unless the
//! parameter `bind` names it. A write to `/sys/bus/nd/drivers/rdax/bind` asks for one. Before a
//! namespace is taken, its head is read; nothing is ever written by binding.

use super::{
    debugfs::View,
    device::{
        Attached,
        Device,
        Geometry, //
    },
    order::Order,
    params,
    poison,
    range::{
        Misfit,
        Range, //
    },
    signature,
    sync, //
};
use crate::kernel_ext::{
    cdev::{
        Class,
        Node, //
    },
    memory_failure,
    nd::{
        self,
        Namespace,
        Origin, //
    },
    params::{
        Param,
        Value, //
    },
};
use kernel::{
    debugfs::Dir,
    dev_err,
    dev_info,
    dev_notice,
    prelude::*,
    sync::Arc,
    ThisModule, //
};

/// The smallest namespace that is taken, in bytes: below it there is no room for a huge page, and
/// nobody makes such.
const MIN_SIZE: u64 = Order::PMD.bytes() as u64;

/// The module.
#[pin_data]
pub(crate) struct Module {
    // Dropped first: unbinds every namespace. The class goes with the last reference to it.
    #[pin]
    _driver: nd::Registration<Driver>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _driver <- nd::Registration::new(
                Driver {
                    // fio and QEMU know a DAX device by the name of its class.
                    class: Arc::pin_init(Class::new(c"dax", c"rdax"), GFP_KERNEL)?,
                    debugfs: Dir::new(c"rdax"),
                },
                module,
            ),
        })
    }
}

/// The driver of the nd bus.
pub(crate) struct Driver {
    class: Arc<Class<Device>>,
    debugfs: Dir,
}

/// A namespace that is bound.
#[pin_data]
pub(crate) struct Bound {
    // Dropped in this order: no view, no new opens and no attributes, no news of errors, then no media.
    #[pin]
    _view: View,
    _node: Node<Device>,
    #[pin]
    _frames: memory_failure::Registration<Device>,
    device: Attached,
}

impl nd::Driver for Driver {
    type Data = Bound;
    const NAME: &'static CStr = c"rdax";

    fn wants(&self, name: &CStr, origin: Origin) -> bool {
        match origin {
            Origin::User => true,
            Origin::Bus => params::names(Value::read(Param::Bind).as_bytes(), name.to_bytes()),
        }
    }

    fn probe(&self, namespace: &Namespace<'_>) -> Result<Pin<KBox<Bound>>> {
        let geometry = examine(namespace)?;
        let (range, align) = (geometry.range, geometry.align);
        let (first, last) = range.frames();
        let device = Attached(Device::new(namespace, geometry)?);
        let node = Node::new(self.class.clone(), namespace.device(), device.0.clone())?;
        dev_info!(
            namespace.device(),
            "rdax{}: {} bytes, align {}\n",
            node.minor(),
            range.size(),
            align.bytes()
        );
        let view_of = device.0.clone();
        KBox::pin_init(
            try_pin_init!(Bound {
                _view <- View::new(&self.debugfs, node.minor(), &view_of)?,
                _node: node,
                _frames <- memory_failure::Registration::new(device.0.clone(), first, last),
                device,
            }),
            GFP_KERNEL,
        )
    }

    fn shutdown(bound: &Bound) {
        if let Err(error) = sync::sync_all(&bound.device.0) {
            pr_err!("what was written last may be lost: {error:?}\n");
        }
    }

    fn poisoned(bound: &Bound) {
        poison::update(&bound.device.0);
    }
}

/// What device a namespace would be, if it may be one. Only reads.
fn examine(namespace: &Namespace<'_>) -> Result<Geometry> {
    let dev = namespace.device();
    let Some(align) = params::align(Value::read(Param::Align).as_bytes()) else {
        dev_err!(dev, "rdax: parameter align must be 4K, 2M or 1G\n");
        return Err(EINVAL);
    };
    if namespace.size() < MIN_SIZE {
        dev_err!(
            dev,
            "rdax: {} bytes are too few, at least {} are needed\n",
            namespace.size(),
            MIN_SIZE
        );
        return Err(ENOSPC);
    }
    let range = match Range::new(namespace.start(), namespace.size(), align) {
        Ok(range) => range,
        Err(Misfit::Small) => {
            dev_err!(
                dev,
                "rdax: {} bytes are less than align {}\n",
                namespace.size(),
                align.bytes()
            );
            return Err(ENOSPC);
        }
        Err(Misfit::Unaligned) => {
            dev_err!(
                dev,
                "rdax: the media does not begin at a multiple of align {}\n",
                align.bytes()
            );
            return Err(EINVAL);
        }
    };

    let forced = params::names(Value::read(Param::Force).as_bytes(), dev.name().to_bytes());
    match signature::find(|offset, buf| namespace.read(offset, buf)) {
        Ok(None) => (),
        Ok(Some(found)) if forced => {
            dev_notice!(dev, "rdax: bound by force over: {}\n", found.name);
        }
        Ok(Some(found)) => {
            dev_err!(
                dev,
                "rdax: refused, it may hold data: {} at byte {:#x} (parameter force overrides)\n",
                found.name,
                found.offset
            );
            return Err(EEXIST);
        }
        Err(_) if forced => {
            dev_notice!(
                dev,
                "rdax: bound by force, although its head can't be read\n"
            );
        }
        Err(error) => {
            dev_err!(
                dev,
                "rdax: refused, its head can't be read (parameter force overrides)\n"
            );
            return Err(error);
        }
    }

    Ok(Geometry {
        range,
        align,
        numa_node: namespace.numa_node(),
        synchronous: namespace.is_synchronous(),
    })
}
