# SPDX-License-Identifier: GPL-2.0
"""Where the kernel's files are, and what they say of namespaces and who uses them."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .files import link_name, names_in, read, read_or
from .say import BUSY, FAILED, MISSING, Failure, printable, text_of
from .users import Users, find_users, users_text
from .values import is_dax, is_uuid

# A namespace's mode in sysfs, and what ndctl calls it.
MODES = {"safe": "sector", "memory": "fsdax", "dax": "devdax"}


class Use(NamedTuple):
    """Why a namespace should not be taken from nd_pmem."""

    kind: str
    text: str


class Machine:
    """The kernel's files, below other directories for the tests."""

    def __init__(self, top: Path = Path("/")) -> None:
        self.sys, self.dev, self.proc = top / "sys", top / "dev", top / "proc"
        self.namespaces = self.sys / "bus/nd/devices"
        self.drivers = self.sys / "bus/nd/drivers"
        self.driver = self.drivers / "rdax"
        self.devices = self.sys / "class/dax"
        self.dax_devices = self.sys / "bus/dax/devices"
        self.dax_drivers = self.sys / "bus/dax/drivers"
        self.dax_driver = self.dax_drivers / "rdax"
        self.parameters = self.sys / "module/rdax/parameters"
        self.debugfs = self.sys / "kernel/debug"
        self.config = top / "etc/rdax.conf"

    def named(self, text: str) -> str:
        """The name of the namespace that a name or a UUID is for."""
        if not is_uuid(text):
            return text
        found = [path.name for path in names_in(self.namespaces, "namespace")
                 if text in (uuid_of(path), self.holder_uuid(path))]
        if len(found) > 1:
            raise Failure(FAILED, f"refused: {' and '.join(found)} have the uuid {text}")
        if not found:
            raise Failure(MISSING, f"no namespace has the uuid {text}")
        return found[0]

    def check_name(self, name: str, text: str) -> None:
        """Refuses a name that named() found for a UUID, and that is another namespace's now: names
        change when a region is disabled and enabled."""
        if not is_uuid(text):
            return
        try:
            found = uuid_of(self.namespaces / name)
        except OSError as error:
            raise Failure(FAILED, f"refused: {text_of(error)}") from None
        if found != text:
            raise Failure(FAILED, f"refused: {name} is another namespace now: its uuid is "
                                  f"{found or 'not known'}, not {text}")

    def holder_uuid(self, namespace: Path) -> str:
        """ndctl shows the UUID of a btt, pfn or dax device instead of its namespace's."""
        holder = read_or(namespace / "holder").rpartition("/")[2]
        return uuid_of(self.namespaces / holder) if holder else ""

    def namespace(self, name: str) -> Path:
        path = self.namespaces / name
        if not path.is_dir():
            raise Failure(MISSING, f"there is no {name}")
        return path

    def region(self, name: str) -> Path:
        path = self.namespace(name) / "rdax_region"
        if not path.is_dir():
            raise Failure(MISSING, f"{name} is not bound to rdax ('rdax bind {name}')")
        return path

    def regions(self) -> list[Path]:
        """The directories of all namespaces that are bound."""
        return [path / "rdax_region" for path in names_in(self.namespaces, "namespace")
                if (path / "rdax_region").is_dir()]

    def device(self, name: str) -> Path:
        if is_dax(name):
            path = self.dax_device(name)
            if link_name(path / "driver") != "rdax":
                raise Failure(MISSING, f"{name} is not bound to rdax ('rdax bind {name}')")
            return path
        path = self.devices / name
        if not path.is_dir():
            raise Failure(MISSING, f"there is no {name}")
        return path

    def dax_device(self, name: str) -> Path:
        """Of the dax bus, whatever driver has it."""
        path = self.dax_devices / name
        if not path.is_dir():
            raise Failure(MISSING, f"there is no {name}")
        return path

    def bound_daxes(self) -> list[Path]:
        return [path for path in names_in(self.dax_devices, "dax")
                if link_name(path / "driver") == "rdax"]

    def all_devices(self) -> list[Path]:
        return names_in(self.devices, "rdax") + self.bound_daxes()

    def path_of(self, name: str) -> Path:
        return (self.dax_devices if is_dax(name) else self.devices) / name

    def home(self, device: Path) -> str:
        """The namespace that a device is a part of; of the dax bus, otherwise its region."""
        if not is_dax(device.name):
            return link_name(device / "device")
        region = device.resolve().parent
        return read_or(region / "namespace") or region.name

    def region_of(self, name: str) -> Path:
        return self.region(link_name(self.device(name) / "device"))

    def devices_of(self, namespace: str) -> list[Path]:
        return [path for path in names_in(self.devices, "rdax")
                if link_name(path / "device") == namespace]

    def nodes_of_block(self, namespace: Path) -> list[Path]:
        """The namespace's disk and its partitions, as sysfs directories."""
        disks = names_in(namespace / "block")
        return disks + [part for disk in disks for part in names_in(disk)
                        if (part / "partition").exists()]

    def users(self, names: Iterable[str]) -> Users:
        """The processes that have these nodes of /dev open or mapped."""
        return find_users(self.dev, self.proc, names)

    def block_uses(self, namespace: Path) -> list[Use]:
        """What is known of who uses the namespace's disk; without opening it."""
        nodes = self.nodes_of_block(namespace)
        names = {node.name: read_or(node / "dev") for node in nodes}
        uses = []
        for line in read_or(self.proc / "self/mountinfo").splitlines():
            fields = line.split()
            if len(fields) < 5:
                continue
            source = fields[fields.index("-") + 2] if "-" in fields[:-2] else ""
            for name, number in names.items():
                if fields[2] == number or source == str(self.dev / name):
                    where = printable(unescaped(fields[4]))
                    uses.append(Use("mount", f"{name} is mounted at {where}"))
        for line in read_or(self.proc / "swaps").splitlines()[1:]:
            swap = Path(unescaped(line.partition(" ")[0].partition("\t")[0])).name
            if swap in names:
                uses.append(Use("swap", f"{swap} is swapped on"))
        for node in nodes:
            uses += [Use("holder", f"{node.name} is part of {holder.name}")
                     for holder in names_in(node / "holders")]
        return uses


