# SPDX-License-Identifier: GPL-2.0
"""rdax destroy, resize, punch and sync."""

import argparse
import errno
import fcntl
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import files
from .division import division, free_runs
from .errors import (
    ALIGN_ERRORS,
    CREATE_ERRORS,
    DELETE_ERRORS,
    EXTENT_ERRORS,
    OPEN_ERRORS,
    PUNCH_ERRORS,
    SIZE_ERRORS,
    reason,
    status_of,
)
from .files import exact, forbidden, number_or, read, read_or
from .kernellog import kernel_log
from .locks import locked, uninterrupted
from .machine import Machine, in_use, read_only, refuse_used
from .report import Bytes, report, sizes
from .say import FAILED, MISSING, Failure, agree
from .values import size_text

# rust/uapi/rdax.h: _IOW(0xDA, 1, struct rdax_range)
RANGE = struct.Struct("=IIQQ")
IOC_PUNCH = 1 << 30 | RANGE.size << 16 | 0xDA << 8 | 1
STORE_ERRORS = {"size": SIZE_ERRORS, "align": ALIGN_ERRORS, "extents": EXTENT_ERRORS}


def store(machine: Machine, device: Path, attribute: str, value: str) -> None:
    with kernel_log(machine) as log:
        try:
            files.write(device / attribute, value)
        except FileNotFoundError:
            raise Failure(MISSING, f"{device.name} no longer exists") from None
        except OSError as error:
            logged = log.find(rf"\b{device.name}: (?:.* \(\d+\): )?{attribute} {value} "
                              "refused: (.*)")
            why = reason(error, STORE_ERRORS[attribute], logged, device / "device")
            if error.errno == errno.EBUSY and attribute == "align":
                why = in_use(machine, device.name)
            # What is said to be done is not refused.
            refused = "" if error.errno == errno.EIO else " refused"
            raise Failure(status_of(error),
                          f"{device.name}: {attribute} {value}{refused}: {why}") from None


def refuse_too_large(region: Path, wanted: int, free: int) -> None:
    if wanted > free:
        raise Failure(FAILED, f"refused: {region.parent.name} has {size_text(free)} left, and "
                              f"{size_text(wanted)} more are wanted ('rdax resize' or "
                              "'rdax destroy' make room)")


def shape(device: Path) -> tuple[str, str]:
    """What says whether a device has the same bytes as before, as far as a page of sysfs shows."""
    return read(device / "size"), read_or(device / "extents")


def refuse_changed(machine: Machine, name: str, before: tuple[str, str]) -> None:
    """Another process may have changed the device since it was looked at, or made another one with
    its name."""
    if shape(machine.device(name)) != before:
        raise Failure(FAILED, f"refused: {name} has changed meanwhile")


def do_destroy(machine: Machine, args: argparse.Namespace) -> None:
    device, region = machine.device(args.device), machine.region_of(args.device)
    if not os.access(region / "delete", os.W_OK):
        raise forbidden(region / "delete", "write")
    refuse_used(machine, args.device)
    before = shape(device)
    size = exact(device / "size")
    if size:
        agree(f"{args.device} will be removed. The data in its {size_text(size)} stay in memory "
              f"until another device of {region.parent.name} is given that memory and writes to "
              "it, but nothing records where they are", args.yes)
    with locked(machine):
        refuse_changed(machine, args.device, before)
        try:
            files.write(region / "delete", args.device)
        except OSError as error:
            why = (in_use(machine, args.device) if error.errno == errno.EBUSY
                   else reason(error, DELETE_ERRORS, namespace=region.parent))
            raise Failure(status_of(error), f"refused: {why}") from None
    left = number_or(region / "available_size")
    report(args, {"name": args.device, "namespace": region.parent.name,
                  "available_size": Bytes(left)},
           f"{args.device}: destroyed; {sizes(args)(left)} of {region.parent.name} left")


