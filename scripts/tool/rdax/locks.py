# SPDX-License-Identifier: GPL-2.0
"""What is not interrupted, and what only one process does at a time."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from .machine import Machine
from .say import say

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
    """One of this program at a time: the module's parameters are everybody's.

    Only root can open this file, so only root can make others wait. Who can't changes nothing.
    """
    try:
        handle = os.open(machine.driver / "bind", os.O_WRONLY | os.O_CLOEXEC)
    except PermissionError:
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another rdax is at work: this one waits for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
