#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measure the locks of samples/lock-comparison, in the guest: lock_comparison.py PART...

Prints a line of JSON for each figure: what was measured, and with which scheme. The rounds of the
schemes alternate, so that what disturbs the machine disturbs all of them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE = os.path.dirname(os.environ["RDAX_KO"]) + "/samples/lock-comparison/lock_comparison.ko"
RUN = Path("/sys/kernel/debug/lock_comparison/run")
STEP = Path("/sys/kernel/debug/lock_comparison/step")
SCHEMES = Path("/sys/kernel/debug/lock_comparison/schemes")
BENCH = "/build/samples/bench"
WORK_DIRECTORY = Path("/work")
ROUNDS = 15
PAGES = 1_000_000
# Rounds of work in the critical section, and as many outside: about a 4 KiB fault.
WORK = 200
MILLIS = 30
CHECK_PAIRS = 200  # of each thread
WORK_PAIRS = 20_000
MEETING_THREADS = (2, 4, 8, 16)
NAP = 50  # microseconds in the critical section, so that others run meanwhile

Result = dict[str, str]


def words(line: str) -> Result:
    return dict(word.split("=") for word in line.split())


def ask(**request: object) -> Result:
    # One write, whatever its length.
    fd = os.open(RUN, os.O_WRONLY)
    try:
        os.write(fd, " ".join(f"{key}={value}" for key, value in request.items()).encode())
    finally:
        os.close(fd)
    return words(RUN.read_text())


def schemes() -> list[Result]:
    return [words(line) for line in SCHEMES.read_text().splitlines()]


def names() -> list[str]:
    return [scheme["scheme"] for scheme in schemes()]


def tell(case: str, scheme: str, **figures: float) -> None:
    print(json.dumps({"case": case, "scheme": scheme, **figures}), flush=True)


def instructions() -> None:
    """Uncontended pairs. For one virtual CPU whose clock counts instructions."""
    for _ in range(ROUNDS):
        found = ask(measure="work", count=1000, inside=WORK)
        tell("work", "", value=int(found["ns"]) / 1000)
        for name in names():
            for order, count in (("4k", 2048), ("2m", 256)):
                found = ask(measure="pairs", scheme=name, order=order, count=count)
                empty = int(found["empty"])
                for which in ("first", "again"):
                    tell(f"{order} {which}", name, value=(int(found[which]) - empty) / count)


