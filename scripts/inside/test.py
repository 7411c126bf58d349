#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The tests of rdax, as one TAP stream: test.py [SUITE | SUITE:JOB]..., of host, guest, torture,
persist; and, only if they are named, more and brief.

host      the checks of scripts/inside/check, Rust's and Python's unit tests, and that a
          warning on a guest's console is found
guest     the kselftests of samples/selftests in a guest, by Linux's own runner; those of
          SPECIAL and ODD in these guests, those of NODES in one with two NUMA nodes, those of
          DAX in each guest that has a device of the dax bus, MCE in one that also has machine
          checks, VFIO in one that also has an IOMMU
torture   the short form of scripts/inside/torture.py
persist   a pattern written in one boot and verified in the next; a page that is dirty when
          the machine shuts down
more      kselftests that `guest` runs on one kind of dax device, on the others; the scenarios
          that take loom minutes, explored whole
brief     the kselftests of `guest` that depend on the kernel's version

Each is divided into jobs, of which two run at once.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import guest
import jobs
import selftest_files
import torture
from jobs import Job
from tap import Kselftest, Reader, Results, Tap, Verdicts, by_lines

INSIDE = Path("/rdax/scripts/inside")
CHECKS = ("fmtcheck", "clippy", "checkpatch", "shellcheck", "mypy", "mutants", "layers", "docs")
SCRIPT_TESTS = Path("/rdax/scripts/tests")
RUST_HOST = Path("/rdax/rust/host")
CARGO = {"CARGO_TARGET_DIR": "/build/cargo", "CARGO_HOME": "/build/cargo-home"}
LITMUS = Path("/rdax/Documentation/litmus-tests")
MEMORY_MODEL = Path("/kernel/linux/tools/memory-model")
# The exit status of scripts/inside/herd.
NO_NETWORK = 3
KSELFTEST = selftest_files.BUILT
PERSIST = KSELFTEST / "rdax/persist.sh"
SHUTDOWN = KSELFTEST / "rdax/shutdown.sh"
# rdax_restore.sh took more than 10 minutes beside three other guests.
PROGRAM_TIMEOUT = 1800
# What needs QEMU's monitor, or caches that survive a power failure: in the special guest only.
SPECIAL = ("poison_mce", "eadr", "flush_unknown.sh")
# What needs memory with labels, read-only, not aligned, or of the e820 map.
ODD = ("read_only_dimm.sh", "unaligned.sh", "legacy.sh", "hotplug.sh", "identity.sh")
# What needs several NUMA nodes.
NODES = ("lock_comparison.sh", "walkers_nodes.sh")
# What pins memory for other devices: VFIO, RDMA. It needs a device of the dax bus.
VFIO = ("vfio", "rdma")
# What needs QEMU's monitor and a device of the dax bus.
MCE = ("pages_mce",)
# What boots Linux again, in a virtual machine in the guest.
LINUX_VM = ("linux_vm.sh",)
# What needs a device of the dax bus, in the guests of each kind. After daxbus.sh it is gone.
DAX = {guest.CXL: ("dax_udev.sh", "dax_tools.sh", "rdax_dax.sh", "pages", "tracked",
                   "dax_takeover.sh", "daxbus.sh"),
       guest.HMEM: ("dax_tools.sh", "daxbus.sh"),
       guest.DEVDAX: ("dax_tools.sh", "pages", "daxbus.sh")}
# The tests that only `more` repeats on these.
DAX_AGAIN = {guest.HMEM: ("rdax_dax.sh", "pages", "tracked", "dax_takeover.sh"),
             guest.DEVDAX: ("dax_udev.sh", "rdax_dax.sh", "tracked", "dax_takeover.sh")}
