# SPDX-License-Identifier: GPL-2.0
"""What a kselftest is made of, so that the ledger knows which results another one leaves standing."""

from collections.abc import Sequence
from pathlib import Path

SELFTESTS = Path("/rdax/samples/selftests")
BUILT = Path("/build/kselftest")


def tests(built: Path = BUILT) -> list[str]:
    """All of them, as they were built: "fsync", "udev.sh"."""
    lines = (built / "kselftest-list.txt").read_text().split()
    return [line.removeprefix("rdax:") for line in lines]


def contents(programs: Sequence[str], top: Path = SELFTESTS, built: Path = BUILT) -> bytes:
    """The files of these tests, and those that belong to no single one. scripts/lab hashes the
    rest, samples/selftests/lib and the Makefile too, with what all guests depend on."""
    others = {source(name) for name in tests(built)} - {source(name) for name in programs}
    files = sorted(path for path in top.iterdir() if path.suffix in (".c", ".sh"))
    return b"".join(path.read_bytes() for path in files if path.name not in others)


def source(test: str) -> str:
    return test if test.endswith(".sh") else f"{test}.c"
