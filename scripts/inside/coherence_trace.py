# SPDX-License-Identifier: GPL-2.0
"""What the plugin coherence.so recorded: operations, the lines they used, and who used them."""

import bisect
import re
import subprocess
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

# As the plugin writes them: struct section, struct record, struct chain.
SECTION = Struct("<IIIIII")
RECORD = Struct("<QQIIII")
CHAIN = Struct("<QQQQ")
STEP = Struct("<Q")

WARM_UP = 3
OPERATION = 4

KERNEL_IMAGE = 0xffffffff80000000
# Names of the kernel's data.
DATA = frozenset("bBdDrRgGsSvV")
CODE = frozenset("tTwWiI")


class TraceError(Exception):
    """The trace isn't what the plugin writes."""


# line, virtual address, chains of the first use and of the first write, instructions until the
# first and the last use
Record = tuple[int, int, int, int, int, int]


class Records(Collection[Record]):
    """Those of a section, as they are in the trace: a page that is zeroed has many."""

    def __init__(self, data: memoryview) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data) // RECORD.size

    def __iter__(self) -> Iterator[Record]:
        return RECORD.iter_unpack(self.data)

    def __contains__(self, record: object) -> bool:
        return any(record == found for found in self)


@dataclass(frozen=True)
class Section:
    """What a CPU did for an operation."""

    cpu: int
    counted: bool
    instructions: int
    interrupts: int  # that came meanwhile; what they did is left out
    records: Collection[Record]


def sections(data: bytes) -> Iterator[Section]:
    """Those of a trace, in the order in which they ended."""
    at = 0
    while at < len(data):
        if at + SECTION.size > len(data):
            raise TraceError("the trace ends within a section")
        cpu, mark, instructions, count, interrupts, _ = SECTION.unpack_from(data, at)
        at += SECTION.size
        end = at + count * RECORD.size
        if mark not in (WARM_UP, OPERATION) or end > len(data):
            raise TraceError(f"no section at {at - SECTION.size}")
        yield Section(cpu, mark == OPERATION, instructions, interrupts,
                      Records(memoryview(data)[at:end]))
        at = end