def do_resize(machine: Machine, args: argparse.Namespace) -> None:
    device, region = machine.device(args.device), machine.region_of(args.device)
    before = shape(device)
    old, align = exact(device / "size"), exact(device / "align")
    new = args.size.number + (old if args.size.is_added else 0)
    if not os.access(device / "size", os.W_OK):
        raise forbidden(device / "size", "write")
    if align and new % align:
        raise Failure(FAILED, f"refused: {size_text(new)} is not a multiple of the alignment of "
                              f"{args.device}, {size_text(align)}")
    if new > old:
        refuse_too_large(region, new - old, exact(region / "available_size"))
    if new < old:
        agree(f"{args.device} loses its last {size_text(old - new)}. The data there "
              "stay in memory until another device is given that memory and writes to it; programs "
              "that use this part get SIGBUS", args.yes)
    with locked(machine):
        refuse_changed(machine, args.device, before)
        store(machine, device, "size", str(new))
    size, left = number_or(device / "size"), number_or(region / "available_size")
    text, namespace = sizes(args), region.parent.name
    report(args, {"name": args.device, "namespace": namespace, "size": Bytes(size),
                  "old_size": Bytes(old), "available_size": Bytes(left)},
           f"{args.device}: {text(size)}, was {text(old)}; {text(left)} of {namespace} left")


@contextmanager
def node(machine: Machine, name: str, flags: int, right: str) -> Iterator[int]:
    """The device, open."""
    namespace = machine.device(name) / "device"
    try:
        # Of a pipe, for example, no open waits for another process.
        handle = files.opened(machine.dev / name, flags | os.O_NONBLOCK, right)
    except OSError as error:
        why = reason(error, OPEN_ERRORS, namespace=namespace)
        raise Failure(status_of(error), f"{machine.dev / name} can't be opened: {why}") from None
    try:
        number = os.fstat(handle).st_rdev
        if read_or(namespace.parent / "dev") != f"{os.major(number)}:{os.minor(number)}":
            raise Failure(FAILED, f"refused: {machine.dev / name} is not the node of {name}")
        yield handle
    finally:
        os.close(handle)


def do_punch(machine: Machine, args: argparse.Namespace) -> None:
    device = machine.device(args.device)
    size = exact(device / "size")
    if args.offset + args.length > size:
        raise Failure(FAILED, f"refused: {args.device} ends at {size_text(size)}")
    why = read_only(device / "device")
    if why:
        raise Failure(FAILED, f"refused: {why}")
    with node(machine, args.device, os.O_RDWR, "read and write") as handle:
        agree(f"{size_text(args.length)} of {args.device} from {size_text(args.offset)} on "
              "will be zeroed on the media: the data there are lost", args.yes)
        try:
            fcntl.ioctl(handle, IOC_PUNCH, RANGE.pack(RANGE.size, 0, args.offset, args.length))
        except OSError as error:
            part = "; a part of it may be done" if error.errno not in (
                errno.ENOTTY, errno.EROFS) else ""
            why = reason(error, PUNCH_ERRORS, namespace=device / "device")
            raise Failure(status_of(error), f"{args.device}: {why}{part}") from None
    text = sizes(args)
    report(args, {"name": args.device, "offset": Bytes(args.offset), "length": Bytes(args.length)},
           f"{args.device}: {text(args.length)} from {text(args.offset)} on are zeroes")


def do_sync(machine: Machine, args: argparse.Namespace) -> None:
    counter = machine.device(args.device) / "entries/writebacks"
    before = number_or(counter)
    with node(machine, args.device, os.O_RDONLY, "read") as handle:
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENODEV):
                raise Failure(MISSING, f"{args.device} no longer exists; its end made durable "
                                       "what was written before") from None
            why = reason(error, {}, namespace=counter.parent.parent / "device")
            raise Failure(status_of(error), f"{args.device}: write-back failed, so recent writes "
                                            f"may be lost: {why}") from None
    written = number_or(counter) - before
    report(args, {"name": args.device, "writebacks": written},
           f"{args.device}: durable, {written} entries written back")
