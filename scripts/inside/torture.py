#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Torture: torture.py [--short] [--time SECONDS] [--ops N] [--seed N] [--cycles N] [PHASE...]

oracle     samples/torture: a random mix from many threads and processes; every byte is known
fuzz       bad input, as root and as nobody
lifecycle  bind and unbind, load and unload, create and destroy, under load
cxl        the oracle and the lifecycle on a device of the dax bus, of CXL memory
outside    programs that nobody here wrote: samples/torture/outside.sh
disturbed  the oracle while a CPU goes offline, and its processes are frozen or get little memory

Each in a guest of its own, whose console counts. `make test` runs the short form of each but the
last.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import guest
import jobs
import ledger
from tap import RESULT, SKIP, Results, Tap, by_lines

CRATE = Path("/rdax/samples/torture")
PROGRAM = "/build/cargo-torture/release/rdax-torture"
OUTSIDE = str(CRATE / "outside.sh")
DISTURBED = str(CRATE / "disturbed.sh")
CARGO = {"CARGO_TARGET_DIR": "/build/cargo-torture", "CARGO_HOME": "/build/cargo-home"}


@dataclass
class Amount:
    """How much of each; seconds, calls, cycles.

    With --time the oracle goes on until it has seen everything that must happen. With --ops it ends
    after so many operations, and fails if something did not happen.
    """

    oracle: Sequence[str]
    cxl: Sequence[str]
    pages: Sequence[str]
    calls: int
    cycles: int
    outside: int
    timeout: float


SHORT = Amount(["--time", "15"], ["--ops", "30000"], ["--ops", "6000"], 4000, 75, 8, 600)


