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
        self.scripts = self.top / "scripts"
        for name in ("tool/rdax/cli.py", "tool/__pycache__/cli.pyc", "udev/60.rules", "rdax"):
            (self.scripts / name).parent.mkdir(parents=True, exist_ok=True)
            (self.scripts / name).write_text(name)

    def of(self, *programs: str) -> bytes:
        return contents(programs, self.top, self.top, self.scripts)

    def test_its_own(self) -> None:
        before = {name: self.of(name) for name in ("fsync", "udev.sh")}
        (self.top / "udev.sh").write_text("another")
        self.assertEqual(self.of("fsync"), before["fsync"])
        self.assertNotEqual(self.of("udev.sh"), before["udev.sh"])
        self.assertNotEqual(self.of("fsync", "udev.sh"), self.of("fsync"))

    def test_scripts_that_it_runs(self) -> None:
        for word, name in (("RDAX_TOOL", "tool/rdax/cli.py"), ("RDAX_TOOL", "rdax"),
                           ("udevd.sh", "udev/60.rules")):
            (self.top / "udev.sh").write_text(f". {word}")
            before = {name: self.of(name) for name in ("fsync", "udev.sh")}
            (self.scripts / name).write_text(f"another {word}")
            self.assertEqual(self.of("fsync"), before["fsync"])
            self.assertNotEqual(self.of("udev.sh"), before["udev.sh"], name)
        (self.top / "udev.sh").write_text("RDAX_TOOL")
        self.assertNotIn(b"cli.pyc", self.of("udev.sh"))

    def test_what_all_use(self) -> None:
        before = self.of(), self.of("fsync")
        (self.top / "poke.c").write_text("another")
        self.assertNotIn(self.of("fsync"), before)
        self.assertNotIn(self.of(), before)


if __name__ == "__main__":
    unittest.main()
