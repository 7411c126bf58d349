# SPDX-License-Identifier: GPL-2.0
"""rdax bind and unbind."""

import argparse
import errno
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from . import files
from .config import Config, DeviceConfig, Run
from .configured import entry_of, free_name, make_device, names_of_others, read_if_any
from .daxbus import DRIVERS, bind_dax, unbind_dax
from .errors import BIND_ERRORS, PMEM_ERRORS, UNBIND_ERRORS, reason, status_of
from .files import exact, forbidden, link_name, number_or, read, read_or
from .kernellog import LOG_ERR, kernel_log
from .locks import locked, uninterrupted
from .machine import MODES, Machine, Use, also_read_only, read_only, users_of, uuid_of
from .module import LONGEST_PARAMETER, load_module, parameters, with_namespace
from .report import Bytes, report, sizes
from .say import BUSY, FAILED, Failure, agree, say
from .values import ALIGNS, is_dax, size_text

# Before a disk that is only open counts as in use.
LOOKS = 5
SECONDS_BETWEEN = 0.2


class Binding(NamedTuple):
    """How a namespace is bound, and what may be overridden for it."""

    align: int | None
    # Although something known is at its head, and although its block device is in use.
    known: bool = False
    used: bool = False
    # Without a first device.
    divided: bool = False
    # What the user says to override a signature.
    override: str = "--force"
    looks: int = LOOKS
    # What the user wrote for the namespace: its name or its UUID.
    named: str = ""


def claimed(name: str, holder: str, mode: str) -> Failure:
    # In devdax mode its device on the dax bus has the name's numbers.
    as_it_is = (f"'rdax bind dax{name.removeprefix('namespace')}' takes its device as it is. "
                if mode == "dax" else "")
    return Failure(FAILED, f"refused: {name} is in {MODES.get(mode, mode or 'another')} mode, for "
                           f"{holder}. {as_it_is}'ndctl create-namespace -f -e {name} -m raw' makes it raw; "
                           "that gives up all data in it")


def claim(machine: Machine, namespace: Path) -> tuple[int, list[Use]]:
    """Opens the namespace's disk exclusively, so that nobody can mount it, or -1; who uses it."""
    nodes = [node.name for node in machine.nodes_of_block(namespace)]
    uses = machine.block_uses(namespace)
    handle = -1
    if nodes:
        disk = machine.dev / nodes[0]
        try:
            handle = files.opened(disk, os.O_RDONLY | os.O_EXCL, "open")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise Failure(FAILED, f"{disk} can't be checked: {error.strerror}") from None
            if not uses:
                uses.append(Use("exclusive", f"{disk.name} is open exclusively, by whom is not "
                                             "known (a mount elsewhere, MD, LVM?)"))
    users = machine.users(nodes)
    uses += [Use("open", f"{name} is open in {user}") for name in nodes
             for user in users.by_node[name] if not user.stale]
    return handle, uses


def check_free(machine: Machine, namespace: Path, how: Binding) -> int:
    """Returns a claim of the disk, or -1 if it has no disk or its use is overridden."""
    for left in range(how.looks - 1, -1, -1):
        handle, uses = claim(machine, namespace)
        # udev looks into a disk that has just appeared; that is soon over.
        if not left or not uses or any(use.kind not in ("open", "exclusive") for use in uses):
            break
        if handle >= 0:
            os.close(handle)
        time.sleep(SECONDS_BETWEEN)
    hard = [use for use in uses if use.kind == "swap"] if how.used else uses
    if not hard:
        for use in uses:
            say(f"by force, although {use.text}")
        return handle
    if handle >= 0:
        os.close(handle)
    hint = "swapoff first" if any(use.kind == "swap" for use in uses) else (
        "'rdax bind --force' takes it all the same: then what uses it gets errors")
    raise Failure(BUSY, f"refused: {'; '.join(use.text for use in hard)} ({hint})")


