# SPDX-License-Identifier: GPL-2.0
"""The benchmark's arithmetic: what is worse, what is reached, what is not measured."""

import io
import json
import tempfile
import unittest
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import bench
import plots
import report
import tables
from figures import (
    ANONYMOUS,
    DEVICE_DAX,
    EXT4,
    PAGES,
    RDAX,
    TRACKED,
    Figures,
    FiguresError,
    Goal,
    Ratio,
    Samples,
    Worse,
    beside,
    compare,
)
from operations import BUS_RUNS, RUNS, Run, goals

BASELINE = {"fault": {DEVICE_DAX: 0.70, EXT4: 0.35}, "munmap": {DEVICE_DAX: 0.29}}


def figures(**rows: dict[str, list[float]]) -> Figures:
    return Figures({name: {contender: Samples(values) for contender, values in row.items()}
                    for name, row in rows.items()})


class CompareTest(unittest.TestCase):
    def worse(self, factor: float) -> list[str]:
        ratios = {"fault": {DEVICE_DAX: 0.70 * factor, EXT4: 0.35}, "munmap": {DEVICE_DAX: 0.29}}
        return [str(line) for line in compare(BASELINE, ratios)]

    def test_four_percent_worse_fails(self) -> None:
        self.assertEqual(self.worse(1.04),
                         ["fault: rdax / device_dax was 0.700, is 0.728: 4.0 % worse"])

    def test_two_percent_worse_passes(self) -> None:
        self.assertEqual(self.worse(1.02), [])

    def test_better_passes(self) -> None:
        self.assertEqual(self.worse(0.5), [])

    def test_not_measured_fails(self) -> None:
        found = compare(BASELINE, {"fault": {DEVICE_DAX: 0.70, EXT4: 0.35}})
        self.assertEqual([str(line) for line in found],
                         ["munmap: rdax / device_dax was 0.290 and was not measured"])

    def test_one_peer_lost_fails(self) -> None:
        found = compare(BASELINE, {"fault": {DEVICE_DAX: 0.70}, "munmap": {DEVICE_DAX: 0.29}})
        self.assertEqual([(line.operation, line.peer) for line in found], [("fault", EXT4)])

    def test_new_operation_passes(self) -> None:
        self.assertEqual(compare(BASELINE, BASELINE | {"punch": {EXT4: 9.0}}), [])


class CheckTest(unittest.TestCase):
    def check(self, factor: float, *names: str) -> tuple[list[Worse], str]:
        rows = {"mmap": {RDAX: [60.0 * factor], DEVICE_DAX: [100.0]},
                "munmap-4k": {RDAX: [29.0], DEVICE_DAX: [100.0]}}
        runs = [run for run in RUNS if run.name in names]
        with tempfile.TemporaryDirectory() as directory, redirect_stdout(io.StringIO()) as output:
            baseline = Path(directory) / "baseline.json"
            baseline.write_text(json.dumps(
                {"mmap": {DEVICE_DAX: 0.6}, "munmap-4k": {DEVICE_DAX: 0.29}}))
            return bench.check(figures(**rows), runs, baseline), output.getvalue()

    def test_four_percent_worse(self) -> None:
        worse, output = self.check(1.04, "mmap", "munmap-4k")
        self.assertEqual([each.operation for each in worse], ["mmap"])
        self.assertIn("mmap: rdax / device_dax was 0.600, is 0.624: 4.0 % worse", output)
        self.assertIn("2 ratios compared with the baseline, 1 worse", output)

    def test_two_percent_worse(self) -> None:
        worse, output = self.check(1.02, "mmap", "munmap-4k")
        self.assertEqual((worse, output), ([], "2 ratios compared with the baseline, 0 worse\n"))

    def test_only_what_was_asked_for(self) -> None:
        self.assertEqual(self.check(1.04, "munmap-4k")[0], [])

    def test_what_is_worse_is_measured_again(self) -> None:
        runs = [run for run in RUNS if run.name in ("mmap", "munmap-4k")]
        for factors, expected in ((1.0,), False), ((1.04, 1.0), False), ((1.04, 1.04), True):
            measured: list[list[str]] = []

            def measure(some: Sequence[Run], factors: Sequence[float] = factors,
                        measured: list[list[str]] = measured) -> list[Worse]:
                measured.append([run.name for run in some])
                return self.check(factors[len(measured) - 1], *measured[-1])[0]

            with redirect_stdout(io.StringIO()):
                self.assertEqual(bench.worse_twice(runs, measure), expected)
            self.assertEqual(measured, [["mmap", "munmap-4k"], ["mmap"]][:len(factors)])


