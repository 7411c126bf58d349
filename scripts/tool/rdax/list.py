# SPDX-License-Identifier: GPL-2.0
"""rdax list: regions, their devices and users, and other namespaces."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .attributes import bad_blocks, counters
from .files import link_name, names_in, number_or, read_or
from .machine import MODES, Machine, read_only
from .say import FAILED, Failure, show
from .users import User
from .values import size_text


def describe_device(path: Path, users: Sequence[User]) -> dict[str, Any]:
    return {
        "name": path.name,
        "size": number_or(path / "size"),
        "align": number_or(path / "align"),
        "numa_node": number_or(path / "numa_node", -1),
        "bad_bytes": sum(length for _, length in bad_blocks(path)),
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
        "size": number_or(path / "size"),
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
    users = machine.users(path.name for path in names_in(machine.devices, "rdax"))
    regions, unbound = [], []
    for path in names_in(machine.namespaces, "namespace"):
        region = path / "rdax_region"
        if region.is_dir():
            regions.append({
                "namespace": path.name,
                "uuid": read_or(path / "uuid").lower() or None,
                "size": number_or(region / "size"),
                "read_only": bool(read_only(path)),
                "align": number_or(region / "align"),
                "available_size": number_or(region / "available_size"),
                "numa_node": number_or(path / "numa_node", -1),
                "devices": [describe_device(device, users.by_node.get(device.name, []))
                            for device in machine.devices_of(path.name)],
            })
        elif number_or(path / "size"):
            unbound.append(describe_unbound(machine, path))
    return {"regions": regions, "unbound": unbound, "users_complete": users.complete}


def table(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) if column in right else cell.ljust(width)
                 for column, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def list_text(found: dict[str, Any]) -> list[str]:
    rows = [["REGION", "DEVICE", "SIZE", "ALIGN", "NODE", "4K", "2M", "1G", "IN USE BY"]]
    for region in found["regions"]:
        for device in region["devices"]:
            mapped = [str(device["faults"].get(f"{level}_mapped", 0))
                      for level in ("pte", "pmd", "pud")]
            who = [str(User(user["pid"], user["command"], (), user["stale"]))
                   for user in device["users"]]
            rows.append([region["namespace"], device["name"], size_text(device["size"]),
                         size_text(device["align"]), str(device["numa_node"]), *mapped,
                         ", ".join(who) or "-"])
        if region["available_size"] or not region["devices"]:
            rows.append([region["namespace"], "(free)", size_text(region["available_size"]),
                         *[""] * 6])
    lines = table(rows, right=(2, 3, 4, 5, 6, 7)) if len(rows) > 1 else ["no namespace is bound"]
    bad = [f"{device['name']}: {device['bad_bytes']} bytes are bad ('rdax map')"
           for region in found["regions"] for device in region["devices"] if device["bad_bytes"]]
    bad += [f"{region['namespace']}: the memory is read-only" for region in found["regions"]
            if region["read_only"]]
    if not found["users_complete"]:
        bad.append("IN USE BY: only processes that this user may look at")
    others = [["NOT BOUND", "SIZE", "MODE", "NODE", "HELD BY", "CAN BE BOUND"]]
    for namespace in found["unbound"]:
        held = namespace["claimed_by"] or namespace["driver"] or "nobody"
        if namespace["block"]:
            held += f" ({', '.join(namespace['block'])})"
        can = "yes, read-only" if namespace["read_only"] else "yes"
        if not namespace["bindable"]:
            can = "; ".join(["no", *namespace["uses"]] if namespace["uses"] else
                            ["no, it is claimed" if namespace["claimed_by"] else "no"])
        others.append([namespace["namespace"], size_text(namespace["size"]),
                       namespace["mode"] or "-", str(namespace["numa_node"]), held, can])
    lines += bad + (["", *table(others, right=(1, 3))] if len(others) > 1 else [])
    uuids = [[namespace["namespace"], namespace["uuid"]]
             for namespace in found["regions"] + found["unbound"] if namespace["uuid"]]
    return lines + (["", *table([["NAMESPACE", "UUID (stays; the name may change)"], *uuids])]
                    if uuids else [])


def do_list(machine: Machine, args: argparse.Namespace) -> None:
    found = inventory(machine)
    if args.json:
        import json

        show(json.dumps(found, indent=2))
    else:
        show("\n".join(list_text(found)))