def long(seconds: int, ops: int | None, cycles: int) -> Amount:
    # Most of the driver is the same on the dax bus. Where punches wait for pins, an operation takes
    # longer.
    parts, what, whole = ((1, 10, 20), "--ops", ops) if ops else ((1, 1, 2), "--time", seconds)
    oracle, cxl, pages = ([what, str(max(1, whole // part))] for part in parts)
    return Amount([*oracle, "--whole"], [*cxl, "--whole"], pages, 100_000, cycles,
                  max(60, seconds // 4), 6 * 3600)


def build() -> str | None:
    """Builds the program. What went wrong, if anything did."""
    manifest = ["--locked", "--manifest-path", str(CRATE / "Cargo.toml")]
    for command in (["fetch", *manifest], ["build", "--offline", "--release", *manifest]):
        done = subprocess.run(["cargo", *command], env=os.environ | CARGO, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            return done.stdout.decode(errors="replace")
    return None


def more() -> list[str]:
    """How much longer the oracle goes on, until it has seen what it must; and when it hangs."""
    return ["--more", str(120 * guest.slower()), "--patience", str(120 * guest.slower())]


def on_cxl(amount: Amount, seed: int) -> str:
    """The oracle on page frames and on pages, then the lifecycle."""
    # What needs a changing size, or pages of 1 GiB, is not to be seen there.
    oracle = f"{PROGRAM} oracle --seed {seed} --part {' '.join(more())} --device $RDAX_DAX_DEVICE"
    # Folios of 2 MiB, and of 4 KiB: each once a run.
    aligns = (4 << 10, 2 << 20) if seed % 2 else (2 << 20, 4 << 10)
    runs = [f"{oracle} {' '.join(amount.cxl)}"]
    runs += [f"{oracle} --memory {memory} --align {align} {' '.join(amount.pages)}"
             for memory, align in zip(ON_PAGES, aligns)]
    runs += [(f"{PROGRAM} lifecycle --seed {seed} --cycles {amount.cycles} "
              "--second $RDAX_DAX_DEVICE")]
    return f"modprobe device_dax; {' && '.join(runs)}"


def command(phase: str, amount: Amount, seed: int) -> list[str]:
    own = [PROGRAM, phase, "--seed", str(seed)]
    return {
        "oracle": [*own, *more(), *amount.oracle],
        "fuzz": [*own, "--calls", str(amount.calls)],
        "lifecycle": [*own, "--cycles", str(amount.cycles)],
        "cxl": ["sh", "-c", on_cxl(amount, seed)],
        "outside": [OUTSIDE, str(amount.outside)],
        "disturbed": [DISTURBED, PROGRAM, "oracle", "--seed", str(seed), *more(),
                      *amount.oracle],
    }[phase]


def mutant(phase: str) -> list[str]:
    """A phase that is to find a bug: it need not see all there is, nor look for a shorter way."""
    oracle = ["--time", "60", "--part", "--check", "5000", "--shrink", "0", "--patience", "60"]
    if phase in ON_PAGES:
        return ["sh", "-c", (f"{PROGRAM} oracle --seed 1 {' '.join(oracle)} --memory {phase} "
                            "--device $RDAX_DAX_DEVICE")]
    return [PROGRAM, phase, "--seed", "1", *(oracle if phase == "oracle" else [])]


# The oracle on a device of the dax bus, in one of these modes.
ON_PAGES = ("pages", "tracked")
SHORT_PHASES = ("oracle", "fuzz", "lifecycle", "outside", "cxl")
PHASES = (*SHORT_PHASES, "disturbed")
# Of a size that the oracle can use.
MACHINES = {"cxl": replace(guest.MACHINES[guest.CXL], cxl="3G")}


class Lines:
    """What a phase prints: TAP results count, the rest are comments."""

    def __init__(self, tap: Results) -> None:
        self.tap = tap

    def line(self, text: str) -> None:
        match = RESULT.match(text)
        if match and match["number"]:
            skip = text.split("SKIP", 1)[1].strip() if SKIP.search(text) else None
            name = SKIP.split(match["name"])[0].strip()
            self.tap.result(not match["not"], f"torture: {name}", skip)
        elif not text.startswith(("TAP version", "1..")):
            self.tap.comment(text.removeprefix("#").strip())


def job(suite: str, phase: str, amount: Amount, seed: int,
        options: Sequence[str] = ()) -> jobs.Job:
    def run(tap: Results) -> None:
        result = guest.boot(command(phase, amount, seed), timeout=amount.timeout,
                            name=f"torture-{phase}", sink=by_lines(Lines(tap).line),
                            machine=MACHINES.get(phase, guest.Machine()))
        if result.status or result.trouble:
            for line in result.explain():
                tap.comment(line)
        tap.result(result.status == 0, f"torture: {phase} ({result.seconds:.0f} s)")
        tap.result(not result.trouble, f"torture: {phase}: the kernel's console is clean")

    return jobs.Job(f"{suite}:{' '.join((*options, phase))}", run)


def short(tap: Results) -> list[jobs.Job]:
    """The part of `make test`."""
    trouble = build()
    for line in (trouble or "").splitlines():
        tap.comment(line)
    tap.result(trouble is None, "torture: samples/torture builds")
    return [] if trouble else [job("torture", phase, SHORT, int(time.time()))
                              for phase in SHORT_PHASES]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--time", type=int, default=600, help="of the oracle")
    parser.add_argument("--ops", type=int, help="of the oracle, instead of a time")
    parser.add_argument("--cycles", type=int, default=10_000, help="of the lifecycle")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only-parse", action="store_true", help="the arguments, and do nothing")
    parser.add_argument("phases", nargs="*", metavar="PHASE")
    args = parser.parse_args()
    if unknown := set(args.phases) - set(PHASES):
        parser.error(f"no phase {unknown.pop()}; there are: {', '.join(PHASES)}")
    if args.only_parse:
        return 0
    amount = SHORT if args.short else long(args.time, args.ops, args.cycles)
    tap = Tap()
    if trouble := build():
        print(trouble, file=sys.stderr)
        return 2
    options = [word for word in sys.argv[1:] if word not in PHASES]
    todo = [job("long", phase, amount, args.seed, options) for phase in args.phases or PHASES]
    if ledger.of_environment():
        jobs.run(tap, todo)
    else:
        for each in todo:
            jobs.attempt(tap, each)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
