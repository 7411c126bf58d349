#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""One flat TAP stream out of many: cargo's, unittest's and kselftest's results.

Each leaf counts: a kselftest program that prints TAP of its own counts by the
lines of that, one that doesn't counts once. A program that fails without a line
that says so, or that runs fewer tests than it planned, is a failure of its own.
"""

import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

RESULT = re.compile(r"^(?P<not>not )?ok\b ?(?P<number>\d+)?(?: - | )?(?P<name>.*)$")
PLAN = re.compile(r"^1\.\.(\d+)")
SKIP = re.compile(r"#\s*SKIP\b", re.IGNORECASE)


class Results(Protocol):
    """Where results go, and what explains them."""

    def print(self, line: str) -> None: ...
    def comment(self, line: str) -> None: ...
    def result(self, ok: bool, name: str, skip: str | None = None) -> None: ...
    def together(self) -> None: ...


class Counts:
    """How many results there were of each kind."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0
        self.failures: list[str] = []

    def count(self, ok: bool, name: str, skip: str | None) -> None:
        if not ok:
            self.failed += 1
            self.failures.append(name)
        elif skip is not None:
            self.skipped += 1
        else:
            self.passed += 1


class Tap(Counts):
    """Numbers and counts results as it prints them."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.out = out
        self.print("TAP version 13")

    def print(self, line: str) -> None:
        print(line, file=self.out, flush=True)

    def comment(self, line: str) -> None:
        if line.strip():
            self.print(f"# {line}")

    def result(self, ok: bool, name: str, skip: str | None = None) -> None:
        self.count(ok, name, skip)
        number = self.passed + self.failed + self.skipped
        name = name.replace("#", "")
        tail = "" if skip is None or not ok else f" # SKIP {skip}".rstrip()
        self.print(f"{'ok' if ok else 'not ok'} {number} - {name}{tail}")

    def together(self) -> None:
        """What came until now belongs together. Here it is printed already."""

    def end(self) -> int:
        """The plan, what failed, and the last line; the exit status."""
        self.print(f"1..{self.passed + self.failed + self.skipped}")
        for name in self.failures:
            self.comment(f"failed: {name}")
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        self.print(f"{self.passed} passed, {self.failed} failed{skipped}")
        return 0 if self.passed and not self.failed else 1


class Part(Counts):
    """The results of one of several that run at once: what belongs together is not mixed with
    those of the others."""

    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self.tap = tap
        self.kept: list[Callable[[], None]] = []

    def print(self, line: str) -> None:
        self.kept.append(lambda: self.tap.print(line))

    def comment(self, line: str) -> None:
        self.kept.append(lambda: self.tap.comment(line))

    def result(self, ok: bool, name: str, skip: str | None = None) -> None:
        self.count(ok, name, skip)
        self.kept.append(lambda: self.tap.result(ok, name, skip))

    def together(self) -> None:
        with self.tap.lock:
            for replay in self.kept:
                replay()
        self.kept.clear()


class Reader(Protocol):
    def line(self, text: str) -> None: ...
    def end(self, status: int) -> None: ...


class Verdicts:
    """Lines `NAME ... VERDICT`, as `cargo test` and `python3 -m unittest -v` print them."""

    LINE = re.compile(r"^(?:test )?(?P<name>\S.*?) \.\.\. (?P<verdict>ok|FAIL|FAILED|ERROR"
                      r"|ignored|skipped)\b[ ,]*(?P<why>.*)$")

    def __init__(self, tap: Results, suite: str) -> None:
        self.tap, self.suite = tap, suite
        self.failures = 0
        self.results = 0

    def line(self, text: str) -> None:
        match = self.LINE.match(text)
        if not match:
            self.tap.comment(text)
            return
        self.results += 1
        verdict = match["verdict"]
        name = f"{self.suite}: {match['name']}"
        if verdict in ("ignored", "skipped"):
            self.tap.result(True, name, match["why"])
        else:
            self.tap.result(verdict == "ok", name)
            self.failures += verdict != "ok"

    def end(self, status: int) -> None:
        if status and not self.failures:
            self.tap.result(False, f"{self.suite}: exit status {status}")
        elif not self.results:
            self.tap.result(False, f"{self.suite}: no test ran")


@dataclass
class Program:
    """What one kselftest program has said so far."""

    planned: int | None = None
    results: int = 0
    failures: int = 0


class Kselftest:
    """The output of Linux's run_kselftest.sh."""

    HEAD = re.compile(r"^# selftests: (?P<name>.+)$")
    NAME = re.compile(r"^selftests: ")

    def __init__(self, tap: Results, prefix: str = "") -> None:
        self.tap = tap
        self.prefix = prefix
        self.planned: int | None = None
        self.programs = 0
        self.program = Program()
        self.name = ""

    def line(self, text: str) -> None:
        programs = self.programs
        self.read(text.rstrip())
        if self.programs != programs:
            self.tap.together()

    def read(self, text: str) -> None:
        if match := self.HEAD.match(text):
            self.program = Program()
            self.name = self.prefix + match["name"]
        elif not text.startswith("#"):
            if self.outer(text):
                return
        elif self.inner(text[1:].lstrip()):
            return
        if text:
            self.tap.print(text if text.startswith("#") else f"# {text}")

    def inner(self, text: str) -> bool:
        """A line of a program's own; True if it was a result."""
        if self.program.planned is None and (plan := PLAN.match(text)):
            self.program.planned = int(plan[1])
        match = RESULT.match(text)
        if not match or match["number"] is None:
            return False
        self.program.results += 1
        self.program.failures += bool(match["not"])
        self.emit(bool(match["not"]), f"{self.name}: {self.bare(match['name'])}", match["name"])
        return True

    def outer(self, text: str) -> bool:
        """A line of the runner's; True if it was a result that counts."""
        if self.planned is None and (plan := PLAN.match(text)):
            self.planned = int(plan[1])
        match = RESULT.match(text)
        if not match or not self.NAME.match(match["name"]):
            return False
        self.programs += 1
        program = self.program
        self.program = Program()
        if program.planned is not None and 0 < program.results < program.planned:
            self.tap.result(False, f"{self.name}: only {program.results} of "
                                   f"{program.planned} planned tests ran")
            return True
        if match["not"]:
            if not program.failures:
                why = match["name"].partition("#")[2].strip()
                self.tap.result(False, f"{self.name}: {why or 'failed'}")
            else:
                self.tap.comment(text)
            return True
        if not program.results:
            self.emit(False, self.name, match["name"])
            return True
        return False

    def emit(self, failed: bool, name: str, text: str) -> None:
        skip = text.split("SKIP", 1)[1].strip() if SKIP.search(text) else None
        self.tap.result(not failed, name, skip)

    @staticmethod
    def bare(name: str) -> str:
        return SKIP.split(name)[0].strip() or "skipped"

    def end(self, status: int) -> None:
        del status  # the runner's own results say more
        if self.planned is None or self.programs < self.planned:
            self.tap.result(False, f"{self.prefix}kselftest: {self.programs} of "
                                   f"{self.planned or 'no'} programs came to an end")


def by_lines(read: Callable[[str], None]) -> Callable[[bytes], None]:
    """A sink of bytes that hands on whole lines."""
    rest = bytearray()

    def sink(data: bytes) -> None:
        rest.extend(data)
        while (end := rest.find(b"\n")) >= 0:
            line = rest[:end].decode(errors="replace").rstrip("\r")
            del rest[:end + 1]
            read(line)

    return sink
