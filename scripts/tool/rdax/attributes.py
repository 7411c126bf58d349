# SPDX-License-Identifier: GPL-2.0
"""What the files of a device hold."""

import re
from pathlib import Path
from typing import NamedTuple

from .files import names_in, number_or, read_or
from .values import is_dax

SECTOR = 512


def counters(path: Path) -> dict[str, int]:
    return {file.name: number_or(file) for file in names_in(path)}


def bad_blocks(device: Path) -> list[tuple[int, int]]:
    """The first byte of each run, and how many."""
    # On the dax bus, what has no group of its own is in the directory rdax.
    own = device / "rdax" if is_dax(device.name) else device
    pairs = [line.split() for line in read_or(own / "badblocks").splitlines()]
    return [(int(pair[0]) * SECTOR, int(pair[1]) * SECTOR) for pair in pairs
            if len(pair) == 2 and all(re.fullmatch("[0-9]{1,20}", text) for text in pair)]


class Extent(NamedTuple):
    offset: int
    start: int
    pages: int


def parse_extents(text: str) -> list[Extent]:
    rows = [line.split() for line in text.splitlines()]
    return [Extent(*(int(field, 16) for field in row)) for row in rows
            if len(row) == 3 and all(re.fullmatch("0x[0-9a-f]{1,16}", field) for field in row)]
