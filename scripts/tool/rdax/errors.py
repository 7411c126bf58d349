# SPDX-License-Identifier: GPL-2.0
"""What the kernel's errors mean."""

import errno
from pathlib import Path

from .machine import read_only
from .say import BUSY, FAILED, MISSING

# What errors mean when the kernel's log can't be read, or has nothing: rdax's own
# (sysfs-class-rdax), libnvdimm's (nvdimm_namespace_common_probe(), devm_nsio_enable()), the
# driver core's (device_driver_attach()), and that of sysfs (ENODEV: the file is just going).
GONE = "the device no longer exists"
UNBINDING = "the namespace is being unbound, or no longer exists"
UNLOADED = "the module is being unloaded"
BIND_ERRORS = {
    errno.ENFILE: "too many files are open in the system",
    errno.EBUSY: "a driver, or a btt, pfn or dax device has it, or something else has its memory",
    errno.EEXIST: "it may hold data: something known is at its head or tail (parameter force "
                  "overrides)",
    errno.ENOSPC: "it is smaller than 2M or than the alignment, or the driver has no number left "
                  "for a device",
    errno.EINVAL: "the media does not begin at a multiple of the alignment",
    errno.ENODEV: "it no longer exists, or has no UUID yet, or is not a device that a driver can "
                  "bind",
    errno.ENXIO: "it is being removed, or a btt, pfn or dax device has it, or the kernel could not "
                 "map it",
    errno.EACCES: "a DIMM is locked",
    errno.EIO: "its head or tail can't be read (parameter force overrides)",
    errno.EOPNOTSUPP: "its memory does not begin and end where the kernel could map it",
    errno.EAGAIN: "the kernel is not ready for it: try again",
    errno.ENOENT: UNLOADED,
}
UNBIND_ERRORS = {
    errno.ENODEV: "it is no longer bound to rdax",
    errno.ENOENT: UNLOADED,
}
# Of nd_pmem's bind.
PMEM_ERRORS = {
    errno.EBUSY: "a driver, or a btt, pfn or dax device has it, or something else has its memory",
    errno.ENODEV: "it no longer exists, or has no UUID yet",
    errno.ENXIO: "a btt, pfn or dax device has it now, or the kernel could not map it",
    errno.EACCES: "a DIMM is locked",
    errno.ENOENT: "the module nd_pmem is being unloaded",
}
# Of new_id and bind of a driver of the dax bus.
DAX_ERRORS = {
    errno.EBUSY: "another driver has it, or something else has its memory",
    errno.ENODEV: "it no longer exists, or another driver has it",
    errno.ENXIO: "it has no memory, or it is being removed",
    errno.ENOMEM: "there is not enough memory (for its memory map, if the driver makes one)",
    errno.EOPNOTSUPP: "the module can't serve it",
    errno.ENOENT: "the driver's module is being unloaded",
}
PARAMETER_ERRORS = {
    errno.EINVAL: "the loaded module does not take that",
    errno.ENOSPC: "that is longer than the loaded module takes",
    errno.ENODEV: UNLOADED,
    errno.ENOENT: UNLOADED,
}
SIZE_ERRORS = {
    errno.EINVAL: "not a multiple of the device's alignment",
    errno.ENOSPC: "the region has less free space",
    errno.ENXIO: GONE,
    errno.ENODEV: GONE,
    errno.EIO: "what was cut off could not be made durable; it is cut off",
}
ALIGN_ERRORS = {
    errno.EINVAL: "the device's size, or the address of one of its extents, is no multiple of it",
    errno.EBUSY: "the device is in use",
    errno.ENXIO: GONE,
    errno.ENODEV: GONE,
}
MEMORY_ERRORS = {
    errno.EBUSY: "the device is in use",
    errno.ENODEV: GONE,
}
EXTENT_ERRORS = {
    errno.EINVAL: "empty, beyond the region, or not a multiple of the device's alignment",
    errno.EBUSY: "a device has some of these bytes",
    errno.ENXIO: GONE,
    errno.ENODEV: GONE,
}
CREATE_ERRORS = {
    errno.EINVAL: "the number is too large, or the loaded module can't make a device by its name",
    errno.EEXIST: "there is a device of that name",
    errno.ENOSPC: "the driver has no such number, or none is left",
    errno.ENFILE: "too many files are open in the system",
    errno.ENOMEM: "the kernel has not enough memory",
    errno.ENXIO: UNBINDING,
    errno.ENODEV: UNBINDING,
    errno.ENOENT: UNBINDING,
}
DELETE_ERRORS = {
    errno.EBUSY: "the device is in use",
    errno.ENXIO: GONE,
    errno.ENODEV: UNBINDING,
    errno.ENOENT: UNBINDING,
}
PUNCH_ERRORS = {
    errno.EFBIG: "it has become smaller",
    errno.EIO: "a bad block can't be cleared, or only a part of one is in the range",
    errno.ENXIO: GONE,
    errno.ENOTTY: "the loaded module can't do that",
}
OPEN_ERRORS = {
    errno.ENXIO: GONE,
    errno.ENODEV: GONE,
}
# What insmod and modprobe say when the kernel refuses a module, and what may be the cause.
UNTRUSTED = ("the kernel does not trust the key that signed it, or no key did: enroll that of DKMS "
             "(see Secure Boot in rdax(8))")
MISFIT = ("it was built for another kernel than this one, or its file is damaged: rebuild it "
          "('dkms autoinstall')")
OPTIONS = ("an option is not understood (see 'options rdax' in /etc/modprobe.d), or it was built "
           "for another kernel than this one")
NEEDS = ("it was built for another kernel than this one, or needs modules that insmod does not "
         "load ('modprobe libnvdimm')")
LOAD_ERRORS = {
    "Key was rejected by service": UNTRUSTED,
    "Required key not available": UNTRUSTED,
    "Operation not permitted": "the kernel is locked down and refuses a module that no trusted key "
                               "signed (see Secure Boot in rdax(8)), or kernel.modules_disabled is "
                               "1",
    "Invalid module format": MISFIT,
    "Exec format error": MISFIT,
    "Invalid parameters": OPTIONS,
    "Invalid argument": OPTIONS,
    "No space left on device": "an option is too long (see 'options rdax' in /etc/modprobe.d)",
    "Unknown symbol": NEEDS,
    "Device or resource busy": "it is being loaded or unloaded by another, or no device numbers "
                               "are left",
    "not found in directory": "it is not installed for this kernel: see 'dkms status'",
}


def reason(error: OSError, meanings: dict[int, str], logged: str = "",
           namespace: Path | None = None) -> str:
    if error.errno == errno.EROFS and namespace:
        return read_only(namespace) or "the memory is read-only"
    return logged or meanings.get(error.errno or 0) or error.strerror or str(error.errno)


def status_of(error: OSError) -> int:
    if error.errno == errno.EBUSY:
        return BUSY
    return MISSING if error.errno in (errno.ENXIO, errno.ENODEV, errno.ENOENT) else FAILED
