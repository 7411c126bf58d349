# SPDX-License-Identifier: GPL-2.0
"""Sizes, alignments and names, as a user writes them and as they are shown."""

import argparse
import re
from pathlib import Path
from typing import NamedTuple

PAGE = 4096
SUFFIXES = "KMGT"
# Of digits: 64 bits have 20. Python refuses to convert some thousands.
LONGEST_NUMBER = 40
ALIGNS = {4096: "4K", 2 << 20: "2M", 1 << 30: "1G"}
MIN_WIDTH, MAX_WIDTH = 20, 9999
MIN_SECONDS = 0.1


def parse_size(text: str) -> int:
    """4096, 0x1000, 4K, 2M, 1.5G, 1GB, 1GiB: every suffix is a power of 1024."""
    match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|[0-9]+)(?:\.([0-9]+))?(?:([KMGTkmgt])(?:i?B)?)?",
                         text, re.ASCII)
    if match and len(text) > LONGEST_NUMBER:
        raise argparse.ArgumentTypeError(f"'{text[:LONGEST_NUMBER]}...' is too large")
    is_hex = match is not None and match[1][:2] in ("0x", "0X")
    if match is None or (is_hex and (match[2] or match[3])) or (match[2] and not match[3]):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of bytes (as 4096, 4K, 1.5G)")
    number = int(match[1], 16) if is_hex else int(match[1])
    if match[3]:
        unit = 1024 ** (SUFFIXES.index(match[3].upper()) + 1)
        part, left = divmod(int(match[2] or 0) * unit, 10 ** len(match[2] or ""))
        if left:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of bytes")
        number = number * unit + part
    if number >= 1 << 64:
        raise argparse.ArgumentTypeError(f"'{text}' is too large")
    return number


class NewSize(NamedTuple):
    """A size, or by how much a size grows."""

    number: int
    is_added: bool


def parse_new_size(text: str) -> NewSize:
    """As parse_size(), or +1G."""
    return NewSize(parse_size(text.removeprefix("+")), text.startswith("+"))


def parse_align(text: str) -> int:
    size = parse_size(text)
    if size not in ALIGNS:
        raise argparse.ArgumentTypeError(f"'{text}' is no alignment: it is 4K, 2M or 1G")
    return size


def parse_namespace(text: str) -> str:
    if not re.fullmatch(r"namespace\d+\.\d+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of a namespace (namespace0.0)")
    return text


def is_uuid(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text))


def is_dax(name: str) -> bool:
    """Whether it is the name of a device of the dax bus."""
    return bool(re.fullmatch(r"dax(0|[1-9]\d*)\.(0|[1-9]\d*)", name, re.ASCII))


def parse_memory(text: str) -> str:
    """A namespace as a user names it, or a device of the dax bus."""
    name = text.removeprefix("/dev/")
    if is_dax(name):
        return name
    try:
        return parse_name_or_uuid(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither the name of a namespace "
                                         "(namespace0.0) nor a UUID, nor a device of the dax bus "
                                         "(dax0.0)") from None


def parse_any_device(text: str) -> str:
    name = text.removeprefix("/dev/")
    if is_dax(name):
        return name
    try:
        return parse_device(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of a device (rdax0, or dax0.0 "
                                         "of the dax bus)") from None


def parse_name_or_uuid(text: str) -> str:
    """A namespace as a user names it: Machine.named() has its name."""
    if is_uuid(text):
        return text.lower()
    try:
        return parse_namespace(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither the name of a namespace "
                                         "(namespace0.0) nor a UUID") from None


def parse_device(text: str) -> str:
    name = text.removeprefix("/dev/")
    if is_dax(name):
        raise argparse.ArgumentTypeError(f"{name} is divided by the dax bus itself ('daxctl "
                                         "create-device', 'daxctl reconfigure-device -s SIZE')")
    if not re.fullmatch(r"rdax(0|[1-9]\d*)", name, re.ASCII):
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of a device (rdax0)")
    return name


def parse_path(text: str) -> str:
    """An empty variable in a script does not mean the default file."""
    if not text:
        raise argparse.ArgumentTypeError("the name of a file is empty")
    return text


def parse_width(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or int(text) < MIN_WIDTH:
        raise argparse.ArgumentTypeError(f"'{text}' is not a width ({MIN_WIDTH} to {MAX_WIDTH})")
    return int(text)


def parse_seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text, re.ASCII) or float(text) < MIN_SECONDS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds ({MIN_SECONDS} or "
                                         "more)")
    return float(text)


def parse_count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of reports (1 or more)")
    return int(text)


def size_text(number: int) -> str:
    """Exact, in the largest unit in which it is whole."""
    shift = 0
    while number and number % 1024 == 0 and shift < len(SUFFIXES):
        number //= 1024
        shift += 1
    return f"{number}{SUFFIXES[shift - 1] if shift else ''}"


def in_order(path: Path) -> list[tuple[int, str]]:
    """A key that sorts rdax2 before rdax10."""
    return [(int(part), "") if part.isdecimal() and len(part) < LONGEST_NUMBER else (-1, part)
            for part in re.split(r"(\d+)", path.name)]


LONGEST_NAME = 64
