#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""make bench: what operations cost, and how they scale, for rdax and its peers.

    bench.py [PART | OPERATION]...      measure: instructions, bind, bus, parallel; or single
                                        operations of `instructions`
    bench.py coherence [--cpus NUMBER,...]
                                        cache lines that move between CPUs
    bench.py coherence --only CONTENDER[:OPERATION[:MODE]]... [--cpus NUMBER,...]
                                        some of these, in detail; nothing is kept
    bench.py coherence --only ... --instructions
                                        where the instructions of these are
    bench.py --check [OPERATION]...     measure `instructions`, compare with the baseline
    bench.py --check coherence          the same for the lines that rdax moves
    bench.py --check --baseline coherence
                                        measures them, and makes them the limits
    bench.py --publish [coherence]      what was measured, to Documentation/performance
    bench.py --baseline                 the same for the ratios to compare with

Results are in /build/bench, those of coherence in /build/coherence. A part that was measured as a whole is kept there until it is
measured again.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import coherence
import coherence_report
import guest
import report
from figures import CONTENDERS, DEVICE_DAX, OURS, RDAX, Figures, FiguresError, Worse, compare
from operations import (
    BIND,
    BIND_SIZES,
    BIND_VARIANTS,
    BINDING,
    BUS_RUNS,
    BUS_VARIANTS,
    PARALLEL,
    RUNS,
    VARIANTS,
    Run,
)

GUEST = "/rdax/scripts/guest/bench"
ROUNDS = 5
PARALLEL_ROUNDS = 15
TIMEOUT = 1800

# What is to be done with a variant's line about an operation.
Line = Callable[[str, str, str], None]


