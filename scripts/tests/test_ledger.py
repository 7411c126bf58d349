# SPDX-License-Identifier: GPL-2.0
"""The ledger of a whole run: what is in it is not run again, and nothing that failed gets lost."""

import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import jobs
from jobs import Job
from ledger import Ledger, Progress, table
from tap import Part, Results, Tap


class LedgerTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "ledger"
        self.stock = Ledger(self.path, "7.3.4", "")
        self.kasan = Ledger(self.path, "kasan", "KERNEL=kasan")
        quiet = mock.patch("jobs.say")
        quiet.start()
        self.addCleanup(quiet.stop)

    def part(self, *results: bool) -> Part:
        part = Part(Tap(io.StringIO()))
        for i, ok in enumerate(results):
            part.result(ok, f"result {i}")
        return part

    def test_of_its_kernel(self) -> None:
        self.stock.note("guest:cxl", self.part(True, False), 61.4)
        self.kasan.note("guest:odd", self.part(True), 3)
        self.assertEqual(list(self.stock.done()), ["guest:cxl"])
        self.assertEqual(self.stock.done()["guest:cxl"].failures, ["result 1"])
        self.assertEqual(list(self.kasan.done()), ["guest:odd"])

    def test_an_interrupted_line(self) -> None:
        self.stock.note("guest:cxl", self.part(True), 1)
        with self.path.open("a") as file:
            file.write('{"kernel": "7.3.4", "jo')
        self.assertEqual(list(self.stock.done()), ["guest:cxl"])
        self.stock.note("guest:odd", self.part(True), 1)
        self.assertEqual(list(self.stock.done()), ["guest:cxl", "guest:odd"])

    def test_not_again(self) -> None:
        ran = []

        def job(name: str, ok: bool) -> Job:
            def run(tap: Results) -> None:
                ran.append(name)
                tap.result(ok, name)
            return Job(name, run)

        todo = [job("guest:a", True), job("guest:b", False)]
        with mock.patch("ledger.of_environment", lambda: self.stock):
            jobs.run(Tap(io.StringIO()), todo)
            jobs.run(Tap(io.StringIO()), [*todo, job("guest:c", True)])
        self.assertEqual(sorted(ran), ["guest:a", "guest:b", "guest:c"])

    def test_table(self) -> None:
        self.stock.note("guest:cxl", self.part(True, True), 60)
        self.stock.note("mutants:sync/a", self.part(True), 60)
        self.stock.note("mutants:sync/b", self.part(False), 60)
        self.kasan.note("guest:cxl", self.part(False), 60)
        self.kasan.note("long:--cycles 1000 lifecycle", self.part(False), 60)
        lines = table(self.stock.entries())
        self.assertIn("| 7.3.4 | mutants | 1 passed, 1 failed | 2.0 |", lines)
        self.assertIn("- 7.3.4: `make test-mutants MUTANTS=b`", lines)
        self.assertIn("- kasan: `make test SUITES=guest:cxl KERNEL=kasan`", lines)
        self.assertIn('- kasan: `make torture TORTURE="--cycles 1000 lifecycle" KERNEL=kasan`',
                      lines)
        self.assertTrue(lines[-1].startswith("In all: 3 passed, 3 failed, 5 jobs"))

    def test_what_is_left(self) -> None:
        self.kasan.note("guest:odd", self.part(True), 600)
        progress = Progress(["guest:cxl", "guest:odd", "guest:new"], self.stock, 2)
        self.assertEqual(progress.after("guest:cxl", 120), "; 1 of 3, about 6 min left")


if __name__ == "__main__":
    unittest.main()