# What none of these names, in so many guests: see plain().
PLAIN_GUESTS = 4
# Programs of these that call functions which differ between versions of the kernel.
BRIEF = ("module.sh", "node", "map_sizes", "around", "remap", "race_sizes", "unbind", "rebind", "punch",
         "holes", "upgrade", "collide", "fsync", "sync_trace", "rw", "uring", "access", "prefault",
         "poison", "region", "resize", "read_only", "walkers", "trace_events", "trace_tools.sh", "kvm",
         "pfnmap.sh", "ndctl.sh")
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


def host_command(tap: Results, name: str, command: Sequence[str | Path]) -> bool:
    """One result: did COMMAND exit with 0? Its output only if it didn't."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        for line in done.stdout.decode(errors="replace").splitlines():
            tap.comment(line)
    tap.result(done.returncode == 0, name)
    return done.returncode == 0


def host_verdicts(tap: Results, suite: str, command: Sequence[str | Path], **env: str) -> None:
    reader = Verdicts(tap, suite)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", env=os.environ | env)
    assert process.stdout is not None
    for line in process.stdout:
        reader.line(line.rstrip("\n"))
    reader.end(process.wait())


def in_guest(tap: Results, name: str, command: Sequence[str], reader: Reader | None,
             timeout: float, *, parameters: str = "", machine: guest.Machine | None = None,
             work: Path | None = None) -> guest.Result:
    """Run COMMAND in a guest; two results: did it end as it should, is its console clean?"""
    fold = Fold()
    result = guest.boot(command, timeout=timeout, name=name.replace(" ", "-"),
                        parameters=parameters, machine=machine or guest.Machine(), work=work,
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


def host(tap: Results) -> list[Job]:
    del tap
    runs = {"checks": checks, "scripts": scripts, "rust": rust(), "loom": rust("loom"),
            "shuttle": rust("shuttle"), "litmus": litmus, "warns": warning, "hangs": hang}
    return [Job(f"host:{name}", run, whole=True) for name, run in runs.items()]


def checks(tap: Results) -> None:
    for check in CHECKS:
        host_command(tap, f"host: {check}", [INSIDE / "check", check])
        tap.together()


def scripts(tap: Results) -> None:
    host_verdicts(tap, "host: scripts",
                  ["python3", "-B", "-m", "unittest", "discover", "-v", "-s", SCRIPT_TESTS],
                  PYTHONPATH=f"{INSIDE}:{INSIDE.parent}/tool")


def warning(tap: Results) -> None:
    result = guest.boot(["sh", "-c", "echo '<4>WARNING: not a real one' >/dev/kmsg"],
                        timeout=300, name="warns", sink=lambda data: None)
    tap.result(result.status == 0 and len(result.trouble) == 1
               and result.exit_status == guest.TROUBLE,
               "host: a warning on a guest's console fails its run")


def hang(tap: Results) -> None:
    with tempfile.TemporaryDirectory(dir=guest.WORK, prefix="hangs.") as work:
        init = Path(work) / "init"
        init.write_text(f"""#!/bin/sh
