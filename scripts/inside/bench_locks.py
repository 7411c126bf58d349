#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measure the locks of samples/lock-comparison beside each other: bench_locks.py [PART...]

instructions  of an uncontended pair of lock and unlock
memory        of a mapping, and what locked pages leave behind
throughput    by threads, with no, some and full contention
mixed         the same where a tenth of the ranges is of 2 MiB
fairness      who gets how much of a page that all want
meetings      how often two holders of a page meet where nothing keeps them apart
exclusion     two holders of a page, counted, on four NUMA nodes
coherence     cache lines that move between CPUs

Each part replaces its own figures in RESULTS; the tables and plots are made anew.
"""

import json
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import coherence
import coherence_report
import guest
import locks_report
from figures import FiguresError
from tap import by_lines

COMMAND = "/rdax/scripts/guest/lock_comparison.py"
RESULTS = Path("/rdax/Documentation/performance/locks")
CPUS = os.cpu_count() or 1
MODULE = guest.MODULE.parent / "samples/lock-comparison/lock_comparison.ko"
# Where lines move.
COHERENT_CPUS = (2, 4, 16)


@dataclass(frozen=True)
class Boot:
    """A guest, and the parts that are measured in it."""

    name: str
    machine: guest.Machine
    parts: tuple[str, ...]
    parameters: str = ""


BOOTS = (
    Boot("counting", guest.Machine(cpus=1, count_instructions=True), ("instructions",)),
    Boot("parallel", guest.Machine(cpus=CPUS), ("memory", "throughput", "mixed", "fairness",
                                                   "meetings")),
    Boot("nodes", guest.Machine(cpus=8, nodes=4), ("exclusion",)),
    # a CPU more for the kernel's threads
    Boot("coherence", guest.Machine(cpus=max(COHERENT_CPUS) + 1, keep=False,
                                    plugin=f"{coherence.PLUGIN},out={guest.WORK}"),
         ("coherence",), coherence.PARAMETERS),
)


Row = dict[str, object]


def say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


def text_of(results: object) -> str:
    """JSON, with the rounds of a figure on one line."""
    text = json.dumps(results, indent=1)
    return re.sub(r"\[[\d\s.,e-]+\]", lambda rounds: " ".join(rounds[0].split()), text) + "\n"


class Collector:
    """Takes what the guest prints; tells how long each part takes."""

    def __init__(self) -> None:
        self.schemes: list[dict[str, str]] = []
        self.parts: dict[str, dict[str, object]] = {}
        self.rows: list[dict[str, object]] = []
        self.part: str | None = None
        self.begun = time.monotonic()
        self.traces = coherence.Listener(COHERENT_CPUS, (), module=MODULE)

    def line(self, text: str) -> None:
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            say(f"guest: {text}")
            return
        if "contender" in found or "operation" in found:
            self.traces.line(text)
        elif "part" in found:
            self.end()
            self.part, self.rows, self.begun = found["part"], [], time.monotonic()
        elif self.part is None:
            self.schemes.append(found)
        else:
            self.rows.append(found)

    def end(self) -> None:
        if self.part is not None:
            seconds = round(time.monotonic() - self.begun, 1)
            figures: dict[str, object] = {"seconds": seconds}
            if self.part == "coherence":
                self.rows, figures["moves"] = lines_of(self.traces.found)
            figures["rows"] = locks_report.fold(self.rows)
            say(f"{self.part}: {len(self.rows)} figures, {seconds:.0f} s")
            self.parts[self.part] = figures


def lines_of(found: coherence.Found) -> tuple[list[Row], list[Row]]:
    """How many lines moved, and who moved them where there were most CPUs."""
    rows: list[Row] = []
    moves: list[Row] = []
    for (case, cpus), result in found.results.items():
        figure = coherence_report.figure_of(result)
        name = f"{case.operation.removeprefix('lock-')} {cpus}"
        rows.append({"case": name, "scheme": case.contender, "moved": figure["moved"],
                     "used": figure["used"]})
        if cpus == max(COHERENT_CPUS):
            moves.append({"case": name, "scheme": case.contender, "moves": figure["moves"]})
    return rows, moves


def measure(boot: Boot, parts: list[str]) -> Collector | None:
    """Boots; None if that failed."""
    say(f"{', '.join(parts)}: a guest of {boot.machine.cpus} CPUs, {boot.machine.nodes} nodes"
        + (", instructions counted" if boot.machine.count_instructions else ""))
    collector = Collector()
    result = guest.boot([COMMAND, *parts], timeout=1800, name=boot.name, machine=boot.machine,
                        parameters=boot.parameters, sink=by_lines(collector.line),
                        boot_timeout=1800)
    for line in result.explain():
        say(line)
    if result.exit_status:
        return None
    if "coherence" in parts and (wrong := locks_report.doubts(collector.parts["coherence"])):
        raise FiguresError("\n".join(wrong))
    return collector


def main() -> int:
    wanted = sys.argv[1:] or [part for boot in BOOTS for part in boot.parts]
    unknown = set(wanted) - {part for boot in BOOTS for part in boot.parts}
    if unknown:
        print(f"bench-locks: no part {unknown.pop()}", file=sys.stderr)
        return 2
    begun = time.monotonic()
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    for boot in BOOTS:
        parts = [part for part in boot.parts if part in wanted]
        if not parts:
            continue
        collector = measure(boot, parts)
        if collector is None:
            print(f"bench-locks: FAILED: {', '.join(parts)}")
            return 1
        results["schemes"] = collector.schemes
        for part, figures in collector.parts.items():
            results["parts"][part] = {"cpus": boot.machine.cpus, "host_cpus": CPUS,
                                      "nodes": boot.machine.nodes,
                                      "kernel": guest.kernel()["release"], **figures}
        path.write_text(text_of(results))
    locks_report.write(results, RESULTS)
    print(f"bench-locks: {len(wanted)} parts in {time.monotonic() - begun:.0f} s; "
          "Documentation/performance/locks/results.md")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (guest.GuestError, FiguresError) as error:
        print(f"bench-locks: FAILED: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
