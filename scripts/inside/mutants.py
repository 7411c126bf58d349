#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Put known bugs back one by one, and see that a test fails: mutants.py [AREA | NAME]...

Each patch in scripts/mutants, in a folder for its area, says in a line `Test: host NAME`, `Test: guest PROGRAM` or
`Test: special PROGRAM` which test is to fail: one of rust/host under loom, or a kselftest
in a guest, or in another of guest.MACHINES (special, odd, vfio), whose console counts too.
`Test: debug PROGRAM` or `Test: kasan PROGRAM` is one in a guest whose kernel has the checks for it; it is tried with
`scripts/lab --kernel NAME mutants`, and there no other unless it is named. A PROGRAM
`torture:PHASE` is a phase of the torture. `Test: build CODE` is a bug that the compiler refuses
with that error, `Test: unit MODULE` one for a unit test in scripts/tests. A bug that isn't caught,
a patch that doesn't apply, and a mutant that doesn't build are failures.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import guest
import torture
from tap import Kselftest, Tap, by_lines

TOP = Path("/rdax")
COPY = Path("/build/mutant")
MUTANTS = TOP / "scripts/mutants"
CARGO = {"CARGO_TARGET_DIR": "/build/cargo-mutant", "CARGO_HOME": "/build/cargo-home"}
TIMEOUT = 180
TORTURE = "torture:"
# A bug that the kernel reports is caught: what comes after it need not be waited for.
AT_ONCE = "panic_on_warn=1 oops=panic"


class MutantError(Exception):
    """The mutant can't be tried."""


