// SPDX-License-Identifier: GPL-2.0

//! The directory by which `ndctl` finds the device of a namespace.

use crate::dax::device::Device;
use crate::kernel_ext::fs::{
    device_node::Node,
    sysfs::{
        Directory,
        Link, //
    }, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};

/// The directory in which `ndctl` looks for the block device of a namespace that it wants to
/// disable. ndctl opens the node of that name, and gives up unless the directory has exactly one.
pub(super) struct Block {
    // Dropped first.
    link: Option<Link>,
    directory: Arc<Directory>,
    /// The minor number of the device that the link names. `None` if it names `null`.
    named: Option<usize>,
}

impl Block {
    /// Makes the directory of `namespace`. The link names `null`. Sleeps. Errors: `ENOMEM`.
    pub(super) fn new(namespace: &kernel::device::Device) -> Result<Self> {
        let mut block = Self {
            link: None,
            directory: Arc::new(Directory::new(namespace, c"block")?, GFP_KERNEL)?,
            named: None,
        };
        block.name(namespace, None);
        Ok(block)
    }

    /// Makes the link name the device whose node is `first`, or `null`, which can always be opened.
    pub(super) fn name(
        &mut self,
        namespace: &kernel::device::Device,
        first: Option<&Node<Device>>,
    ) {
        let number = first.map(Node::number);
        if self.link.is_some() && self.named == number {
            return;
        }
        self.link = None;
        let directory = self.directory.clone();
        // Without this link, only ndctl fails: the namespace can be unbound through sysfs.
        self.link = match first {
            Some(node) => node.link_from(directory).ok(),
            None => CString::try_from_fmt(format_args!("null"))
                .and_then(|name| Link::new(directory, namespace, name))
                .ok(),
        };
        self.named = number;
    }
}
