// SPDX-License-Identifier: GPL-2.0

//! Who binds memory.

mod dax;
mod nd;

use crate::kernel_ext::{
    dax_bus::driver::{
        self,
        Bus, //
    },
    fs::{
        cdev::Class,
        debugfs::Dir, //
    },
    nvdimm,
    parameters::{
        leaf_is_safe,
        max_leaf, //
    }, //
};
use kernel::{
    dev_warn,
    device::Device,
    prelude::*,
    sync::Arc,
    ThisModule, //
};

/// The module.
#[pin_data]
pub(crate) struct Module {
    // Dropped first: unbinds every device of the dax bus, then every namespace. The class is freed
    // with the last reference to it.
    _dax: Option<Pin<KBox<driver::Registration<dax::Driver>>>>,
    #[pin]
    _nd: nvdimm::driver::Registration<nd::Driver>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            // fio and QEMU recognize a DAX device by the name of its class.
            let class = Arc::pin_init(Class::new(c"dax", c"rdax"), GFP_KERNEL)?;
            let debugfs = Arc::new(Dir::new(c"rdax"), GFP_KERNEL)?;
            let driver = nd::Driver {
                class,
                debugfs: debugfs.clone(),
            };
            Ok(try_pin_init!(Self {
                _nd <- nvdimm::driver::Registration::new(driver, module),
                // Last, because what it makes would outlive a failure only as long as this.
                _dax: register_dax(debugfs, module),
            }))
        })
    }
}

/// Registers the driver of the dax bus. Logs why, if it can't be: the module is of use without it.
fn register_dax(
    debugfs: Arc<Dir>,
    module: &'static ThisModule,
) -> Option<Pin<KBox<driver::Registration<dax::Driver>>>> {
    let reason = match Bus::find() {
        Bus::Known => {
            let registration = driver::Registration::new(dax::Driver { debugfs }, module);
            match KBox::pin_init(registration, GFP_KERNEL) {
                Ok(registration) => return Some(registration),
                Err(error) => {
                    pr_warn!("devices of the dax bus can't be bound, because registering the driver failed ({error:?})\n");
                    return None;
                }
            }
        }
        Bus::Differs => {
            "this kernel's private structures of that bus differ from those that rdax knows"
        }
        Bus::Unknown => {
            "this kernel does not describe its private structures (CONFIG_DEBUG_INFO_BTF)"
        }
        Bus::Absent => "this kernel has none (CONFIG_DAX)",
    };
    pr_notice!("devices of the dax bus can't be bound: {reason}\n");
    None
}

/// Warns if mappings with huge leaves can crash the kernel.
fn warn_of_leaves(dev: &Device) {
    if !leaf_is_safe(max_leaf()) {
        dev_warn!(
            dev,
            "rdax: mbind() on a mapping with 2 MiB pages can crash this kernel: set parameter max_leaf=4K to prevent it\n"
        );
    }
}