def run(command: Sequence[str | Path], what: str, **kwargs: str | dict[str, str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **kwargs)  # type: ignore[call-overload]
    if done.returncode:
        raise MutantError(f"{what}: {done.stdout.decode(errors='replace')[-2000:]}")


def read_patch(patch: Path) -> tuple[str, str]:
    """What it breaks, and its line `Test: ...`."""
    head = patch.read_text().partition("\n--- ")[0].strip().splitlines()
    test = next(line for line in head if line.startswith("Test: "))
    return " ".join(line for line in head if line != test), test


def table() -> str:
    """scripts/mutants/README.md: what each breaks, and what catches it."""
    lines = ["<!-- SPDX-License-Identifier: GPL-2.0 -->", "", "# Known bugs", "",
             "`make test-mutants` puts these bugs back one by one. A test must catch each.",
             "`make test-mutants MUTANTS=\"fault lost-at-unbind\"` tries those of an area, or one.",
             "This file is written by `scripts/inside/mutants.py --table`; `make check` compares it."]
    for area in sorted(path for path in MUTANTS.iterdir() if path.is_dir()):
        lines += ["", f"## {area.name}", "", "| mutant | what it breaks | caught by |", "|---|---|---|"]
        for patch in sorted(area.glob("*.patch")):
            breaks, test = read_patch(patch)
            breaks = breaks.replace("|", "\\|")
            lines.append(f"| {patch.stem} | {breaks} | {test.removeprefix('Test: ')} |")
    return "\n".join(lines) + "\n"


def mutate(patch: Path) -> None:
    shutil.rmtree(COPY, ignore_errors=True)
    # With the time of now: what the last mutant changed must be built again too.
    shutil.copytree(TOP, COPY, copy_function=shutil.copy, ignore=shutil.ignore_patterns(
        ".git", "*.o", "*.ko", "*.cmd", "*.mod", "*.mod.c", "target"))
    run(["patch", "-p1", "-d", COPY, "-i", patch], "the patch doesn't apply")


def caught_on_host(name: str) -> bool:
    """Does the test of rust/host fail under loom? A deadlock ends it too."""
    env = os.environ | CARGO
    cargo = ["cargo", "test", "--offline", "--locked", "--release", "--features", "loom",
             "--manifest-path", str(COPY / "rust/host/Cargo.toml")]
    run([*cargo, "--no-run"], "it doesn't build", env=env)
    try:
        done = subprocess.run([*cargo, "--", "--exact", f"tests::protocol::{name}"], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT,
                              check=False)
    except subprocess.TimeoutExpired:
        return True
    if b"running 1 test" not in done.stdout:
        raise MutantError(f"there is no test {name}")
    return done.returncode != 0


def make() -> list[str]:
    cc = guest.kernel()["cc"]
    return ["make", "-C", "/kernel/linux", f"M={COPY}", f"CC={cc}", f"HOSTCC={cc}",
            f"-j{os.cpu_count()}", "modules"]


def caught_by_compiler(code: str) -> bool:
    """Does the compiler refuse it, for that reason?"""
    done = subprocess.run(make(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode != 0 and f"error[{code}]".encode() in done.stdout


def caught_by_unit(module: str) -> bool:
    done = subprocess.run([sys.executable, "-B", "-m", "unittest", module],
                          cwd=COPY / "scripts/tests",
                          env=os.environ | {"PYTHONPATH": "../inside:../tool"},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if b"Ran 0 tests" in done.stdout or b"ModuleNotFoundError" in done.stdout:
        raise MutantError(f"there is no unit test {module}")
    return done.returncode != 0


def caught_in_guest(program: str, machine: str) -> bool:
    """Does the kselftest (or a phase of the torture) fail, or the kernel complain?"""
    run(make(), "it doesn't build")
    if program.startswith(TORTURE):
        result = guest.boot(
            ["env", f"RDAX_KO={COPY}/rdax.ko", *torture.mutant(program.removeprefix(TORTURE))],
            timeout=2 * TIMEOUT, name="mutant", parameters=AT_ONCE, sink=lambda data: None)
        return result.exit_status != 0
    with open(os.devnull, "w") as nowhere:
        results = Tap(nowhere)
        reader = Kselftest(results)
        result = guest.boot(
            ["env", f"RDAX_KO={COPY}/rdax.ko", "/build/kselftest/run_kselftest.sh",
             "-t", f"rdax:{program}"],
            timeout=TIMEOUT, name="mutant", machine=guest.MACHINES[machine],
            # The machine checks there provoke a warning.
            parameters="" if machine == guest.SPECIAL else AT_ONCE, sink=by_lines(reader.line))
        reader.end(result.status)
    if not results.passed + results.failed:
        raise MutantError(f"the kselftest {program} did not run")
    return bool(results.failed or result.trouble
                or result.status in (guest.TIMED_OUT, guest.NO_STATUS))


def main() -> int:
    wanted = sys.argv[1:]
    if wanted == ["--table"]:
        print(table(), end="")
        return 0
    tap = Tap()
    commands: tuple[list[str | Path], ...] = (
        ["cargo", "fetch", "--locked", "--manifest-path", TOP / "rust/host/Cargo.toml"],
        [TOP / "scripts/inside/samples", "tests", f"SLOWER={guest.slower()}"],
    )
    for prepare in commands:
        run(prepare, "the tests can't be built", env=os.environ | CARGO)
    if trouble := torture.build():
        raise MutantError(trouble)
    for patch in sorted(MUTANTS.glob("*/*.patch")):
        if wanted and not {patch.stem, patch.parent.name} & set(wanted):
            continue
        _, home, name = read_patch(patch)[1].split()
        kernel = guest.kernel().get("name")
        if home in guest.SLOWER and home != kernel:
            tap.result(True, patch.stem, f"needs `make test-mutants KERNEL={home}`")
            continue
        if kernel and home != kernel and not wanted:
            continue
        try:
            mutate(patch)
            if home == "host":
                caught = caught_on_host(name)
            elif home == "build":
                caught = caught_by_compiler(name)
            elif home == "unit":
                caught = caught_by_unit(name)
            else:
                caught = caught_in_guest(name, home if home in guest.MACHINES else guest.PLAIN)
        except (MutantError, guest.GuestError) as error:
            tap.comment(str(error).replace("\n", "\n# "))
            caught = False
        tap.result(caught, f"{patch.parent.name}/{patch.stem} is caught by {home} {name}")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