def median_steps(data: bytes) -> list[int]:
    """The addresses of the instructions of an operation that has as many as most."""
    operations: list[list[int]] = [[]]
    for (address,) in STEP.iter_unpack(data):
        if address:
            operations[-1].append(address)
        else:
            operations.append([])
    if operations.pop() or not operations:
        raise TraceError("the trace ends within an operation")
    return sorted(operations, key=len)[len(operations) // 2]


def outside(name: str) -> str:
    """What is not within angle brackets."""
    depth, kept = 0, ""
    for sign in name:
        depth += (sign == "<") - (sign == ">")
        if not depth and sign != ">":
            kept += sign
    return kept


def short(name: str) -> str:
    """The last two parts of a path of Rust's, without generics: "Device::fault"."""
    name = re.sub(r"\[[0-9a-f]{8,}\]", "", name)
    if name.startswith("<"):
        # <Type>::function, or <Type as Trait>::function
        depth, end = 0, 0
        for end, sign in enumerate(name):
            depth += (sign == "<") - (sign == ">")
            if not depth:
                break
        of, name = name[1:end], name[end + 1:]
        name = outside(of).partition(" as ")[0] + outside(name)
    parts = outside(name).replace("::::", "::").strip(":").split("::")
    return "::".join(parts[-2:])


class Module:
    """Where the module is, and its lines of source."""

    def __init__(self, path: Path, base: int, size: int) -> None:
        self.path = path
        self.base = base
        self.size = size
        self.files: dict[int, str] = {}

    @classmethod
    def of(cls, path: Path, directory: Path) -> "Module":
        """As the guest found it."""
        base = int((directory / "module.text").read_text(), 16)
        header = subprocess.run(["readelf", "--section-headers", "--wide", path], check=True,
                                text=True, stdout=subprocess.PIPE).stdout
        found = re.search(r"\] \.text\s+PROGBITS\s+\S+\s+\S+\s+(\S+)", header)
        if not found:
            raise TraceError(f"{path} has no text")
        return cls(path, base, int(found[1], 16))

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and 0 <= address - self.base < self.size

    def lines(self, address: int) -> list[str]:
        """The function and its line of source, then those that it is inlined in."""
        return subprocess.run(
            ["addr2line", "-e", self.path, "-j", ".text", "-i", "-f", "-C",
             f"{address - self.base:#x}"],
            check=True, text=True, stdout=subprocess.PIPE).stdout.splitlines()

    def file(self, address: int) -> str:
        """The innermost of the project's own files: "rust/dax/ops/fault.rs"."""
        if address not in self.files:
            places = self.lines(address)[1::2]
            found = (re.search(r"(?:^|/)(rust/(?:dax|kernel_ext|helpers)/[^:]+)", place)
                     for place in places)
            self.files[address] = next((match[1] for match in found if match), "the module")
        return self.files[address]

    def frames(self, address: int) -> tuple[str, ...]:
        """The function, and those that it is inlined in, each with its line of source."""
        lines = self.lines(address)
        return tuple(f"{short(name)} ({place.rpartition('/')[2].partition(' ')[0]})"
                     for name, place in zip(lines[::2], lines[1::2], strict=True))


@dataclass
class Symbols:
    """Of the kernel and its modules, sorted by address."""

    addresses: list[int]
    names: list[str]

    @classmethod
    def of_lines(cls, lines: Iterable[str], kinds: frozenset[str]) -> "Symbols":
        found = []
        for line in lines:
            address, kind, name = line.split()[:3]
            if kind in kinds:
                found.append((int(address, 16), name))
        found.sort()
        return cls([address for address, _ in found], [name for _, name in found])

    def find(self, address: int) -> str:
        """The nearest that begins there or before."""
        place = bisect.bisect_right(self.addresses, address) - 1
        return self.names[place] if place >= 0 else f"{address:#x}"


class Names:
    """Says what the numbers of a trace mean."""

    def __init__(self, kallsyms: Iterable[str], chains: bytes, module: Module | None) -> None:
        lines = list(kallsyms)
        self.code = Symbols.of_lines(lines, CODE)
        self.data = Symbols.of_lines(lines, DATA)
        self.module = module
        self.known: dict[int, tuple[str, ...]] = {}
        self.frames: dict[int, tuple[str, ...]] = {}
        self.more(chains)

    @classmethod
    def of(cls, directory: Path, module: Path) -> "Names":
        with (directory / "kallsyms").open() as lines:
            return cls(lines, (directory / "chains").read_bytes(), Module.of(module, directory))

    def more(self, chains: bytes) -> None:
        """All chains that there are by now."""
        self.chains = list(CHAIN.iter_unpack(chains[:len(chains) // CHAIN.size * CHAIN.size]))

    def addresses(self, number: int) -> list[int]:
        if not 0 < number < len(self.chains):
            raise TraceError(f"no chain {number}")
        pc, *callers = self.chains[number]
        # a call may be a function's last instruction
        return [pc, *(address - 1 for address in callers if address)]

    def at(self, address: int) -> tuple[str, ...]:
        found = self.frames.get(address)
        if found is None:
            if self.module and address in self.module:
                found = self.module.frames(address)
            else:
                found = (self.code.find(address),)
            self.frames[address] = found
        return found

    def room(self, address: int) -> str:
        """The module's file that an instruction is in, or the kernel's function."""
        if self.module and address in self.module:
            return self.module.file(address)
        return self.code.find(address)

    def chain(self, number: int) -> tuple[str, ...]:
        """The function, and its callers."""
        found = self.known.get(number)
        if found is None:
            found = self.known[number] = tuple(
                name for address in self.addresses(number) for name in self.at(address))
        return found

    def variable(self, address: int) -> str:
        """The name of a variable of the kernel or a module; "" of what was allocated."""
        return self.data.find(address) if address >= KERNEL_IMAGE else ""
