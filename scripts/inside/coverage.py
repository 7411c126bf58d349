#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Which lines of the driver the tests reach: coverage.py [--publish] [SUITE | SUITE:JOB]...

The tests of the guest, of those suites or else of all, with a module that is built for it, and with
the module of samples/coverage, which notes what any task reaches. Then a table by file, and which
lines of rust/dax and rust/helpers none reached, with the reasons that samples/coverage/unreached
gives. With --publish it goes to Documentation/testing/coverage.md.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import guest
import jobs
import reached
import test
from tap import Tap

TOP = Path("/rdax")
SOURCE = TOP / "samples/coverage"
# PATH[ FUNCTION]: why no test reaches its lines
REASONS = SOURCE / "unreached"
PUBLISHED = TOP / "Documentation/testing/coverage.md"
PLACE = Path("/build/coverage/module")
NOTES = Path("/build/coverage/notes")
WORK = Path("/work/reached")
SUITES = ("guest", "torture", "persist", "more")
HEAD = f"""\
<!-- SPDX-License-Identifier: GPL-2.0 -->
# What the tests reach

Written by `scripts/lab coverage --publish`.
{reached.WHAT}
"""


def build() -> str | None:
    """Builds both modules. What went wrong, if anything did."""
    NOTES.mkdir(parents=True, exist_ok=True)
    subprocess.run(["rsync", "-a", f"{SOURCE}/", NOTES], check=True)
    cc = guest.kernel()["cc"]
    done = subprocess.run(["make", "-C", "/kernel/linux", f"M={NOTES}", f"CC={cc}", f"HOSTCC={cc}",
                           "modules"], check=False, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        return done.stdout
    return reached.build(PLACE, "CONFIG_KCOV=y", f"KBUILD_EXTRA_SYMBOLS={NOTES}/Module.symvers")


def noted(command: Sequence[str], **options: Any) -> guest.Result:
    """guest.boot() of COMMAND with these modules. (It calls itself.)"""
    noting = ["env", f"RDAX_KO={PLACE}/rdax.ko", f"RDAX_COVERAGE={NOTES}/rdax_coverage.ko",
              str(SOURCE / "run.sh"), str(WORK), str(options["name"])]
    if noting == list(command[:len(noting)]):
        return boot(command, **options)
    return boot([*noting, *command], **options)


boot = guest.boot


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publish", action="store_true")
    parser.add_argument("suites", nargs="*", default=SUITES, metavar="SUITE")
    args = parser.parse_args()
    if trouble := build():
        print(trouble, file=sys.stderr)
        return 2
    WORK.mkdir(exist_ok=True)
    tap = Tap()
    with mock.patch("guest.boot", noted):
        jobs.run(tap, [job for job in test.chosen(tap, args.suites) if not job.whole])
    known = reached.known(PLACE)
    seen = {place for sections in WORK.glob("*.sections")
            if (addresses := sections.with_suffix("")).exists()
            for place in reached.where(addresses.read_text(), sections.read_text(), known.keys())}
    tap.result(len(seen) > 100, "coverage: the guests tell what was reached")
    tables = [*reached.by_file(known, seen), "",
              *reached.missing(known, seen, reached.reasons(REASONS.read_text()))]
    for line in tables:
        tap.comment(line)
    if args.publish:
        PUBLISHED.parent.mkdir(exist_ok=True)
        PUBLISHED.write_text("\n".join((HEAD, *tables)) + "\n")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
