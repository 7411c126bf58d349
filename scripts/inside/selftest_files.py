# SPDX-License-Identifier: GPL-2.0
"""What a kselftest is made of, so that the ledger knows which results another one leaves standing."""

from collections.abc import Sequence
from pathlib import Path

SELFTESTS = Path("/rdax/samples/selftests")
BUILT = Path("/build/kselftest")
SCRIPTS = Path("/rdax/scripts")
# What only those tests use whose source has this word.
PARTS = {b"RDAX_TOOL": ("rdax", "tool"), b"udevd.sh": ("udev",)}


def tests(built: Path = BUILT) -> list[str]:
    """All of them, as they were built: "fsync", "udev.sh"."""
    lines = (built / "kselftest-list.txt").read_text().split()
    return [line.removeprefix("rdax:") for line in lines]


def contents(programs: Sequence[str], top: Path = SELFTESTS, built: Path = BUILT,
             scripts: Path = SCRIPTS) -> bytes:
    """The files of these tests, and those that belong to no single one. scripts/lab hashes the
    rest, samples/selftests/lib and the Makefile too, with what all guests depend on."""
    others = {source(name) for name in tests(built)} - {source(name) for name in programs}
    files = sorted(path for path in top.iterdir() if path.suffix in (".c", ".sh"))
    own = [path.read_bytes() for path in files if path.name not in others]
    for word, parts in PARTS.items():
        if any(word in text for text in own):
            own += [path.read_bytes() for part in parts for path in files_below(scripts / part)]
    return b"".join(own)


def files_below(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(found for found in path.rglob("*")
                  if found.is_file() and "__pycache__" not in found.parts)


def source(test: str) -> str:
    return test if test.endswith(".sh") else f"{test}.c"
