# SPDX-License-Identifier: GPL-2.0
"""Devices of the dax bus, dax3.0: which driver has one, and giving it to another."""

import argparse
import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from . import files
from .config import DaxConfig
from .errors import DAX_ERRORS, MEMORY_ERRORS, UNBIND_ERRORS, reason, status_of
from .files import exact, forbidden, link_name, names_in, number_or, read_or
from .kernellog import kernel_log
from .locks import locked, uninterrupted
from .machine import Machine, users_of, uuid_of
from .module import load_driver, load_module
from .report import Bytes, report, sizes
from .say import BUSY, FAILED, MISSING, Failure, agree, say, text_of
from .values import size_text

# What rdax makes of the memory: page frames only, or a struct page for each, also such that what is
# written to them is tracked.
MEMORY = ("frames", "pages", "tracked")

# How a report says so.
WITH = {"pages": "; with pages", "tracked": "; with tracked pages"}

# The drivers of Linux for the bus, and the modules they are in.
DRIVERS = {"device_dax": "device_dax", "kmem": "kmem"}


def kind(device: Path) -> str:
    """What kind of memory it is, by its parents."""
    parts = device.resolve().parts
    for pattern, found in ((r"ndbus\d+", "nvdimm"), (r"decoder\d+\.\d+", "cxl"),
                           (r"hmem\.\d+", "soft-reserved")):
        if any(re.fullmatch(pattern, part, re.ASCII) for part in parts):
            return found
    return "other"


def online_blocks(machine: Machine, device: Path) -> tuple[int, int]:
    """How many memory blocks of a device that kmem has are online, and how many there are."""
    memory = machine.sys / "devices/system/memory"
    text = read_or(memory / "block_size_bytes")
    block = int(text, 16) if re.fullmatch("[0-9a-f]{1,16}", text) else 0
    states = []
    for mapping in names_in(device, "mapping"):
        if block and mapping.is_dir():
            first, last = exact(mapping / "start") // block, exact(mapping / "end") // block
            states += [read_or(memory / f"memory{number}/state")
                       for number in range(first, last + 1)]
    there = [state for state in states if state]
    return sum(state != "offline" for state in there), len(there)


def hindrance(machine: Machine, device: Path) -> str:
    """Why the device can't be taken from its driver, or nothing."""
    name, driver = device.name, link_name(device / "driver")
    if driver == "kmem":
        online, there = online_blocks(machine, device)
        if online:
            return (f"{name} is ordinary memory of the system now: {online} of its {there} memory "
                    f"blocks are online ('daxctl offline-memory {name}' first)")
    elif driver == "device_dax":
        used = users_of(machine, [name])
        if used:
            return f"{'; '.join(used)}, and device_dax can't be unbound safely from an open file"
    elif driver not in ("", "rdax"):
        return f"{name} belongs to the driver {driver}"
    return ""


def memory_of(device: Path) -> str | None:
    """What rdax has made of the memory of a device that it has."""
    if link_name(device / "driver") != "rdax":
        return None
    return read_or(device / "rdax/memory") or "frames"


def choose_memory(machine: Machine, name: str, memory: str) -> None:
    """What rdax is to make of the memory of a device when it binds it."""
    file = machine.parameters / "pages"
    if not file.exists():
        if memory != "frames":
            raise Failure(FAILED, "the loaded module can't make pages, it is older than this "
                                  "program")
        return
    names = [item for item in files.read(file).split(",") if item and item != name]
    if memory != "frames":
        names.append(name)
    files.write(file, ",".join(names))


def changes_tracking(device: Path, memory: str | None) -> bool:
    """Whether a device that rdax has becomes MEMORY by a change of what is tracked."""
    now = memory_of(device)
    if memory in (None, now):
        return False
    if "frames" in (memory, now):
        raise Failure(BUSY, f"refused: {device.name} is bound with {now} ('rdax unbind "
                            f"{device.name}' first)")
    return True


def choose_tracking(device: Path, memory: str) -> None:
    """Makes a device that is bound with pages track what is written to them, or not."""
    file = device / "rdax/memory"
    try:
        files.write(file, memory)
    except PermissionError:
        raise Failure(FAILED, f"the loaded module can't make {device.name} {memory}, it is older "
                              "than this program") from None
    except OSError as error:
        raise Failure(status_of(error), f"{device.name}: is bound with {memory_of(device)}: "
                                        f"{reason(error, MEMORY_ERRORS)}") from None


