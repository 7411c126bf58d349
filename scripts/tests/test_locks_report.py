# SPDX-License-Identifier: GPL-2.0
"""Unit tests of locks_report.py: what it says of figures that are known."""

import tempfile
import unittest
from pathlib import Path
from xml.etree import ElementTree

import locks_report
from locks_report import BASE


def part(*rows: dict[str, object]) -> dict[str, object]:
    return {"cpus": 2, "host_cpus": 2, "nodes": 1, "rows": locks_report.fold(rows)}


def rounds(case: str, scheme: str, *values: float) -> list[dict[str, object]]:
    return [{"case": case, "scheme": scheme, "value": value} for value in values]


class Fold(unittest.TestCase):
    def test_rounds_of_a_case_and_scheme_become_a_list(self) -> None:
        folded = locks_report.fold([*rounds("none 1", "range", 1, 2),
                                    *rounds("none 2", "range", 3)])
        self.assertEqual(folded, [{"case": "none 1", "scheme": "range", "value": [1, 2]},
                                  {"case": "none 2", "scheme": "range", "value": [3]}])


class Throughput(unittest.TestCase):
    FIGURES = part(*rounds("none 1", BASE, 1, 2, 4), *rounds("none 2", BASE, 1, 1, 1),
                   *rounds("none 1", "range", 2, 2, 2), *rounds("none 2", "range", 3, 6, 12))

    def test_each_round_is_held_against_its_own(self) -> None:
        lines = locks_report.relative_lines(self.FIGURES)
        self.assertEqual(lines[1][1:], ["1.00 (0.75–1.50)", "3.00 (3.00–3.00)"])

    def test_the_plot_is_a_picture_with_each_scheme(self) -> None:
        picture = ElementTree.fromstring(str(locks_report.throughput_plot(self.FIGURES)))
        texts = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
        for scheme in (BASE, "range"):
            self.assertIn(locks_report.TITLES[scheme], texts)


class Exclusion(unittest.TestCase):
    CLAIMS = ({"scheme": "range", "faults": "1"}, {"scheme": "mapping-read", "faults": "0"})

    def lines(self, of_range: int, of_read: int) -> list[str]:
        figures = part(*({"case": "faults", "scheme": scheme, "pairs": 800, "violations": count,
                          "across": 0} for scheme, count in (("range", of_range),
                                                             ("mapping-read", of_read))))
        return [line for line in locks_report.exclusion(figures, self.CLAIMS) if " of 800" in line]

    def test_what_is_as_said_has_no_mark(self) -> None:
        self.assertFalse([line for line in self.lines(0, 7) if "(!)" in line])

    def test_what_is_not_has_one(self) -> None:
        self.assertEqual(["(!)" in line for line in self.lines(1, 0)], [True, True])


class Meetings(unittest.TestCase):
    def test_a_share_of_the_pairs(self) -> None:
        figures = part(*({"case": "nap full 2", "scheme": "none", "pairs": 400,
                          "violations": count} for count in (100, 200, 400)))
        line, = (line for line in locks_report.meetings(figures)
                 if line.startswith("| no lock: one page for all, all the time |"))
        self.assertIn("| 50.0 % (37.5–75.0) |", line)


class Coherence(unittest.TestCase):
    """A lock of the mapping moves its line each time, hashed mutexes none, no lock none."""

    def figures(self, **moved: float) -> dict[str, object]:
        found = {"none": 0.0, BASE: 1.0, "hashed": 0.0, **moved}
        rows = [{"case": f"{place} {cpus}", "scheme": scheme, "moved": value, "used": 5}
                for place in locks_report.PLACES for cpus in (2, 16)
                for scheme, value in found.items()]
        moves = [{"case": "own-page 16", "scheme": BASE,
                  "moves": [{"rate": 1.0, "by": "down_write", "after": "down_write"}]}]
        return {**part(*rows), "moves": moves}

    def test_as_it_should_be(self) -> None:
        self.assertEqual(locks_report.doubts(self.figures()), [])
        text = "\n".join(locks_report.coherence(self.figures()))
        self.assertIn("| hashed mutexes, by first page | 0.00 | 0.00 |", text)
        self.assertIn("| 1.00 | `down_write` | the same |", text)

    def test_nothing_was_counted(self) -> None:
        doubts = locks_report.doubts(self.figures(**{BASE: 0.0}))
        self.assertEqual(len(doubts), 2 * len(locks_report.PLACES))
        self.assertIn("own-page 2: rwsem of the mapping, for write: 0.0 lines moved", doubts[0])

    def test_nothing_was_measured(self) -> None:
        self.assertEqual(locks_report.doubts(part()), ["nothing was measured"])

    def test_lines_of_no_lock_were_counted(self) -> None:
        doubts = locks_report.doubts(self.figures(none=0.02))
        self.assertEqual(len(doubts), 2 * len(locks_report.PLACES))
        self.assertIn("no lock: 0.02 lines moved", doubts[0])


class Write(unittest.TestCase):
    def test_parts_that_were_not_measured_are_left_out(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            locks_report.write({"parts": {"throughput": Throughput.FIGURES}}, Path(name))
            self.assertEqual({path.name for path in Path(name).iterdir()},
                             {"results.md", "throughput.svg"})
            self.assertNotIn("## Memory", (Path(name) / "results.md").read_text())


if __name__ == "__main__":
    unittest.main()
