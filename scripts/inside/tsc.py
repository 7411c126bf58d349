# SPDX-License-Identifier: GPL-2.0
"""The frequency of this machine's TSC, in kHz. Under TCG a guest's TSC has the same frequency.

On a busy host Linux, as it boots, may take it for a fraction of what it is: its loops count the TSC
beside a timer that QEMU serves late. The guest's clock then runs too fast by the same factor.
"""

import ctypes
import functools
import mmap
import os
import time

# rdtsc; shl $32, %rdx; or %rdx, %rax; ret
CODE = bytes.fromhex("0f31 48c1e220 4809d0 c3")
SECONDS = 0.1
TRIES = 10


@functools.cache
def khz() -> int | None:
    """None where there is no TSC. Takes SECONDS."""
    if os.uname().machine != "x86_64":
        return None
    prot = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    with mmap.mmap(-1, mmap.PAGESIZE, prot=prot) as page:
        page.write(CODE)
        start = ctypes.c_char.from_buffer(page)
        read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(start))

        def sample() -> tuple[int, int]:
            """Nanoseconds and ticks; of several, those that were read closest together."""
            _, ns, ticks = min(one() for _ in range(TRIES))
            return ns, ticks

        def one() -> tuple[int, int, int]:
            before = time.monotonic_ns()
            ticks = read()
            after = time.monotonic_ns()
            return after - before, (before + after) // 2, ticks

        first_ns, first = sample()
        time.sleep(SECONDS)
        last_ns, last = sample()
        # the page can't be unmapped while something refers to it
        del start
    return round((last - first) * 1_000_000 / (last_ns - first_ns))
