#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Put known bugs back one by one, and see that a test fails: mutants.py [AREA | NAME]...

Two are tried at once, each in a tree of its own that stays built: what depends on the patch is
built again, no more.

Each patch in scripts/mutants, in a folder for its area, says in a line `Test: host NAME`, `Test: guest PROGRAM` or
`Test: special PROGRAM` which test is to fail: one of rust/host under loom, or a kselftest
in a guest, or in another of guest.MACHINES (special, odd, vfio), whose console counts too.
`Test: debug PROGRAM` or `Test: kasan PROGRAM` is one in a guest whose kernel has the checks for it; it is tried with
`scripts/lab --kernel NAME mutants`, and there no other unless it is named. A PROGRAM
`torture:PHASE` is a phase of the torture, or, on a machine with a dax device, one of
torture.ON_PAGES. `Test: build CODE` is a bug that the compiler refuses
with that error, `Test: unit MODULE` one for a unit test in scripts/tests. A bug that isn't caught,
a patch that doesn't apply, and a mutant that doesn't build are failures.
"""

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import guest
import jobs
import ledger
import selftest_files
import torture
from jobs import Job
from tap import Kselftest, Results, Tap, by_lines

TOP = Path("/rdax")
MUTANTS = TOP / "scripts/mutants"
KSELFTEST = Path("/build/kselftest/run_kselftest.sh")
CARGO_HOME = {"CARGO_HOME": "/build/cargo-home"}
# What a build leaves, and needs the next time.
BUILT = ("*.o", "*.a", "*.ko", "*.cmd", "*.mod", "*.mod.c", "*.d", "*.rmeta", "*.order",
         "*.symvers", "target", "bindings_generated.rs", "__pycache__")
TIMEOUT = 180
TORTURE = "torture:"
# A shell's exit statuses, where a program can't be executed or isn't there.
CANNOT_RUN = (126, 127)
# A bug that the kernel reports is caught: what comes after it need not be waited for.
AT_ONCE = "panic_on_warn=1 oops=panic"


class MutantError(Exception):
    """The mutant can't be tried."""


class Noticed(Exception):
    """A test failed: the others need not be waited for."""


class First(Tap):
    """Raises Noticed at the first result that failed."""

    def result(self, ok: bool, name: str, skip: str | None = None) -> None:
        super().result(ok, name, skip)
        if not ok:
            raise Noticed(name)


