#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What on a kernel's console says that the kernel is not well."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

# [    1.234567] or, with caller information, [    1.234567][ T1]
STAMP = r"^(<\d+>)?\[\s*\d+\.\d+\](\[[^]]*\])?\s"
TROUBLE = re.compile(
    STAMP + r".*?("
    r"\bWARNING: "
    r"|\bBUG: |\bBUG \S+ \(|kernel BUG at "
    r"|\bOops\b|Kernel panic|Call Trace:"
    r"|general protection fault|unable to handle"
    r"|possible (circular|recursive) locking|INFO: possible |possible irq lock inversion"
    r"|INFO: trying to register non-static key|INFO: lockdep is turned off"
    r"|INFO: task .* blocked for|INFO: rcu|rcu: INFO: .* (stall|detected)"
    r"|\b(KASAN|KFENCE|KCSAN|UBSAN): "
    # Of a lack of memory kmemleak says besides that it takes an object for larger than it is.
    r"|kmemleak: (\d+ new|Cannot (?!allocate a scan area)|Kernel memory leak detector disabled)"
    r"|unreferenced object"
    r"|\bODEBUG: |Slab corruption|FIX \S+: |(EXPECTATION|ASSERTION) FAILED at "
    r"|refcount_t: |list_(add|del) corruption|Bad page (state|map)|sleeping function called"
    r"|\bbad (pgd|p4d|pud|pmd) "
    r"|\[Hardware Error\]"
    r")")
# Advice that some machines' kernels give at boot.
ADVICE = re.compile(
    r"(Spectre|MDS|TAA|MMIO|RETBleed|SRSO|L1TF|VMSCAPE)\b.*: WARNING: ", re.IGNORECASE)
# A machine check that a test asked QEMU for, and that nfit took charge of.
PROVOKED = re.compile(STAMP + r"mce: \[Hardware Error\]: Machine check events logged$")
# What kmemleak says: how many objects it has found, the head of each one's record, and a caller
# that is in the record of a leak of the kernel itself, see Documentation/kernel-bugs.rst.
LEAKS = re.compile(STAMP + r"kmemleak: (\d+) new suspected memory leaks")
LEAK = re.compile(STAMP + r"kmemleak: unreferenced object ")
KNOWN_CALLER = re.compile(STAMP + r"kmemleak: +device_set_deferred_probe_reason\+")


def without_known_leaks(lines: list[str]) -> list[str]:
    """The lines without those that tell of leaks, if all of them are known."""
    number = sum(int(found[3]) for line in lines if (found := LEAKS.match(line)))
    known: list[bool] = []
    for line in lines:
        if LEAK.match(line):
            known.append(False)
        elif known and KNOWN_CALLER.match(line):
            known[-1] = True
    if len(known) != number or not all(known):
        return lines
    return [line for line in lines if not LEAKS.match(line) and not LEAK.match(line)]


def trouble(lines: Iterable[str], allowed: re.Pattern[str] | None = None) -> list[str]:
    return [line.rstrip() for line in without_known_leaks(list(lines))
            if TROUBLE.search(line) and not ADVICE.search(line)
            and not (allowed and allowed.search(line.rstrip()))]


def main() -> int:
    found = trouble(Path(sys.argv[1]).read_text(errors="replace").splitlines())
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