class UnexpectedTest(unittest.TestCase):
    """Who can do an operation has done it, and nobody else."""

    ALL = (RDAX, DEVICE_DAX, EXT4, ANONYMOUS)

    def unexpected(self, operation: str, *contenders: str) -> list[str]:
        found = figures(**{operation: {name: [1.0] for name in contenders}})
        found.of(operation, EXT4).unavailable = "SIGBUS"
        return bench.unexpected(found)

    def test_all_as_expected(self) -> None:
        self.assertEqual(self.unexpected("munmap-4k", *self.ALL), [])
        self.assertEqual(self.unexpected("fsync-1-of-1g", RDAX, EXT4), [])

    def test_one_that_can_did_not(self) -> None:
        self.assertEqual(self.unexpected("munmap-4k", RDAX, DEVICE_DAX, ANONYMOUS),
                         ["munmap-4k, ext4: SIGBUS"])

    def test_one_that_can_said_nothing(self) -> None:
        self.assertEqual(self.unexpected("munmap-4k", DEVICE_DAX, EXT4, ANONYMOUS),
                         ["munmap-4k, rdax: no result"])

    def test_one_that_cannot_did(self) -> None:
        self.assertEqual(self.unexpected("fsync-1-of-1g", RDAX, EXT4, DEVICE_DAX),
                         ["fsync-1-of-1g, device_dax: unexpectedly done"])


    def test_a_mode_of_memory(self) -> None:
        """A read of a page that is not tracked maps it writable: there is no fault to measure."""
        name, ours = "write-after-read-4k", (RDAX, TRACKED, PAGES)
        found = figures(**{name: {contender: [1.0] for contender in ours[:2]}})
        self.assertEqual(bench.unexpected(found, BUS_RUNS, ours), [])
        found.of(name, PAGES).values = [1.0]
        self.assertEqual(bench.unexpected(found, BUS_RUNS, ours),
                         [f"{name}, {PAGES}: unexpectedly done"])


class SamplesTest(unittest.TestCase):
    def test_one_odd_round_moves_neither(self) -> None:
        samples = Samples([100.0, 101.0, 100.0, 100.0, 900.0])
        self.assertEqual(samples.median, 100.0)
        self.assertLessEqual(samples.spread, 0.01)

    def test_spread(self) -> None:
        samples = Samples([90.0, 95.0, 100.0, 105.0, 110.0])
        self.assertEqual(samples.quartiles, (95.0, 105.0))
        self.assertAlmostEqual(samples.spread, 0.1)

    def test_one_round(self) -> None:
        self.assertEqual(Samples([7.0]).quartiles, (7.0, 7.0))
        self.assertEqual(Samples([0.0]).spread, 0.0)

    def test_round_by_round(self) -> None:
        """The host was twice as slow in the second round, for both."""
        self.assertEqual(Samples([10.0, 20.0]).over(Samples([5.0, 10.0])), Ratio(2.0, 2.0, 2.0))

    def test_of_medians(self) -> None:
        ratio = Samples([10.0, 12.0, 90.0]).over(Samples([4.0, 1.0, 9.0]))
        self.assertEqual(ratio, Ratio(3.0, 6.25, 11.0))

    def test_missing_round(self) -> None:
        with self.assertRaises(FiguresError):
            Samples([1.0, 2.0]).over(Samples([1.0]))


