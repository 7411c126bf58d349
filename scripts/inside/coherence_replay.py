# SPDX-License-Identifier: GPL-2.0
"""Which cache lines would move from one CPU to another: a trace, replayed.

Each line is as in a cache without limits: a CPU that uses it has a copy, until another CPU writes
to it. It moves when a CPU uses it that has no copy because another CPU was the last one to write
to it, or writes to it while another CPU has a copy. A line moves once in an operation at most,
since no other CPU does anything meanwhile.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from coherence_trace import Names, Section


@dataclass(frozen=True)
class Move:
    """Who needed a line, and who had written to it before."""

    used_by: tuple[str, ...]
    written_by: tuple[str, ...]
    wrote: bool  # the one who needed it
    variable: str

    @property
    def what(self) -> str:
        return self.variable or "allocated memory"


@dataclass
class Result:
    """Of an operation, at a number of CPUs."""

    cpus: int = 0
    operations: int = 0
    interrupts: int = 0
    instructions: int = 0
    lines: int = 0
    moves: Counter[Move] = field(default_factory=Counter)

    @property
    def moved(self) -> float:
        """Lines, for each operation."""
        return self.moves.total() / self.operations if self.operations else 0.0


@dataclass
class Line:
    """Its copies, and who wrote to it last: CPU and chain."""

    copies: set[int] = field(default_factory=set)
    writer: int = -1
    written_by: int = 0


class Replay:
    """Of one trace."""

    def __init__(self, names: Names, shared: Collection[int]) -> None:
        self.names = names
        self.shared = shared
        self.lines: dict[int, Line] = {}
        self.result = Result()

    def section(self, section: Section) -> None:
        cpu = section.cpu
        moved = []
        for number, address, used_by, written_by, _, _ in section.records:
            if number not in self.shared:
                continue
            line = self.lines.get(number)
            if line is None:
                line = self.lines[number] = Line()
            has_copy = cpu in line.copies
            if (written_by and len(line.copies) > has_copy
                    or not has_copy and line.writer not in (-1, cpu)):
                moved.append((address, used_by, written_by, line.written_by))
            if written_by:
                line.copies = {cpu}
                line.writer, line.written_by = cpu, written_by
            elif not has_copy:
                line.copies.add(cpu)
        if section.counted:
            self.count(section, moved)

    def count(self, section: Section, moved: Iterable[tuple[int, int, int, int]]) -> None:
        names, result = self.names, self.result
        result.operations += 1
        result.interrupts += section.interrupts
        result.instructions += section.instructions
        result.lines += len(section.records)
        for address, used_by, written_by, before in moved:
            result.moves[Move(names.chain(used_by), names.chain(before) if before else (),
                              bool(written_by), names.variable(address))] += 1


def shared_lines(trace: Iterable[Section]) -> set[int]:
    """Those that more than one CPU uses; of the others there may be many, and none moves."""
    users: dict[int, int] = {}
    shared = set()
    for section in trace:
        for line, *_ in section.records:
            if users.setdefault(line, section.cpu) != section.cpu:
                shared.add(line)
    return shared


def replay(trace: Sequence[Section], names: Names, cpus: int | None = None) -> Result:
    """What a trace tells; of the first CPUS of those that are in it."""
    chosen = sorted({section.cpu for section in trace})[:cpus]
    machine = Replay(names, shared_lines(trace))
    machine.result.cpus = len(chosen)
    for section in trace:
        if section.cpu in chosen:
            machine.section(section)
    return machine.result
