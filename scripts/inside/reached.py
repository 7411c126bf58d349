# SPDX-License-Identifier: GPL-2.0
"""Which places of the module were reached: what objdump and addr2line tell of a rdax.ko that the
compiler made tell of each basic block, and the tables that are made of it.
"""

import itertools
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from tables import table

# Line tables too: what was reached is said in lines.
OPTIONS = ("KCOV_INSTRUMENT=y", "KRUSTFLAGS=-Cdebuginfo=1", "KCFLAGS=-g1")
WHAT = """\
A place is the beginning of a basic block, as far as the compiler marks it: not if it is reached
whenever another one is. Blocks that only panic do not count. Where a function is not reached at
all, it may have no blocks of its own but those."""
# What KCOV writes down is the address behind the call.
SECTION = re.compile(r"^Disassembly of section (\S+):")
CALL = re.compile(r"^\s*([0-9a-f]+):\s+R_X86_64_PLT32\s+(\S+)")
KCOV = "__sanitizer_cov_trace_pc-"
AFTER = 4
# What comes next where an overflow check or an assertion has failed.
PANIC = "9panicking"


class Place(NamedTuple):
    """An address in the module."""

    section: str
    offset: int


class Frame(NamedTuple):
    """A function that is there, maybe inlined, and a line of it."""

    function: str
    path: str
    line: int


def build(place: Path, *options: str) -> str | None:
    """Builds the module so that it tells, in PLACE. What went wrong, if anything did."""
    done = subprocess.run(["/rdax/scripts/inside/build", *OPTIONS, *options], check=False,
                          env=os.environ | {"RDAX_PLACE": str(place)},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode(errors="replace") if done.returncode else None


def known(place: Path) -> dict[Place, list[Frame]]:
    """All places of the module that was built in PLACE."""
    code = subprocess.run(["objdump", "-d", "-r", place / "rdax.ko"], check=True,
                          capture_output=True, text=True).stdout.splitlines()
    return symbolized(place, places(code))


def places(lines: Iterable[str]) -> Iterator[Place]:
    """Where the module calls KCOV, as it tells of it, but for what only panics: of objdump's lines."""
    section, place = "", None
    for line in lines:
        if match := SECTION.match(line):
            section = match[1]
        elif match := CALL.match(line):
            if place and PANIC not in match[2]:
                yield place
            kcov = match[2].startswith(KCOV)
            place = Place(section, int(match[1], 16) + AFTER) if kcov else None
    if place:
        yield place


def frames(lines: Iterable[str], place: str) -> Iterator[list[Frame]]:
    """Of addr2line's lines, those of each address: functions of the module, the innermost first."""
    found: list[Frame] | None = None
    function = ""
    for line in lines:
        if re.fullmatch(r"0x[0-9a-f]+", line):
            if found is not None:
                yield found
            found, function = [], ""
        elif not function:
            function = line
        else:
            path, _, number = line.partition(" ")[0].rpartition(":")
            if path.startswith(place) and number.isdigit() and found is not None:
                path = os.path.normpath(path.removeprefix(place))
                found.append(Frame(short(function), path, int(number)))
            function = ""
    if found is not None:
        yield found


def short(function: str) -> str:
    """The name without types, which are of no use in a table, and without its crate."""
    text = function.replace("->", "")
    while (less := re.sub(r"(::)?<[^<>]*>", "", text)) != text:
        text = less
    return text.removeprefix("rdax_main::").removeprefix("::") or function


def symbolized(built: Path, wanted: Iterable[Place]) -> dict[Place, list[Frame]]:
    found: dict[Place, list[Frame]] = {}
    for section, group in itertools.groupby(wanted, lambda place: place.section):
        here = list(group)
        done = subprocess.run(["addr2line", "-aifC", "-j", section, "-e", str(built / "rdax.ko")],
                              input="\n".join(f"{at.offset:x}" for at in here), check=True,
                              capture_output=True, text=True)
        found |= dict(zip(here, frames(done.stdout.splitlines(), f"{built}/"), strict=True))
    return found


def ours(path: str) -> bool:
    return path.startswith(("rust/dax", "rust/helpers/"))


def compact(lines: Iterable[int]) -> str:
    """1-3, 7"""
    runs: list[list[int]] = []
    for line in sorted(lines):
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def reasons(text: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {what: why.strip() for what, _, why in (line.partition(": ") for line in lines)}


def reason(known: Mapping[str, str], path: str, function: str) -> str:
    """That of the function, of its file, or of a directory."""
    for what in (f"{path} {function}", path, *(f"{up}/" for up in Path(path).parents)):
        if what in known:
            return known[what]
    return ""


def by_file(all_places: Mapping[Place, list[Frame]], seen: AbstractSet[Place]) -> list[str]:
    """A table: how many functions and places of each file were reached."""
    functions: dict[str, dict[str, bool]] = defaultdict(dict)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for at, stack in all_places.items():
        for frame in stack:
            here = functions[frame.path]
            here[frame.function] = here.get(frame.function, False) or at in seen
        if stack:
            counts[stack[0].path][0] += at in seen
            counts[stack[0].path][1] += 1
    rows = [(f"`{path}`", f"{sum(here.values())} of {len(here)}",
             f"{counts[path][0]} of {counts[path][1]}") for path, here in sorted(functions.items())]
    some, whole = (sum(count[i] for count in counts.values()) for i in (0, 1))
    return [f"{some} of {whole} places of the module were reached.", "",
            *table(("file", "functions", "places"), rows)]


def missing(all_places: Mapping[Place, list[Frame]], seen: AbstractSet[Place],
            why: Mapping[str, str]) -> list[str]:
    """A table: which lines of the driver's own functions were not reached."""
    lines: dict[tuple[str, str], dict[int, bool]] = defaultdict(dict)
    for at, stack in all_places.items():
        for frame in stack:
            by_line = lines[frame.path, frame.function]
            by_line[frame.line] = by_line.get(frame.line, False) or at in seen
    rows = []
    for (path, function), by_line in sorted(lines.items()):
        unseen = [line for line, reached in by_line.items() if not reached]
        if ours(path) and unseen:
            which = compact(unseen) if any(by_line.values()) else "all"
            rows.append((f"`{path}`", f"`{function}`", which, reason(why, path, function)))
    unknown = sum(not row[-1] for row in rows)
    return [(f"Of {len(rows)} functions that were not reached, or not in whole, {unknown} have no "
             "reason."), "", *table(("file", "function", "lines", "why"), rows)]


def where(addresses: str, sections: str, wanted: AbstractSet[Place]) -> Iterator[Place]:
    """Which of these places the ADDRESSES are, one a line, with lines NAME:ADDRESS of SECTIONS. If
    one of these is `base`, they are relative to that.
    """
    named = (line.split(":") for line in sections.splitlines())
    starts = {name: int(start, 16) for name, start in named}
    base = starts.get("base", 0)
    by_address = {starts[place.section] + place.offset: place for place in wanted
                  if place.section in starts}
    found = (int(line, 16) + base for line in addresses.splitlines())
    return (by_address[address] for address in found if address in by_address)
