# SPDX-License-Identifier: GPL-2.0
"""scripts/inside/reached.py: what the tools print, and the tables that are made of it."""

import unittest

import reached
from reached import Frame, Place

OBJDUMP = """\
Disassembly of section .text:
0000000000000010 <_RNvX>:
  14:	e8 00 00 00 00       	call   19 <_RNvX+0x9>
			15: R_X86_64_PLT32	__sanitizer_cov_trace_pc-0x4
  1a:	e8 00 00 00 00       	call   1f <_RNvX+0xf>
			1b: R_X86_64_PLT32	mutex_lock-0x4
  20:	e8 00 00 00 00       	call   25 <_RNvX+0x15>
			21: R_X86_64_PLT32	__sanitizer_cov_trace_pc-0x4
  25:	48 c7 c7 00 00 00 00 	mov    $0x0,%rdi
			28: R_X86_64_32S	.rodata
  2a:	e8 00 00 00 00       	call   2f <_RNvX+0x1f>
			2b: R_X86_64_PLT32	_RNvNtCs1_4core9panicking5panic-0x4
  30:	e8 00 00 00 00       	call   35 <_RNvX+0x25>
			31: R_X86_64_PLT32	__sanitizer_cov_trace_pc-0x4
""".splitlines()

ADDR2LINE = """\
0x0000000000000019
<core::option::Option<u64>>::map::<u64, F>
/usr/lib/rustlib/src/rust/library/core/src/option.rs:1100
<rdax_main::dax::entries::Word<T> as core::clone::Clone>::clone
/build/kcov/rust/dax/entries/word.rs:30 (discriminator 2)
rdax_main::dax::ops::fault::fault
/build/kcov/rust/dax/ops/fault.rs:77
0x0000000000000035
??
??:?
""".splitlines()


class Reached(unittest.TestCase):
    def test_places(self) -> None:
        self.assertEqual(list(reached.places(OBJDUMP)),
                         [Place(".text", 0x19), Place(".text", 0x35)])

    def test_frames(self) -> None:
        first, second = reached.frames(ADDR2LINE, "/build/kcov/")
        self.assertEqual([(f.path, f.line) for f in first],
                         [("rust/dax/entries/word.rs", 30), ("rust/dax/ops/fault.rs", 77)])
        self.assertEqual(first[1].function, "dax::ops::fault::fault")
        self.assertEqual(second, [])

    def test_compact(self) -> None:
        self.assertEqual(reached.compact([9, 1, 2, 3, 7]), "1-3, 7, 9")

    def test_where(self) -> None:
        known = {Place(".text", 4), Place(".init.text", 4)}
        sections = ".text:0x1000\n"
        self.assertEqual(list(reached.where("1004\n1005\n", sections, known)), [Place(".text", 4)])
        self.assertEqual(list(reached.where("204\n1004\n", f"base:e00\n{sections}", known)),
                         [Place(".text", 4)])

    def test_reason(self) -> None:
        known = {"rust/dax/": "one", "rust/dax/a.rs": "two", "rust/dax/a.rs f": "three"}
        self.assertEqual([reached.reason(known, path, function) for path, function in (
            ("rust/dax/a.rs", "f"), ("rust/dax/a.rs", "g"), ("rust/dax/b/c.rs", "f"),
            ("rust/helpers/a.c", "f"))], ["three", "two", "one", ""])

    def test_tables(self) -> None:
        one, two = Frame("a", "rust/dax/a.rs", 1), Frame("b", "rust/dax/a.rs", 9)
        inlined = Frame("c", "rust/kernel_ext/c.rs", 5)
        at = [Place(".text", offset) for offset in range(3)]
        known = dict(zip(at, ([inlined, one], [two], [one])))
        text = reached.by_file(known, {at[0]})
        self.assertEqual(text[0], "1 of 3 places of the module were reached.")
        self.assertIn("| `rust/dax/a.rs` | 1 of 2 | 0 of 2 |", text)
        self.assertIn("| `rust/kernel_ext/c.rs` | 1 of 1 | 1 of 1 |", text)
        # A line is reached if one of its places is.
        text = reached.missing(known, {at[0]}, reached.reasons("# a comment\nrust/dax/a.rs b: never\n"))
        self.assertEqual(text[-1], "| `rust/dax/a.rs` | `b` | all | never |")
        self.assertIn("1 functions that were not reached, or not in whole, 0 have no reason", text[0])


if __name__ == "__main__":
    unittest.main()
