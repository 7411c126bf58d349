# SPDX-License-Identifier: GPL-2.0
"""What scripts/lab and make refuse before anything is made."""

import subprocess
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]

REFUSED = (
    (["scripts/lab", "foo"], "There is no command 'foo'"),
    (["scripts/lab", "test", "guests"], "There is no suite 'guests'"),
    (["scripts/lab", "test", "guest", ""], "There is no suite ''"),
    (["scripts/lab", "--kernel", "kmsan", "test"], "There is no kernel 'kmsan'"),
    (["scripts/lab", "mutants", "999"], "There is no mutant '999'"),
    (["scripts/lab", "bench-locks", "speed"], "There is no part 'speed'"),
    (["scripts/lab", "test-all", "host"], "test-all takes nothing, or --publish"),
    (["make", "test", "SUITE=guest"], "there is no variable SUITE;"),
    (["make", "test", "SUITES=guests"], "There is no suite 'guests'"),
    (["make", "bench-locks", "BENCH=bind"], "BENCH= has an effect only on: bench bench-check"),
    (["make", "SUITES=host"], "SUITES= has an effect only on: test"),
    (["scripts/inside/bench.py", "coherence", "--instructions"], "--instructions needs --only"),
    (["scripts/inside/bench.py", "bind", "--cpus", "2"], "--cpus and --instructions are of"),
    (["scripts/inside/bench.py", "--check", "coherence", "--only", "rdax"], "are of a measurement"),
)


class Refused(unittest.TestCase):
    def test_refused(self) -> None:
        for command, said in REFUSED:
            with self.subTest(command=command):
                done = subprocess.run(command, cwd=TOP, capture_output=True, text=True,
                                      timeout=30, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(said, done.stderr)

    def test_help(self) -> None:
        done = subprocess.run(["make", "help"], cwd=TOP, capture_output=True, text=True,
                              timeout=30, check=True)
        lines = done.stdout.splitlines()
        self.assertLessEqual(max(map(len, lines)), 80)
        for name in ("LINUX", "KERNEL", "SUITES", "BENCH", "MUTANTS", "TORTURE", "FUZZ", "PARTS",
                     "KDIR", "RDAX_CACHE", "RDAX_MIRROR"):
            self.assertIn(f"{name}=", done.stdout)


if __name__ == "__main__":
    unittest.main()
