# SPDX-License-Identifier: GPL-2.0
"""rdax save."""

import argparse
import os
import stat
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from .config import (
    HEADER,
    Config,
    DaxConfig,
    RegionConfig,
    Run,
    dax_lines,
    merged,
    parse_config,
    read_config,
    region_lines,
)
from .daxbus import place
from .division import (
    devices_data,
    devices_text,
    difference,
    division,
    is_about,
    is_of,
    is_wanted,
    present,
)
from .files import exact, forbidden
from .locks import locked
from .machine import Machine, uuid_of
from .report import Bytes, report, sizes
from .say import FAILED, OUTPUT, Failure, agree, printable, say
from .values import in_order, is_dax, size_text


def read_region(machine: Machine, namespace: Path, force: bool) -> RegionConfig:
    """A bound region as it is now."""
    region = machine.region(namespace.name)
    devices = division(machine, namespace)
    used = sum(run.length for device in devices for run in device.runs)
    if (used + exact(region / "available_size") != exact(region / "size")
            or devices != division(machine, namespace)):
        raise Failure(FAILED, f"{namespace.name} is changing: nothing was saved")
    uuid = uuid_of(namespace)
    return RegionConfig(namespace.name, uuid, exact(namespace / "size"),
                        None if uuid else exact(namespace / "resource"), exact(region / "align"),
                        force, devices)


