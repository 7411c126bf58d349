# SPDX-License-Identifier: GPL-2.0
"""rdax restore."""

import argparse
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from . import files
from .bind import Binding, check_bindable, given_back, take_over, whole
from .config import (
    Config,
    DaxEntry,
    DeviceConfig,
    Entry,
    RegionConfig,
    Run,
    read_config,
)
from .configured import free_name, make_device
from .daxbus import changes_tracking, find_dax, place, refuse_hindered, take_dax
from .division import devices_data, devices_text, difference, division, find_namespace, is_wanted
from .files import exact, link_name, number_or
from .locks import locked, uninterrupted
from .machine import Machine, also_read_only
from .module import load_module
from .report import Bytes, report, sizes
from .say import FAILED, FORBIDDEN, Failure, say, show, text_of
from .values import is_dax, size_text

# A program of udev looks into each disk that comes: for that, restore waits longer than bind.
RESTORE_LOOKS = 25


class Restored(NamedTuple):
    """What was done for an entry."""

    namespace: str
    state: str
    # None: one device that is not made yet.
    devices: tuple[DeviceConfig, ...] | None
    remark: str = ""

    def text(self, args: argparse.Namespace) -> str:
        what = "one device" if self.devices is None else devices_text(self.devices, sizes(args))
        return f"{self.namespace}: {self.state}: {what}{self.remark}"

    def data(self) -> dict[str, Any]:
        return {"namespace": self.namespace, "state": self.state,
                "devices": None if self.devices is None else devices_data(self.devices)}


class RestoredDax(NamedTuple):
    """What was done for an entry of the dax bus."""

    name: str
    state: str
    size: int

    def text(self, args: argparse.Namespace) -> str:
        return f"{self.name}: {self.state}: {sizes(args)(self.size)}"

    def data(self) -> dict[str, Any]:
        return {"name": self.name, "state": self.state, "size": Bytes(self.size)}


def is_as_configured(machine: Machine, namespace: Path, region: RegionConfig) -> bool:
    """Whether a bound region is so, or False if it has no devices yet; otherwise a Failure."""
    align = exact(machine.region(namespace.name) / "align")
    now = division(machine, namespace)
    if region.align not in (None, align):
        problem = f"it has align {size_text(align)}, not {size_text(region.align or 0)}"
    elif region.devices is not None:
        problem = difference(now, region.devices)
    else:
        problem = "" if whole(machine, namespace.name) else "it is not one device with all of it"
    if problem and (now or region.align not in (None, align)):
        raise Failure(FAILED, f"{namespace.name} is bound otherwise, and left as it is: {problem}")
    return not problem


def check_names(machine: Machine, region: RegionConfig) -> None:
    for device in region.devices or ():
        if (machine.devices / device.name).exists():
            owner = link_name(machine.devices / device.name / "device")
            raise Failure(FAILED, f"refused: {owner} has a device {device.name} already")


def build(machine: Machine, namespace: Path, region: RegionConfig,
          name: str) -> tuple[DeviceConfig, ...]:
    """Binds a namespace if it is not, and makes its devices: all of it, or nothing."""
    was = link_name(namespace / "driver")
    devices = region.devices
    try:
        if was != "rdax":
            take_over(machine, namespace, Binding(
                region.align, known=region.force, divided=True, override="'force = true'",
                looks=RESTORE_LOOKS))
        # Names change when the region is disabled and enabled.
        if find_namespace(machine, region) != namespace:
            raise Failure(FAILED, f"{namespace.name} is the name of another namespace now")
        bound = machine.region(namespace.name)
        if machine.devices_of(namespace.name):
            raise Failure(FAILED, "it has a device already")
        if devices is None:
            devices = DeviceConfig(name, exact(bound / "align"), (Run(0, exact(bound / "size")),)),
        for device in devices:
            make_device(machine, bound, device)
        problem = difference(division(machine, namespace), devices)
        if problem or region.align not in (None, exact(bound / "align")):
            raise Failure(FAILED, f"the driver made something else: {problem or 'another align'}")
    except BaseException as error:
        undone = undo(machine, namespace, was, devices or ())
        if isinstance(error, (Failure, OSError)):
            status = error.status if isinstance(error, Failure) else FAILED
            text = text_of(error).removeprefix(f"{namespace.name}: ")
            raise Failure(status, f"{text}{undone and f'; {undone}'}") from None
        say(f"{namespace.name}: {undone or 'nothing was done'}")
        raise
    return devices


def undo(machine: Machine, namespace: Path, was: str, devices: Iterable[DeviceConfig]) -> str:
    """What build() began. A signal waits meanwhile."""
    try:
        with uninterrupted():
            if was == "rdax":
                ours = {device.name for device in devices}
                made = [path.name for path in machine.devices_of(namespace.name)
                        if path.name in ours]
                for name in made:
                    files.write(namespace / "rdax_region/delete", name)
                return f"undone: {', '.join(made)} removed" if made else ""
            if link_name(namespace / "driver") != "rdax":
                return ""
            old = machine.drivers / was if was else None
            done = given_back(machine, namespace, old).removeprefix("; ")
            return f"undone: {done or 'it is not bound'}"
    except (Failure, OSError) as error:
        return f"it could not be undone: {text_of(error)}"


