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
    "[   12.345678] kmemleak: unreferenced object 0xffff888008888000 (size 64):",
    "[   12.345678] kmemleak: Kernel memory leak detector disabled",
    "[   12.345678] kmemleak: Cannot allocate a kmemleak_object structure",
    "[   12.345678] WARNING: lock held when returning to user space!",
    "[   12.345678] WARNING: suspicious RCU usage",
    "[   12.345678] [ BUG: Invalid wait context ]",
    "[   12.345678] BUG: sleeping function called from invalid context at mm/memory.c:1",
    "[   12.345678] BUG: MAX_LOCKDEP_CHAINS too low!",
    "[   12.345678] BUG: KASAN: slab-use-after-free in rdax_fault+0x1/0x2 [rdax]",
    "[   12.345678] BUG: KFENCE: use-after-free read in rdax_fault+0x1/0x2 [rdax]",
    "[   12.345678] BUG kmalloc-64 (Tainted: G           O       ): Poison overwritten",
    "[   12.345678] FIX kmalloc-64: Restoring Poison 0x1-0x2=0x6b",
    "[   12.345678] INFO: trying to register non-static key.",
    "[   12.345678] INFO: lockdep is turned off.",
    "[   12.345678] ODEBUG: free active (active state 0) object: ff hint: work_fn+0x0/0x1",
    "[   12.345678] kernel BUG at mm/page_table_check.c:121!",
    "[   12.345678]     # orders: ASSERTION FAILED at rust/kernel_ext/xarray.rs:0",
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
    "[ 3282.565118] kmemleak: Cannot allocate a scan area, scanning the full object",
    "[    0.200000] kmemleak: Kernel memory leak detector initialized (mem pool available: 38000)",
    "[    8.100000]     ok 1 orders",
    "[    0.300000] kfence: initialized - using 2097152 bytes for 255 objects at 0x1-0x2",
    "WARNING: this is not the kernel's",
)


def leak(caller: str) -> list[str]:
    return ["[   12.345678] kmemleak: unreferenced object 0xff11000102affe60 (size 32):",
            '[   12.345679] kmemleak:   comm "ndctl", pid 1, jiffies 4295442664',
            f"[   12.345680] kmemleak:     {caller}+0x41/0x80"]


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

    def test_known_leaks(self) -> None:
        known, other = leak("device_set_deferred_probe_reason"), leak("rdax_fault")

        def found(number: int, *leaks: list[str]) -> list[str]:
            told = f"[   12.345677] kmemleak: {number} new suspected memory leaks (see kmemleak)"
            return trouble([told, *sum(leaks, [])])

        self.assertEqual(found(1, known), [])
        self.assertEqual(found(2, known, known), [])
        self.assertEqual(len(found(2, known, other)), 3)
        self.assertEqual(len(found(2, other, known)), 3)
        self.assertEqual(len(found(1, other)), 2)
        # Not all of them are shown.
        self.assertEqual(len(found(2, known)), 2)


if __name__ == "__main__":
    unittest.main()
