# SPDX-License-Identifier: GPL-2.0
"""The ledger of a whole run: what is in it is not run again, and nothing that failed gets lost."""

import io
import os
import signal
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import jobs
from jobs import Job
from ledger import Ledger, Progress, States, table
from tap import Part, Results, Tap

NOW = States("guests", "whole")


def passes(tap: Results) -> None:
    tap.result(True, "passes")


def fails(tap: Results) -> None:
    tap.result(False, "fails")


class LedgerTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "ledger"
        self.stock = Ledger(self.path, "7.3.4", "", NOW)
        self.kasan = Ledger(self.path, "kasan", "KERNEL=kasan", NOW)
        quiet = mock.patch("jobs.say")
        quiet.start()
        self.addCleanup(quiet.stop)

    def part(self, *results: bool) -> Part:
        part = Part(Tap(io.StringIO()))
        for i, ok in enumerate(results):
            part.result(ok, f"result {i}")
        return part

    def note(self, ledger: Ledger, job: str, *results: bool, state: str = NOW.guests) -> None:
        ledger.note(job, state, self.part(*results), 60)

    def jobs(self) -> list[str]:
        return [entry.job for entry in self.stock.entries()]

    def test_of_its_kernel(self) -> None:
        self.note(self.stock, "guest:cxl", True, False)
        self.note(self.kasan, "guest:odd", True)
        done = self.stock.done("guest:cxl", NOW.guests)
        assert done
        self.assertEqual(done.failures, ["result 1"])
        self.assertIsNone(self.stock.done("guest:odd", NOW.guests))
        self.assertIsNotNone(self.kasan.done("guest:odd", NOW.guests))

    def test_an_interrupted_line(self) -> None:
        self.note(self.stock, "guest:cxl", True)
        with self.path.open("a") as file:
            file.write('{"kernel": "7.3.4", "jo')
        self.assertEqual(self.jobs(), ["guest:cxl"])
        self.note(self.stock, "guest:odd", True)
        self.assertEqual(self.jobs(), ["guest:cxl", "guest:odd"])

    def test_the_last_counts(self) -> None:
        self.note(self.stock, "guest:cxl", False)
        self.note(self.stock, "guest:cxl", True)
        self.assertEqual([entry.failed for entry in self.stock.entries()], [0])

    def run_jobs(self, *todo: Job, states: States = NOW) -> list[str]:
        """The names of those that ran."""
        ran = []

        def job(each: Job) -> Job:
            def run(tap: Results) -> None:
                ran.append(each.name)
                each.run(tap)
            return each._replace(run=run)

        noted = Ledger(self.path, "7.3.4", "", states)
        with mock.patch("ledger.of_environment", lambda: noted):
            jobs.run(Tap(io.StringIO()), [job(each) for each in todo])
        return sorted(ran)

    def test_not_again(self) -> None:
        todo = [Job("guest:a", passes), Job("guest:b", fails)]
        self.assertEqual(self.run_jobs(*todo), ["guest:a", "guest:b"])
        self.assertEqual(self.run_jobs(*todo, Job("guest:c", passes)), ["guest:c"])

    def test_again_with_other_files(self) -> None:
        todo = [Job("guest:a", passes), Job("host:b", passes, whole=True),
                Job("mutants:c", passes, own=b"patch")]
        self.run_jobs(*todo)
        self.assertEqual(self.run_jobs(*todo[:2], todo[2]._replace(own=b"another")), ["mutants:c"])
        later = States("guests", "later")
        self.assertEqual(self.run_jobs(*todo, states=later), ["host:b", "mutants:c"])
        self.assertEqual(self.run_jobs(*todo, states=States("last", "last")),
                         ["guest:a", "host:b", "mutants:c"])

    def test_interrupted(self) -> None:
        """Ctrl-C ends the guest that runs, so its job fails; it is run again."""
        def guest_ends(tap: Results) -> None:
            # the main thread waits by then
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)
            fails(tap)

        todo = [Job("guest:a", guest_ends)]
        with self.assertRaises(KeyboardInterrupt):
            self.run_jobs(*todo)
        self.assertEqual(self.jobs(), [])

    def test_what_counts(self) -> None:
        self.note(self.stock, "guest:a", True, state=NOW.of(False))
        self.note(self.stock, "host:b", True, state=NOW.of(True))
        self.note(self.stock, "mutants:c", True, state=NOW.of(False, b"patch"))
        for state in (States("before").of(False), States("before").of(False, b"patch"), ""):
            self.note(self.stock, "guest:old", True, state=state)
        self.assertEqual(self.jobs(), ["guest:a", "host:b", "mutants:c"])

    def test_table(self) -> None:
        self.note(self.stock, "guest:cxl", True, True)
        self.note(self.stock, "mutants:sync/a", True)
        self.note(self.stock, "mutants:sync/b", False)
        self.note(self.kasan, "guest:cxl", False)
        self.note(self.kasan, "long:--cycles 1000 lifecycle", False)
        lines = table(self.stock.entries())
        self.assertIn("| 7.3.4 | mutants | 1 passed, 1 failed | 2.0 |", lines)
        self.assertIn("- 7.3.4: `make test-mutants MUTANTS=b`", lines)
        self.assertIn("- kasan: `make test SUITES=guest:cxl KERNEL=kasan`", lines)
        self.assertIn('- kasan: `make torture TORTURE="--cycles 1000 lifecycle" KERNEL=kasan`',
                      lines)
        self.assertTrue(lines[-1].startswith("In all: 3 passed, 3 failed, 5 jobs"))

    def test_what_is_left(self) -> None:
        self.kasan.note("guest:odd", NOW.guests, self.part(True), 600)
        progress = Progress(["guest:cxl", "guest:odd", "guest:new"], self.stock, 2)
        self.assertEqual(progress.after("guest:cxl", 120), "; 1 of 3, about 6 min left")


if __name__ == "__main__":
    unittest.main()
