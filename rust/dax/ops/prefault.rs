// SPDX-License-Identifier: GPL-2.0

//! Prefault: maps memory before it is first touched.

use crate::dax::device::Device;
use crate::kernel_ext::{
    mm::populate::populate,
    uapi::RdaxPrefault,
    units::Order, //
};
use kernel::prelude::*;

/// Maps a part of the caller's memory (`RDAX_IOC_PREFAULT`).
///
/// Process context; sleeps, faults. Errors: those in `rust/uapi/rdax.h`.
pub(crate) fn prefault(device: &Device, arg: usize) -> Result {
    let call = RdaxPrefault::read(arg)?;
    let (address, len) = (
        usize::try_from(call.address())?,
        usize::try_from(call.length())?,
    );
    if len == 0 || !Order::PTE.divides(address | len) || address.checked_add(len).is_none() {
        return Err(EINVAL);
    }
    // Only to return an error early: the faults check again.
    match call.is_write() {
        true => drop(device.live_to_write()?),
        false => drop(device.live().ok_or(ENXIO)?),
    }
    let (done, result) = populate(device.inode(), address, len, call.is_write());
    RdaxPrefault::write_done(arg, done as u64)?;
    result
}
