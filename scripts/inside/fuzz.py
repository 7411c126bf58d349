#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Fuzzing that coverage guides: fuzz.py [--time SECONDS] [--seed N] [--publish]

On a kernel with KCOV, with a module that is built for it: samples/torture's fuzz --guided, from the
inputs in samples/torture/corpus. Then which functions of the module the inputs reached, and which
lines of rust/dax and rust/helpers they did not. With --publish the inputs go to the corpus and the
table to samples/torture/reached.md.
"""

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

import guest
import torture
from tables import table
from tap import Tap, by_lines

TOP = Path("/rdax")
CORPUS = TOP / "samples/torture/corpus"
REACHED = TOP / "samples/torture/reached.md"
PLACE = Path("/build/kcov")
WORK = Path("/work/fuzz")
# PATH[ FUNCTION]: why its lines are not reached, and which test does reach them
REASONS = TOP / "samples/torture/unreached"
FAILED = TOP / "samples/torture/failed"
# Inputs before a failure that are kept: the device is what they made of it.
BEFORE = 50
# Line tables too: what was reached is said in lines.
OPTIONS = ("KCOV_INSTRUMENT=y", "KRUSTFLAGS=-Cdebuginfo=1", "KCFLAGS=-g1")
# What KCOV writes down is the address behind the call.
SECTION = re.compile(r"^Disassembly of section (\S+):")
CALL = re.compile(r"^\s*([0-9a-f]+):\s+R_X86_64_PLT32\s+(\S+)")
KCOV = "__sanitizer_cov_trace_pc-"
AFTER = 4
# What comes next where an overflow check or an assertion has failed.
PANIC = "9panicking"
CORPUS_HEAD = """\
# SPDX-License-Identifier: GPL-2.0
#
# A few inputs of "rdax-torture fuzz --guided" that together reached all that the last published run
# reached: written by "make fuzz FUZZ=--publish".
"""


REACHED_HEAD = """\
<!-- SPDX-License-Identifier: GPL-2.0 -->
# What the fuzzer reaches

Written by `make fuzz FUZZ=--publish`. A place is the beginning of a basic block, as far as the
compiler marks it for KCOV: not if it is reached whenever another one is. Blocks that only panic do
not count. Where a function is not reached at all, it may have no blocks of its own but those.
"""


class Place(NamedTuple):
    """An address in the module."""

    section: str
    offset: int


class Frame(NamedTuple):
    """A function that is there, maybe inlined, and a line of it."""

    function: str
    path: str
    line: int


def build() -> str | None:
    """Builds the module for KCOV. What went wrong, if anything did."""
    done = subprocess.run(["/rdax/scripts/inside/build", *OPTIONS], check=False,
                          env=os.environ | {"RDAX_PLACE": str(PLACE)},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode(errors="replace") if done.returncode else None


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


def symbolized(module: Path, wanted: Iterable[Place]) -> dict[Place, list[Frame]]:
    found: dict[Place, list[Frame]] = {}
    for section, group in itertools.groupby(wanted, lambda place: place.section):
        known = list(group)
        done = subprocess.run(["addr2line", "-aifC", "-j", section, "-e", str(module)],
                              input="\n".join(f"{at.offset:x}" for at in known), check=True,
                              capture_output=True, text=True)
        found |= dict(zip(known, frames(done.stdout.splitlines(), f"{PLACE}/"), strict=True))
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


def report(all_places: Mapping[Place, list[Frame]], reached: AbstractSet[Place],
           known_reasons: Mapping[str, str]) -> list[str]:
    """Tables: by file, and what was not reached of the driver's own functions."""
    functions: dict[str, dict[str, bool]] = defaultdict(dict)
    lines: dict[tuple[str, str], dict[int, bool]] = defaultdict(dict)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for at, stack in all_places.items():
        seen = at in reached
        for frame in stack:
            known = functions[frame.path]
            known[frame.function] = known.get(frame.function, False) or seen
            line = lines[frame.path, frame.function]
            line[frame.line] = line.get(frame.line, False) or seen
        if stack:
            counts[stack[0].path][0] += seen
            counts[stack[0].path][1] += 1
    by_file = []
    for path in sorted(functions):
        places_seen, places_all = counts[path]
        known = functions[path]
        by_file.append((f"`{path}`", f"{sum(known.values())} of {len(known)}",
                        f"{places_seen} of {places_all}"))
    missing = []
    for (path, function), by_line in sorted(lines.items()):
        unseen = [line for line, seen in by_line.items() if not seen]
        if ours(path) and unseen:
            whole = "all" if not functions[path][function] else compact(unseen)
            missing.append((f"`{path}`", f"`{function}`", whole,
                            reason(known_reasons, path, function)))
    total = sum(seen for seen, _ in counts.values()), sum(n for _, n in counts.values())
    unknown = sum(not row[-1] for row in missing)
    return [f"{total[0]} of {total[1]} places of the module were reached.",
            (f"Of {len(missing)} functions that were not reached, or not in whole, {unknown} have "
             "no reason."), "",
            "## Reached", "", *table(("file", "functions", "places"), by_file), "",
            "## Not reached, of `rust/dax` and `rust/helpers`", "",
            *table(("file", "function", "lines", "why"), missing)]


