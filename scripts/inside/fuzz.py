#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Fuzzing that coverage guides: fuzz.py [--time SECONDS] [--seed N] [--publish]

On a kernel with KCOV, with a module that is built for it: samples/torture's fuzz --guided, from the
inputs in samples/torture/corpus. Then which functions of the module the inputs reached. With
--publish the inputs go to the corpus and the table to samples/torture/reached.md.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import guest
import reached
import torture
from tap import Tap, by_lines

TOP = Path("/rdax")
CORPUS = TOP / "samples/torture/corpus"
REACHED = TOP / "samples/torture/reached.md"
PLACE = Path("/build/kcov")
WORK = Path("/work/fuzz")
FAILED = TOP / "samples/torture/failed"
# Inputs before a failure that are kept: the device is what they made of it.
BEFORE = 50
CORPUS_HEAD = """\
# SPDX-License-Identifier: GPL-2.0
#
# A few inputs of "rdax-torture fuzz --guided" that together reached all that the last published run
# reached: written by "make fuzz FUZZ=--publish".
"""

REACHED_HEAD = f"""\
<!-- SPDX-License-Identifier: GPL-2.0 -->
# What the fuzzer reaches

Written by `make fuzz FUZZ=--publish`.
{reached.WHAT}
"""


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
    if trouble := reached.build(PLACE) or torture.build():
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
        known = reached.known(PLACE)
        seen = set(reached.where((WORK / "reached").read_text(), (WORK / "sections").read_text(),
                                 known.keys()))
        tap.result(len(seen) > 100, "fuzz: KCOV sees the module")
        tables = reached.by_file(known, seen)
        for line in tables:
            tap.comment(line)
        if args.publish and not result.status:
            publish(tables)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