def uuid_of(namespace: Path) -> str:
    """Of a namespace with labels. A UUID that can't be read is not the same as none."""
    try:
        return read(namespace / "uuid").lower()
    except FileNotFoundError:
        return ""


def read_only(namespace: Path) -> str:
    """What says that the memory can only be read, or nothing. Stores would be lost."""
    region = namespace.resolve().parent
    if read_or(region / "read_only") != "1":
        return ""
    return f"the memory is read-only: {region.name}/read_only"


def also_read_only(namespace: Path) -> str:
    found = read_only(namespace)
    return f"; {found}" if found else ""


def unescaped(text: str) -> str:
    r"""As in mountinfo: a space is \040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def users_of(machine: Machine, names: Iterable[str]) -> list[str]:
    """Which of these devices are in use, by whom."""
    found = {name: [user for user in users if not user.stale]
             for name, users in machine.users(names).by_node.items()}
    return [f"{name} is in use by {users_text(who)}" for name, who in found.items() if who]


def refuse_used(machine: Machine, name: str) -> None:
    used = users_of(machine, [name])
    if used:
        raise Failure(BUSY, f"refused: {used[0]}")


def in_use(machine: Machine, name: str) -> str:
    """What EBUSY means."""
    users = machine.users([name])
    who = [user for user in users.by_node[name] if not user.stale]
    if who:
        return f"{name} is in use by {users_text(who)}"
    hidden = "" if users.complete else " that this user may not look at"
    return f"{name} is in use, by a process{hidden} (or a file that is in none)"
