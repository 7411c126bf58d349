# SPDX-License-Identifier: GPL-2.0
"""Jobs that run at once: none is lost, and none fails unseen."""

import io
import threading
import unittest
from unittest import mock

import guest
from jobs import AT_ONCE, Job, run
from tap import Results, Tap


class JobsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.out = io.StringIO()
        self.tap = Tap(self.out)
        # unittest's own lines are read: nothing may come between; these are no jobs of a whole run
        for patch in (mock.patch("jobs.say"), mock.patch("ledger.of_environment", lambda: None)):
            patch.start()
            self.addCleanup(patch.stop)

    def test_as_many_at_once(self) -> None:
        barrier = threading.Barrier(AT_ONCE, timeout=10)

        def wait(tap: Results) -> None:
            barrier.wait()
            tap.result(True, "met")

        run(self.tap, [Job("wait", wait)] * (2 * AT_ONCE))
        self.assertEqual(self.tap.passed, 2 * AT_ONCE)

    def test_a_guest_that_does_not_start(self) -> None:
        def fails(tap: Results) -> None:
            tap.comment("before")
            raise guest.GuestError("no virtiofsd")

        run(self.tap, [Job("first", fails), Job("second", lambda tap: tap.result(True, "second"))])
        self.assertEqual((self.tap.passed, self.tap.failed), (1, 1))
        self.assertIn("# before\n# no virtiofsd\nnot ok", self.out.getvalue())

    def test_a_bug_ends_the_run(self) -> None:
        def fails(tap: Results) -> None:
            tap.result(True, "before")
            raise KeyError("bug")

        with self.assertRaises(KeyError):
            run(self.tap, [Job("fails", fails)])
        self.assertEqual(self.tap.passed, 1)


if __name__ == "__main__":
    unittest.main()
