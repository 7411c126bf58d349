# SPDX-License-Identifier: GPL-2.0
"""rdax stat: totals, rates, devices that come and go, and how wide it is."""

import json
import re
import shutil
import time
from unittest import main, mock

import rdax.stat
import test_rdax as base


class Stat(base.Fake):
    """The devices rdax2 and rdax10. Something happens in each pause, which takes `pause`."""

    pause = 2.0

    def setUp(self) -> None:
        super().setUp()
        self.now = 100.0
        self.steps: list[dict[str, int]] = []
        for patch in (mock.patch.object(time, "monotonic", lambda: self.now),
                      mock.patch.object(time, "sleep", self.sleep)):
            patch.start()
            self.addCleanup(patch.stop)

    def sleep(self, _seconds: float) -> None:
        self.now += self.pause
        if not self.steps:
            raise KeyboardInterrupt
        self.files({f"sys/class/dax/{name}": str(value)
                    for name, value in self.steps.pop(0).items()})

    def stat(self, *argv: str) -> str:
        status, out, err = self.run_tool("stat", *argv)
        self.assertEqual((status, err), (0, ""), out)
        return out

    def rows(self, out: str) -> list[list[str]]:
        return [line.split() for line in out.splitlines() if line.startswith("rdax")]

    def test_totals(self) -> None:
        out = self.stat()
        self.assertEqual(self.rows(out), [
            ["rdax2", "7", "3", "1", "0", "0", "0", "0", "0", "5"],
            ["rdax10", "7", "3", "1", "0", "0", "0", "0", "0", "5"]])
        self.assertTrue(out.startswith("TOTAL "))
        self.assertEqual([row[0] for row in self.rows(self.stat("rdax10", "/dev/rdax10"))],
                         ["rdax10"])

    def test_each_column(self) -> None:
        counters = ("faults/pte_mapped", "faults/pmd_mapped", "faults/pud_mapped",
                    "faults/pmd_fallback", "faults/pud_fallback", "faults/pmd_sigbus",
                    "entries/waits", "entries/wakes", "entries/writebacks")
        self.files({f"sys/class/dax/rdax2/{name}": str(10 + number)
                    for number, name in enumerate(counters)})
        self.files({"sys/class/dax/rdax2/faults/hwpoison": "1000",
                    "sys/class/dax/rdax2/faults/pte_sigbus": "200"})
        self.assertEqual(self.rows(self.stat("rdax2")), [
            ["rdax2", "10", "11", "12", "13", "14", "1215", "16", "17", "18"]])

    def test_rates(self) -> None:
        self.steps = [{"rdax2/faults/pte_mapped": 1007, "rdax10/entries/writebacks": 6}, {}]
        out = self.stat("--interval", "2", "--count", "3")
        self.assertEqual([row[1] for row in self.rows(out)], ["7", "7", "500", "0", "0", "0"])
        self.assertEqual([row[9] for row in self.rows(out)], ["5", "5", "0", "0.5", "0", "0"])
        self.assertEqual(re.findall("^(TOTAL|PER SECOND) ", out, re.MULTILINE),
                         ["TOTAL", "PER SECOND", "PER SECOND"])

    def test_json(self) -> None:
        found = json.loads(self.stat("--json", "rdax2"))
        self.assertEqual(found, {"seconds": None, "devices": [
            {"name": "rdax2", "namespace": "namespace0.0",
             "faults": {"pmd_mapped": 3, "pte_mapped": 7, "pud_mapped": 1},
             "entries": {"writebacks": 5}}]})
        self.steps = [{"rdax2/faults/pte_mapped": 12}]
        lines = self.stat("--json", "--interval", "2", "--count", "2", "rdax2").splitlines()
        self.assertEqual(len(lines), 2)
        self.assertEqual(json.loads(lines[0]), found)
        second = json.loads(lines[1])
        self.assertEqual(second["seconds"], 2.0)
        self.assertEqual(second["devices"][0]["faults"]["pte_mapped"], 5)
        self.assertEqual(second["devices"][0]["entries"]["writebacks"], 0)

    def test_made_again(self) -> None:
        self.steps = [{"rdax2/faults/pte_mapped": 4, "rdax2/faults/pmd_mapped": 8,
                       "rdax2/faults/pud_mapped": 0, "rdax2/entries/writebacks": 0}]
        out = self.stat("rdax2", "--interval", "2", "--count", "2")
        self.assertEqual(self.rows(out)[1], ["rdax2", "2", "4", *["0"] * 7])

    def test_gone(self) -> None:
        def gone(_seconds: float) -> None:
            self.now += 1
            shutil.rmtree(self.top / "sys/class/dax/rdax2")

        with mock.patch.object(time, "sleep", gone):
            out = self.stat("--interval", "1", "--count", "2")
            self.assertEqual([row[0] for row in self.rows(out)], ["rdax2", "rdax10", "rdax10"])
        status, _, err = self.run_tool("stat", "rdax10", "rdax2")
        self.assertEqual(status, 4)
        self.assertIn("there is no rdax2", err)

    def test_none(self) -> None:
        shutil.rmtree(self.top / "sys/class/dax")
        self.assertEqual(self.stat(), "there is no device\n")
        self.assertEqual(json.loads(self.stat("--json"))["devices"], [])

    def test_interrupted(self) -> None:
        status, out, err = self.run_tool("stat", "--interval", "1")
        self.assertEqual((status, err, len(self.rows(out))), (130, "", 2))

    def test_width(self) -> None:
        self.files({f"sys/class/dax/rdax10/faults/{level}_{what}": str((1 << 64) - 1)
                    for level in ("pte", "pmd", "pud") for what in ("mapped", "fallback")})
        self.files({"sys/class/dax/rdax10/entries/waits": "99949999"})
        out = self.stat()
        self.assertLessEqual(max(map(len, out.splitlines())), 80)
        self.assertEqual(len({len(line) for line in out.splitlines()[1:]}), 1)

    def test_numbers(self) -> None:
        for number, text in ((0, "0"), (99999, "99999"), (100000, "100k"), (0.25, "0.2"),
                             (99.94, "99.9"), (99.96, "100"), (9999.4, "9999"), (9999.6, "10.0k"),
                             (12345.6, "12.3k"), (7.8e6, "7800k"), (1.5e9, "1500M")):
            self.assertEqual(rdax.stat.short(number), text)

    def test_usage(self) -> None:
        for argv in (("--interval", "0"), ("--interval", "-1"), ("--interval", "x"),
                     ("--count", "0", "--interval", "1"), ("--count", "2"), ("dax0",)):
            self.assertEqual(self.run_tool("stat", *argv)[0], 2, argv)
        _, _, err = self.run_tool("iostat")
        self.assertIn("did you mean 'stat'?", err)


if __name__ == "__main__":
    main()
