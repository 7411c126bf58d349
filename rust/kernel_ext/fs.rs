// SPDX-License-Identifier: GPL-2.0

//! Files: character devices, sysfs, debugfs, and the arguments of their calls.

pub(crate) mod anon_inode;
pub(crate) mod cdev;
pub(crate) mod chrdev;
pub(crate) mod debugfs;
pub(crate) mod device_node;
pub(crate) mod file_operations;
pub(crate) mod iov;
pub(crate) mod kiocb;
pub(crate) mod sysfs;
