# SPDX-License-Identifier: GPL-2.0
"""scripts/inside/mutants.py: what counts as caught in a guest, and what as not tried."""

import unittest
from collections.abc import Sequence
from typing import Any
from unittest import mock

import guest
from mutants import MutantError, Tree

RUN = ("TAP version 13", "1..1", "# selftests: rdax: rw", "# 1..2", "# ok 1 first")


class CaughtInGuest(unittest.TestCase):
    def caught(self, *lines: str, status: int = 0, trouble: Sequence[str] = ()) -> bool:
        def boot(command: Sequence[str], **options: Any) -> guest.Result:
            for line in lines:
                options["sink"](f"{line}\n".encode())
            return guest.Result(status, 1, [], list(trouble))

        with (mock.patch("guest.boot", boot), mock.patch("mutants.run"),
              mock.patch.object(Tree, "make", lambda tree: [])):
            return Tree(0).caught_in_guest("rw", guest.PLAIN)

    def test_a_test_fails(self) -> None:
        self.assertTrue(self.caught(*RUN, "# not ok 2 second"))

    def test_all_pass(self) -> None:
        self.assertFalse(self.caught(*RUN, "# ok 2 second", "ok 1 selftests: rdax: rw"))

    def test_the_console(self) -> None:
        self.assertTrue(self.caught(trouble=["WARNING"]))

    def test_it_does_not_end(self) -> None:
        self.assertTrue(self.caught(*RUN, status=guest.TIMED_OUT))

    def test_it_did_not_run(self) -> None:
        for status in (0, 127, guest.TIMED_OUT, guest.NO_STATUS):
            with self.assertRaises(MutantError):
                self.caught("no such test", status=status)


if __name__ == "__main__":
    unittest.main()
