# SPDX-License-Identifier: GPL-2.0
"""The configuration, rdax.conf(5): how regions are divided."""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .files import forbidden
from .say import FAILED, MISSING, Failure
from .values import (
    LONGEST_NAME,
    PAGE,
    is_dax,
    is_uuid,
    parse_align,
    parse_device,
    parse_namespace,
    parse_size,
    size_text,
)

T = TypeVar("T")
HEADER = """\
# Written by "rdax save". "rdax restore" reads it, at boot by rdax.service. See rdax.conf(5).
"""
TOML_TYPES = {str: "a string", bool: "true or false", int: "an integer", float: "a float",
              list: "an array", dict: "a table"}


class Run(NamedTuple):
    """A run of a region's bytes. `offset` counts from the first byte of the region."""

    offset: int
    length: int

    def __str__(self) -> str:
        return f"{size_text(self.offset)} {size_text(self.length)}"


class DeviceConfig(NamedTuple):
    name: str
    align: int
    runs: tuple[Run, ...]

    def size(self) -> int:
        return sum(run.length for run in self.runs)


class RegionConfig(NamedTuple):
    namespace: str
    uuid: str
    size: int | None
    resource: int | None
    align: int | None
    force: bool
    # None: one device that has the whole region.
    devices: tuple[DeviceConfig, ...] | None


class Entry(NamedTuple):
    """A table [[region]]. It is used only if there are no problems."""

    where: str
    region: RegionConfig
    problems: list[str]

    def names(self) -> set[str]:
        return {device.name for device in self.region.devices or ()} - {""}


class DaxConfig(NamedTuple):
    """A device of the dax bus. Its place identifies it, and its UUID if it is a namespace in devdax
    mode: its name may be another one's later."""

    device: str
    resource: int
    size: int
    memory: str = "frames"
    uuid: str = ""


class DaxEntry(NamedTuple):
    """A table [[dax]]. It is used only if there are no problems."""

    where: str
    dax: DaxConfig
    problems: list[str]


class Config(NamedTuple):
    entries: list[Entry]
    daxes: list[DaxEntry]
    # What is wrong outside of these tables.
    problems: list[str]


class Fields:
    """The keys of a TOML table, each taken once. What is wrong goes to a list of problems."""

    def __init__(self, value: Any, what: str, problems: list[str]) -> None:
        self.what, self.problems = what, problems
        self.left: dict[str, Any] = {}
        if isinstance(value, dict):
            self.left = dict(value)
        else:
            self.wrong("a table is needed")

    def wrong(self, problem: str) -> None:
        self.problems.append(f"{self.what}{problem}")

    def take(self, key: str, convert: Callable[[Any], T], default: T) -> T:
        if key not in self.left:
            return default
        try:
            return convert(self.left.pop(key))
        except (argparse.ArgumentTypeError, ValueError) as error:
            self.wrong(f"{key}: {error}")
            return default

    def need(self, key: str, convert: Callable[[Any], T], default: T) -> T:
        if key not in self.left:
            self.wrong(f"{key} is missing")
        return self.take(key, convert, default)

    def end(self) -> None:
        for key in self.left:
            self.wrong(f"there is no key '{key}'")


def of_type(value: Any, wanted: type[T]) -> T:
    # A bool is an int in Python.
    if type(value) is not wanted:
        raise argparse.ArgumentTypeError(f"{TOML_TYPES[wanted]} is needed, not "
                                         f"{TOML_TYPES.get(type(value), 'a date or time')}")
    return value


def as_size(value: Any) -> int:
    if isinstance(value, str):
        return parse_size(value)
    number = of_type(value, int)
    if not 0 <= number < 1 << 64:
        raise argparse.ArgumentTypeError("it is not from 0 to 2^64 - 1")
    return number


def as_align(value: Any) -> int:
    return parse_align(value if isinstance(value, str) else str(as_size(value)))


def as_flag(value: Any) -> bool:
    return of_type(value, bool)


def as_tables(value: Any) -> list[Any]:
    return of_type(value, list)


def as_name(value: Any) -> str:
    text = of_type(value, str)
    if len(text) > LONGEST_NAME:
        raise argparse.ArgumentTypeError("it is too long")
    return text


def as_namespace(value: Any) -> str:
    return parse_namespace(as_name(value))


def as_device(value: Any) -> str:
    return parse_device(as_name(value))


