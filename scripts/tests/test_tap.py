# SPDX-License-Identifier: GPL-2.0
"""The counting of test results: what must never be counted as a success."""

import io
import unittest

from tap import Kselftest, Part, Tap, Verdicts, by_lines

GOOD = """\
TAP version 13
1..3
# timeout set to 45
# selftests: rdax: node
# TAP version 13
# 1..2
# # Starting 2 tests from 1 test cases.
# #  RUN           node.seek ...
# ok 1 node.seek
# ok 2 # SKIP namespace too small
# # Totals: pass:1 fail:0 xfail:0 xpass:0 skip:1 error:0
ok 1 selftests: rdax: node
# selftests: rdax: fio.sh
# all good
ok 2 selftests: rdax: fio.sh
# selftests: rdax: pfnmap.sh
ok 3 selftests: rdax: pfnmap.sh # SKIP
# Totals: pass:2 fail:0 xfail:0 xpass:0 skip:1 error:0
"""


class KselftestTest(unittest.TestCase):
    def count(self, text: str, status: int = 0) -> tuple[int, int, int]:
        tap = Tap(io.StringIO())
        reader = Kselftest(tap)
        for line in text.splitlines():
            reader.line(line)
        reader.end(status)
        return tap.passed, tap.failed, tap.skipped

    def test_leaves(self) -> None:
        self.assertEqual(self.count(GOOD), (2, 0, 2))

    def test_inner_failure_counts_once(self) -> None:
        text = GOOD.replace("# ok 1 node.seek", "# not ok 1 node.seek").replace(
            "ok 1 selftests: rdax: node", "not ok 1 selftests: rdax: node # exit=1")
        self.assertEqual(self.count(text), (1, 1, 2))

    def test_program_fails_after_its_last_line(self) -> None:
        text = GOOD.replace("ok 1 selftests: rdax: node", "not ok 1 selftests: rdax: node # exit=1")
        self.assertEqual(self.count(text), (2, 1, 2))

    def test_program_without_lines_fails(self) -> None:
        text = GOOD.replace("ok 2 selftests", "not ok 2 selftests")
        self.assertEqual(self.count(text), (1, 1, 2))

    def test_program_ends_early(self) -> None:
        text = GOOD.replace("# 1..2", "# 1..9")
        self.assertEqual(self.count(text), (2, 1, 2))

    def test_guest_dies(self) -> None:
        self.assertEqual(self.count(GOOD[:GOOD.index("# selftests: rdax: pfnmap")], 125), (2, 1, 1))

    def test_nothing(self) -> None:
        self.assertEqual(self.count(""), (0, 1, 0))


class VerdictsTest(unittest.TestCase):
    def count(self, text: str, status: int) -> tuple[int, int, int]:
        tap = Tap(io.StringIO())
        reader = Verdicts(tap, "suite")
        for line in text.splitlines():
            reader.line(line)
        reader.end(status)
        return tap.passed, tap.failed, tap.skipped

    def test_cargo(self) -> None:
        text = "test a::b ... ok\ntest a::c ... FAILED\ntest a::d ... ignored, slow\n"
        self.assertEqual(self.count(text, 101), (1, 1, 1))

    def test_does_not_compile(self) -> None:
        self.assertEqual(self.count("error: no\n", 101), (0, 1, 0))

    def test_none_ran(self) -> None:
        self.assertEqual(self.count("running 0 tests\n", 0), (0, 1, 0))


class PartTest(unittest.TestCase):
    def test_programs_are_not_mixed(self) -> None:
        out = io.StringIO()
        tap = Tap(out)
        readers = [Kselftest(Part(tap), prefix) for prefix in ("", "cxl: ")]
        for lines in zip(GOOD.splitlines(), GOOD.splitlines()):
            for reader, line in zip(readers, lines):
                reader.line(line)
        for reader in readers:
            reader.end(0)
            reader.tap.together()
        self.assertEqual((tap.passed, tap.failed, tap.skipped), (4, 0, 4))
        printed = out.getvalue()
        first = printed.index("ok 1 - rdax: node: node.seek")
        second = printed.index("ok 3 - cxl: rdax: node: node.seek")
        self.assertLess(first, printed.index("ok 2 - rdax: node"))
        self.assertLess(printed.index("ok 2 - rdax: node"), second)
        self.assertEqual(printed.count("# timeout set to 45"), 2)


class TapTest(unittest.TestCase):
    def test_last_line(self) -> None:
        out = io.StringIO()
        tap = Tap(out)
        tap.result(True, "a # b")
        tap.result(True, "c", "no reason")
        self.assertEqual(tap.end(), 0)
        self.assertEqual(out.getvalue().splitlines(), [
            "TAP version 13", "ok 1 - a  b", "ok 2 - c # SKIP no reason", "1..2",
            "1 passed, 0 failed, 1 skipped"])

    def test_nothing_ran(self) -> None:
        self.assertEqual(Tap(io.StringIO()).end(), 1)

    def test_only_skipped(self) -> None:
        tap = Tap(io.StringIO())
        tap.result(True, "a", "why")
        self.assertEqual(tap.end(), 1)

    def test_lines_of_bytes(self) -> None:
        lines: list[str] = []
        sink = by_lines(lines.append)
        for piece in (b"one\r\ntw", b"o\nthr"):
            sink(piece)
        self.assertEqual(lines, ["one", "two"])


if __name__ == "__main__":
    unittest.main()
