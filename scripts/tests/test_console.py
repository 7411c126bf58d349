# SPDX-License-Identifier: GPL-2.0
"""What on the console is trouble and what is not."""

import unittest

from console import PROVOKED, trouble

TROUBLE = (
    "[   12.345678] WARNING: mm/memory.c:42 at vmf_insert_pfn_prot+0x1/0x2, CPU#1: node/123",
    "[   12.345678] WARNING: possible circular locking dependency detected",
    "[   12.345678] WARNING: possible recursive locking detected",
    "[   12.345678] BUG: unable to handle page fault for address: ffff",
    "[   12.345678] BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "[   12.345678] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [node:123]",
    "[   12.345678] kernel BUG at mm/memory.c:2519!",
    "[   12.345678] Oops: Oops: 0000 [#1] SMP NOPTI",
    "[   12.345678] Oops: general protection fault, probably for non-canonical address",
    "[   12.345678][  T123] Call Trace:",
    "[   12.345678] INFO: task node:123 blocked for more than 120 seconds.",
    "[   12.345678] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "[   12.345678] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    "[   12.345678] mm/pgtable-generic.c:44: bad pud 00000000deadbeef(80000001400000e7)",
    "[   12.345678] Kernel panic - not syncing: Attempted to kill init!",
    "[   12.345678] mce: [Hardware Error]: Machine check events logged",
    "[   12.345678] mce: [Hardware Error]: CPU 0: Machine Check Exception: 5 Bank 9: bd00000000000090",
)
FINE = (
    "[    5.123456] rdax: loading out-of-tree module taints kernel.",
    "[    5.123456] rdax: module verification failed: signature and/or required key missing",
    "[    2.066998] clocksource: Watchdog remote CPU 1 read timed out",
    "[    0.123456] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
    "[    1.219209] Freeing unused kernel image (text/rodata gap) memory: 420K",
    "[    8.000000] rdax namespace1.0: refused: an ext4 file system",
    "WARNING: this is not the kernel's",
)


class ConsoleTest(unittest.TestCase):
    def test_trouble(self) -> None:
        for line in TROUBLE:
            with self.subTest(line):
                self.assertEqual(trouble([line]), [line])

    def test_fine(self) -> None:
        self.assertEqual(trouble(FINE), [])

    def test_provoked(self) -> None:
        for line in TROUBLE:
            with self.subTest(line):
                allowed = line.endswith("events logged")
                self.assertEqual(trouble([line], PROVOKED), [] if allowed else [line])


if __name__ == "__main__":
    unittest.main()