class Reader:
    """Takes the guest's output to pieces."""

    def __init__(self, take: Line, progress: bool) -> None:
        self.take = take
        self.progress = progress
        self.variant = ""
        self.rest = b""

    def sink(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.line(line.decode(errors="replace").strip())

    def line(self, line: str) -> None:
        if not line.startswith("{"):
            print(f"guest: {line}", file=sys.stderr)
            return
        found = json.loads(line)
        if "contender" in found:
            self.variant = found["contender"]
            if self.progress:
                print(f"  {self.variant}", flush=True)
        else:
            self.take(self.variant, found["operation"], line)


def boot(arguments: Sequence[str], machine: guest.Machine, take: Line,
         progress: bool = True) -> None:
    result = guest.boot([GUEST, *arguments], timeout=TIMEOUT, machine=machine,
                        sink=Reader(take, progress).sink, boot_timeout=TIMEOUT)
    if result.exit_status:
        raise FiguresError("\n".join(result.explain()))


def counting(size: int) -> guest.Machine:
    return guest.Machine(cpus=1, nvdimms={"nv0": guest.Nvdimm(f"{size}G")}, virtio_pmems={},
                         count_instructions=True, keep=False)


def unexpected(figures: Figures, runs: Sequence[Run] = RUNS,
               contenders: Sequence[str] = CONTENDERS) -> list[str]:
    """Who can do an operation has done it, and nobody else; or else these lines say so."""
    lines = []
    for run in runs:
        for name in run.titles:
            for contender in contenders if name in figures.samples else ():
                done = figures.find(name, contender) is not None
                if done == (contender in run.cannot):
                    why = figures.of(name, contender).unavailable or "no result"
                    lines.append(f"{name}, {contender}: {'unexpectedly done' if done else why}")
    return lines


def must_be_expected(lines: Sequence[str]) -> None:
    if lines:
        raise FiguresError("\n".join(lines))


def instructions(runs: Sequence[Run]) -> Figures:
    figures = Figures()
    rows = {run.name: run.titles for run in runs}

    def take(variant: str, operation: str, line: str) -> None:
        contender = VARIANTS[variant]
        figures.add(contender, line)
        if operation in rows and operation not in rows[operation]:
            # all that this run would have measured is unavailable
            for name in rows[operation]:
                figures.of(name, contender).unavailable = figures.of(
                    operation, contender).unavailable

    arguments = ["instructions"]
    for variant, contender in VARIANTS.items():
        chosen = [run for run in runs
                  if contender != DEVICE_DAX or variant == f"{DEVICE_DAX}_{run.align}"]
        if chosen:
            arguments += [variant, *(f"{run.name}:{1 if run.long else ROUNDS}" for run in chosen)]
    boot(arguments, counting(4), take)
    figures.samples = {name: figures.samples.get(name, {}) for run in runs for name in run.titles}
    return figures


def bind() -> Figures:
    figures = Figures()
    for size in BIND_SIZES:
        print(f" {size} GiB", flush=True)
        found: dict[str, Figures] = {}

        def take(variant: str, operation: str, line: str,
                 found: dict[str, Figures] = found) -> None:
            found.setdefault(variant, Figures()).add(variant, line)

        boot(["bind", *BIND_VARIANTS], counting(size), take)
        for variant, of_variant in found.items():
            unbound, bound = (of_variant.of(f"memory-{state}-Free", variant).values
                              for state in ("unbound", "bound"))
            of_variant.of("memory-bound", variant).values = [
                a - b for a, b in zip(unbound, bound, strict=True)]
            contender, suffixes = BIND_VARIANTS[variant]
            for suffix in suffixes:
                for operation in BINDING:
                    if samples := of_variant.find(operation, variant):
                        figures.of(f"{operation}-{size}g{suffix}", contender).values = (
                            samples.values)
    figures.samples = {name: figures.samples[name] for name in BIND}
    return figures


def bus() -> Figures:
    """rdax in each mode and device_dax, each as the driver of the same device of the dax bus."""
    figures = Figures()

    def take(variant: str, operation: str, line: str) -> None:
        figures.add(BUS_VARIANTS[variant], line)

    arguments = ["instructions"]
    for variant in BUS_VARIANTS:
        arguments += [variant, *(f"{run.name}:{1 if run.long else ROUNDS}" for run in BUS_RUNS
                                 if variant.endswith(run.align))]
    # a small one, because each round binds, which makes the memory map
    boot(arguments, counting(2), take)
    must_be_expected(unexpected(figures, BUS_RUNS, (*OURS, DEVICE_DAX)))
    figures.samples = {f"bus-{name}": row for name, row in figures.samples.items()}
    return figures


def thread_counts() -> list[int]:
    cpus = os.cpu_count() or 1
    return sorted({1, cpus, *(1 << n for n in range(1, cpus.bit_length()) if 1 << n <= cpus)})


def parallel() -> Figures:
    figures = Figures()

    def take(variant: str, operation: str, line: str) -> None:
        figures.add(VARIANTS[variant], line)

    counts = thread_counts()
    machine = guest.Machine(cpus=max(counts), memory=4 << 10, virtio_pmems={}, keep=False,
                            nvdimms=dict.fromkeys(("nv0", "nv1", "nv2"), guest.Nvdimm("3G")))
    boot(["parallel", str(PARALLEL_ROUNDS), " ".join(map(str, counts))], machine, take,
         progress=False)
    for operation in PARALLEL:
        for count in counts:
            samples = figures.find(f"{operation}-{count}", RDAX)
            if not samples or len(samples.values) < PARALLEL_ROUNDS:
                raise FiguresError(f"{operation}, {count} threads: rounds are missing")
    return figures


def check(figures: Figures, runs: Sequence[Run],
          baseline_file: Path = report.BASELINE) -> list[Worse]:
    """Which ratios that these runs measure are worse than they were."""
    baseline = json.loads(baseline_file.read_text())
    names = {name for run in runs for name in run.titles}
    worse = compare({name: peers for name, peers in baseline.items() if name in names},
                    figures.ratios())
    for line in worse:
        print(line)
    compared = sum(len(peers) for name, peers in baseline.items() if name in names)
    print(f"{compared} ratios compared with the baseline, {len(worse)} worse")
    return worse


COHERENCE = "coherence"
PARTS: dict[str, Callable[[], Figures]] = {
    "instructions": lambda: instructions(RUNS), "bind": bind, "bus": bus, "parallel": parallel}


def timed(name: str, measure: Callable[[], Figures]) -> Figures:
    print(f"== {name}", flush=True)
    begun = time.monotonic()
    figures = measure()
    print(f"-- {name} took {time.monotonic() - begun:.0f} s", flush=True)
    return figures


def chosen_runs(names: Sequence[str]) -> list[Run]:
    unknown = set(names) - {run.name for run in RUNS}
    if unknown:
        raise FiguresError(f"not a part nor an operation: {', '.join(sorted(unknown))}")
    return [run for run in RUNS if run.name in names]


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def write(publish: bool, baseline: bool, what: Sequence[str]) -> None:
    """What was measured, to the documentation."""
    if set(what) - {COHERENCE} or what and baseline:
        raise FiguresError(f"--publish can be followed by {COHERENCE}, --baseline by nothing")
    if publish:
        (coherence_report.publish if what else report.publish)()
    if baseline:
        report.write_baseline()


def measured_and_checked(runs: Sequence[Run]) -> list[Worse]:
    figures = timed("instructions", lambda: instructions(runs))
    must_be_expected(unexpected(figures))
    return check(figures, runs)


def worse_twice(runs: Sequence[Run],
                measure: Callable[[Sequence[Run]], list[Worse]] = measured_and_checked) -> bool:
    """How much memory of slab caches is in use depends on what ran before, by some per cent."""
    first = {each.operation for each in measure(runs)}
    if not first:
        return False
    print("measured again, by themselves:")
    return bool(measure([run for run in runs if first & set(run.titles)]))


def checked(what: Sequence[str], reset: bool) -> int:
    names = [name for name in what if name != COHERENCE]
    if reset and (names or not what):
        raise FiguresError(f"--check --baseline can only be followed by {COHERENCE}")
    status = 0
    if names or not what:
        runs = chosen_runs(names) if names else RUNS
        status = int(worse_twice(runs))
    if COHERENCE in what:
        print(f"== {COHERENCE}", flush=True)
        status = coherence.check(reset=reset) or status
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--publish", action="store_true")
    parser.add_argument("--baseline", action="store_true")
    parser.add_argument("--only-parse", action="store_true", help="the arguments, and do nothing")
    parser.add_argument("--only", action="append", default=[],
                        metavar="CONTENDER[:OPERATION[:MODE]]")
    parser.add_argument("--cpus", type=numbers, default=[])
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("what", nargs="*", metavar="PART|OPERATION")
    args = parser.parse_args()
    measures = not (args.check or args.publish or args.baseline)
    if (args.only or args.cpus or args.instructions) and not (measures and COHERENCE in args.what):
        parser.error(f"--only, --cpus and --instructions are of a measurement of {COHERENCE}")
    if args.instructions and not args.only:
        parser.error("--instructions needs --only")
    if args.only_parse:
        chosen_runs([name for name in args.what if name not in (*PARTS, COHERENCE)])
        coherence.cases(args.only)
        return 0
    if args.check:
        return checked(args.what, args.baseline)
    if args.publish or args.baseline:
        write(args.publish, args.baseline, args.what)
        return 0
    single = chosen_runs([name for name in args.what if name not in (*PARTS, COHERENCE)])
    if single:
        figures = timed("operations", lambda: instructions(single))
        print(report.show({"instructions": report.measured("instructions", figures)}))
        must_be_expected(unexpected(figures))
    for name, measure in PARTS.items():
        if name == "parallel" and os.cpu_count() == 1:
            print("== parallel: skipped, this machine has one CPU", flush=True)
        elif name in args.what or not args.what:
            figures = timed(name, measure)
            part = report.measured(name, figures)
            print(report.show({name: part}))
            must_be_expected(unexpected(figures))
            report.keep(name, part)
    if COHERENCE in args.what:
        print(f"== {COHERENCE}", flush=True)
        begun = time.monotonic()
        if args.only:
            coherence.show(args.cpus or coherence.CPUS, args.only,
                           instructions=args.instructions)
        else:
            coherence.whole(args.cpus or coherence.CPUS)
        print(f"-- {COHERENCE} took {time.monotonic() - begun:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (guest.GuestError, FiguresError) as error:
        print(f"FAILED: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