def run(command: Sequence[str | Path], what: str, **kwargs: str | dict[str, str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **kwargs)  # type: ignore[call-overload]
    if done.returncode:
        raise MutantError(f"{what}: {done.stdout.decode(errors='replace')[-2000:]}")


def in_time(command: Sequence[str | Path], env: Mapping[str, str],
            seconds: float) -> tuple[int | None, str]:
    """The exit status and the output. The status is None if it takes too long: its group is killed."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", start_new_session=True)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, ""
    return process.returncode, output


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


class Tree:
    """A copy of the checkout, where a mutant's patch is put in."""

    def __init__(self, number: int) -> None:
        self.top = Path(f"/build/mutant-{number}")
        # One place changes: all else need not be compiled again, optimized though it is.
        self.cargo = CARGO_HOME | {"CARGO_TARGET_DIR": f"/build/cargo-mutant-{number}",
                                   "CARGO_INCREMENTAL": "1"}

    def sync(self) -> None:
        """As the checkout is."""
        kept = [f"--exclude={pattern}" for pattern in (".git", *BUILT)]
        # Without times: what the last mutant changed is new, and is built again too.
        run(["rsync", "--archive", "--no-times", "--checksum", "--delete", *kept, f"{TOP}/",
             self.top], "the checkout can't be copied")

    def mutate(self, patch: Path) -> None:
        self.sync()
        run(["patch", "-p1", "-d", self.top, "-i", patch], "the patch doesn't apply")

    def caught_on_host(self, name: str) -> bool:
        """Does the test of rust/host fail under loom? A deadlock ends it too."""
        env = os.environ | self.cargo
        cargo = ["cargo", "test", "--offline", "--locked", "--release", "--features", "loom",
                 "--manifest-path", str(self.top / "rust/host/Cargo.toml")]
        run([*cargo, "--no-run"], "it doesn't build", env=env)
        status, output = in_time([*cargo, "--", "--exact", f"tests::protocol::{name}"], env,
                                 TIMEOUT)
        if status is None:
            return True
        if "running 1 test" not in output:
            raise MutantError(f"there is no test {name}")
        return status != 0

    def make(self) -> list[str]:
        cc = guest.kernel()["cc"]
        return ["make", "-C", "/kernel/linux", f"M={self.top}", f"CC={cc}", f"HOSTCC={cc}",
                f"-j{os.cpu_count()}", "modules"]

    def caught_by_compiler(self, code: str) -> bool:
        """Does the compiler refuse it, for that reason?"""
        done = subprocess.run(self.make(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)
        return done.returncode != 0 and f"error[{code}]".encode() in done.stdout

    def caught_by_unit(self, module: str) -> bool:
        """Does a test of that module fail? A deadlock is as good."""
        try:
            done = subprocess.run([sys.executable, "-B", "-m", "unittest", module],
                                  cwd=self.top / "scripts/tests",
                                  env=os.environ | {"PYTHONPATH": "../inside:../tool"},
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                                  timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return True
        if b"Ran 0 tests" in done.stdout or b"ModuleNotFoundError" in done.stdout:
            raise MutantError(f"there is no unit test {module}")
        return done.returncode != 0

    def caught_in_guest(self, program: str, machine: str) -> bool:
        """Does the kselftest (or a phase of the torture) fail, or the kernel complain?"""
        run(self.make(), "it doesn't build")
        module = f"RDAX_KO={self.top}/rdax.ko"
        if program.startswith(TORTURE):
            result = guest.boot(
                ["env", module, *torture.mutant(program.removeprefix(TORTURE))],
                timeout=2 * TIMEOUT, name=self.top.name, machine=guest.MACHINES[machine],
                parameters=AT_ONCE, sink=lambda data: None)
            if result.status in CANNOT_RUN:
                raise MutantError(f"{program} did not run")
            return result.exit_status != 0
        with open(os.devnull, "w") as nowhere:
            reader = Kselftest(First(nowhere))
            try:
                result = guest.boot(
                    ["env", module, f"RDAX_VM_KERNEL={guest.KERNEL}", str(KSELFTEST),
                     "-t", f"rdax:{program}"],
                    timeout=TIMEOUT, name=self.top.name, machine=guest.MACHINES[machine],
                    # The machine checks there provoke a warning.
                    parameters="" if machine == guest.SPECIAL else AT_ONCE,
                    sink=by_lines(reader.line))
            except Noticed:
                return True
        if reader.planned is None and not result.trouble:
            raise MutantError(f"the kselftest {program} did not run")
        return bool(result.trouble or not reader.programs)

    def catches(self, home: str, name: str) -> bool:
        """Is the mutant that is in this tree caught by the test NAME?"""
        if home == "host":
            return self.caught_on_host(name)
        if home == "build":
            return self.caught_by_compiler(name)
        if home == "unit":
            return self.caught_by_unit(name)
        return self.caught_in_guest(name, home if home in guest.MACHINES else guest.PLAIN)


# What is not in use.
Trees = queue.SimpleQueue[Tree]


def job(trees: Trees, patch: Path, home: str, name: str) -> Job:
    mutant = f"{patch.parent.name}/{patch.stem}"

    def attempt(tap: Results) -> None:
        tree = trees.get()
        try:
            tree.mutate(patch)
            caught = tree.catches(home, name)
        except (MutantError, guest.GuestError) as error:
            tap.comment(str(error).replace("\n", "\n# "))
            caught = False
        finally:
            trees.put(tree)
        tap.result(caught, f"{mutant} is caught by {home} {name}")

    own = patch.read_bytes()
    if home not in ("host", "unit", "build"):
        own += selftest_files.contents([name])
    return Job(f"{ledger.MUTANTS}:{mutant}", attempt, whole=home in ("host", "unit"), own=own)


def chosen(tap: Tap, wanted: Sequence[str]) -> list[tuple[Path, str, str]]:
    """The mutants that can be tried on this kernel, and the test of each."""
    kernel = guest.kernel().get("name")
    found = []
    for patch in sorted(MUTANTS.glob("*/*.patch")):
        if wanted and not {patch.stem, patch.parent.name} & set(wanted):
            continue
        _, home, name = read_patch(patch)[1].split()
        if home in guest.SLOWER and home != kernel:
            tap.result(True, patch.stem, f"needs `make test-mutants KERNEL={home}`")
        elif not kernel or home == kernel or wanted:
            found.append((patch, home, name))
    return found


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
        run(prepare, "the tests can't be built", env=os.environ | CARGO_HOME)
    if trouble := torture.build():
        raise MutantError(trouble)
    trees: Trees = queue.SimpleQueue()
    for number in range(jobs.AT_ONCE):
        trees.put(Tree(number))
    jobs.run(tap, [job(trees, *mutant) for mutant in chosen(tap, wanted)])
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