def take(machine: Machine, namespace: Path, how: Binding) -> None:
    """The write to the driver's bind file, with what surrounds it."""
    name = namespace.name
    values: dict[str, Sequence[str]] = {}
    if how.align:
        values["align"] = [ALIGNS[how.align]]
    for parameter, wanted in (("force", how.known), ("divided", how.divided)):
        if not wanted:
            continue
        listed = read(machine.parameters / parameter)
        if len(listed) >= LONGEST_PARAMETER:
            raise Failure(FAILED, f"the parameter {parameter} is longer than a file in sysfs can "
                                  "show: what it was could not be written again")
        lists = with_namespace(listed, namespace)
        if lists:
            values[parameter] = lists
    with kernel_log(machine) as log:
        try:
            with parameters(machine, values):
                files.write(machine.driver / "bind", name)
        except OSError as error:
            # Refusals are errors; what is only a notice is no reason.
            logged = (log.find(rf"\b{re.escape(name)}: rdax: (.*)", LOG_ERR)
                      or log.find(rf"\b{re.escape(name)}: (could not reserve region.*)")
                      or log.find(rf"\b{re.escape(name)}: (.* misaligned, unable to map)"))
            why = reason(error, BIND_ERRORS, logged, namespace)
            why = re.sub(r"parameter force(=\S+)?", how.override, why)
            raise Failure(status_of(error), f"{name}: {why}") from None


def take_over(machine: Machine, namespace: Path, how: Binding) -> None:
    """From the driver that has it, if any; it is given back if that fails."""
    name, before = namespace.name, link_name(namespace / "driver")
    if before not in ("", "nd_pmem"):
        raise Failure(BUSY, f"refused: {name} belongs to the driver {before}")
    old = machine.drivers / before if before else None
    handle = -1
    if old:
        for file in (old / "unbind", old / "bind", machine.driver / "bind"):
            if not os.access(file, os.W_OK):
                raise forbidden(file, "write")
        handle = check_free(machine, namespace, how)
    try:
        try:
            if old:
                files.write(old / "unbind", name)
        finally:
            if handle >= 0:
                os.close(handle)
        take(machine, namespace, how)
        machine.check_name(name, how.named)
    except Failure as failure:
        raise Failure(failure.status, f"{failure}{given_back(machine, namespace, old)}") from None
    except BaseException:
        say(f"{name}: interrupted{given_back(machine, namespace, old)}")
        raise


def given_back(machine: Machine, namespace: Path, old: Path | None) -> str:
    """Makes the driver of a namespace what it was, and says so, to be appended."""
    try:
        with uninterrupted():
            now = link_name(namespace / "driver")
            if now == "rdax":
                files.write(machine.driver / "unbind", namespace.name)
                now = ""
            if old and now != old.name:
                files.write(old / "bind", namespace.name)
    except (OSError, Failure) as error:
        why = reason(error, PMEM_ERRORS) if isinstance(error, OSError) else error
        return f"; it could not be given back{f' to {old.name}' if old else ''}: {why}"
    return f"; it was given back to {old.name}" if old else ""


def check_bindable(namespace: Path) -> None:
    name = namespace.name
    if not exact(namespace / "size"):
        raise Failure(FAILED, f"refused: {name} has no memory yet ('ndctl create-namespace')")
    holder = read_or(namespace / "holder").rsplit("/", 1)[-1]
    if holder:
        raise claimed(name, holder, read_or(namespace / "mode"))


def refuse_configured(machine: Machine, config: Config, namespace: Path,
                      args: argparse.Namespace) -> None:
    """As one device, its bytes would have other names than before, and perhaps other owners."""
    entry = entry_of(config, namespace)
    if entry and not args.whole:
        raise Failure(FAILED, f"refused: {machine.config} divides {namespace.name} into "
                              f"{', '.join(sorted(entry.names()))}. 'rdax restore {namespace.name}' "
                              "makes these; with --whole it becomes one device all the same")


def bind_whole(machine: Machine, config: Config, namespace: Path,
               args: argparse.Namespace) -> None:
    """Binds it as one device, with a name that the configuration has for no other."""
    reserved = names_of_others(config, namespace)
    name = free_name(machine, reserved)
    # The driver takes the first free one.
    chosen = name != free_name(machine, ())
    before = link_name(namespace / "driver")
    take_over(machine, namespace, Binding(args.align, known=args.force, used=args.force,
                                          divided=chosen, named=args.namespace))
    if not chosen:
        return
    region, old = machine.region(namespace.name), machine.drivers / before if before else None
    try:
        make_device(machine, region, DeviceConfig(name, exact(region / "align"),
                                                  (Run(0, exact(region / "size")),)))
    except Failure as failure:
        raise Failure(failure.status, f"{failure}{given_back(machine, namespace, old)}") from None
    except BaseException:
        say(f"{namespace.name}: interrupted{given_back(machine, namespace, old)}")
        raise


