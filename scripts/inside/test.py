#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Every test of rdax, as one TAP stream: test.py [SUITE...], of host, guest, torture,
persist.

host      the checks of scripts/inside/check, Rust's and Python's unit tests, and that a
          warning on a guest's console is found
guest     the kselftests of samples/selftests in a guest, by Linux's own runner; those of
          SPECIAL and ODD in these guests, those of NODES in one with two NUMA nodes, those of
          DAX in each guest that has a device of the dax bus, VFIO in one that also has an IOMMU
torture   the short form of scripts/inside/torture.py
persist   a pattern written in one boot and verified in the next; a page that is dirty when
          the machine shuts down
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import guest
import torture
from tap import Kselftest, Reader, Tap, Verdicts, by_lines

INSIDE = Path("/rdax/scripts/inside")
CHECKS = ("fmtcheck", "clippy", "checkpatch", "shellcheck", "mypy", "mutants", "layers", "docs")
SCRIPT_TESTS = Path("/rdax/scripts/tests")
RUST_HOST = Path("/rdax/rust/host")
CARGO = {"CARGO_TARGET_DIR": "/build/cargo", "CARGO_HOME": "/build/cargo-home"}
LITMUS = Path("/rdax/Documentation/litmus-tests")
MEMORY_MODEL = Path("/kernel/linux/tools/memory-model")
KSELFTEST = Path("/build/kselftest")
PERSIST = KSELFTEST / "rdax/persist.sh"
SHUTDOWN = KSELFTEST / "rdax/shutdown.sh"
# samples/selftests/settings
PROGRAM_TIMEOUT = 600
# What needs QEMU's monitor, or caches that survive a power failure: in the special guest only.
SPECIAL = ("poison_mce", "eadr", "flush_unknown.sh")
# What needs memory with labels, read-only, not aligned, or of the e820 map.
ODD = ("read_only_dimm.sh", "unaligned.sh", "legacy.sh", "hotplug.sh", "identity.sh")
# What needs several NUMA nodes.
NODES = ("lock_comparison.sh", "walkers_nodes.sh")
# What needs a device for VFIO, and a device of the dax bus.
VFIO = ("vfio",)
# What needs a device of the dax bus, in the guests of each kind. After daxbus.sh it is gone.
DAX = {guest.CXL: ("dax_udev.sh", "dax_tools.sh", "rdax_dax.sh", "pages", "tracked",
                   "dax_takeover.sh", "daxbus.sh"),
       guest.HMEM: ("dax_tools.sh", "rdax_dax.sh", "pages", "tracked", "dax_takeover.sh",
                    "daxbus.sh"),
       guest.DEVDAX: ("dax_udev.sh", "dax_tools.sh", "rdax_dax.sh", "pages", "tracked",
                      "dax_takeover.sh", "daxbus.sh")}
# Of those that run on any device (DAX_PROGS in the Makefile), in the guest whose dax device is the
# largest: what depends most on the media and on who binds it. All of them take too long.
DAX_PROGRAMS = ("map_sizes", "race_sizes", "unbind", "punch", "upgrade", "collide", "fsync", "rw",
                "poison")
# Of these, with pages. (The test `pages` has what they have of their own.)
PAGES_PROGRAMS = ("unbind", "collide", "splice", "kvm")
# Of these, with tracked pages. (The test `tracked` has what they have of their own.)
TRACKED_PROGRAMS = ("fsync",)


class Fold:
    """Collects lines, to be shown only if something failed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


def host_command(tap: Tap, name: str, command: Sequence[str | Path]) -> bool:
    """One result: did COMMAND exit with 0? Its output only if it didn't."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        for line in done.stdout.decode(errors="replace").splitlines():
            tap.comment(line)
    tap.result(done.returncode == 0, name)
    return done.returncode == 0


