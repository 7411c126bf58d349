# SPDX-License-Identifier: GPL-2.0
"""What moving lines would cost on many CPUs: a model, fed with traces. It measures nothing.

Each CPU repeats its own operations of the trace. An instruction takes INSTRUCTION. A CPU that
needs a line that it has no copy of, or wants to write to one that others have copies of, waits
until the line has come, which takes MOVE; a line moves to one CPU after the other, in the order in
which they asked. A line is looked at when an operation uses it for the first and for the last
time: a lock, a count of readers or a node may be gone in between.

Lines that only one CPU uses, or that nobody writes to, cost nothing. CPUs beyond those of the
trace do what these do, with lines of their own; only a line that more than half of the CPUs use is
the same for all of them.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from coherence_replay import shared_lines
from coherence_trace import Section

INSTRUCTION = 0.5e-9  # seconds: 3 GHz, 1.5 cycles each
MOVE = 100e-9
CPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Each CPU does so many operations; these from the first quarter to the third are counted.
OPERATIONS = 24

# When in an operation, in instructions; which line; written to?
Use = tuple[int, int, bool]


@dataclass
class Operation:
    instructions: int
    uses: list[Use] = field(default_factory=list)


@dataclass
class Workload:
    """What each CPU of a trace did, as far as others have to do with it."""

    operations: list[list[Operation]]  # by CPU
    common: set[int]  # lines that more than half of them use

    @classmethod
    def of(cls, trace: Iterable[Section]) -> "Workload":
        sections = [section for section in trace if section.counted]
        cpus = {cpu: i for i, cpu in enumerate(sorted({section.cpu for section in sections}))}
        used = shared_lines(sections)
        users: dict[int, set[int]] = {line: set() for line in used}
        written: set[int] = set()
        for section in sections:
            for line, _, _, written_by, _, _ in section.records:
                if line in used:
                    users[line].add(section.cpu)
                    if written_by:
                        written.add(line)
        shared = used & written
        operations: list[list[Operation]] = [[] for _ in cpus]
        for section in sections:
            operation = Operation(section.instructions)
            for line, _, _, written_by, first, last in section.records:
                if line in shared:
                    operation.uses.append((first, line, bool(written_by)))
                    if last > first:
                        operation.uses.append((last, line, bool(written_by)))
            operation.uses.sort()
            operations[cpus[section.cpu]].append(operation)
        return cls(operations, {line for line in shared if 2 * len(users[line]) > len(cpus)})


@dataclass
class SharedLine:
    copies: set[int] = field(default_factory=set)
    free_at: float = 0.0


class Cpu:
    """Goes through its operations, use by use."""

    def __init__(self, number: int, workload: Workload) -> None:
        self.number = number
        self.group, template = divmod(number, len(workload.operations))
        self.operations = workload.operations[template]
        self.common = workload.common
        self.done = 0
        self.use = 0
        self.at = 0  # instructions of this operation

    def line(self, line: int) -> tuple[int, int]:
        return (line, -1 if line in self.common else self.group)


def finished(workload: Workload, cpus: int, instruction: float, move: float) -> list[float]:
    """When each operation of all CPUs ends, in order."""
    lines: dict[tuple[int, int], SharedLine] = {}
    # they do not begin at once, as no machine's CPUs do
    stagger = workload.operations[0][0].instructions * instruction / cpus
    queue = [(i * stagger, i, Cpu(i, workload)) for i in range(cpus)]
    heapq.heapify(queue)
    ends = []
    while queue:
        time, number, cpu = heapq.heappop(queue)
        operation = cpu.operations[cpu.done % len(cpu.operations)]
        if cpu.use:
            # the use that it has waited for in the queue
            _, name, write = operation.uses[cpu.use - 1]
            line = lines.setdefault(cpu.line(name), SharedLine())
            if number not in line.copies or write and len(line.copies) > 1:
                if line.copies:
                    time = line.free_at = max(time, line.free_at) + move
                line.copies = {number} if write else line.copies | {number}
        if cpu.use < len(operation.uses):
            at = operation.uses[cpu.use][0]
            cpu.use += 1
        else:
            at = operation.instructions
            cpu.use = 0
        time += (at - cpu.at) * instruction
        cpu.at = at
        if not cpu.use:
            ends.append(time)
            cpu.at = 0
            cpu.done += 1
            if cpu.done == OPERATIONS:
                continue
        heapq.heappush(queue, (time, number, cpu))
    return sorted(ends)


def rate(workload: Workload, cpus: int, instruction: float = INSTRUCTION,
         move: float = MOVE) -> float:
    """Operations per second of all CPUs together, while all of them are busy."""
    ends = finished(workload, cpus, instruction, move)
    first, last = len(ends) // 4, 3 * len(ends) // 4
    return (last - first) / (ends[last] - ends[first])


def rates(trace: Iterable[Section], cpus: Sequence[int] = CPUS) -> list[float]:
    workload = Workload.of(trace)
    return [rate(workload, count) for count in cpus]