class FiguresTest(unittest.TestCase):
    def test_lines_of_the_program(self) -> None:
        found = Figures()
        found.add(RDAX, '{"operation": "fault", "total": 3000, "count": 3}')
        found.add(RDAX, '{"operation": "fault", "total": 9000, "count": 3}')
        found.add(DEVICE_DAX, '{"operation": "fault", "unavailable": "no fault"}')
        found.add(RDAX, '{"operation": "memory", "bytes": -4096}')
        self.assertEqual(found.of("fault", RDAX).values, [1000.0, 3000.0])
        self.assertEqual(found.of("memory", RDAX).values, [-4096.0])
        self.assertIsNone(found.find("fault", DEVICE_DAX))
        self.assertEqual(tables.cell(found.of("fault", DEVICE_DAX)), "no fault")

    def test_ratios(self) -> None:
        found = figures(fault={RDAX: [30.0, 10.0, 20.0], DEVICE_DAX: [40.0], EXT4: []},
                        memory={RDAX: [5.0], DEVICE_DAX: [0.0]})
        self.assertEqual(found.ratios(), {"fault": {DEVICE_DAX: 0.5}})

    def test_json_and_back(self) -> None:
        found = figures(fault={RDAX: [1.0, 2.0]})
        found.of("fault", EXT4).unavailable = "no"
        again = Figures.from_json(json.loads(json.dumps(found.to_json())))
        self.assertEqual(again, found)


class GoalTest(unittest.TestCase):
    def verdict(self, goal: Goal, found: Figures) -> str:
        return tables.goals([goal], found, True)[-1].split(" | ")[-1].removesuffix(" |")

    def test_at_most(self) -> None:
        goal, = beside("fault", "fault", {DEVICE_DAX: 0.75})
        self.assertEqual(self.verdict(goal, figures(fault={RDAX: [75.0], DEVICE_DAX: [100.0]})),
                         "reached")
        self.assertEqual(self.verdict(goal, figures(fault={RDAX: [76.0], DEVICE_DAX: [100.0]})),
                         "**not reached**")
        self.assertEqual(self.verdict(goal, figures(fault={RDAX: [1.0], EXT4: [1.0]})),
                         "not measured")

    def test_at_least(self) -> None:
        goal = Goal("speed", (("one", RDAX),), (("two", RDAX),), 1.8, at_least=True)
        self.assertEqual(self.verdict(goal, figures(one={RDAX: [19.0]}, two={RDAX: [10.0]})),
                         "reached")
        self.assertEqual(self.verdict(goal, figures(one={RDAX: [17.0]}, two={RDAX: [10.0]})),
                         "**not reached**")

    def test_by_itself(self) -> None:
        goal = Goal("bytes", (("memory", RDAX),), (), 100)
        self.assertEqual(self.verdict(goal, figures(memory={RDAX: [99.0]})), "reached")
        self.assertEqual(self.verdict(goal, figures(memory={RDAX: [101.0]})), "**not reached**")

    def test_nothing_at_all_counts_as_nothing(self) -> None:
        goal, = beside("memory", "memory", {DEVICE_DAX: 0.02})
        self.assertEqual(self.verdict(goal, figures(memory={RDAX: [0.0], DEVICE_DAX: [9.0]})),
                         "reached")

    def test_the_goals_of_the_project(self) -> None:
        """None is reached by what was not measured."""
        lines = tables.goals(goals(), Figures(), True)[2:]
        self.assertTrue(lines)
        self.assertTrue(all(line.endswith("| not measured |") for line in lines))
        self.assertEqual(tables.goals(goals(), Figures(), False)[2:], [])


