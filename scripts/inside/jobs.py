# SPDX-License-Identifier: GPL-2.0
"""Jobs that don't depend on each other, as many at once as the host can carry.

A guest's two CPUs keep little more than one of the host's busy, so two guests at once take not
much longer than one. With $RDAX_LEDGER, what is done is noted there, and not done again.
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import guest
import ledger
from tap import Part, Results, Tap

AT_ONCE = 2
# In seconds: by then the main thread has received the signal that ended the guest.
INTERRUPTION = 2


class Job(NamedTuple):
    # SUITE:NAME
    name: str
    run: Callable[[Results], None]
    # Does it depend on all files, or only on those that guests use? OWN: a file that it needs besides.
    whole: bool = False
    own: bytes = b""


def say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


def run(tap: Tap, jobs: Sequence[Job]) -> None:
    """Run them, AT_ONCE at a time, in the order given; what one prints together stays together."""
    noted = ledger.of_environment()
    todo = []
    for job in jobs:
        done = noted.done(job.name, noted.states.of(job.whole, job.own)) if noted else None
        if done:
            tap.comment(f"{job.name}: done before, {done.verdict()}")
        else:
            todo.append(job)
    interrupted = threading.Event()
    progress = ledger.Progress([job.name for job in todo], noted, AT_ONCE)

    def one(job: Job) -> None:
        say(job.name)
        part = Part(tap)
        begun = time.monotonic()
        attempt(part, job)
        seconds = time.monotonic() - begun
        # An interruption ends the guest, too, which is not the job's failure.
        if part.failed and interrupted.wait(INTERRUPTION):
            return
        if noted:
            noted.note(job.name, noted.states.of(job.whole, job.own), part, seconds)
        say(f"{job.name}: {seconds:.0f} s{progress.after(job.name, seconds)}")

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for future in [pool.submit(one, job) for job in todo]:
            future.result()
    except KeyboardInterrupt:
        interrupted.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def attempt(tap: Results, job: Job) -> None:
    try:
        job.run(tap)
    except guest.GuestError as error:
        tap.comment(str(error))
        tap.result(False, f"{job.name}: the guest starts")
    finally:
        tap.together()
