#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Mutants by rule: by_rule.py [--seed N] [--sample N] [--guest] [--list] [FILE...]

Each changes one place of the driver by one of RULES: an operator, a bound, a statement that is
dropped. What no test notices is a hole in the tests, or a change that changes nothing. Of the files
that rust/host compiles, its tests are run; with --guest, of the others, the kselftests of GUEST.
A sample is drawn by the seed, so it can be drawn again.
"""

import argparse
import os
import queue
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import guest
import jobs
from jobs import Job
from mutants import (
    CARGO_HOME,
    KSELFTEST,
    TOP,
    First,
    MutantError,
    Noticed,
    Tree,
    Trees,
    in_time,
    run,
)
from tap import Kselftest, Results, Tap, by_lines

HOST = Path("rust/host/src")
INCLUDED = re.compile(r'#\[path = "(?:\.\./)+((?:dax|kernel_ext)/[^"]+)"\]')
SOURCES = ("rust/dax", "rust/helpers")
SUFFIXES = (".rs", ".c")
# rustfmt and the kernel's style leave spaces around an operator, and none in generics.
RULES = (
    (" < ", " <= "), (" <= ", " < "), (" > ", " >= "), (" >= ", " > "), (" == ", " != "),
    (" != ", " == "), (" && ", " || "), (" || ", " && "), (" + ", " - "), (" - ", " + "),
    (" * ", " / "), (" / ", " * "), (" << ", " >> "), (" >> ", " << "), (" & ", " | "),
    (" | ", " & "), ("if !", "if "), ("true", "false"), ("false", "true"), (" + 1", ""),
    (" - 1", ""), (".min(", ".max("), (".max(", ".min("), ("start", "end"), ("end", "start"),
)
# A call whose value is not used; its last parenthesis is on the same line.
STATEMENT = re.compile(r"^\s+[a-z_][\w.:>-]*(\(.*\))?(\.\w+\(.*\))*\(.*\)\??;$")
# Not code, or code that only reports.
LEFT_OUT = re.compile(r"^\s*(//|/\*|\*|#|use |pub use |mod |pub mod |module_param|MODULE_)"
                      r"|debug_assert|static_assert|BUILD_BUG|lockdep|pr_\w+!|dev_\w+!"
                      r"|pr_\w+\(|dev_\w+\(|trace_|compile_error|assert!"
                      # data, and patterns
                      r"|^\s*at\(|=>")
# At the end of a file.
TESTS = re.compile(r"#\[(cfg\(test\)|kunit_tests)|#\[cfg\(.*KUNIT")
# Seconds: CPU_TIME ends a test that spins, TIMEOUT one that waits for ever.
CPU_TIME = 20
TIMEOUT = 40
# What is quick, and meets most of the driver.
GUEST = ("node", "rw", "map_sizes", "fsync", "punch", "upgrade", "region", "resize", "unbind",
         "poison", "bad_input", "align", "divide", "holes", "prefault")


class Change(NamedTuple):
    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text.strip()}"


def whole_words(old: str, line: str) -> Iterator[int]:
    """Where OLD stands in LINE, if it is a word not as a part of one, and not in a string."""
    word = old.isalpha()
    for match in re.finditer(re.escape(old), line):
        around = line[max(0, match.start() - 1):match.start()] + line[match.end():match.end() + 1]
        quoted = line[:match.start()].count('"') % 2
        commented = "//" in line[:match.start()]
        if not quoted and not commented and not (word and re.search(r"[\w(]", around)):
            yield match.start()


def changes(path: str, text: str) -> Iterator[Change]:
    for number, line in enumerate(text.splitlines(), 1):
        if TESTS.match(line):
            return
        if LEFT_OUT.search(line):
            continue
        for old, new in RULES:
            for at in whole_words(old, line):
                yield Change(path, number, f"`{old.strip()}` → `{new.strip()}`",
                             line[:at] + new + line[at + len(old):])
        if STATEMENT.match(line):
            yield Change(path, number, f"without `{line.strip()}`", "")


def on_host() -> set[str]:
    return {f"rust/{name}" for file in (TOP / HOST).rglob("*.rs")
            for name in INCLUDED.findall(file.read_text())}


def files(in_guest: bool, wanted: Sequence[str]) -> list[str]:
    hosted = on_host()
    every = sorted(str(path.relative_to(TOP)) for source in SOURCES
                   for path in (TOP / source).rglob("*") if path.suffix in SUFFIXES)
    return [path for path in every if (path in hosted) != in_guest
            and (not wanted or any(path.startswith(name) for name in wanted))]


def put_in(tree: Tree, change: Change) -> None:
    tree.sync()
    path = tree.top / change.path
    lines = path.read_text().splitlines(keepends=True)
    lines[change.line - 1] = f"{change.text}\n"
    path.write_text("".join(lines))


def caught_on_host(tree: Tree) -> str | None:
    """Which test fails."""
    env = os.environ | tree.cargo
    cargo = ["cargo", "test", "--offline", "--locked", "--release", "--manifest-path",
             str(tree.top / "rust/host/Cargo.toml"), "--lib"]
    run([*cargo, "--no-run"], "it doesn't build", env=env)
    status, output = in_time(["prlimit", f"--cpu={CPU_TIME}", *cargo], env, TIMEOUT)
    failed = re.search(r"^test (\S+) \.\.\. FAILED", output, re.MULTILINE)
    if status == 0:
        return None
    return failed[1] if failed else "a time-out" if status is None else f"exit status {status}"


def caught_in_guest(tree: Tree) -> str | None:
    run(tree.make(), "it doesn't build")

    with open(os.devnull, "w") as nowhere:
        reader = Kselftest(First(nowhere))
        select = [word for name in GUEST for word in ("-t", f"rdax:{name}")]
        try:
            result = guest.boot(
                ["env", f"RDAX_KO={tree.top}/rdax.ko", str(KSELFTEST), *select],
                timeout=10 * TIMEOUT, name=tree.top.name, sink=by_lines(reader.line),
                parameters="panic_on_warn=1 oops=panic")
            if reader.planned is None and not result.trouble:
                raise MutantError("the kselftests did not run")
            reader.end(result.status)
        except Noticed as noticed:
            return str(noticed)
    return result.trouble[0] if result.trouble else None


def job(trees: Trees, change: Change, in_guest: bool, tried: dict[Change, bool]) -> Job:
    def attempt(tap: Results) -> None:
        tree = trees.get()
        try:
            put_in(tree, change)
            caught = caught_in_guest(tree) if in_guest else caught_on_host(tree)
        except MutantError:
            tap.result(True, str(change), "it doesn't build")
            return
        finally:
            trees.put(tree)
        tried[change] = caught is not None
        if caught:
            tap.comment(f"caught by {caught}")
        tap.result(caught is not None, str(change))

    return Job(f"rule:{change}", attempt, whole=True)


def share(caught: Iterable[bool]) -> str:
    each = list(caught)
    return f"{sum(each)} of {len(each)} caught ({100 * sum(each) // max(len(each), 1)} %)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, help="how many; otherwise all")
    parser.add_argument("--guest", action="store_true")
    parser.add_argument("--list", action="store_true", help="only print them")
    parser.add_argument("files", nargs="*", metavar="FILE")
    args = parser.parse_args()
    found = [change for path in files(args.guest, args.files)
             for change in changes(path, (TOP / path).read_text())]
    if args.sample and args.sample < len(found):
        found = sorted(random.Random(args.seed).sample(found, args.sample))
    if args.list:
        print(*found, sep="\n")
        return 0
    prepare: list[list[str | Path]] = [["cargo", "fetch", "--locked", "--manifest-path",
                                        TOP / "rust/host/Cargo.toml"]]
    if args.guest:
        prepare.append([TOP / "scripts/inside/samples", "tests"])
    for command in prepare:
        run(command, "the tests can't be built", env=os.environ | CARGO_HOME)
    trees: Trees = queue.SimpleQueue()
    for number in range(jobs.AT_ONCE):
        trees.put(Tree(number))
    tap = Tap()
    tried: dict[Change, bool] = {}
    jobs.run(tap, [job(trees, change, args.guest, tried) for change in found])
    tap.comment(f"seed {args.seed}, of those that build: {share(tried.values())}")
    for path in sorted({change.path for change in tried}):
        here = share(caught for change, caught in tried.items() if change.path == path)
        tap.comment(f"{path}: {here}")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