def memory() -> None:
    """What a scheme takes, and what a million pages leave behind that were locked once."""
    for name in names():
        for order, count in (("4k", PAGES), ("2m", PAGES // 512)):
            found = ask(measure="memory", scheme=name, order=order, count=count)
            tell(order, name, mapping=int(found["mapping"]), shared=int(found["shared"]),
                 left=int(found["left"]))


def thread_counts() -> list[int]:
    """1, 2, 4, ... up to twice as many as there are CPUs."""
    most, counts = 2 * (os.cpu_count() or 1), [1]
    while counts[-1] * 2 <= most:
        counts.append(counts[-1] * 2)
    return counts


def rounds(cases: Iterator[tuple[str, dict[str, object]]]) -> None:
    """Pairs in a microsecond, for each case."""
    listed = list(cases)
    for _ in range(ROUNDS):
        for case, request in listed:
            for name in names():
                found = ask(measure="throughput", scheme=name, millis=MILLIS, inside=WORK,
                            outside=WORK, **request)
                tell(case, name, value=1000 * int(found["pairs"]) / int(found["ns"]),
                     fallbacks=int(found["fallbacks"]) / max(1, int(found["pairs"])))


def throughput() -> None:
    """One size of range."""
    rounds((f"{contention} {threads}", {"contention": contention, "threads": threads})
           for contention in ("none", "some", "full") for threads in thread_counts())


def mixed() -> None:
    """A tenth of the ranges is of 2 MiB; before, each page was locked with the others of its 2 MiB,
    or by itself, which matters where an entry stays."""
    rounds((f"{contention} {populate} {threads}",
            {"contention": contention, "threads": threads, "huge": 10, "populate": populate})
           for contention in ("none", "some") for populate in ("2m", "4k")
           for threads in thread_counts()[:2])


def fairness() -> None:
    """All want one page: who gets how much, and how often in succession?"""
    for _ in range(ROUNDS):
        for threads in thread_counts()[1:]:
            for name in names():
                found = ask(measure="throughput", scheme=name, threads=threads, millis=100,
                            contention="full", inside=WORK, outside=WORK, check=1)
                pairs = max(1, int(found["pairs"]))
                tell(str(threads), name, least=int(found["least"]) / pairs,
                     most=int(found["most"]) / pairs, longest=int(found["longest"]), pairs=pairs)


def exclusion() -> None:
    """Two holders of one page are counted. For several NUMA nodes, of two CPUs each."""
    cpus = os.cpu_count() or 1
    cases: dict[str, dict[str, object]] = {
        "faults": {"threads": 4, "node": 0},
        "sizes": {"threads": 2, "node": 0, "huge": 50},
        "sizes 4k": {"threads": 2, "node": 0, "huge": 50, "populate": "4k"},
        "sizes 2m": {"threads": 2, "node": 0, "huge": 50, "populate": "2m"},
        "nodes": {"threads": cpus},
    }
    for case, request in cases.items():
        for name in names():
            found = ask(measure="throughput", scheme=name, contention="full", count=CHECK_PAIRS,
                        nap=NAP, check=1, **request)
            tell(case, name, pairs=int(found["pairs"]), violations=int(found["violations"]),
                 across=int(found["across"]), fallbacks=int(found["fallbacks"]))


def meetings() -> None:
    """Where a scheme doesn't exclude faults, how many of them find another one at their page.

    As many threads as there are CPUs, each half of the time in the critical section; and more of
    them, each in it all the time, which is the most that there can be.
    """
    cases: dict[str, dict[str, object]] = {}
    for contention in ("none", "some", "full"):
        threads = os.cpu_count() or 1
        cases[f"work {contention} {threads}"] = {
            "contention": contention, "threads": threads, "count": WORK_PAIRS, "inside": WORK,
            "outside": WORK}
        for threads in MEETING_THREADS:
            cases[f"nap {contention} {threads}"] = {
                "contention": contention, "threads": threads, "count": CHECK_PAIRS, "nap": NAP}
    for _ in range(ROUNDS):
        for case, request in cases.items():
            for scheme in schemes():
                if scheme["faults"] == "1":
                    continue
                found = ask(measure="throughput", scheme=scheme["scheme"], check=1, **request)
                tell(case, scheme["scheme"], pairs=int(found["pairs"]),
                     violations=int(found["violations"]))


def coherence() -> None:
    """The lines that move, for the plugin of QEMU. The benchmark tells of the traces.

    The kernel's names of addresses are those of this boot.
    """
    (WORK_DIRECTORY / "kallsyms").write_bytes(Path("/proc/kallsyms").read_bytes())
    text = Path("/sys/module/lock_comparison/sections/.text").read_bytes()
    (WORK_DIRECTORY / "module.text").write_bytes(text)
    # a CPU more for the kernel's threads
    workers = (os.cpu_count() or 1) - 1
    for name in names():
        print(json.dumps({"contender": name}), flush=True)
        for case in ("own-page", "own-pages", "near-pages", "same-page"):
            STEP.write_text(f"scheme={name}")
            subprocess.run([BENCH, "-t", str(workers), f"coherence-lock-{case}-processes", STEP],
                           check=True)


PARTS = {"instructions": instructions, "memory": memory, "throughput": throughput, "mixed": mixed,
         "fairness": fairness, "meetings": meetings, "exclusion": exclusion,
         "coherence": coherence}


def main() -> int:
    subprocess.run(["insmod", MODULE], check=True)
    for scheme in schemes():
        print(json.dumps(scheme), flush=True)
    for part in sys.argv[1:]:
        print(json.dumps({"part": part}), flush=True)
        PARTS[part]()
    print(json.dumps({"part": None}), flush=True)
    subprocess.run(["rmmod", "lock_comparison"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