def write_whole(path: Path, text: bytes, like: os.stat_result | None) -> None:
    """Replaces a file: at each moment, also of a power failure, the old or the new one is there."""
    import tempfile

    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except PermissionError:
        raise forbidden(path.parent, "write") from None
    except OSError as error:
        raise Failure(FAILED, f"{path} can't be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            if like:
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
            os.fsync(file.fileno())
        os.rename(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Failure(FAILED, f"{path} can't be written: {error.strerror}") from None
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def kept_entries(machine: Machine, old: Config, saved: Sequence[Path],
                 args: argparse.Namespace) -> list[RegionConfig]:
    """The file's entries for what is not saved now."""
    bound = [path.parent for path in machine.regions()]
    kept = []
    for entry in old.entries:
        region = entry.region
        if any(is_about(entry, namespace) for namespace in saved):
            continue
        if not any(is_about(entry, namespace) for namespace in bound):
            meant = [name for name in args.namespaces if is_wanted(machine, entry, name)]
            if args.forget and (meant or not args.namespaces):
                say(f"{region.namespace} is not bound: its entry is removed")
                continue
            say(f"{region.namespace} is not bound: its entry is kept (--forget removes it)")
        kept.append(region)
    return kept


def dax_places(machine: Machine, old: Config,
               args: argparse.Namespace) -> tuple[list[DaxConfig], list[DaxConfig]]:
    """The devices of the dax bus to be saved, and the file's entries for others."""
    bound = {device.name: place(device) for device in machine.bound_daxes()}
    named = [name for name in args.namespaces if is_dax(name)]
    if not args.forget:
        for name in named:
            machine.device(name)
    saved = [found for name, found in bound.items() if name in named or not args.namespaces]
    kept = []
    for entry in old.daxes:
        dax = entry.dax
        if any(found.resource == dax.resource for found in saved):
            continue
        if not any(found.resource == dax.resource for found in bound.values()):
            if args.forget and (dax.device in named or not args.namespaces):
                say(f"{dax.device} is not bound: its entry is removed")
                continue
            say(f"{dax.device} is not bound: its entry is kept (--forget removes it)")
        kept.append(dax)
    return saved, kept


def agree_to_forget(old: Config, namespace: Path, region: RegionConfig, path: Path,
                    yes: bool) -> None:
    """After a bind without a restore, the file may be the only record of a division."""
    now = region.devices or ()
    is_new = not now or (len(now) == 1 and merged(now[0].runs) == (Run(0, region.size or 0),))
    for entry in old.entries:
        was = entry.region.devices or ()
        if is_new and is_about(entry, namespace) and was and difference(now, was):
            agree(f"{path} says that {namespace.name} is divided into "
                  f"{devices_text(was, size_text)}; now it has {devices_text(now, size_text)}, as "
                  "after a bind. If nothing else records which bytes are whose, that will be lost "
                  "('rdax restore' makes these devices again)", yes)


def read_old(path: Path) -> Config:
    """The configuration that will be replaced. What is not understood is not replaced."""
    if path.exists() and not path.is_file():
        raise Failure(FAILED, f"refused: {path} is not a regular file")
    if not path.exists():
        return Config([], [], [])
    old = read_config(path)
    tables = [*((entry.where, entry.problems) for entry in old.entries),
              *((entry.where, entry.problems) for entry in old.daxes)]
    problems = old.problems + [f"{where}: {problem}"
                               for where, found in tables for problem in found]
    if problems:
        raise Failure(FAILED, f"refused, because {path} has errors, and what they are about would "
                              f"be lost: {printable('; '.join(problems))}")
    return old


def do_save(machine: Machine, args: argparse.Namespace) -> None:
    path = None if args.output == "-" else (
        Path(args.output) if args.output else machine.config).resolve()
    with locked(machine) if machine.driver.is_dir() else nullcontext():
        old = read_old(path) if path else Config([], [], [])
        names = args.namespaces or [found.parent.name for found in machine.regions()]
        saved_daxes, kept_daxes = dax_places(machine, old, args)
        names = [name for name in names if not is_dax(name)]
        saved = []
        for name in dict.fromkeys(present(machine, names) if args.forget else
                                  map(machine.named, names)):
            namespace = machine.namespaces / name
            if args.forget and not (namespace / "rdax_region").is_dir():
                continue
            machine.region(name)
            force = any(entry.region.force and is_of(machine, entry, namespace)
                        for entry in old.entries)
            saved.append(read_region(machine, namespace, force))
        kept = kept_entries(machine, old, [machine.namespaces / region.namespace
                                           for region in saved], args)
        if not saved and not saved_daxes and not old.entries and not old.daxes:
            raise Failure(FAILED, "no namespace is bound, nor a device of the dax bus: nothing was "
                                  "saved")
        regions = sorted(saved + kept, key=lambda region: in_order(Path(region.namespace)))
        daxes = sorted(saved_daxes + kept_daxes, key=lambda dax: in_order(Path(dax.device)))
        text = HEADER + "\n".join([*(line for region in regions for line in region_lines(region)),
                                   *(line for dax in daxes for line in dax_lines(dax))])
        text = text.rstrip("\n") + "\n"
        for entry in parse_config(text, str(path or "-")).entries:
            if entry.problems:
                raise Failure(FAILED, f"refused: {entry.region.namespace} could not be restored: "
                                      f"{entry.problems[0]}")
        if path is None:
            OUTPUT.write(text)
            return
        for region in saved:
            agree_to_forget(old, machine.namespaces / region.namespace, region, path, args.yes)
        done, backup = replace(path, text.encode())
    size = sizes(args)
    lines = [f"{region.namespace}: saved: {devices_text(region.devices or (), size)}"
             for region in saved]
    lines += [f"{dax.device}: saved: {size(dax.size)}" for dax in saved_daxes]
    kept_in = f", what was there is in {backup}" if backup else ""
    report(args, {"file": str(path), "state": done, "backup": str(backup) if backup else None,
                  "regions": [{"namespace": region.namespace, "uuid": region.uuid or None,
                               "devices": devices_data(region.devices or ())}
                              for region in saved],
                  "dax": [{"name": dax.device, "size": Bytes(dax.size)} for dax in saved_daxes]},
           "\n".join([*lines, f"{path}: {done}{kept_in}"]))


def replace(path: Path, text: bytes) -> tuple[str, Path | None]:
    """Writes the configuration. The one before stays beside it: only it knows its division."""
    if not path.exists():
        write_whole(path, text, None)
        return "written", None
    before, like = path.read_bytes(), path.stat()
    if before == text:
        return "as it was", None
    backup = path.with_name(f"{path.name}~")
    write_whole(backup, before, like)
    write_whole(path, text, like)
    return "written", backup
