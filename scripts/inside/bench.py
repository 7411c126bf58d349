#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""make bench: rdax beside its peers, in one run and by one program.

    bench.py [PART | OPERATION]...

What was measured is written to /build/bench: figures.json, table.md.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import guest
from figures import (ANONYMOUS, DEVICE_DAX, EXT4, RDAX, Figures, FiguresError, Goal, Row, against,
                     figures_table, goals_table)

GUEST = "/rdax/scripts/guest/bench"
OUTPUT = Path("/build/bench")
ROUNDS = 5
TIMEOUT = 1500


@dataclass(frozen=True)
class Run:
    """An operation of the program, and the alignments with which device_dax does it.

    A first round, which is not counted, warms caches and slabs; where a run is LONG, there
    is one round only.
    """

    name: str
    rows: tuple[Row, ...]
    align: str = "4k"
    long: bool = False


def run(name: str, title: str, align: str = "4k", long: bool = False) -> Run:
    return Run(name, (Row(name, title),), align, long)


RUNS = (
    Run("memory-4k", (
        Row("memory-4k-Slab", "memory per GiB touched at 4 KiB: slab", "bytes"),
        Row("memory-4k-PageTables", "memory per GiB touched at 4 KiB: page tables", "bytes"),
    ), long=True),
    run("fault-4k-write-random", "4 KiB write fault, random"),
    run("fault-4k-read-random", "4 KiB read fault, random"),
    run("fault-4k-write-existing", "4 KiB write fault, random, on another process' entry"),
    run("write-after-read-4k", "first write after a read fault, 4 KiB, random"),
    run("fault-4k-write-sequential", "4 KiB write touch, sequential, per page"),
    run("fault-4k-read-sequential", "4 KiB read touch, sequential, per page"),
    run("fault-2m-write", "2 MiB write fault", "2m"),
    run("fault-2m-read", "2 MiB read fault", "2m"),
    run("fault-1g-write", "1 GiB write fault", "1g"),
    run("fault-1g-read", "1 GiB read fault", "1g"),
    run("munmap-4k", "munmap, per 4 KiB page"),
    run("munmap-2m", "munmap, per 2 MiB page", "2m"),
    run("mmap", "mmap of 1 GiB"),
    run("fsync-1-of-16m", "fsync, 1 page dirty of 16 MiB touched", long=True),
    Run("fsync-of-1g", (
        Row("fsync-1-of-1g", "fsync, 1 page dirty of 1 GiB touched"),
        Row("fsync-100-of-1g", "fsync, 100 pages dirty of 1 GiB touched"),
        Row("fsync-all-of-1g", "fsync, all pages dirty of 1 GiB touched"),
    ), long=True),
    run("read-4k", "read of 4 KiB"),
    run("write-4k", "write of 4 KiB"),
    run("read-1m", "read of 1 MiB"),
    run("write-1m", "write of 1 MiB"),
    run("punch-4k-absent", "punch of 4 KiB, no entry"),
    run("punch-4k-present", "punch of 4 KiB, mapped"),
    run("punch-2m-absent", "punch of 2 MiB, no entries"),
    run("punch-2m-present", "punch of 2 MiB, mapped in 4 KiB pages"),
    run("punch-1g-absent", "punch of 1 GiB, no entries", long=True),
    run("punch-1g-present", "punch of 1 GiB, mapped in the largest pages", long=True),
)

GOALS: tuple[Goal, ...] = (
    *against("fault-4k-write-random", "4 KiB random first-touch write fault",
             device_dax=0.75, ext4=0.38),
    *against("fault-4k-write-existing", "4 KiB random write fault on an entry that exists already",
             device_dax=0.70),
    *against("fault-4k-write-sequential", "4 KiB sequential touch, per page", device_dax=0.10),
    *against("fault-2m-write", "2 MiB write fault", device_dax=1.10, ext4=0.38),
    *against("munmap-4k", "munmap, per 4 KiB page", device_dax=0.30),
    *against("munmap-2m", "munmap, per 2 MiB page", device_dax=0.36),
    *against("fsync-1-of-1g", "fsync with 1 dirty page of 1 GiB touched", ext4=0.25),
    Goal("fsync with 1 dirty page: 1 GiB touched, of 16 MiB touched", ("fsync-1-of-1g", RDAX),
         ("fsync-1-of-16m", RDAX), 1.05),
    Goal("index memory per GiB touched at 4 KiB, in bytes", ("memory-4k-Slab", RDAX), None,
         2.5 * (1 << 20)),
)

# The contenders as the guest's script knows them, and as the table does.
VARIANTS = {
    "rdax": RDAX,
    "device_dax_4k": DEVICE_DAX,
    "device_dax_2m": DEVICE_DAX,
    "device_dax_1g": DEVICE_DAX,
    "ext4": EXT4,
    "anonymous": ANONYMOUS,
}


class Collector:
    """Puts the lines of the guest together and says how far it is."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.contender = ""
        self.rest = b""

    def sink(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.line(line.decode(errors="replace").strip())

    def line(self, line: str) -> None:
        if not line.startswith("{"):
            print(f"guest: {line}", file=sys.stderr)
        elif "contender" in (found := json.loads(line)):
            self.contender = found["contender"]
            print(f"  {self.contender}", flush=True)
        else:
            self.figures.add(VARIANTS[self.contender], [line])


def boot(arguments: list[str], machine: guest.Machine, figures: Figures) -> None:
    for name in machine.nvdimms:
        (guest.WORK / name).unlink(missing_ok=True)
    result = guest.boot([GUEST, *arguments], timeout=TIMEOUT, machine=machine,
                        sink=Collector(figures).sink)
    if result.exit_status:
        raise FiguresError("\n".join(result.explain()))


def instructions(runs: list[Run], figures: Figures) -> None:
    arguments = ["instructions"]
    for variant, contender in VARIANTS.items():
        chosen = [run for run in runs
                  if contender != DEVICE_DAX or variant == f"{DEVICE_DAX}_{run.align}"]
        if chosen:
            arguments += [variant, *(f"{run.name}:{1 if run.long else ROUNDS}" for run in chosen)]
    boot(arguments, guest.Machine(cpus=1, nvdimms={"nv0": "4G"}, virtio_pmems={},
                                  count_instructions=True), figures)


def write(runs: list[Run], figures: Figures) -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    rows = [row for run in runs for row in run.rows]
    lines = [*figures_table(rows, figures), "", *goals_table(GOALS, figures)]
    (OUTPUT / "table.md").write_text("\n".join(lines) + "\n")
    (OUTPUT / "figures.json").write_text(json.dumps(figures.to_json(), indent=1) + "\n")
    print("\n".join(lines))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", metavar="PART|OPERATION")
    args = parser.parse_args()
    figures = Figures()
    runs = [run for run in RUNS if not args.what or "instructions" in args.what
            or run.name in args.what]
    begun = time.monotonic()
    print("instructions", flush=True)
    instructions(runs, figures)
    print(f"instructions took {time.monotonic() - begun:.0f} s", flush=True)
    write(runs, figures)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (guest.GuestError, FiguresError) as error:
        print(f"FAILED: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
