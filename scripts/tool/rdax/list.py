# SPDX-License-Identifier: GPL-2.0
"""rdax list: regions, their devices and users, and other namespaces."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from . import daxbus
from .attributes import bad_blocks, counters
from .files import link_name, names_in, number_or, read_or
from .machine import MODES, Machine, read_only
from .report import Bytes, report, sizes
from .say import FAILED, Failure, is_terminal, terminal_width
from .users import User
from .values import size_text


def describe_device(path: Path, users: Sequence[User]) -> dict[str, Any]:
    return {
        "name": path.name,
        "size": Bytes(number_or(path / "size")),
        "align": number_or(path / "align"),
        "numa_node": number_or(path / "numa_node", -1),
        "bad_bytes": Bytes(sum(length for _, length in bad_blocks(path))),
        "faults": counters(path / "faults"),
        "entries": counters(path / "entries"),
        "users": [{"pid": user.pid, "command": user.command, "how": list(user.how),
                   "stale": user.stale} for user in users],
    }


def describe_unbound(machine: Machine, path: Path) -> dict[str, Any]:
    holder = read_or(path / "holder").rsplit("/", 1)[-1]
    driver = link_name(path / "driver")
    mode = read_or(path / "mode")
    uses = [] if holder else [use.text for use in machine.block_uses(path)]
    return {
        "namespace": path.name,
        "uuid": read_or(path / "uuid").lower() or None,
        "size": Bytes(number_or(path / "size")),
        "read_only": bool(read_only(path)),
        "mode": MODES.get(mode, mode),
        "numa_node": number_or(path / "numa_node", -1),
        "driver": driver or None,
        "claimed_by": holder or None,
        "block": [node.name for node in names_in(path / "block")],
        "uses": uses,
        "bindable": not holder and not uses and driver in ("", "nd_pmem"),
    }


def inventory(machine: Machine) -> dict[str, Any]:
    if not (machine.sys / "bus").is_dir():
        raise Failure(FAILED, f"there is no sysfs at {machine.sys} ('mount -t sysfs none "
                              f"{machine.sys}')")
    daxes = names_in(machine.dax_devices, "dax")
    bound = machine.bound_daxes()
    users = machine.users(path.name for path in machine.all_devices())
    regions, unbound = [], []
    for path in names_in(machine.namespaces, "namespace"):
        region = path / "rdax_region"
        if region.is_dir():
            regions.append({
                "namespace": path.name,
                "uuid": read_or(path / "uuid").lower() or None,
                "size": Bytes(number_or(region / "size")),
                "read_only": bool(read_only(path)),
                "align": number_or(region / "align"),
                "available_size": Bytes(number_or(region / "available_size")),
                "numa_node": number_or(path / "numa_node", -1),
                "devices": [describe_device(device, users.by_node.get(device.name, []))
                            for device in machine.devices_of(path.name)],
            })
        elif number_or(path / "size"):
            unbound.append(describe_unbound(machine, path))
    dax = [{**daxbus.describe(machine, path),
            **(describe_device(path, users.by_node.get(path.name, [])) if path in bound else {})}
           for path in daxes]
    return {"regions": regions, "unbound": unbound, "dax": dax, "users_complete": users.complete}


def table(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) if column in right else cell.ljust(width)
                 for column, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def filled(items: Sequence[str], between: str, width: int) -> list[str]:
    """Items in as few lines as fit the width; a line that is followed by another ends as said."""
    lines: list[str] = []
    for index, item in enumerate(items):
        end = between if index < len(items) - 1 else ""
        if lines and len(lines[-1]) + 1 + len(item + end) <= width:
            lines[-1] += f" {item}{end}"
        else:
            lines.append(item + end)
    return lines


def with_items(rows: Sequence[tuple[Sequence[str], Sequence[str]]], between: str,
               right: Iterable[int], width: int | None) -> list[str]:
    """A table whose last column has several items a row; what does not fit is below the row."""
    beside = table([[*row, f"{between} ".join(items)] for row, items in rows], right)
    heads = table([row for row, _ in rows], right)
    lines = []
    for line, head, (_, items) in zip(beside, heads, rows, strict=True):
        if width is None or len(line) <= width:
            lines.append(line)
        else:
            lines.append(head)
            lines += [f"    {line}" for line in filled(items, between, width - 4)]
    return lines


def device_row(region: str, device: dict[str, Any],
               size: Callable[[int], str]) -> tuple[list[str], list[str]]:
    mapped = [str(device["faults"].get(f"{level}_mapped", 0)) for level in ("pte", "pmd", "pud")]
    who = [str(User(user["pid"], user["command"], (), user["stale"])) for user in device["users"]]
    return [region, device["name"], size(device["size"]), size_text(device["align"]),
            str(device["numa_node"]), *mapped], who or ["-"]


def bound_devices(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of namespaces, and those of the dax bus."""
    return [*(device for region in found["regions"] for device in region["devices"]),
            *(dax for dax in found["dax"] if dax["driver"] == "rdax")]