def describe(machine: Machine, device: Path) -> dict[str, Any]:
    driver = link_name(device / "driver")
    why = hindrance(machine, device)
    return {
        "name": device.name,
        "kind": kind(device),
        "region": machine.home(device),
        "size": Bytes(number_or(device / "size")),
        "align": number_or(device / "align"),
        "numa_node": number_or(device / "numa_node", -1),
        "target_node": number_or(device / "target_node", -1),
        "driver": driver or None,
        "memory": memory_of(device),
        "uses": [why] if why else [],
        "bindable": not why and bool(number_or(device / "size")),
    }


def attach(machine: Machine, device: Path, driver: Path) -> None:
    """Has a driver match the device by its name, and bind it."""
    name = device.name
    with kernel_log(machine) as log:
        try:
            # This binds it, and says nothing if that fails. The other write then says why.
            files.write(driver / "new_id", name)
            if link_name(device / "driver") != driver.name:
                files.write(driver / "bind", name)
            if driver.name == "rdax":
                # It keeps the device, but takes no later one of that name.
                files.write(driver / "remove_id", name)
        except OSError as error:
            logged = log.find(rf"\b{re.escape(name)}: (?:rdax: )?((?!probe with driver).*)")
            raise Failure(status_of(error), f"{name}: {driver.name} does not take it: "
                                            f"{reason(error, DAX_ERRORS, logged)}") from None


def detach(device: Path, driver: Path) -> None:
    """A user who has bound it by hand may have left its name there, too."""
    files.write(driver / "unbind", device.name)
    files.write(driver / "remove_id", device.name)


def given_back(machine: Machine, device: Path, driver: Path, old: Path | None) -> str:
    """Makes the driver of a device what it was, and says so, to be appended."""
    try:
        with uninterrupted():
            if link_name(device / "driver") == driver.name:
                files.write(driver / "unbind", device.name)
            files.write(driver / "remove_id", device.name)
            if old and link_name(device / "driver") != old.name:
                attach(machine, device, old)
    except (OSError, Failure) as error:
        return (f"; it could not be given back{f' to {old.name}' if old else ''}: "
                f"{text_of(error)}")
    return f"; it was given back to {old.name}" if old else ""


def move(machine: Machine, device: Path, driver: Path) -> None:
    """From the driver that has it, if any, to another; it is given back if that fails."""
    before = link_name(device / "driver")
    old = machine.dax_drivers / before if before else None
    for file in [driver / "new_id", *([old / "unbind"] if old else [])]:
        if not os.access(file, os.W_OK):
            raise forbidden(file, "write")
    try:
        if old:
            try:
                detach(device, old)
            except OSError as error:
                raise Failure(status_of(error),
                              f"{device.name}: {reason(error, UNBIND_ERRORS)}") from None
        attach(machine, device, driver)
    except Failure as failure:
        raise Failure(failure.status,
                      f"{failure}{given_back(machine, device, driver, old)}") from None
    except BaseException:
        say(f"{device.name}: interrupted{given_back(machine, device, driver, old)}")
        raise


def refuse_hindered(machine: Machine, device: Path) -> None:
    why = hindrance(machine, device)
    if why:
        raise Failure(BUSY, f"refused: {why}")


def take_dax(machine: Machine, device: Path, module: str | None, memory: str | None) -> bool:
    """Binds a device to rdax. Returns whether it was bound already. Without MEMORY, the module's
    parameter says what is made of its memory."""
    refuse_hindered(machine, device)
    with kernel_log(machine) as log:
        load_module(machine, module)
        if not machine.dax_driver.is_dir():
            logged = log.find(r"\brdax: (.*dax bus.*)")
            raise Failure(FAILED, "the loaded module has no driver for the dax bus: "
                                  + (logged or "the kernel's log of when it was loaded says why"))
    with locked(machine):
        if link_name(device / "driver") == "rdax":
            if changes_tracking(device, memory):
                choose_tracking(device, memory or "")
            return True
        refuse_hindered(machine, device)
        if not exact(device / "size"):
            raise Failure(FAILED, f"refused: {device.name} has no memory yet ('daxctl "
                                  f"reconfigure-device -s SIZE {device.name}')")
        if memory:
            choose_memory(machine, device.name, memory)
        move(machine, device, machine.dax_driver)
        if memory == "tracked":
            choose_tracking(device, memory)
    return False


