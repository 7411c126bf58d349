#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Choose Debian's newest 7.2 kernel of which image, headers and source all exist.

Reads the output of `apt-cache madison` for the names that `names` prints, and
prints the choice as the lines of scripts/kernel.lock.
"""

import argparse
import functools
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

SERIES = "7.2"
SOURCE = f"linux-source-{SERIES}"
IMAGE = re.compile(rf"linux-image-({re.escape(SERIES)}\.\d+[^ ]*?)-amd64$")
FLAVOURS = ("-cloud", "-rt", "-dbg", "-unsigned")
# Earlier suites first: at the same version, the one for Debian's stable release.
SUITES = ("trixie-backports", "forky", "sid")


class Kernel(NamedTuple):
    suite: str
    version: str
    release: str

    def lock(self) -> str:
        return f"suite={self.suite}\nversion={self.version}\nrelease={self.release}\n"


def release_of(package: str) -> str | None:
    """The `uname -r` of a plain amd64 image package, else None."""
    match = IMAGE.match(package)
    if not match or match[1].endswith(FLAVOURS):
        return None
    return f"{match[1]}-amd64"


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


def complete(found: dict[str, set[tuple[str, str]]]) -> list[Kernel]:
    kernels = []
    for package, places in found.items():
        release = release_of(package)
        if release is None:
            continue
        headers = found.get(f"linux-headers-{release}", set())
        source = found.get(SOURCE, set())
        kernels += [Kernel(suite, version, release)
                    for suite, version in places & headers & source]
    return kernels


def compare(left: Kernel, right: Kernel) -> int:
    def numbers(kernel: Kernel) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", kernel.version.split("-")[0])]

    def place(kernel: Kernel) -> int:
        return SUITES.index(kernel.suite) if kernel.suite in SUITES else len(SUITES)

    a, b = numbers(left), numbers(right)
    if a != b:
        return -1 if a < b else 1
    if place(left) != place(right):
        return place(right) - place(left)
    if left.version == right.version:
        return 0
    older = subprocess.run(
        ["dpkg", "--compare-versions", left.version, "lt", right.version], check=False)
    return -1 if older.returncode == 0 else 1


def names() -> list[str]:
    """The packages to ask apt about."""
    listed = subprocess.run(
        ["apt-cache", "pkgnames", f"linux-image-{SERIES}."],
        check=True, capture_output=True, text=True).stdout.split()
    releases = sorted({r for r in map(release_of, listed) if r})
    return [SOURCE, *(f"linux-{kind}-{r}" for r in releases for kind in ("image", "headers"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", help="this Debian version and no other")
    args = parser.parse_args()
    madison = subprocess.run(
        ["apt-cache", "madison", *names()], check=True, capture_output=True, text=True).stdout
    kernels = complete(parse_madison(madison.splitlines()))
    if args.version:
        kernels = [kernel for kernel in kernels if kernel.version == args.version]
    if not kernels:
        return 1
    sys.stdout.write(max(kernels, key=functools.cmp_to_key(compare)).lock())
    return 0


if __name__ == "__main__":
    sys.exit(main())
