#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Choose among the Debian kernels of which a suite has image, headers and source.

    choose_kernel.py --pinned VERSION SUITE   that version of the packages if it is there; otherwise
                                              the newest of its series, otherwise the newest
    choose_kernel.py --relock FILE SUITE      the newest, and the newest of each other series that
                                              FILE, a kernel.lock, names

Reads the output of `apt-cache madison` for the names that `names` prints. The first prints lines
NAME=VALUE for the shell, the second lines of kernel.lock.
"""

import argparse
import functools
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

IMAGE = re.compile(r"linux-image-((\d+\.\d+)\.\d+[^ ]*?)-amd64$")
FLAVOURS = ("-cloud", "-rt", "-dbg", "-unsigned")
# The first series that the module compiles for (rust/helpers/compat.h).
OLDEST = (7, 0)

Series = tuple[int, ...]


class Kernel(NamedTuple):
    suite: str
    version: str
    release: str

    def choice(self) -> str:
        return f"suite={self.suite}\nversion={self.version}\nrelease={self.release}\n"

    def lock(self) -> str:
        return f"{self.suite} {self.version} {self.release}\n"


def numbers(version: str) -> tuple[int, ...]:
    """Of the upstream part of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("-")[0]))


def series(version: str) -> Series:
    return numbers(version)[:2]


def parse_lock(lines: Iterable[str]) -> list[Kernel]:
    """The kernels that kernel.lock names."""
    return [Kernel(*line.split()) for line in lines if line.strip() and not line.startswith("#")]


def release_of(package: str) -> str | None:
    """The `uname -r` of a plain amd64 image package, else None."""
    match = IMAGE.match(package)
    if not match or match[1].endswith(FLAVOURS):
        return None
    return f"{match[1]}-amd64"


def source_of(release: str) -> str:
    """The package with the source of a kernel's series."""
    return "linux-source-" + ".".join(map(str, series(release)))


def parse_madison(lines: Iterable[str]) -> dict[str, set[tuple[str, str]]]:
    """Package to the (suite, version) pairs in which it exists."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for line in lines:
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 3 or not fields[2].endswith("Packages"):
            continue
        package, version, origin = fields
        suite = origin.split()[1].split("/")[0]
        found[package].add((suite, version))
    return found


def complete(found: dict[str, set[tuple[str, str]]], suite: str) -> list[Kernel]:
    """The kernels of which SUITE has all, from the oldest to the newest."""
    kernels = []
    for package, places in found.items():
        release = release_of(package)
        if release is None or series(release) < OLDEST:
            continue
        headers = found.get(f"linux-headers-{release}", set())
        source = found.get(source_of(release), set())
        kernels += [Kernel(suite, version, release)
                    for place, version in places & headers & source if place == suite]
    return sorted(kernels, key=functools.cmp_to_key(compare))


def compare(left: Kernel, right: Kernel) -> int:
    a, b = numbers(left.version), numbers(right.version)
    if a != b:
        return -1 if a < b else 1
    if left.version == right.version:
        return 0
    older = subprocess.run(
        ["dpkg", "--compare-versions", left.version, "lt", right.version], check=False)
    return -1 if older.returncode == 0 else 1


def choose(kernels: Sequence[Kernel], pinned: str) -> Kernel:
    """Of KERNELS, which are in order and not none, the one to use for the version PINNED."""
    for kernel in kernels:
        if kernel.version == pinned:
            return kernel
    same = [kernel for kernel in kernels if series(kernel.version) == series(pinned)]
    return (same or kernels)[-1]


def relock(kernels: Sequence[Kernel], locked: Iterable[Kernel]) -> list[Kernel]:
    """What to lock instead: the newest first, then the newest of each other series that was."""
    newest = {series(kernel.version): kernel for kernel in kernels}
    wanted = dict.fromkeys([series(kernels[-1].version),
                            *(series(kernel.version) for kernel in locked)])
    return [newest[name] for name in wanted if name in newest]


def names() -> list[str]:
    """The packages to ask apt about."""
    listed = subprocess.run(["apt-cache", "pkgnames", "linux-image-"],
                            check=True, capture_output=True, text=True).stdout.split()
    releases = sorted({r for r in map(release_of, listed) if r})
    return [*sorted({source_of(r) for r in releases}),
            *(f"linux-{kind}-{r}" for r in releases for kind in ("image", "headers"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pinned", metavar="VERSION")
    parser.add_argument("--relock", metavar="FILE", type=Path)
    parser.add_argument("suite", metavar="SUITE")
    args = parser.parse_args()
    madison = subprocess.run(
        ["apt-cache", "madison", *names()], check=True, capture_output=True, text=True).stdout
    kernels = complete(parse_madison(madison.splitlines()), args.suite)
    if not kernels:
        return 1
    if args.relock:
        locked = parse_lock(args.relock.read_text().splitlines())
        sys.stdout.write("".join(kernel.lock() for kernel in relock(kernels, locked)))
    else:
        sys.stdout.write(choose(kernels, args.pinned or "").choice())
    return 0


if __name__ == "__main__":
    sys.exit(main())
