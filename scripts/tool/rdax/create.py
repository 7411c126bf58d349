# SPDX-License-Identifier: GPL-2.0
"""rdax create."""

import argparse
import os
import re
from pathlib import Path

from . import files
from .configured import free_name, names_of_others, read_if_any
from .devices import refuse_too_large, store
from .division import division, free_runs
from .errors import CREATE_ERRORS, reason
from .files import exact, forbidden, number_or
from .kernellog import kernel_log
from .locks import locked, uninterrupted
from .machine import Machine
from .report import Bytes, report, sizes
from .say import FAILED, Failure
from .values import size_text


def free_for(machine: Machine, region: Path, align: int) -> int:
    """All that a new device of this alignment can get: whole units of it in each free run."""
    start, own = exact(region.parent / "resource"), exact(region / "align")
    # A region begins at a multiple of its own alignment.
    start = start if align > own else 0
    total = 0
    for run in free_runs(division(machine, region.parent), exact(region / "size")):
        first = -(-(start + run.offset) // align) * align
        total += max((start + run.offset + run.length) // align * align - first, 0)
    return total


def do_create(machine: Machine, args: argparse.Namespace) -> None:
    namespace = machine.named(args.namespace)
    region = machine.region(namespace)
    if (region / "create").exists() and not os.access(region / "create", os.W_OK):
        raise forbidden(region / "create", "write")
    # In a moment it is there, or it is not.
    with locked(machine), uninterrupted():
        machine.check_name(namespace, args.namespace)
        wanted = args.size
        if wanted is None:
            wanted = free_for(machine, region, args.align or exact(region / "align"))
            if not wanted:
                raise Failure(FAILED, f"refused: {namespace} has nothing left for a device "
                                      "('rdax resize' or 'rdax destroy' make room)")
        refuse_too_large(region, wanted, exact(region / "available_size"))
        # One that the configuration has for no other namespace.
        name = free_name(machine, names_of_others(read_if_any(machine), region.parent))
        with kernel_log(machine) as log:
            try:
                files.write(region / "create", name)
            except OSError as error:
                logged = log.find(rf"\b{re.escape(namespace)}: (?:.* \(\d+\): )?create {name} "
                                  "refused: (.*)")
                raise Failure(FAILED, "no device can be made: "
                                      + reason(error, CREATE_ERRORS, logged,
                                               region.parent)) from None
        device = machine.device(name)
        try:
            if args.align:
                store(machine, device, "align", str(args.align))
            if wanted:
                store(machine, device, "size", str(wanted))
        except BaseException:
            files.write(region / "delete", name)
            raise
    size, align = number_or(device / "size"), number_or(device / "align")
    left = number_or(region / "available_size")
    text = sizes(args)
    report(args, {"name": name, "namespace": namespace, "size": Bytes(size), "align": align,
                  "available_size": Bytes(left)},
           f"{name}: {text(size)} of {namespace}, align {size_text(align)}; {text(left)} left")
