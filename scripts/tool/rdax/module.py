# SPDX-License-Identifier: GPL-2.0
"""Loading the module, and changing its parameters for a while."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import files
from .errors import LOAD_ERRORS, PARAMETER_ERRORS, reason
from .files import read, read_or
from .kernellog import kernel_log
from .locks import uninterrupted
from .machine import Machine, uuid_of
from .say import FAILED, FORBIDDEN, Failure, printable, say, text_of
from .values import LONGEST_NAME, PAGE

CAP_SYS_MODULE = 16
# Where modprobe and insmod are. An empty PATH would stand for the current directory.
PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/bin"
# A file in sysfs shows and takes a page, with the newline and a 0.
LONGEST_PARAMETER = PAGE - 2


def may_load() -> bool:
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", read_or(Path("/proc/self/status")), re.MULTILINE)
    return match is None or bool(int(match[1], 16) >> CAP_SYS_MODULE & 1)


def load_module(machine: Machine, path: str | None) -> None:
    import subprocess

    if machine.driver.is_dir():
        return
    if not may_load():
        raise Failure(FORBIDDEN, "not permitted: the right to load a module (CAP_SYS_MODULE) is "
                                 "needed, because rdax is not loaded; root has it")
    command = ["insmod", path] if path else ["modprobe", "rdax"]
    env = dict(os.environ, PATH=PROGRAMS, LC_ALL="C")
    with kernel_log(machine) as log:
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  errors="replace", env=env, check=False)
        except OSError as error:
            raise Failure(FAILED, f"the module can't be loaded: {command[0]}: "
                                  f"{error.strerror}") from None
        # That a module taints the kernel is no reason.
        logged = log.find(r"((?:\brdax: |Loading of |Lockdown: )(?!.*\btaint).*)")
    if done.returncode or not machine.driver.is_dir():
        why = printable(" ".join(done.stderr.split())) or "the driver isn't there after it"
        meaning = next((text for said, text in LOAD_ERRORS.items() if said in why), "")
        why = "; ".join(filter(None, [why, logged and f"the kernel's log: {logged}", meaning]))
        raise Failure(FAILED, f"the module can't be loaded: {why}"
                              f"{'' if path else ' (--module names its file)'}")


def load_driver(machine: Machine, driver: Path, module: str) -> None:
    """A driver of Linux, by modprobe."""
    import subprocess

    if driver.is_dir():
        return
    if not may_load():
        raise Failure(FORBIDDEN, "not permitted: the right to load a module (CAP_SYS_MODULE) is "
                                 f"needed, because {module} is not loaded; root has it")
    env = dict(os.environ, PATH=PROGRAMS, LC_ALL="C")
    try:
        done = subprocess.run(["modprobe", module], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", env=env, check=False)
    except OSError as error:
        raise Failure(FAILED, f"{module} can't be loaded: modprobe: {error.strerror}") from None
    if done.returncode or not driver.is_dir():
        why = printable(" ".join(done.stderr.split())) or "the driver isn't there after it"
        raise Failure(FAILED, f"{module} can't be loaded: {why}")


def set_parameter(machine: Machine, name: str, values: Sequence[str]) -> None:
    """Makes a parameter the first of these values that the module takes."""
    refusal = ""
    for value in values:
        with kernel_log(machine) as log:
            try:
                files.write(machine.parameters / name, value)
                return
            except OSError as error:
                why = reason(error, PARAMETER_ERRORS, log.find(rf"\brdax: parameter {name}: (.*)"))
        shown = value if len(value) < LONGEST_NAME else f"{value[:LONGEST_NAME]}..."
        refusal = refusal or f"the parameter {name} can't be made '{shown}': {why}"
    raise Failure(FAILED, refusal)


@contextmanager
def parameters(machine: Machine, values: dict[str, Sequence[str]]) -> Iterator[None]:
    """Parameters of the module as they are to be, for a while."""
    before: dict[str, str] = {}
    try:
        for name, wanted in values.items():
            before[name] = read(machine.parameters / name)
            set_parameter(machine, name, wanted)
        yield
    finally:
        with uninterrupted():
            for name, value in before.items():
                try:
                    files.write(machine.parameters / name, value)
                except (Failure, OSError) as error:
                    say(f"parameter {name} could not be made '{value}' again: {text_of(error)}")


def with_namespace(listed: str, namespace: Path) -> list[str]:
    """A list of namespaces with one more: what may be written, the best first, or nothing.

    A namespace that has a UUID is named by it: the driver does not take its name. An older driver
    takes only names, and only 255 characters. The others are needed for namespaces that appear
    while the parameter is changed.
    """
    items = [item.strip() for item in listed.split(",") if item.strip()]
    uuid = uuid_of(namespace)
    if (uuid or namespace.name) in [item.lower() for item in items]:
        return []
    names = [uuid, namespace.name] if uuid else [namespace.name]
    lists = [",".join(before + [name]) for name in names for before in (items, [])]
    return [text for text in dict.fromkeys(lists) if len(text) < LONGEST_PARAMETER]