def restore(machine: Machine, entry: Entry, reserved: set[str],
            args: argparse.Namespace) -> Restored:
    """Makes what an entry says."""
    region = entry.region
    namespace = find_namespace(machine, region)
    if link_name(namespace / "driver") != "rdax":
        check_bindable(namespace)
    if not args.dry_run:
        load_module(machine, args.module)
        if not (machine.parameters / "divided").exists():
            raise Failure(FAILED, "the loaded module can't bind a namespace without a device, it "
                                  "is older than this program")
    # Another process of this program may be at it, too.
    with locked(machine) if machine.driver.is_dir() else nullcontext():
        bound = link_name(namespace / "driver") == "rdax"
        if bound and is_as_configured(machine, namespace, region):
            devices = division(machine, namespace)
            return Restored(namespace.name, "as configured", devices)
        check_names(machine, region)
        if not args.dry_run:
            devices = build(machine, namespace, region, free_name(machine, reserved))
            return Restored(namespace.name, "restored", devices, also_read_only(namespace))
    return Restored(namespace.name, f"would be {'divided' if bound else 'bound'}", region.devices)


def restore_dax(machine: Machine, entry: DaxEntry, args: argparse.Namespace) -> RestoredDax:
    device = find_dax(machine, entry.dax)
    if args.dry_run:
        refuse_hindered(machine, device)
        if link_name(device / "driver") != "rdax":
            state = "would be bound"
        elif changes_tracking(device, entry.dax.memory):
            state = "would be changed"
        else:
            state = "as configured"
        return RestoredDax(device.name, state, entry.dax.size)
    was = take_dax(machine, device, args.module, entry.dax.memory)
    return RestoredDax(device.name, "as configured" if was else "restored", entry.dax.size)


def wanted_daxes(machine: Machine, config: Config, names: Iterable[str]) -> list[DaxEntry]:
    """The entries for devices that a user means by their names now, or in the file."""
    places_now = {place(device).resource for device in map(machine.path_of, names)
                  if number_or(device / "size")}
    return [entry for entry in config.daxes
            if entry.dax.device in names and not (machine.dax_devices / entry.dax.device).exists()
            or entry.dax.resource in places_now]


def do_restore(machine: Machine, args: argparse.Namespace) -> None:
    path = Path(args.config) if args.config else machine.config
    config = read_config(path)
    reserved = {name for entry in config.entries for name in entry.names()}
    statuses = []
    done: list[Restored] = []

    def failed(text: str, status: int = FAILED) -> None:
        say(text)
        statuses.append(status)

    wanted, daxes = config.entries, config.daxes
    if args.namespaces:
        wanted, daxes = [], []
        for name in dict.fromkeys(args.namespaces):
            if is_dax(name):
                found_daxes = wanted_daxes(machine, config, [name])
                daxes += [entry for entry in found_daxes if entry not in daxes]
                if not found_daxes and not args.if_configured:
                    failed(f"{path} does not have {name}")
                continue
            found = [entry for entry in config.entries if is_wanted(machine, entry, name)]
            wanted += [entry for entry in found if entry not in wanted]
            if not found and not args.if_configured:
                failed(f"{path} does not have {name}")
    else:
        for problem in config.problems:
            failed(problem)
    # A device that is not named gets a name that no other wants.
    for entry in sorted(wanted, key=lambda entry: entry.region.devices is None):
        for problem in entry.problems:
            failed(f"{entry.where}: {problem}")
        if entry.problems:
            continue
        try:
            done.append(restore(machine, entry, reserved, args))
            if not args.json:
                show(done[-1].text(args))
        except Failure as failure:
            failed(f"{entry.where}: {failure}", failure.status)
        except OSError as error:
            failed(f"{entry.where}: {text_of(error)}")
    done_daxes: list[RestoredDax] = []
    for dax_entry in daxes:
        for problem in dax_entry.problems:
            failed(f"{dax_entry.where}: {problem}")
        if dax_entry.problems:
            continue
        try:
            done_daxes.append(restore_dax(machine, dax_entry, args))
            if not args.json:
                show(done_daxes[-1].text(args))
        except Failure as failure:
            failed(f"{dax_entry.where}: {failure}", failure.status)
        except OSError as error:
            failed(f"{dax_entry.where}: {text_of(error)}")
    if args.json:
        report(args, {"file": str(path), "regions": [each.data() for each in done],
                      "dax": [each.data() for each in done_daxes]}, "")
    if statuses:
        raise Failure(FORBIDDEN if set(statuses) == {FORBIDDEN} else FAILED,
                      f"some regions are not as {path} says: see above")