def host_verdicts(tap: Tap, suite: str, command: Sequence[str | Path], **env: str) -> None:
    reader = Verdicts(tap, suite)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", env=os.environ | env)
    assert process.stdout is not None
    for line in process.stdout:
        reader.line(line.rstrip("\n"))
    reader.end(process.wait())


def in_guest(tap: Tap, name: str, command: Sequence[str], reader: Reader | None,
             timeout: float, *, parameters: str = "",
             machine: guest.Machine | None = None) -> guest.Result:
    """Run COMMAND in a guest; two results: did it end as it should, is its console clean?"""
    fold = Fold()
    result = guest.boot(command, timeout=timeout, name=name.replace(" ", "-"),
                        parameters=parameters, machine=machine or guest.Machine(),
                        sink=by_lines(reader.line if reader else fold.line))
    if reader:
        reader.end(result.status)
        # the runner's exit status repeats what its lines say
        ended = result.status not in (guest.TIMED_OUT, guest.NO_STATUS)
    else:
        ended = result.status == 0
    if not ended or result.trouble:
        for line in [*fold.lines, *result.explain()]:
            tap.comment(line)
    tap.result(ended, f"{name}: the guest runs to its end ({result.seconds:.0f} s)")
    tap.result(not result.trouble, f"{name}: the kernel's console is clean")
    return result


def host(tap: Tap) -> None:
    say("host: checks and unit tests")
    for check in CHECKS:
        host_command(tap, f"host: {check}", [INSIDE / "check", check])
    host_verdicts(tap, "host: scripts",
                  ["python3", "-B", "-m", "unittest", "discover", "-v", "-s", SCRIPT_TESTS],
                  PYTHONPATH=f"{INSIDE}:{INSIDE.parent}/tool")
    rust(tap)
    litmus(tap)
    say("host: a guest that warns on its console")
    result = guest.boot(["sh", "-c", "echo '<4>WARNING: not a real one' >/dev/kmsg"],
                        timeout=120, name="warns", sink=lambda data: None)
    tap.result(result.status == 0 and len(result.trouble) == 1
               and result.exit_status == guest.TROUBLE,
               "host: a warning on a guest's console fails its run")


def rust(tap: Tap) -> None:
    """The tests of rust/host: on real threads, and the protocol under two model checkers."""
    manifest = ["--locked", "--manifest-path", str(RUST_HOST / "Cargo.toml")]
    if not host_command(tap, "host: the crates for rust/host are here",
                        ["env", *(f"{name}={value}" for name, value in CARGO.items()),
                         "cargo", "fetch", *manifest]):
        return
    for feature in ("", "loom", "shuttle"):
        say(f"host: rust {feature}".rstrip())
        features = ["--features", feature] if feature else []
        only = ["tests::protocol"] if feature else []
        host_verdicts(tap, f"host: rust {feature}".rstrip(),
                      ["cargo", "test", "--offline", "--release", *manifest, *features,
                       "--lib", "--", *only], **CARGO)


def litmus(tap: Tap) -> None:
    """Each litmus test of Documentation/ gives the result that it states."""
    for path in sorted(LITMUS.glob("*.litmus")):
        name = f"host: litmus {path.stem}"
        if shutil.which("herd7") is None:
            tap.result(True, name, "there is no herd7 (Debian: herdtools7, not in trixie)")
            continue
        stated = next(line.split()[-1] for line in path.read_text().splitlines()
                      if "Result: " in line)
        done = subprocess.run(["herd7", "-conf", "linux-kernel.cfg", path], cwd=MEMORY_MODEL,
                              capture_output=True, text=True, check=False)
        tap.result(f"Observation {path.stem} {stated} " in done.stdout, name)


def selftests(tap: Tap) -> bool:
    return host_command(tap, "the kselftests build",
                        [INSIDE / "samples", "tests", f"SLOWER={guest.slower()}"])


def options(option: str, programs: Sequence[str]) -> list[str]:
    return [word for program in programs for word in (option, f"rdax:{program}")]