def place(device: Path) -> DaxConfig:
    """What identifies a device as long as the machine's hardware stays the same."""
    return DaxConfig(device.name, exact(device / "resource"), exact(device / "size"),
                     memory_of(device) or "frames", uuid_of(device.resolve().parent))


def find_dax(machine: Machine, dax: DaxConfig) -> Path:
    """The device at that place, whatever its name is now."""
    for device in names_in(machine.dax_devices, "dax"):
        if not number_or(device / "size"):
            continue
        found = place(device)
        if found.resource == dax.resource:
            if found.size != dax.size:
                raise Failure(FAILED, f"refused: {device.name} is another device, or has changed: "
                                      f"it has {size_text(found.size)}, not {size_text(dax.size)}")
            if dax.uuid and found.uuid != dax.uuid:
                raise Failure(FAILED, f"refused: {device.name} is another device: its uuid is "
                                      f"{found.uuid or 'not known'}, not {dax.uuid}")
            return device
    raise Failure(MISSING, f"no device of the dax bus begins at {dax.resource:#x}")


def bind_dax(machine: Machine, args: argparse.Namespace) -> None:
    device = machine.dax_device(args.namespace)
    align = number_or(device / "align")
    if args.align and args.align != align:
        raise Failure(FAILED, f"refused: the dax bus has {device.name} at align {size_text(align)} "
                              f"('daxctl reconfigure-device -a {args.align} {device.name}' changes "
                              "that while no driver has it)")
    was = take_dax(machine, device, args.module, args.memory)
    size, text = number_or(device / "size"), sizes(args)
    report(args, {"device": device.name, "kind": kind(device), "region": machine.home(device),
                  "was_bound": was, "size": Bytes(size), "align": align,
                  "numa_node": number_or(device / "numa_node", -1), "memory": memory_of(device)},
           f"{device.name}: {'bound already' if was else 'bound'}: {text(size)} of "
           f"{machine.home(device)} ({kind(device)}); align {size_text(align)}"
           f"{WITH.get(memory_of(device) or '', '')}")


def unbind_dax(machine: Machine, args: argparse.Namespace) -> None:
    """From rdax; with --to from any driver."""
    device = machine.dax_device(args.namespace)
    name, now = device.name, link_name(device / "driver")
    if args.to is None and now != "rdax":
        raise Failure(MISSING, f"{name} is not bound to rdax ('rdax bind {name}')")
    if now != args.to:
        refuse_hindered(machine, device)
    if now == "rdax" and not os.access(machine.dax_driver / "unbind", os.W_OK):
        raise forbidden(machine.dax_driver / "unbind", "write")
    used = users_of(machine, [name]) if now == "rdax" else []
    if used and not args.force:
        raise Failure(BUSY, f"refused: {'; '.join(used)} (--force: calls on open files then "
                            "give ENXIO, accesses to mappings SIGBUS)")
    if now != args.to:
        if args.to == "kmem":
            agree(f"{name} becomes ordinary memory of the system: the data in it will be lost",
                  args.yes)
        with locked(machine) if machine.driver.is_dir() else nullcontext():
            release(machine, device, args.to)
    was = "was bound to it already" if now == args.to else f"now of {args.to}"
    online, there = online_blocks(machine, device) if args.to == "kmem" else (0, 0)
    memory = f"; {online} of {there} memory blocks are online" if there else ""
    report(args, {"device": name, "driver": args.to},
           f"{name}: {f'{was}{memory}' if args.to else 'unbound'}")


def release(machine: Machine, device: Path, to: str | None) -> None:
    if to:
        load_driver(machine, machine.dax_drivers / to, DRIVERS[to])
        # A driver that has just been loaded takes each device of its kind that has no driver.
        if link_name(device / "driver") != to:
            refuse_hindered(machine, device)
            move(machine, device, machine.dax_drivers / to)
        return
    try:
        detach(device, machine.dax_driver)
    except OSError as error:
        raise Failure(status_of(error), f"{device.name}: {reason(error, UNBIND_ERRORS)}") from None