PATH=/usr/bin
mount -t proc proc /proc
mount -o remount,rw /work
umount /proc
[ -e {work}/hung ] || {{ : >{work}/hung; sleep infinity; }}
exec {INSIDE.parent}/guest/init
""")
        init.chmod(0o755)
        # The later of two parameters counts.
        result = guest.boot(["sh", "-c", f"echo >>{work}/runs"], timeout=300, name="hangs",
                            parameters=f"init={init}", work=Path(work), sink=lambda data: None,
                            boot_timeout=90)
        runs = Path(work) / "runs"
        tap.result(result.exit_status == 0 and (Path(work) / "hung").exists()
                   and runs.read_text() == "\n",
                   "host: a guest that hangs as it boots is booted again")


def rust(feature: str = "", whole: bool = False) -> Callable[[Results], None]:
    """The tests of rust/host: on real threads, or the protocol under a model checker.

    Scenarios that take minutes are explored in a short form, unless WHOLE.
    """
    manifest = ["--locked", "--manifest-path", str(RUST_HOST / "Cargo.toml")]
    name = f"{'more' if whole else 'host'}: rust {feature}".rstrip()

    def run(tap: Results) -> None:
        if not host_command(tap, f"{name}: the crates are here",
                            ["env", *(f"{key}={value}" for key, value in CARGO.items()),
                             "cargo", "fetch", *manifest]):
            return
        features = ["--features", feature] if feature else []
        only = ["tests::protocol"] if feature else []
        host_verdicts(tap, name, ["cargo", "test", "--offline", "--release", *manifest, *features,
                                  "--lib", "--", *only],
                      **CARGO, **({} if whole else {"RDAX_SHORT": "1"}))

    return run


def litmus(tap: Results) -> None:
    """Each litmus test of Documentation/ gives the result that it states."""
    fetch = subprocess.run([INSIDE / "herd"], capture_output=True, text=True, errors="replace",
                           check=False)
    *said, herd7 = fetch.stdout.splitlines() or [""]
    for line in [*said, *(fetch.stderr.splitlines() if fetch.returncode else [])]:
        tap.comment(line)
    if fetch.returncode not in (0, NO_NETWORK):
        tap.result(False, "host: herd7 is here")
        return
    for path in sorted(LITMUS.glob("*.litmus")):
        name = f"host: litmus {path.stem}"
        if fetch.returncode:
            tap.result(True, name, "herd7 is not here, and Debian can't be reached")
            continue
        stated = next(line.split()[-1] for line in path.read_text().splitlines()
                      if "Result: " in line)
        done = subprocess.run([*herd7.split(), "-conf", "linux-kernel.cfg", path],
                              cwd=MEMORY_MODEL, capture_output=True, text=True, check=False)
        as_stated = f"Observation {path.stem} {stated} " in done.stdout
        for line in [] if as_stated else (done.stdout + done.stderr).splitlines():
            tap.comment(line)
        tap.result(as_stated, name)


def selftests(tap: Results) -> bool:
    return host_command(tap, "the kselftests build",
                        [INSIDE / "samples", "tests", f"SLOWER={guest.slower()}"])


def kselftests(name: str, programs: Sequence[str], timeout: float, machine: guest.Machine,
               suite: str = "guest", **env: str) -> Job:
    """Some of the kselftests in a guest; those of plain() are called by their names alone."""
    own = name if suite == "guest" else f"{suite}-{name}"
    command = ["env", *(f"{key}={value}" for key, value in env.items()),
               str(KSELFTEST / "run_kselftest.sh"), "-o", str(PROGRAM_TIMEOUT * guest.slower()),
               *(word for program in programs for word in ("-t", f"rdax:{program}"))]

    def run(tap: Results) -> None:
        prefix = "" if own.startswith(guest.PLAIN) else f"{own}: "
        in_guest(tap, own, command, Kselftest(tap, prefix), timeout, machine=machine)

    return Job(f"{suite}:{name}", run, own=selftest_files.contents(programs))


def on(machine: str, programs: Sequence[str], suite: str = "guest") -> Job:
    return kselftests(machine, programs, 2700, guest.MACHINES[machine], suite)


def of_the_others(name: str, programs: Sequence[str], suite: str = "guest", **env: str) -> Job:
    """On memory whose like has tests of its own in another guest."""
    return kselftests(name, programs, 2700, guest.MACHINES[guest.HMEM], suite, **env)


def linux_vm(name: str, suite: str = "guest", **env: str) -> Job:
    return of_the_others(name, LINUX_VM, suite, RDAX_VM_KERNEL=str(guest.KERNEL), **env)


def more(tap: Results) -> list[Job]:
    if not selftests(tap):
        return []
    return [*(on(machine, programs, "more") for machine, programs in DAX_AGAIN.items()),
            linux_vm("vm-pages", "more", RDAX_DAX_MEMORY="pages"),
            linux_vm("vm-tracked", "more", RDAX_DAX_MEMORY="tracked"),
            Job("more:loom", rust("loom", whole=True), whole=True)]


def brief(tap: Results) -> list[Job]:
    if not selftests(tap):
        return []
    return [on(guest.PLAIN, BRIEF, "brief"), on(guest.CXL, DAX[guest.CXL], "brief"),
            on(guest.ODD, ODD, "brief"), on(guest.VFIO, VFIO, "brief"),
            on(guest.SPECIAL, SPECIAL, "brief"), on(guest.MCE, MCE, "brief")]


def plain() -> list[Job]:
    """What no other guest runs, in several: where a kernel is slow, one would take hours."""
    elsewhere = SPECIAL + ODD + NODES + VFIO + MCE + LINUX_VM + DAX[guest.CXL]
    programs = [name for name in selftest_files.tests() if name not in elsewhere]
    return [kselftests(f"{guest.PLAIN}-{number + 1}", programs[number::PLAIN_GUESTS], 5400,
                       guest.MACHINES[guest.PLAIN]) for number in range(PLAIN_GUESTS)]


def in_boot(tap: Results) -> list[Job]:
    if not selftests(tap):
        return []
    return [
        *plain(),
        *(on(machine, programs) for machine, programs in DAX.items()),
        of_the_others("dax", DAX_PROGRAMS),
        on(guest.ODD, ODD),
        kselftests("nodes", NODES, 1800, guest.Machine(cpus=4, nodes=2)),
        of_the_others("pages", PAGES_PROGRAMS, RDAX_DAX_MEMORY="pages"),
        of_the_others("tracked", TRACKED_PROGRAMS, RDAX_DAX_MEMORY="tracked"),
        on(guest.VFIO, VFIO),
        linux_vm("vm"),
        on(guest.SPECIAL, SPECIAL),
        on(guest.MCE, MCE),
    ]


def persist(tap: Results) -> list[Job]:
    if not PERSIST.exists() and not selftests(tap):
        return []
    own = selftest_files.contents(())
    return [Job("persist:boots", two_boots, own=own), Job("persist:shutdown", shutdown, own=own)]


def two_boots(tap: Results) -> None:
    seed = str(int(time.time()))
    for verb in ("write", "verify"):
        in_guest(tap, f"persist {verb}", [str(PERSIST), verb, seed], None, timeout=180,
                 work=guest.WORK / "persist")


def shutdown(tap: Results) -> None:
    """The console of a machine that shuts down tells what is written back, by kprobes."""
    result = in_guest(tap, "shutdown", [str(SHUTDOWN)], None, timeout=180, parameters="tp_printk")
    calls = [call for line in result.log
             for call in ("shutting down", "written_back", "flushed") if f" {call}" in line]
    tap.result(calls == ["shutting down", "written_back", "flushed"],
               "shutdown: a dirty page is written back, then the region flushed")


# In this order, so that plain(), the longest jobs, begin first.
SUITES: dict[str, Callable[[Results], list[Job]]] = {
    "guest": in_boot, "host": host, "torture": torture.short, "persist": persist}
ONLY_NAMED = {"more": more, "brief": brief}


def chosen(tap: Results, wanted: Sequence[str]) -> list[Job]:
    """The jobs of those suites, and those that are named."""
    found = []
    for suite, make in (SUITES | ONLY_NAMED).items():
        if any(name.partition(":")[0] == suite for name in wanted):
            found += [job for job in make(tap) if {suite, job.name} & set(wanted)]
    return found


def main() -> int:
    wanted = sys.argv[1:] or list(SUITES)
    begun = time.monotonic()
    tap = Tap()
    todo = chosen(tap, wanted)
    for name in wanted:
        if name not in SUITES | ONLY_NAMED and name not in (job.name for job in todo):
            tap.result(False, f"there is no {name}")
    jobs.run(tap, todo)
    tap.comment(f"{time.monotonic() - begun:.0f} s")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