def in_boot(tap: Tap) -> None:
    if not selftests(tap):
        return
    runner = [str(KSELFTEST / "run_kselftest.sh"), "-o", str(PROGRAM_TIMEOUT * guest.slower())]
    say("guest: the kselftests")
    elsewhere = SPECIAL + ODD + NODES + VFIO + DAX[guest.CXL]
    in_guest(tap, "kselftest", [*runner, *options("-S", elsewhere)], Kselftest(tap), timeout=3000)
    say("guest: those that need the special guest")
    in_guest(tap, "special", [*runner, *options("-t", SPECIAL)], Kselftest(tap), timeout=300,
             machine=guest.MACHINES[guest.SPECIAL])
    say("guest: those that need odd memory")
    in_guest(tap, "odd", [*runner, *options("-t", ODD)], Kselftest(tap), timeout=600,
             machine=guest.MACHINES[guest.ODD])
    say("guest: those that need several NUMA nodes")
    in_guest(tap, "nodes", [*runner, *options("-t", NODES)], Kselftest(tap), timeout=300,
             machine=guest.Machine(cpus=4, nodes=2))
    for name, programs in DAX.items():
        say(f"guest: those that need a dax device: {name}")
        in_guest(tap, name, [*runner, *options("-t", programs)], Kselftest(tap), timeout=600,
                 machine=guest.MACHINES[name])
    say("guest: those that need a device for VFIO")
    in_guest(tap, "vfio", [*runner, *options("-t", VFIO)], Kselftest(tap), timeout=300,
             machine=guest.MACHINES[guest.VFIO])
    say("guest: some of the others, on a dax device")
    in_guest(tap, "dax", [*runner, *options("-t", DAX_PROGRAMS)], Kselftest(tap), timeout=1200,
             machine=guest.MACHINES[guest.HMEM])
    say("guest: some of the others, on a dax device with pages")
    in_guest(tap, "pages", ["env", "RDAX_DAX_MEMORY=pages", *runner,
                            *options("-t", PAGES_PROGRAMS)], Kselftest(tap), timeout=600,
             machine=guest.MACHINES[guest.HMEM])
    say("guest: some of the others, on a dax device with tracked pages")
    in_guest(tap, "tracked", ["env", "RDAX_DAX_MEMORY=tracked", *runner,
                              *options("-t", TRACKED_PROGRAMS)], Kselftest(tap), timeout=600,
             machine=guest.MACHINES[guest.HMEM])


def persist(tap: Tap) -> None:
    if not PERSIST.exists() and not selftests(tap):
        return
    seed = str(int(time.time()))
    for verb in ("write", "verify"):
        say(f"persist: {verb}")
        in_guest(tap, f"persist {verb}", [str(PERSIST), verb, seed], None, timeout=180)
    shutdown(tap)


def shutdown(tap: Tap) -> None:
    """The console of a machine that shuts down tells what is written back, by kprobes."""
    say("persist: shutdown")
    result = in_guest(tap, "shutdown", [str(SHUTDOWN)], None, timeout=180, parameters="tp_printk")
    calls = [call for line in result.log
             for call in ("shutting down", "written_back", "flushed") if f" {call}" in line]
    tap.result(calls == ["shutting down", "written_back", "flushed"],
               "shutdown: a dirty page is written back, then the region flushed")


SUITES: dict[str, Callable[[Tap], None]] = {
    "host": host, "guest": in_boot, "torture": torture.short, "persist": persist}


def main() -> int:
    wanted = sys.argv[1:] or list(SUITES)
    unknown = [name for name in wanted if name not in SUITES]
    if unknown:
        print(f"test: no suite {unknown[0]}; there are: {', '.join(SUITES)}", file=sys.stderr)
        return 2
    begun = time.monotonic()
    tap = Tap()
    for name in wanted:
        try:
            SUITES[name](tap)
        except guest.GuestError as error:
            tap.comment(str(error))
            tap.result(False, f"{name}: the guest starts")
    tap.comment(f"{time.monotonic() - begun:.0f} s")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