def region_lines(found: dict[str, Any], size: Callable[[int], str],
                 width: int | None) -> list[str]:
    head = ["REGION", "DEVICE", "SIZE", "ALIGN", "NUMA", "4K", "2M", "1G"]
    rows: list[tuple[list[str], list[str]]] = [(head, ["IN USE BY"])]
    for region in found["regions"]:
        for device in region["devices"]:
            rows.append(device_row(region["namespace"], device, size))
        if region["available_size"] or not region["devices"]:
            rows.append(([region["namespace"], "(free)", size(region["available_size"]),
                          *[""] * 5], []))
    rows += [device_row(dax["region"], dax, size) for dax in found["dax"]
             if dax["driver"] == "rdax"]
    if len(rows) == 1:
        return ["no namespace is bound" + (", nor a device of the dax bus" if found["dax"] else "")]
    columns = [max(len(row[column]) for row, _ in rows) for column in range(len(head))]
    before, faults = sum(columns[:5]) + 2 * 5, sum(columns[5:]) + 2 * 2
    return [" " * before + " FAULTS ".center(faults, "-"),
            *with_items(rows, ",", (2, 3, 4, 5, 6, 7), width)]


def unbound_lines(found: dict[str, Any], size: Callable[[int], str],
                  width: int | None) -> list[str]:
    rows: list[tuple[list[str], list[str]]] = [
        (["NOT BOUND", "SIZE", "MODE", "NUMA", "HELD BY"], ["CAN BE BOUND"])]
    for namespace in found["unbound"]:
        held = namespace["claimed_by"] or namespace["driver"] or "nobody"
        if namespace["block"]:
            held += f" ({', '.join(namespace['block'])})"
        can = ["yes, read-only" if namespace["read_only"] else "yes"]
        if not namespace["bindable"]:
            can = (["no", *namespace["uses"]] if namespace["uses"] else
                   ["no, it is claimed" if namespace["claimed_by"] else "no"])
        rows.append(([namespace["namespace"], size(namespace["size"]), namespace["mode"] or "-",
                      str(namespace["numa_node"]), held], can))
    for dax in found["dax"]:
        if dax["driver"] != "rdax":
            rows.append(([dax["name"], size(dax["size"]), dax["kind"], str(dax["numa_node"]),
                          dax["driver"] or "nobody"],
                         ["yes"] if dax["bindable"] else ["no", *dax["uses"]]))
    return ["", *with_items(rows, ";", (1, 3), width)] if len(rows) > 1 else []


def list_text(found: dict[str, Any], size: Callable[[int], str] = size_text,
              width: int | None = None) -> list[str]:
    """The tables, in lines of a width if there is one."""
    lines = region_lines(found, size, width)
    lines += [f"{device['name']}: {device['bad_bytes']} bytes are bad ('rdax map')"
              for device in bound_devices(found) if device["bad_bytes"]]
    lines += [f"{region['namespace']}: the memory is read-only" for region in found["regions"]
              if region["read_only"]]
    if any(user["stale"] for device in bound_devices(found) for user in device["users"]):
        lines.append("(gone): it has an earlier device of this name open, which no longer exists")
    if not found["users_complete"]:
        lines.append("IN USE BY: only processes that this user may look at")
    lines += unbound_lines(found, size, width)
    uuids = [[namespace["namespace"], namespace["uuid"]]
             for namespace in found["regions"] + found["unbound"] if namespace["uuid"]]
    return lines + (["", *table([["NAMESPACE", "UUID (stays; the name may change)"], *uuids])]
                    if uuids else [])


def do_list(machine: Machine, args: argparse.Namespace) -> None:
    found = inventory(machine)
    # A line that goes to a program stays one line.
    width = terminal_width() if is_terminal(sys.stdout) else None
    report(args, found, "\n".join(list_text(found, sizes(args), width)))
