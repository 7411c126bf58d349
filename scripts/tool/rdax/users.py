# SPDX-License-Identifier: GPL-2.0
"""Which processes have a node of /dev open or mapped."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .files import OUR_LACK, names_in, read_or
from .say import printable


class User(NamedTuple):
    """A process that has a device open or mapped."""

    pid: int
    command: str
    how: tuple[str, ...]
    # Of a device of this name that has gone.
    stale: bool

    def __str__(self) -> str:
        return f"{self.pid} {self.command}{' (gone)' if self.stale else ''}"


class Users(NamedTuple):
    by_node: dict[str, list[User]]
    # Whether all processes could be looked at.
    complete: bool


def node_number(found: os.stat_result) -> tuple[int, int]:
    """What a node stands for, by whatever name."""
    return stat.S_IFMT(found.st_mode), found.st_rdev


def open_nodes(process: Path, numbers: dict[tuple[int, int], str],
               paths: dict[str, str]) -> Iterator[tuple[str, bool]]:
    for link in (process / "fd").iterdir():
        try:
            target = os.readlink(link)
            # Others are not asked: a dead file server would not answer.
            path = target.removesuffix(" (deleted)")
            if path not in paths and not path.startswith("/dev/") and "rdax" not in path:
                continue
            if path != target:
                if path in paths:
                    yield paths[path], True
                continue
            found = link.stat()
        except FileNotFoundError:
            continue
        name = numbers.get(node_number(found))
        if name:
            yield name, False


def mapped_nodes(process: Path, inodes: dict[tuple[str, str], str],
                 paths: dict[str, str]) -> Iterator[tuple[str, bool]]:
    for line in (process / "maps").read_text(errors="replace").splitlines():
        fields = line.split(None, 5)
        if len(fields) < 6:
            continue
        name = inodes.get((fields[3], fields[4]))
        if name:
            yield name, False
        elif fields[5].endswith(" (deleted)") and fields[5].removesuffix(" (deleted)") in paths:
            yield paths[fields[5].removesuffix(" (deleted)")], True


def find_users(dev: Path, proc: Path, names: Iterable[str]) -> Users:
    """The processes that have these nodes of /dev open or mapped."""
    numbers: dict[tuple[int, int], str] = {}
    inodes: dict[tuple[str, str], str] = {}
    paths: dict[str, str] = {}
    for name in names:
        node = dev / name
        paths[str(node)] = name
        try:
            found = node.stat()
        except OSError:
            continue
        numbers[node_number(found)] = name
        held = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
        inodes[held, str(found.st_ino)] = name
    by_node: dict[str, list[User]] = {name: [] for name in paths.values()}
    # Without /proc, or mounted with hidepid, others' processes are not there.
    complete = (proc / "1").exists()
    for process in names_in(proc):
        if not process.name.isdecimal() or process.name == str(os.getpid()):
            continue
        uses: dict[tuple[str, bool], set[str]] = {}
        try:
            for name, stale in open_nodes(process, numbers, paths):
                uses.setdefault((name, stale), set()).add("open")
            for name, stale in mapped_nodes(process, inodes, paths):
                uses.setdefault((name, stale), set()).add("mapped")
        except (FileNotFoundError, ProcessLookupError):
            # It has ended.
            continue
        except OSError as error:
            if error.errno in OUR_LACK:
                raise
            complete = False
        command = printable(read_or(process / "comm", "?"))
        for (name, stale), how in sorted(uses.items()):
            user = User(int(process.name), command, tuple(sorted(how)), stale)
            by_node[name].append(user)
    return Users(by_node, complete)


def users_text(users: Sequence[User]) -> str:
    return ", ".join(str(user) for user in users)