def where(addresses: Iterable[int], sections: Mapping[str, int],
          known: AbstractSet[Place]) -> Iterator[Place]:
    """Which of these places the addresses are."""
    by_address = {sections[place.section] + place.offset: place for place in known
                  if place.section in sections}
    return (by_address[address] for address in addresses if address in by_address)


def publish(tables: Sequence[str]) -> None:
    CORPUS.write_text(CORPUS_HEAD + (WORK / "corpus").read_text())
    REACHED.write_text("\n".join((REACHED_HEAD, *tables)) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", type=int, default=600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--publish", action="store_true")
    parser.add_argument("--only-parse", action="store_true", help="the arguments, and do nothing")
    args = parser.parse_args()
    if args.only_parse:
        return 0
    if trouble := build() or torture.build():
        print(trouble, file=sys.stderr)
        return 2
    WORK.mkdir(exist_ok=True)
    if CORPUS.exists():
        shutil.copy(CORPUS, WORK / "corpus")
    module = PLACE / "rdax.ko"
    run = (f"{torture.PROGRAM} fuzz --guided {WORK} --seed {args.seed} --time {args.time}; "
           f"status=$?; cd /sys/module/rdax/sections && grep . .[!.]* >{WORK}/sections; "
           "exit $status")
    tap = Tap()
    result = guest.boot(["env", f"RDAX_KO={module}", "sh", "-c", run], name="fuzz",
                        timeout=args.time + 600, sink=by_lines(torture.Lines(tap).line))
    if result.status or result.trouble:
        for line in result.explain():
            tap.comment(line)
        if (WORK / "inputs").exists():
            FAILED.write_text("".join((WORK / "inputs").read_text().splitlines(True)[-BEFORE:]))
            tap.comment(f"the last {BEFORE} inputs are in {FAILED.relative_to(TOP)}")
    tap.result(result.status == 0, f"fuzz: every call did what it must ({result.seconds:.0f} s)")
    tap.result(not result.trouble, "fuzz: the kernel's console is clean")
    if (WORK / "sections").exists() and (WORK / "reached").exists():
        code = subprocess.run(["objdump", "-d", "-r", str(module)], check=True,
                              capture_output=True, text=True).stdout.splitlines()
        all_places = symbolized(module, places(code))
        named = (line.split(":") for line in (WORK / "sections").read_text().splitlines())
        reached = set(where((int(line, 16) for line in (WORK / "reached").read_text().splitlines()),
                            {name: int(base, 16) for name, base in named}, all_places.keys()))
        tap.result(len(reached) > 100, "fuzz: KCOV sees the module")
        tables = report(all_places, reached, reasons(REASONS.read_text()))
        for line in tables:
            tap.comment(line)
        if args.publish and not result.status:
            publish(tables)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
