# SPDX-License-Identifier: GPL-2.0
"""Which namespace an entry of the configuration is about, and how that is divided now."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .attributes import parse_extents
from .config import DeviceConfig, Entry, RegionConfig, Run, merged
from .files import exact, names_in, read, read_or
from .machine import Machine, uuid_of
from .report import Bytes
from .say import FAILED, MISSING, Failure
from .values import PAGE, in_order, is_uuid, size_text


def uuid_now(machine: Machine, name: str) -> str:
    """What the namespace is that has the name now, to be appended."""
    path = machine.namespaces / name
    if not path.is_dir():
        return ""
    return f"; {name} is another one, with {uuid_of(path) or 'none'}"


def find_namespace(machine: Machine, region: RegionConfig) -> Path:
    """The namespace that is meant. With another one, somebody would get another's data."""
    if region.uuid:
        found = [path for path in names_in(machine.namespaces, "namespace")
                 if uuid_of(path) == region.uuid]
        if len(found) != 1:
            who = f"{len(found)} namespaces have" if found else "no namespace has"
            raise Failure(MISSING, f"{who} the uuid {region.uuid}"
                                   f"{'' if found else uuid_now(machine, region.namespace)}")
        path = found[0]
    else:
        path = machine.namespace(region.namespace)
        uuid = uuid_of(path)
        if uuid:
            raise Failure(FAILED, "refused: its name may change, because it has labels: "
                                  f"'uuid = \"{uuid}\"' must be there, if this is the one")
    size = exact(path / "size")
    if region.size not in (None, size):
        raise Failure(FAILED, f"refused: {path.name} is another namespace, or has changed: it has "
                              f"{size_text(size)}, not {size_text(region.size or 0)}")
    if region.resource is not None:
        resource = exact(path / "resource")
        if resource != region.resource:
            raise Failure(FAILED, f"refused: {path.name} is another namespace, or has moved: it is "
                                  f"at {resource:#x}, not at {region.resource:#x}")
    check_place(path, region)
    return path


def check_place(namespace: Path, region: RegionConfig) -> None:
    """A device's align may be larger than the region's: the media's addresses decide then."""
    for device in region.devices or ():
        if region.align and device.align > region.align:
            start = exact(namespace / "resource")
            for run in device.runs:
                if (start + run.offset) % device.align:
                    raise Failure(FAILED, f"{device.name}: '{run}' is not at a multiple of its "
                                          f"align, {size_text(device.align)}")


def runs_of(machine: Machine, device: Path) -> tuple[Run, ...]:
    """A device's extents, whole: those in debugfs if a page of sysfs has no room for them."""
    size = exact(device / "size")
    for whole in (False, True):
        if not whole:
            lines = read(device / "extents").splitlines()
            rows = [re.fullmatch(r"([0-9]{1,20}) ([0-9]{1,20})", line, re.ASCII) for line in lines]
            runs = tuple(Run(int(row[1]), int(row[2])) for row in rows if row)
        else:
            text = read_or(machine.debugfs / "rdax" / device.name / "extents")
            found = sorted(parse_extents(text))
            runs = tuple(Run(extent.start * PAGE, extent.pages * PAGE) for extent in found)
        if sum(run.length for run in runs) == size:
            return merged(runs)
    raise Failure(FAILED, f"{device.name} is changing, or has more extents than its file in "
                          f"sysfs can show, and there is no debugfs at {machine.debugfs}")


def division(machine: Machine, namespace: Path) -> tuple[DeviceConfig, ...]:
    """A region's devices as they are now."""
    try:
        devices = tuple(DeviceConfig(path.name, exact(path / "align"), runs_of(machine, path))
                        for path in machine.devices_of(namespace.name))
    except FileNotFoundError as error:
        if error.filename and str(error.filename).endswith("/extents"):
            raise Failure(FAILED, "the loaded module does not show extents, it is older than this "
                                  "program") from None
        raise
    return devices


def free_runs(devices: Iterable[DeviceConfig], size: int) -> Iterator[Run]:
    """The bytes of a region that no device has."""
    at = 0
    for run in sorted(run for device in devices for run in device.runs):
        if run.offset > at:
            yield Run(at, run.offset - at)
        at = max(at, run.offset + run.length)
    if size > at:
        yield Run(at, size - at)


def difference(now: Sequence[DeviceConfig], wanted: Sequence[DeviceConfig]) -> str:
    """The first thing that is not as it should be."""
    have, want = ({device.name: device for device in devices} for devices in (now, wanted))
    for name in sorted(have | want, key=lambda name: in_order(Path(name))):
        if name not in have:
            return f"there is no {name}"
        if name not in want:
            return f"{name} is not configured"
        if have[name].align != want[name].align:
            return (f"{name} has align {size_text(have[name].align)}, not "
                    f"{size_text(want[name].align)}")
        if merged(have[name].runs) != merged(want[name].runs):
            return f"{name} has other extents"
    return ""


def devices_text(devices: Sequence[DeviceConfig], size: Callable[[int], str] = size_text) -> str:
    return ", ".join(f"{device.name} {size(device.size())}" for device in devices) or "no device"


def devices_data(devices: Sequence[DeviceConfig]) -> list[dict[str, Any]]:
    return [{"name": device.name, "size": Bytes(device.size()), "align": device.align}
            for device in devices]


def is_about(entry: Entry, namespace: Path) -> bool:
    if entry.region.uuid:
        return uuid_of(namespace) == entry.region.uuid
    return entry.region.namespace == namespace.name


def is_of(machine: Machine, entry: Entry, namespace: Path) -> bool:
    """Whether an entry is about this very namespace, and not an earlier one of its name."""
    try:
        return is_about(entry, namespace) and find_namespace(machine, entry.region) == namespace
    except Failure:
        return False


def present(machine: Machine, names: Iterable[str]) -> Iterator[str]:
    """The names of those that there are."""
    for name in names:
        with suppress(Failure):
            yield machine.named(name)


def is_wanted(machine: Machine, entry: Entry, name: str) -> bool:
    """Whether an entry is for the namespace that a user means by its name or UUID."""
    if is_uuid(name) and entry.region.uuid == name:
        return True
    for found in present(machine, [name]):
        if (machine.namespaces / found).is_dir():
            return is_about(entry, machine.namespaces / found)
    return entry.region.namespace == name
