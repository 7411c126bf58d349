#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What ran, on which kernel, for how long, with which result: ledger.py [--lines] LEDGER

A line of JSON for each job that came to its end, of all the runs that make a whole one
(`make test-all`). A line counts while the files that its job depends on are as they were. The
program prints the table of those that count, or their lines; its exit status says if one failed.
"""

import hashlib
import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tap import Part

# Of mutants there are too many for a row each.
MUTANTS = "mutants"


@dataclass(frozen=True)
class States:
    """Hashes of the checkout's files: of those that the jobs in guests depend on, and of all."""

    guests: str = ""
    whole: str = ""

    @staticmethod
    def of_environment() -> "States":
        return States(*os.environ.get("RDAX_LEDGER_STATES", "").split())

    def of(self, whole: bool, own: bytes = b"") -> str:
        """That of a job, which depends also on OWN."""
        state = self.whole if whole else self.guests
        return f"{state}+{hashlib.sha256(own).hexdigest()[:12]}" if own else state

    def includes(self, state: str) -> bool:
        return state.partition("+")[0] in (self.guests, self.whole)


@dataclass(frozen=True)
class Entry:
    kernel: str
    # SUITE:NAME
    job: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    failures: list[str] = field(default_factory=list)
    # variables of make that choose the kernel
    select: str = ""
    # what it depended on
    state: str = ""

    @property
    def suite(self) -> str:
        return self.job.partition(":")[0]

    def verdict(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"

    def line(self) -> str:
        return json.dumps(asdict(self))

    def command(self) -> str:
        """What repeats it."""
        name = self.job.partition(":")[2]
        how = {MUTANTS: f"make test-mutants MUTANTS={name.partition('/')[2]}",
               "long": f'make torture TORTURE="{name}"'}
        return f"{how.get(self.suite, f'make test SUITES={self.job}')} {self.select}".strip()


class Ledger:
    """Those of one kernel are asked for and added; those of the others stay."""

    def __init__(self, path: Path, kernel: str, select: str,
                 states: States = States()) -> None:
        self.path, self.kernel, self.select, self.states = path, kernel, select, states
        self.lock = threading.Lock()

    def all(self) -> list[Entry]:
        if not self.path.exists():
            return []
        # The last line of an interrupted run may lack its end.
        whole = self.path.read_text().rpartition("\n")[0]
        return [Entry(**json.loads(line)) for line in whole.splitlines()]

    def entries(self) -> list[Entry]:
        """Those that count: of these states, and of each job the last."""
        last = {(entry.kernel, entry.job): entry for entry in self.all()
                if self.states.includes(entry.state)}
        return list(last.values())

    def done(self, job: str, state: str) -> Entry | None:
        """JOB, if it was run with what it depends on as it is."""
        return next((entry for entry in self.entries()
                     if (entry.kernel, entry.job, entry.state) == (self.kernel, job, state)), None)

    def note(self, job: str, state: str, part: Part, seconds: float) -> None:
        entry = Entry(self.kernel, job, part.passed, part.failed, part.skipped, round(seconds),
                      part.failures, self.select, state)
        with self.lock, self.path.open("a+") as file:
            file.seek(0)
            text = file.read()
            file.truncate(text.rfind("\n") + 1)
            file.write(f"{entry.line()}\n")


def of_environment() -> Ledger | None:
    """The one of a whole run, if this is a part of one."""
    path = os.environ.get("RDAX_LEDGER")
    if not path:
        return None
    return Ledger(Path(path), os.environ.get("RDAX_LEDGER_KERNEL", ""),
                  os.environ.get("RDAX_LEDGER_SELECT", ""), States.of_environment())


class Progress:
    """How much is left, by what the same took before, or what others take on the average."""

    def __init__(self, jobs: Sequence[str], ledger: Ledger | None, at_once: int) -> None:
        self.left = set(jobs)
        self.count = len(jobs)
        self.at_once = at_once
        self.known = {entry.job: entry.seconds for entry in ledger.all()} if ledger else {}
        self.took: list[float] = []

    def after(self, job: str, seconds: float) -> str:
        """To be said when JOB took SECONDS."""
        self.left.discard(job)
        self.took.append(seconds)
        average = sum(self.took) / len(self.took)
        left = sum(self.known.get(name, average) for name in self.left) / self.at_once
        return f"; {self.count - len(self.left)} of {self.count}, about {left / 60:.0f} min left"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def together(kernel: str, job: str, entries: Sequence[Entry]) -> Entry:
    return Entry(kernel, job, sum(entry.passed for entry in entries),
                 sum(entry.failed for entry in entries), sum(entry.skipped for entry in entries),
                 sum(entry.seconds for entry in entries))


def table(entries: Sequence[Entry]) -> list[str]:
    """In Markdown: a row for each job, one for the mutants of a kernel; then what failed."""
    rows = [row("kernel", "job", "result", "minutes"), row("---", "---", "---", "---")]
    for kernel in dict.fromkeys(entry.kernel for entry in entries):
        here = [entry for entry in entries if entry.kernel == kernel]
        mutants = [entry for entry in here if entry.suite == MUTANTS]
        if mutants:
            here = [entry for entry in here if entry.suite != MUTANTS]
            here.append(together(kernel, MUTANTS, mutants))
        rows += [row(kernel, entry.job, entry.verdict(), f"{entry.seconds / 60:.1f}")
                 for entry in here]
    failed = [entry for entry in entries if entry.failed]
    if failed:
        rows += ["", "Failed:", ""]
    for entry in failed:
        rows += [f"- {entry.kernel}: `{entry.command()}`",
                 *(f"  - {name}" for name in entry.failures)]
    whole = together("", "", entries)
    return [*rows, "", (f"In all: {whole.verdict()}, {len(entries)} jobs, "
                        f"{whole.seconds / 3600:.1f} hours of guests and of the host.")]


def main() -> int:
    entries = Ledger(Path(sys.argv[-1]), "", "", States.of_environment()).entries()
    if sys.argv[1] == "--lines":
        print("\n".join(entry.line() for entry in entries))
    else:
        print("\n".join(table(entries)))
    return 0 if entries and not any(entry.failed for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main())
