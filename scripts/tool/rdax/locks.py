# SPDX-License-Identifier: GPL-2.0
"""What is not interrupted, and what only one process does at a time."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from . import files
from .machine import Machine

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals wait meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def locked(machine: Machine) -> Iterator[None]:
    """One of this program at a time: the module's parameters are everybody's."""
    handle = files.opened(machine.driver, os.O_RDONLY | os.O_DIRECTORY, "read")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
