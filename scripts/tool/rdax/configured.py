# SPDX-License-Identifier: GPL-2.0
"""What the configuration says of a namespace, and of the names of devices."""

from collections.abc import Iterable
from pathlib import Path

from . import files
from .config import Config, DeviceConfig, Entry, read_config
from .devices import store
from .division import is_about
from .errors import CREATE_ERRORS, reason
from .files import exact
from .kernellog import kernel_log
from .machine import Machine
from .say import FAILED, Failure, say


def read_if_any(machine: Machine) -> Config:
    """The configuration, or an empty one if it cannot be read or does not exist."""
    if machine.config.exists():
        try:
            return read_config(machine.config)
        except Failure as failure:
            say(f"the configuration is not looked at: {failure}")
    return Config([], [], [])


def entry_of(config: Config, namespace: Path) -> Entry | None:
    """The entry for a namespace that says how it is divided."""
    for entry in config.entries:
        if is_about(entry, namespace) and entry.region.devices:
            return entry
    return None


def names_of_others(config: Config, namespace: Path) -> set[str]:
    """The names that other namespaces' devices will have."""
    return {name for entry in config.entries if not is_about(entry, namespace)
            for name in entry.names()}


def free_name(machine: Machine, reserved: Iterable[str]) -> str:
    number, taken = 0, set(reserved)
    while f"rdax{number}" in taken or (machine.devices / f"rdax{number}").exists():
        number += 1
    return f"rdax{number}"


def make_device(machine: Machine, region: Path, wanted: DeviceConfig) -> None:
    with kernel_log(machine) as log:
        try:
            files.write(region / "create", wanted.name)
        except OSError as error:
            logged = log.find(rf"\bcreate {wanted.name} refused: (.*)")
            why = reason(error, CREATE_ERRORS, logged, region.parent)
            raise Failure(FAILED, f"{wanted.name} can't be made: {why}") from None
    device = machine.device(wanted.name)
    if exact(device / "align") != wanted.align:
        store(machine, device, "align", str(wanted.align))
    for run in wanted.runs:
        store(machine, device, "extents", f"{run.offset} {run.length}")
