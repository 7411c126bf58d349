# SPDX-License-Identifier: GPL-2.0
"""What the kernel logs while it does something for this program."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from .machine import Machine
from .say import printable

LOG_ERR = 3


class KernelLog:
    """What is logged from now on, if that may be read."""

    def __init__(self, machine: Machine) -> None:
        self.handle = -1
        self.seen: list[str] = []
        try:
            self.handle = os.open(machine.dev / "kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self.handle, 0, os.SEEK_END)
        except OSError:
            self.close()

    def close(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)
        self.handle = -1

    def lines(self) -> list[str]:
        while self.handle >= 0:
            try:
                record = os.read(self.handle, 1 << 14)
            except BrokenPipeError:
                # Some were overwritten before they were read.
                continue
            except OSError:
                break
            if not record:
                break
            # Lines of properties begin with a space.
            self.seen += [line for line in record.decode(errors="replace").split("\n")
                          if not line.startswith(" ")]
        return self.seen

    def find(self, pattern: str, level: int = 7) -> str:
        """The first group in the last line that has it, of those that are at least so serious."""
        found = ""
        for line in self.lines():
            # priority,number,time,flags;text, and lines of properties
            head, _, text = line.partition(";")
            priority = head.partition(",")[0]
            serious = re.fullmatch("[0-9]{1,9}", priority) and int(priority) & 7 <= level
            match = re.search(pattern, text)
            if match and serious:
                found = match[1]
        return printable(found)


@contextmanager
def kernel_log(machine: Machine) -> Iterator[KernelLog]:
    log = KernelLog(machine)
    try:
        yield log
    finally:
        log.close()