class ShowTest(unittest.TestCase):
    FOUND = figures(**{
        "mmap": {RDAX: [5000.0], DEVICE_DAX: [4000.0], ANONYMOUS: [3000.0]},
        "threads-1": {RDAX: [10.0, 10.0], DEVICE_DAX: [8.0, 8.0]},
        "threads-2": {RDAX: [5.0, 5.0], DEVICE_DAX: [8.0, 4.0]},
    })

    def test_costs(self) -> None:
        self.assertEqual(tables.costs({"mmap": "mmap", "gone": "gone"}, self.FOUND)[2:],
                         ["| mmap | 5,000 | 4,000 | – | 3,000 | 1.25 | – | 0.0 % |"])

    def test_memory_has_no_spread(self) -> None:
        found = figures(**{"memory-bound": {RDAX: [0.0, -4096.0], DEVICE_DAX: [8e7, 8e7]}})
        self.assertEqual(tables.costs({"memory-bound": "bytes"}, found)[2:],
                         ["| bytes | -2,048 | 80.00 M | – | – | 0 | – | – |"])

    def test_chosen_contenders(self) -> None:
        found = figures(mmap={RDAX: [50.0], PAGES: [80.0], DEVICE_DAX: [100.0]})
        self.assertEqual(tables.costs({"mmap": "mmap"}, found, (RDAX, PAGES, DEVICE_DAX)), [
            ("|  | rdax | rdax, pages | device_dax | rdax / device_dax | rdax, pages / device_dax "
            "| spread |"),
            "|---|---:|---:|---:|---:|---:|---:|",
            "| mmap | 50 | 80 | 100 | 0.50 | 0.80 | 0.0 % |"])

    def test_scaling(self) -> None:
        line = tables.scaling({"threads": "threads"}, [2], self.FOUND)[-1]
        self.assertTrue(line.startswith("| threads, 2 | 2.00 (2.00–2.00) | 1.33 (1.25–1.75) | – |"))

    def test_plots(self) -> None:
        image = plots.of_costs(self.FOUND)["calls.svg"]
        self.assertEqual(image.count("<title>rdax: 5,000</title>"), 1)
        image = plots.of_scaling({"threads": "threads"}, [1, 2], self.FOUND)["threads.svg"]
        self.assertEqual(image.count("<circle"), 4)
        self.assertEqual(plots.of_costs(Figures()), {})


class PublishTest(unittest.TestCase):
    """What was not measured is kept, and says so."""

    @staticmethod
    def part(module: str, value: float) -> report.Part:
        found = figures(mmap={RDAX: [value], DEVICE_DAX: [4000.0]})
        return {"module": module, "kernel": "7", "accelerator": "TCG", "figures": found.to_json()}

    def publish(self, output: report.Parts, published: report.Parts) -> tuple[report.Parts, str]:
        with tempfile.TemporaryDirectory() as directory, redirect_stdout(io.StringIO()):
            measured, there = Path(directory) / "measured", Path(directory) / "published"
            for path, parts in ((measured, output), (there, published)):
                if parts:
                    report.write(path, parts)
            report.publish(measured, there)
            return report.read(there), (there / "figures.md").read_text()

    def test_the_rest_is_kept(self) -> None:
        old, new = self.part("old", 1000.0), self.part("new", 2000.0)
        bus = {**new, "figures": {}}
        parts, text = self.publish({"bus": bus}, {"instructions": old, "bus": old})
        self.assertEqual(parts, {"instructions": old | {"kept": True}, "bus": bus})
        self.assertIn("rdax.ko old, kept from an earlier measurement.", text)
        self.assertIn("rdax.ko new.", text)
        self.assertIn("| 1,000 |", text)

    def test_measured_again(self) -> None:
        old, new = self.part("old", 1000.0), self.part("new", 2000.0)
        parts, text = self.publish({"instructions": new}, {"instructions": old | {"kept": True}})
        self.assertEqual(parts, {"instructions": new})
        self.assertNotIn("kept", text)

    def test_nothing_measured(self) -> None:
        with self.assertRaises(FiguresError):
            self.publish({}, {"instructions": self.part("old", 1000.0)})


if __name__ == "__main__":
    unittest.main()
