// SPDX-License-Identifier: GPL-2.0

//! Error codes that the kernel crate does not declare.
//!
//! C header: [`include/uapi/asm-generic/errno.h`](srctree/include/uapi/asm-generic/errno.h)

use crate::kernel_ext::bindings;
use kernel::prelude::*;

/// `EOPNOTSUPP`: the object does not support this. (`ENOTSUPP`, which is declared, is NFS's own.)
pub(crate) fn eopnotsupp() -> Error {
    Error::from_errno(-(bindings::EOPNOTSUPP as c_int))
}
