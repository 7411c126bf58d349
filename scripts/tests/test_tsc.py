# SPDX-License-Identifier: GPL-2.0
"""The frequency that a guest's kernel is told."""

import os
import unittest

import tsc


@unittest.skipUnless(os.uname().machine == "x86_64", "there is no TSC")
class Frequency(unittest.TestCase):
    def test_two_measurements_agree(self) -> None:
        khz = []
        for _ in range(2):
            tsc.khz.cache_clear()
            khz.append(tsc.khz() or 0)
        self.assertAlmostEqual(khz[0] / khz[1], 1, delta=1e-3)

    def test_it_is_in_khz(self) -> None:
        self.assertTrue(500_000 < (tsc.khz() or 0) < 10_000_000)


if __name__ == "__main__":
    unittest.main()
