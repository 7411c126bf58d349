# SPDX-License-Identifier: GPL-2.0
"""The measure of moved cache lines: what a trace says, what moves, what is predicted."""

import unittest
from pathlib import Path
from typing import ClassVar
from xml.dom import minidom

import coherence
import coherence_model
import coherence_report
from coherence_model import Workload, rate
from coherence_replay import Result, replay
from coherence_trace import (
    CHAIN,
    OPERATION,
    RECORD,
    SECTION,
    STEP,
    WARM_UP,
    Module,
    Names,
    Record,
    Section,
    TraceError,
    median_steps,
    sections,
    short,
)
from figures import FiguresError

# Chains of the trace: one for each function, as the plugin numbers them.
FUNCTIONS = {"fault": 1, "lock": 2, "count": 3}
KALLSYMS = """\
ffffffff81000000 T fault
ffffffff81000100 T lock
ffffffff81000200 t count
ffffffff82000000 D jiffies
ffffffffc0000000 t touch\t[rdax]
"""
CHAINS = b"".join(CHAIN.pack(*addresses) for addresses in (
    (0, 0, 0, 0),
    (0xffffffff81000010, 0, 0, 0),
    (0xffffffff81000110, 0xffffffff81000200, 0, 0),  # returns to the very end of lock
    (0xffffffff81000210, 0xffffffff81000020, 0, 0),
))


def names() -> Names:
    return Names(KALLSYMS.splitlines(), CHAINS, None)


def reads(line: int, by: str = "fault", at: int = 10) -> Record:
    return (line, 0xffff888000000000 + 64 * line, FUNCTIONS[by], 0, at, at)


def writes(line: int, by: str = "fault", at: int = 10, last: int | None = None) -> Record:
    return (line, 0xffff888000000000 + 64 * line, FUNCTIONS[by], FUNCTIONS[by], at,
            at if last is None else last)


def done(cpu: int, *records: Record, counted: bool = True, instructions: int = 100) -> Section:
    return Section(cpu, counted, instructions, 0, records)


def moved(*trace: Section, cpus: int | None = None) -> Result:
    return replay(trace, names(), cpus)


class MoveTest(unittest.TestCase):
    def test_what_each_has_for_itself_stays(self) -> None:
        self.assertEqual(moved(*[done(cpu, writes(cpu)) for cpu in (0, 1, 0, 1)]).moved, 0)

    def test_a_line_that_all_write_to_moves_each_time_but_the_first(self) -> None:
        result = moved(*[done(cpu, writes(7)) for cpu in (0, 1, 0, 1)])
        self.assertEqual((result.operations, result.moves.total()), (4, 3))

    def test_a_line_that_all_read_stays(self) -> None:
        self.assertEqual(moved(*[done(cpu, reads(7)) for cpu in (0, 1, 2, 0)]).moved, 0)

    def test_a_line_that_one_writes_moves_to_each_who_reads(self) -> None:
        result = moved(done(0, writes(7)), done(1, reads(7)), done(2, reads(7)), done(1, reads(7)))
        self.assertEqual(result.moves.total(), 2)

    def test_a_write_takes_the_copies_of_others(self) -> None:
        result = moved(done(0, reads(7)), done(1, reads(7)), done(0, writes(7)), done(0, writes(7)),
                       done(1, reads(7)))
        self.assertEqual(result.moves.total(), 2)

    def test_a_line_moves_once_in_an_operation(self) -> None:
        result = moved(done(0, writes(7)), done(1, reads(7)), done(0, writes(7, last=90)))
        self.assertEqual(result.moves.total(), 2)

    def test_warming_up_is_not_counted_but_leaves_its_traces(self) -> None:
        result = moved(done(0, writes(7), counted=False), done(1, writes(7)))
        self.assertEqual((result.operations, result.moved), (1, 1.0))

    def test_who_needed_it_and_who_had_it(self) -> None:
        move, = moved(done(0, writes(7, "lock")), done(1, reads(7, "count"))).moves
        self.assertEqual((move.used_by, move.written_by, move.wrote),
                         (("count", "fault"), ("lock", "lock"), False))

    def test_the_first_cpus_only(self) -> None:
        trace = [done(cpu, writes(7)) for cpu in (3, 4, 5, 3, 4, 5)]
        result = moved(*trace, cpus=2)
        self.assertEqual((result.cpus, result.operations, result.moves.total()), (2, 4, 3))
        self.assertEqual(moved(*trace, cpus=1).moved, 0)