def as_dax(value: Any) -> str:
    text = as_name(value)
    if not is_dax(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a device of the dax bus (dax0.0)")
    return text


def as_memory(value: Any) -> str:
    text = of_type(value, str)
    if text not in ("frames", "pages", "tracked"):
        raise argparse.ArgumentTypeError("it is none of 'frames', 'pages' and 'tracked'")
    return text


def as_uuid(value: Any) -> str:
    text = of_type(value, str).lower()
    if not is_uuid(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a UUID")
    return text


def as_runs(value: Any) -> tuple[Run, ...]:
    runs = []
    for text in of_type(value, list):
        fields = of_type(text, str).split(" ")
        if len(fields) != 2:
            raise argparse.ArgumentTypeError(f"'{text}' is not an offset and a length ('0 1G')")
        run = Run(*map(parse_size, fields))
        if not run.length:
            raise argparse.ArgumentTypeError(f"'{text}' has no bytes")
        runs.append(run)
    return tuple(runs)


def merged(runs: Iterable[Run]) -> tuple[Run, ...]:
    """The same bytes in the same order, where one run goes on at the end of another as one."""
    out: list[Run] = []
    for run in runs:
        if out and out[-1].offset + out[-1].length == run.offset:
            out[-1] = Run(out[-1].offset, out[-1].length + run.length)
        else:
            out.append(run)
    return tuple(out)


def parse_device_table(value: Any, number: int, align: int | None,
                       problems: list[str]) -> DeviceConfig:
    fields = Fields(value, f"device {number}: ", problems)
    name = fields.need("name", as_device, "")
    fields.what = f"device {number} ({name}): " if name else fields.what
    device = DeviceConfig(name, fields.take("align", as_align, align or PAGE),
                          fields.need("extents", as_runs, ()))
    fields.end()
    for run in device.runs:
        # A region begins at a multiple of its own alignment. Of what is larger, see check_place().
        inside = min(device.align, align or PAGE)
        if run.length % device.align or run.offset % inside:
            fields.wrong(f"'{run}' is not a multiple of its align, {size_text(device.align)}")
    return device


def check_runs(devices: Iterable[DeviceConfig], size: int) -> Iterator[str]:
    """What is wrong with the runs of a region of `size` bytes."""
    runs = sorted((run, device.name or "a device") for device in devices for run in device.runs)
    for run, name in runs:
        if run.offset + run.length > size:
            yield f"{name}: '{run}' is beyond the size, {size_text(size)}"
    # The one that reaches furthest of those before.
    last: tuple[Run, str] | None = None
    for run, name in runs:
        if last and run.offset < last[0].offset + last[0].length:
            yield f"{last[1]} and {name} overlap: '{last[0]}' and '{run}'"
        if last is None or run.offset + run.length > last[0].offset + last[0].length:
            last = run, name


def parse_region_table(value: Any, problems: list[str]) -> RegionConfig:
    fields = Fields(value, "", problems)

    def was_said(key: str) -> bool:
        return any(problem.startswith(f"{key}: ") for problem in problems)

    namespace = fields.need("namespace", as_namespace, "")
    uuid = fields.take("uuid", as_uuid, "")
    size = fields.take("size", as_size, None)
    resource = fields.take("resource", as_size, None)
    align = fields.take("align", as_align, None)
    force = fields.take("force", as_flag, False)
    whole = fields.take("whole", as_flag, False)
    divided = "device" in fields.left
    tables: list[Any] = fields.take("device", as_tables, [])
    fields.end()
    devices = tuple(parse_device_table(table, number, align, problems)
                    for number, table in enumerate(tables, 1))
    if whole and divided:
        fields.wrong("it has both devices and 'whole = true'")
    elif not whole and not divided and not was_said("whole"):
        fields.wrong("it has neither devices nor 'whole = true'")
    if divided:
        for key, found in (("size", size), ("align", align)):
            if found is None and not was_said(key):
                fields.wrong(f"{key} is missing")
        if size is not None:
            problems += check_runs(devices, size)
        names = Counter(device.name for device in devices if device.name)
        problems += [f"{name} appears {count} times" for name, count in names.items() if count > 1]
    return RegionConfig(namespace, uuid, size, resource, align, force,
                        devices if divided or not whole else None)


def parse_dax_table(value: Any, problems: list[str]) -> DaxConfig:
    fields = Fields(value, "", problems)
    dax = DaxConfig(fields.need("device", as_dax, ""), fields.need("resource", as_size, 0),
                    fields.need("size", as_size, 0), fields.take("memory", as_memory, "frames"),
                    fields.take("uuid", as_uuid, ""))
    fields.end()
    return dax


def check_unique_daxes(entries: Sequence[DaxEntry]) -> None:
    """Each place is configured once."""
    for entry in entries:
        others = [other.where for other in entries
                  if other is not entry and other.dax.resource == entry.dax.resource]
        if others:
            entry.problems.append(f"{entry.dax.resource:#x} is configured again at "
                                  f"{', '.join(others)}")


def check_unique(entries: Sequence[Entry]) -> None:
    """Of two entries for one namespace, or one name, nobody knows which is right: neither is."""
    claims: dict[str, list[Entry]] = {}
    for entry in entries:
        region = entry.region
        keys = {f"uuid {region.uuid}"} if region.uuid else {region.namespace} - {""}
        for key in keys | entry.names():
            claims.setdefault(key, []).append(entry)
    for key, found in claims.items():
        for entry in found if len(found) > 1 else ():
            others = ", ".join(other.where for other in found if other is not entry)
            entry.problems.append(f"{key} is configured again at {others}")


def places(text: str, path: str, table: str, count: int) -> list[str]:
    """Where the tables of that name are: their lines [[NAME]]. Tables can be written otherwise, or
    look so in a string: then only their number is said."""
    lines = [number for number, line in enumerate(text.split("\n"), 1)
             if re.fullmatch(rf"\s*\[\[\s*{table}\s*\]\]\s*(#.*)?", line)]
    if len(lines) == count:
        return [f"{path}:{line}: " for line in lines]
    return [f"{path}: {table} {number}: " for number in range(1, count + 1)]


def parse_config(text: str, path: str) -> Config:
    import tomllib

    try:
        top = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure(FAILED, f"{path}: it is not valid TOML, so nothing of it is used: "
                              f"{error or type(error).__name__}") from None
    problems: list[str] = []
    fields = Fields(top, "", problems)
    tables: list[Any] = fields.take("region", as_tables, [])
    dax_tables: list[Any] = fields.take("dax", as_tables, [])
    fields.end()
    entries, daxes = [], []
    for where, table in zip(places(text, path, "region", len(tables)), tables, strict=True):
        found: list[str] = []
        region = parse_region_table(table, found)
        entries.append(Entry(where + (region.namespace or "[[region]]"), region, found))
    for where, table in zip(places(text, path, "dax", len(dax_tables)), dax_tables, strict=True):
        found = []
        dax = parse_dax_table(table, found)
        daxes.append(DaxEntry(where + (dax.device or "[[dax]]"), dax, found))
    check_unique(entries)
    check_unique_daxes(daxes)
    return Config(entries, daxes, [f"{path}: {problem}" for problem in problems])


def read_config(path: Path) -> Config:
    try:
        return parse_config(path.read_bytes().decode(), str(path))
    except FileNotFoundError:
        raise Failure(MISSING, f"there is no {path} ('rdax save' writes it)") from None
    except PermissionError:
        raise forbidden(path.absolute(), "read") from None
    except UnicodeDecodeError as error:
        raise Failure(FAILED, f"{path}: it is not valid TOML, so nothing of it is used: byte "
                              f"{error.start} is not UTF-8") from None


def quoted(values: Sequence[str]) -> str:
    """An array of strings that need no escapes, in several lines if there are many."""
    between, around = (", ", "") if len(values) <= 4 else (",\n\t", "\n")
    indent = "\t" if around else ""
    return f"[{around}{indent}" + between.join(f'"{value}"' for value in values) + f"{around}]"


def region_lines(region: RegionConfig) -> Iterator[str]:
    yield from ("", "[[region]]", f'namespace = "{region.namespace}"')
    if region.uuid:
        yield f'uuid = "{region.uuid}"'
    if region.size is not None:
        yield f'size = "{size_text(region.size)}"'
    if region.resource is not None:
        yield f"resource = {region.resource:#x}"
    if region.align is not None:
        yield f'align = "{size_text(region.align)}"'
    if region.force:
        yield "force = true"
    if region.devices is None:
        yield "whole = true"
    elif not region.devices:
        yield "device = []"
    for device in region.devices or ():
        yield from ("", "[[region.device]]", f'name = "{device.name}"',
                    f'align = "{size_text(device.align)}"',
                    f"extents = {quoted([str(run) for run in device.runs])}")


def dax_lines(dax: DaxConfig) -> Iterator[str]:
    yield from ("", "[[dax]]", f'device = "{dax.device}"', f"resource = {dax.resource:#x}",
                f'size = "{size_text(dax.size)}"')
    if dax.uuid:
        yield f'uuid = "{dax.uuid}"'
    if dax.memory != "frames":
        yield f'memory = "{dax.memory}"'
