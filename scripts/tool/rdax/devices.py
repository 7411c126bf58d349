# SPDX-License-Identifier: GPL-2.0
"""rdax create, destroy, resize, punch and sync."""

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
from .errors import (
    ALIGN_ERRORS, CREATE_ERRORS, DELETE_ERRORS, EXTENT_ERRORS, OPEN_ERRORS, PUNCH_ERRORS,
    SIZE_ERRORS, reason, status_of,
)
from .files import exact, forbidden, number_or, read, read_or
from .kernellog import kernel_log
from .locks import locked, uninterrupted
from .machine import Machine, in_use, read_only, refuse_used
from .say import FAILED, MISSING, Failure, agree, show
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
            raise Failure(MISSING, f"{device.name} has gone") from None
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


def do_create(machine: Machine, args: argparse.Namespace) -> None:
    namespace = machine.named(args.namespace)
    region = machine.region(namespace)
    # In a moment it is there, or it is not.
    with locked(machine), uninterrupted():
        available = exact(region / "available_size")
        if args.size > available and os.access(region / "create", os.W_OK):
            raise Failure(FAILED, f"refused: {namespace} has {size_text(available)} left, and "
                                  f"{size_text(args.size)} are wanted ('rdax resize' or "
                                  "'rdax destroy' make room)")
        with kernel_log(machine) as log:
            try:
                files.write(region / "create", "1")
            except OSError as error:
                logged = log.find(rf"\b{re.escape(namespace)}: (?:.* \(\d+\): )?create 1 "
                                  "refused: (.*)")
                raise Failure(FAILED, "no device can be made: "
                                      + reason(error, CREATE_ERRORS, logged,
                                               region.parent)) from None
        name = read(region / "create")
        device = machine.device(name)
        try:
            if args.align:
                store(machine, device, "align", str(args.align))
            if args.size:
                store(machine, device, "size", str(args.size))
        except BaseException:
            files.write(region / "delete", name)
            raise
    show(f"{name}: {size_text(number_or(device / 'size'))} of {namespace}, "
         f"align {size_text(number_or(device / 'align'))}")


def do_destroy(machine: Machine, args: argparse.Namespace) -> None:
    device, region = machine.device(args.device), machine.region_of(args.device)
    if not os.access(region / "delete", os.W_OK):
        raise forbidden(region / "delete", "write")
    refuse_used(machine, args.device)
    size = exact(device / "size")
    if size:
        agree(f"{args.device} goes. What is in its {size_text(size)} stays there until another "
              f"device of {region.parent.name} gets the place and writes, but nothing says any "
              "more where it is", args.yes)
    try:
        files.write(region / "delete", args.device)
    except OSError as error:
        why = (in_use(machine, args.device) if error.errno == errno.EBUSY
               else reason(error, DELETE_ERRORS, namespace=region.parent))
        raise Failure(status_of(error), f"refused: {why}") from None
    show(f"{args.device}: destroyed, {size_text(number_or(region / 'available_size'))} "
         f"of {region.parent.name} are free")


def do_resize(machine: Machine, args: argparse.Namespace) -> None:
    device = machine.device(args.device)
    old = exact(device / "size")
    if not os.access(device / "size", os.W_OK):
        raise forbidden(device / "size", "write")
    if args.size < old:
        agree(f"{args.device} loses its last {size_text(old - args.size)}. What is there stays "
              "until another device gets the place and writes; programs that use it get SIGBUS "
              "there", args.yes)
    store(machine, device, "size", str(args.size))
    show(f"{args.device}: {size_text(number_or(device / 'size'))}, was {size_text(old)}")


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
              "become zeroes, on the media: what is there is lost", args.yes)
        try:
            fcntl.ioctl(handle, IOC_PUNCH, RANGE.pack(RANGE.size, 0, args.offset, args.length))
        except OSError as error:
            part = "; a part of it may be done" if error.errno not in (
                errno.ENOTTY, errno.EROFS) else ""
            why = reason(error, PUNCH_ERRORS, namespace=device / "device")
            raise Failure(status_of(error), f"{args.device}: {why}{part}") from None
    show(f"{args.device}: {size_text(args.length)} from {size_text(args.offset)} on are zeroes")


def do_sync(machine: Machine, args: argparse.Namespace) -> None:
    counter = machine.device(args.device) / "entries/writebacks"
    before = number_or(counter)
    with node(machine, args.device, os.O_RDONLY, "read") as handle:
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENODEV):
                raise Failure(MISSING, f"{args.device} has gone; that made durable what was "
                                       "written before") from None
            why = reason(error, {}, namespace=counter.parent.parent / "device")
            raise Failure(status_of(error), f"{args.device}: what was written last may be lost: "
                                            f"{why}") from None
    show(f"{args.device}: durable, {number_or(counter) - before} entries written back")
