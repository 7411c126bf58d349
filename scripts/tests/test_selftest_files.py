# SPDX-License-Identifier: GPL-2.0
"""Which kselftests have to run again, when which of their files is another."""

import tempfile
import unittest
from pathlib import Path

from selftest_files import contents


class SelftestFilesTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = Path(directory.name)
        (self.top / "kselftest-list.txt").write_text("rdax:fsync\nrdax:udev.sh\n")
        for name in ("fsync.c", "udev.sh", "poke.c"):
            (self.top / name).write_text(name)

    def of(self, *programs: str) -> bytes:
        return contents(programs, self.top, self.top)

    def test_its_own(self) -> None:
        before = {name: self.of(name) for name in ("fsync", "udev.sh")}
        (self.top / "udev.sh").write_text("another")
        self.assertEqual(self.of("fsync"), before["fsync"])
        self.assertNotEqual(self.of("udev.sh"), before["udev.sh"])
        self.assertNotEqual(self.of("fsync", "udev.sh"), self.of("fsync"))

    def test_what_all_use(self) -> None:
        before = self.of(), self.of("fsync")
        (self.top / "poke.c").write_text("another")
        self.assertNotIn(self.of("fsync"), before)
        self.assertNotIn(self.of(), before)


if __name__ == "__main__":
    unittest.main()