def do_bind(machine: Machine, args: argparse.Namespace) -> None:
    if is_dax(args.namespace):
        bind_dax(machine, args)
        return
    name = machine.named(args.namespace)
    namespace = machine.namespace(name)
    if args.memory in ("pages", "tracked"):
        raise Failure(FAILED, f"refused: only devices of the dax bus can have pages ('ndctl "
                              f"create-namespace -f -e {name} -m devdax' makes one of {name}, and "
                              "its data will be lost)")
    check_bindable(namespace)
    config = read_if_any(machine)
    load_module(machine, args.module)
    with locked(machine):
        was = link_name(namespace / "driver") == "rdax"
        if was:
            machine.check_name(name, args.namespace)
        else:
            refuse_configured(machine, config, namespace, args)
            bind_whole(machine, config, namespace, args)
        region = machine.region(name)
        align = number_or(region / "align")
        if args.align and align != args.align:
            raise Failure(FAILED, f"{name} is bound already, with align {size_text(align)}")
        devices = [(device.name, number_or(device / "size"), number_or(device / "align"))
                   for device in machine.devices_of(name)]
    text = sizes(args)
    what = "; ".join(f"{device}, {text(size)}" for device, size, _ in devices) or "no device"
    report(args, {"namespace": name, "uuid": uuid_of(namespace) or None, "was_bound": was,
                  "size": Bytes(number_or(region / "size")), "align": align,
                  "available_size": Bytes(number_or(region / "available_size")),
                  "read_only": bool(read_only(namespace)),
                  "devices": [{"name": device, "size": Bytes(size), "align": own}
                              for device, size, own in devices]},
           f"{name}: {'bound already' if was else 'bound'}: {what}; align {size_text(align)}"
           f"{also_read_only(namespace)}")


def whole(machine: Machine, name: str) -> bool:
    """Whether the region is one device, as after every bind."""
    devices = machine.devices_of(name)
    return len(devices) == 1 and not exact(machine.region(name) / "available_size")


def refuse_in_use(machine: Machine, name: str, force: bool) -> None:
    used = users_of(machine, [device.name for device in machine.devices_of(name)])
    if used and not force:
        raise Failure(BUSY, f"refused: {'; '.join(used)} (--force: calls on open files then "
                            "give ENXIO, accesses to mappings SIGBUS)")


def do_unbind(machine: Machine, args: argparse.Namespace) -> None:
    if args.to and (args.to in DRIVERS) != is_dax(args.namespace):
        raise Failure(FAILED, f"refused: {args.to} is no driver for {args.namespace}: nd_pmem is "
                              "for namespaces, device_dax and kmem for the dax bus")
    if is_dax(args.namespace):
        unbind_dax(machine, args)
        return
    name = machine.named(args.namespace)
    machine.region(name)
    target = machine.drivers / args.to if args.to else None
    for file in [machine.driver / "unbind", *([target / "bind"] if target else [])]:
        if not file.exists():
            raise Failure(FAILED, f"there is no driver {file.parent.name}: is its module loaded?")
        if not os.access(file, os.W_OK):
            raise forbidden(file, "write")
    with locked(machine):
        machine.check_name(name, args.namespace)
        refuse_in_use(machine, name, args.force)
        if not whole(machine, name):
            agree(f"{name} is divided: its data stay in memory, but which part belongs to which "
                  "device is forgotten, unless 'rdax save' has recorded it", args.yes)
            # The answer may have taken a while.
            refuse_in_use(machine, name, args.force)
        try:
            files.write(machine.driver / "unbind", name)
        except OSError as error:
            raise Failure(status_of(error), f"{name}: {reason(error, UNBIND_ERRORS)}") from None
        if target:
            try:
                files.write(target / "bind", name)
            except OSError as error:
                raise Failure(FAILED, f"{name} is unbound, but {args.to} does not take it: "
                                      f"{reason(error, PMEM_ERRORS)}") from None
    report(args, {"namespace": name, "driver": args.to},
           f"{name}: unbound{f', now of {args.to}' if args.to else ''}")