class TraceTest(unittest.TestCase):
    def written(self, mark: int, *records: Record) -> bytes:
        return (SECTION.pack(2, mark, 500, len(records), 1, 0)
                + b"".join(RECORD.pack(*record) for record in records))

    def test_as_the_plugin_writes_it(self) -> None:
        data = self.written(WARM_UP) + self.written(OPERATION, reads(1), writes(2))
        first, second = sections(data)
        self.assertEqual((first.cpu, first.counted, first.instructions, first.interrupts),
                         (2, False, 500, 1))
        self.assertEqual(list(first.records), [])
        self.assertTrue(second.counted)
        self.assertEqual((len(second.records), list(second.records)), (2, [reads(1), writes(2)]))
        self.assertIn(reads(1), second.records)
        self.assertNotIn(reads(2), second.records)

    def test_cut_off(self) -> None:
        data = self.written(OPERATION, reads(1), writes(2))
        for end in (5, len(data) - 1):
            with self.assertRaises(TraceError):
                list(sections(data[:end]))

    def test_something_else(self) -> None:
        with self.assertRaises(TraceError):
            list(sections(self.written(77)))

    def test_a_call_at_the_end_of_a_function(self) -> None:
        """What follows the call is another function."""
        self.assertEqual(names().chain(2), ("lock", "lock"))

    def test_no_such_chain(self) -> None:
        for number in (0, len(CHAINS) // CHAIN.size):
            with self.assertRaises(TraceError):
                names().chain(number)

    def test_variables(self) -> None:
        self.assertEqual(names().variable(0xffffffff82000004), "jiffies")
        self.assertEqual(names().variable(0xffff888000000000), "")

    def test_where_the_module_is(self) -> None:
        """Its data, beyond its text, is the kernel's list's."""
        module = Module(Path("rdax.ko"), 0xffffffffc0000000, 0x1000)
        self.assertIn(0xffffffffc0000fff, module)
        self.assertNotIn(0xffffffffc0001000, module)
        self.assertNotIn(0xffffffffbfffffff, module)


class StepsTest(unittest.TestCase):
    """The instructions of an operation, one by one."""

    FAULT, LOCK = 0xffffffff81000010, 0xffffffff81000110

    def steps(self, *addresses: int) -> bytes:
        return b"".join(STEP.pack(address) for address in addresses)

    def test_of_the_operation_in_the_middle(self) -> None:
        data = self.steps(self.FAULT, 0, *[self.LOCK] * 9, 0, self.FAULT, self.LOCK, 0)
        self.assertEqual(median_steps(data), [self.FAULT, self.LOCK])

    def test_cut_off(self) -> None:
        for data in (b"", self.steps(self.FAULT), self.steps(self.FAULT, 0, self.LOCK)):
            with self.assertRaises(TraceError):
                median_steps(data)

    def test_by_function(self) -> None:
        data = self.steps(self.FAULT, self.LOCK, self.FAULT, 0)
        self.assertEqual(coherence.profile(data, names()),
                         ["     3  instructions", "     2  fault", "     1  lock"])


class ShortTest(unittest.TestCase):
    def test_names(self) -> None:
        for name, wanted in {
            "xas_store": "xas_store",
            "<rdax_main[13c248d5df87ce19]::dax::device::Device as rdax_main::mm::Ops>::fault":
                "Device::fault",
            "<rdax_main::mm::VmVTable<rdax_main::dax::device::Device>>::serve": "VmVTable::serve",
            "<a::Table>::next::<<a::Table>::lock::{closure#0}>": "Table::next",
            "core::sync::atomic::load::<u8>": "atomic::load",
        }.items():
            self.assertEqual(short(name), wanted)


class ToldTest(unittest.TestCase):
    def test_only_what_does_something(self) -> None:
        self.assertEqual(coherence_report.told(
            ("rust_helper_atomic64_fetch_add_relaxed", "i64::atomic_fetch_add (internal.rs:159)",
             "Atomic::fetch_add (atomic.rs:571)", "Counter::inc (counter.rs:20)",
             "Faults::count (stats.rs:57)", "Device::fault (fault.rs:64)", "__do_fault")),
            "Counter::inc < Faults::count < Device::fault")

    def test_what_is_the_same_then_is_added_up(self) -> None:
        result = moved(done(0, writes(7), writes(8)), done(1, writes(7), writes(8)))
        figure = coherence_report.figure_of(result)
        self.assertEqual(figure["moves"], [
            {"rate": 1.0, "by": "fault", "after": "fault", "what": "allocated memory"}])
        self.assertEqual(figure["moved"], 1.0)


class LimitsTest(unittest.TestCase):
    LIMITS: ClassVar = {"write-4k-processes-4": 0.2}

    def test_a_line_has_come_back(self) -> None:
        self.assertEqual(coherence_report.above(self.LIMITS, {"write-4k-processes-4": 1.2}),
                         {"write-4k-processes-4":
                          "write-4k-processes-4: 1.20 lines moved, 0.20 before"})

    def test_within_the_tolerance_or_better(self) -> None:
        for value in (0.3, 0.2, 0.0):
            self.assertEqual(
                coherence_report.above(self.LIMITS, {"write-4k-processes-4": value}), {})

    def test_a_part_of_many(self) -> None:
        for value, worse in ((26.2, []), (26.3, ["sync-4k-threads-16"])):
            self.assertEqual(list(coherence_report.above({"sync-4k-threads-16": 25.0},
                                                         {"sync-4k-threads-16": value})), worse)

    def test_not_measured(self) -> None:
        self.assertEqual(list(coherence_report.above(self.LIMITS, {})), ["write-4k-processes-4"])

    def test_of_what_was_measured(self) -> None:
        cases: coherence_report.Cases = {"read-4k": {"threads": {
            "rdax": {"4": {"moved": 1.5}, "64": {"moved": 2}}, "ext4": {"4": {"moved": 9}}}},
            "write-4k": {"threads": {"rdax": {"4": {"moved": 7.0}}}},
            "sync-4k": {"threads": {"rdax": {"4": {"moved": 13.0}}}}}
        self.assertEqual(coherence_report.limits_of(cases, (4, 16)), {"read-4k-threads-4": 1.5})


class CasesTest(unittest.TestCase):
    def test_some(self) -> None:
        self.assertEqual([str(case) for case in coherence.cases(["rdax:write-4k"])],
                         ["rdax:write-4k:processes", "rdax:write-4k:threads"])
        self.assertEqual([str(case) for case in coherence.cases(["ext4:read-4k:threads"])],
                         ["ext4:read-4k:threads"])

    def test_a_beginning_of_a_name_is_no_name(self) -> None:
        for words in ("rdax:write", "rdax:write-4k:process", "xfs"):
            with self.assertRaises(FiguresError):
                coherence.cases([words])

    def test_device_dax_has_two_alignments(self) -> None:
        self.assertEqual(
            coherence.arguments_of(coherence.cases(["device_dax:write-2m:threads",
                                                    "device_dax:write-4k:threads"])),
            ["device_dax_4k", "coherence-write-4k-threads",
             "device_dax_2m", "coherence-write-2m-threads"])


class ModelTest(unittest.TestCase):
    """1,000 instructions of 1 ns each; a line moves in 100 ns."""

    def rate(self, cpus: int, *records: Record, workers: int = 4) -> float:
        trace = [done(cpu, *[(record[0] if record[0] >= 0 else cpu, *record[1:])
                             for record in records], instructions=1000)
                 for _ in range(3) for cpu in range(workers)]
        return rate(Workload.of(trace), cpus, 1e-9, 100e-9)

    def test_alone(self) -> None:
        self.assertAlmostEqual(self.rate(1, writes(7)) / 1e6, 1.0, delta=0.05)

    def test_what_nobody_shares_scales(self) -> None:
        self.assertAlmostEqual(self.rate(256, writes(-1)) / 256e6, 1.0, delta=0.05)

    def test_what_all_read_scales(self) -> None:
        self.assertAlmostEqual(self.rate(256, reads(7)) / 256e6, 1.0, delta=0.05)

    def test_a_line_of_all_is_a_limit(self) -> None:
        """One move each 100 ns is ten million per second, however many CPUs."""
        for cpus in (16, 64, 256):
            self.assertAlmostEqual(self.rate(cpus, writes(7)) / 10e6, 1.0, delta=0.05)

    def test_few_cpus_pay_for_each_move(self) -> None:
        self.assertAlmostEqual(self.rate(2, writes(7)) / 1e6, 2 / 1.1, delta=0.05)

    def test_a_line_that_is_used_twice_moves_twice(self) -> None:
        self.assertAlmostEqual(self.rate(256, writes(7, at=100, last=900)) / 5e6, 1.0, delta=0.05)

    def test_a_line_of_a_few_is_anothers_beyond_the_trace(self) -> None:
        """Two of eight CPUs share a line: so do two of each eight more."""
        trace = [done(cpu, writes(7 if cpu < 2 else 10 + cpu), instructions=1000)
                 for _ in range(3) for cpu in range(8)]
        workload = Workload.of(trace)
        self.assertEqual(workload.common, set())
        eight, all_of_them = (rate(workload, cpus, 1e-9, 100e-9) for cpus in (8, 256))
        self.assertAlmostEqual(all_of_them / eight, 32, delta=2)

    def test_the_assumptions_are_those_of_the_documents(self) -> None:
        self.assertEqual((coherence_model.MOVE, coherence_model.INSTRUCTION), (100e-9, 0.5e-9))


class ReportTest(unittest.TestCase):
    MEASURED: ClassVar[coherence_report.Measured] = {
        "module": "abc", "kernel": "7.3.4",
        "cases": {"write-4k": {"processes": {
            "rdax": {str(cpus): {"moved": 5.0, "used": 100, "instructions": 2000, "moves": [
                {"rate": 1.0, "by": "lock", "after": "lock", "what": "allocated memory"}]}
                for cpus in (2, 64)},
            "ext4": {"64": {"moved": 11.25, "used": 200, "instructions": 9000, "moves": []}}}}},
        "rates": {"write-4k-processes": {"rdax": [1e6] * len(coherence_model.CPUS)}},
    }

    def test_the_block_of_the_document(self) -> None:
        lines = coherence_report.block(self.MEASURED)
        self.assertIn("4 KiB write, a new node     5.0  5.0           –  11.2          –", lines)
        self.assertIn("processes                rdax 2   64  device_dax  ext4  anonymous", lines)
        self.assertTrue(all(len(line) <= 80 for line in lines), lines)

    def test_it_takes_the_place_of_the_last_one(self) -> None:
        document = "head\n\n.. begin of the figures\n\nold\n\n.. end of the figures\n\ntail\n"
        new = coherence_report.with_block(document, ["new"])
        self.assertEqual(new, document.replace("old", "new"))
        self.assertEqual(coherence_report.with_block(new, ["new"]), new)

    def test_without_marks(self) -> None:
        with self.assertRaises(FiguresError):
            coherence_report.with_block("nothing", ["new"])

    def test_plots_are_pictures(self) -> None:
        images = coherence_report.draw(self.MEASURED)
        self.assertEqual(list(images), ["processes.svg", "prediction.svg"])
        for image in images.values():
            minidom.parseString(image)

    def test_all_that_is_shown(self) -> None:
        text = coherence_report.show(self.MEASURED)
        self.assertIn("| 1.00 | `lock` | the same | allocated memory |", text)


if __name__ == "__main__":
    unittest.main()
