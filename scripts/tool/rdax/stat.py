# SPDX-License-Identifier: GPL-2.0
"""rdax stat: what the counters of devices say, in total and per second, as iostat(1) does."""

import argparse
import sys
import time
from typing import Any, NamedTuple

from .attributes import counters
from .list import table
from .machine import Machine
from .report import report
from .say import FAILED, MISSING, OUTPUT, Failure, show

# The columns: a group, a title, and the counters that are added up.
COLUMNS = (
    ("MAPPED", "4K", ("faults/pte_mapped",)),
    ("MAPPED", "2M", ("faults/pmd_mapped",)),
    ("MAPPED", "1G", ("faults/pud_mapped",)),
    ("FALLBACK", "2M", ("faults/pmd_fallback",)),
    ("FALLBACK", "1G", ("faults/pud_fallback",)),
    ("", "SIGBUS", ("faults/pte_sigbus", "faults/pmd_sigbus", "faults/pud_sigbus",
                    "faults/hwpoison")),
    ("", "WAITS", ("entries/waits",)),
    ("", "WAKES", ("entries/wakes",)),
    ("", "WRITTEN", ("entries/writebacks",)),
)
GROUPS = ("faults", "entries")


class Sample(NamedTuple):
    """The counters of the devices at one time."""

    when: float
    devices: dict[str, dict[str, int]]


def sample(machine: Machine, names: list[str]) -> Sample:
    paths = [machine.device(name) for name in names] or machine.all_devices()
    found = {}
    for path in paths:
        values = {f"{group}/{name}": value for group in GROUPS
                  for name, value in counters(path / group).items()}
        if values:
            found[path.name] = values
        elif names:
            raise Failure(MISSING, f"{path.name} no longer exists")
    return Sample(time.monotonic(), found)


def since(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """What was counted in between. A device that was made again has counted from 0."""
    if any(value < before.get(name, 0) for name, value in now.items()):
        return now
    return {name: value - before.get(name, 0) for name, value in now.items()}


def short(number: float) -> str:
    """At most five characters: 7, 0.3, 1234, 56k, 7.8M. The suffixes are powers of 1000."""
    if number == int(number) and number < 100_000:
        return str(int(number))
    for unit, suffix in ((1, ""), (1000, "k"), (10 ** 6, "M"), (10 ** 9, "G")):
        value = number / unit
        if value < 99.95:
            return f"{value:.1f}{suffix}"
        if value < 9999.5:
            return f"{value:.0f}{suffix}"
    return f"{number:.0e}"


def lines(counts: dict[str, dict[str, int]], seconds: float | None) -> list[str]:
    """A table; of totals if there are no seconds."""
    title = "TOTAL" if seconds is None else "PER SECOND"
    rows = [["DEVICE", *(name for _, name, _ in COLUMNS)]]
    for device, found in counts.items():
        numbers = (sum(found.get(name, 0) for name in names) for _, _, names in COLUMNS)
        rows.append([device, *(short(number / (seconds or 1)) for number in numbers)])
    # The widths stay the same from one report to the next.
    rows.append(["x" * 10, *["x" * 5] * len(COLUMNS)])
    body = table(rows, range(1, len(COLUMNS) + 1))[:-1]
    head = title.ljust(10)
    for group in ("MAPPED", "FALLBACK"):
        number = sum(column[0] == group for column in COLUMNS)
        head += "  " + f" {group} ".center(number * 5 + (number - 1) * 2, "-")
    return [head, *body]


def data(counts: dict[str, dict[str, int]], seconds: float | None,
         machine: Machine) -> dict[str, Any]:
    return {"seconds": None if seconds is None else round(seconds, 6), "devices": [
        {"name": name, "namespace": machine.home(machine.path_of(name)),
         **{group: {counter.removeprefix(f"{group}/"): value for counter, value in found.items()
                    if counter.startswith(f"{group}/")} for group in GROUPS}}
        for name, found in counts.items()]}


def do_stat(machine: Machine, args: argparse.Namespace) -> None:
    if not machine.sys.is_dir():
        raise Failure(FAILED, f"there is no sysfs at {machine.sys}")
    names = list(dict.fromkeys(args.devices))
    before: Sample | None = None
    left = args.count or (0 if args.interval else 1)
    while True:
        now = sample(machine, names)
        seconds = now.when - before.when if before else None
        counts = now.devices
        if before:
            counts = {name: since(found, before.devices.get(name, {}))
                      for name, found in now.devices.items()}
        if args.json and args.interval:
            import json

            show(json.dumps(data(counts, seconds, machine)))
        else:
            text = lines(counts, seconds) if counts else ["there is no device"]
            # An empty line between two reports.
            report(args, data(counts, seconds, machine), "\n".join([*[""] * bool(before), *text]))
        left -= 1
        # Without a limit, `left` is never 0.
        if not left or OUTPUT.error:
            return
        if sys.stdout:
            sys.stdout.flush()
        before = now
        time.sleep(args.interval)
