# SPDX-License-Identifier: GPL-2.0
"""make bench BENCH=coherence: cache lines that move between CPUs, for each operation.

A guest for each number of CPUs; each contender does each operation there, in processes and in
threads. The plugin records, coherence_replay counts.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import coherence_trace
import guest
from coherence_replay import Move, Result, replay
from figures import CONTENDERS, DEVICE_DAX, FiguresError
from operations import LINES, MODES, VARIANTS
from tap import by_lines

GUEST = "/rdax/scripts/guest/bench"
PLUGIN = "/build/samples/coherence.so"
CPUS = (2, 4, 16, 64)
TIMEOUT = 3600
# Moves that are rarer are not shown.
RARE = 0.02


@dataclass(frozen=True, order=True)
class Case:
    contender: str
    operation: str
    mode: str

    def __str__(self) -> str:
        return f"{self.contender}:{self.operation}:{self.mode}"

    @property
    def argument(self) -> str:
        """The program's name for it."""
        return f"coherence-{self.operation}-{self.mode}"


def cases(only: Collection[str] = ()) -> list[Case]:
    """Those that begin as one of ONLY does, "rdax:write-4k", or all of them."""
    found = [Case(contender, line.name, mode)
             for contender in CONTENDERS for line in LINES for mode in MODES]
    if not only:
        return found
    wanted = [tuple(words.split(":")) for words in only]
    for words in wanted:
        if not any(words == (case.contender, case.operation, case.mode)[:len(words)]
                   for case in found):
            raise FiguresError(f"nothing is called {':'.join(words)}; such as rdax:write-4k or "
                               f"rdax:write-4k:threads; contenders: {', '.join(CONTENDERS)}; "
                               f"operations: {', '.join(line.name for line in LINES)}")
    return [case for case in found
            if any(words == (case.contender, case.operation, case.mode)[:len(words)]
                   for words in wanted)]


def arguments_of(chosen: Sequence[Case]) -> list[str]:
    """For the guest: each variant of a contender, and what it has to do."""
    arguments = []
    by_name = {line.name: line for line in LINES}
    for variant, contender in VARIANTS.items():
        theirs = [case.argument for case in chosen if case.contender == contender
                  and (contender != DEVICE_DAX
                       or variant == f"{DEVICE_DAX}_{by_name[case.operation].align}")]
        if theirs:
            arguments += [variant, *theirs]
    return arguments


@dataclass
class Found:
    """Of a number of CPUs."""

    results: dict[Case, Result] = field(default_factory=dict)
    unavailable: dict[Case, str] = field(default_factory=dict)
    traces: dict[Case, Path] = field(default_factory=dict)
    names: coherence_trace.Names | None = None


class Listener:
    """Takes the guest's lines, and replays a trace as soon as it is there."""

    def __init__(self, keep: Collection[Case]) -> None:
        self.found = Found()
        self.keep = keep
        self.contender = ""
        self.traces = 0

    def line(self, text: str) -> None:
        try:
            said = json.loads(text)
        except json.JSONDecodeError:
            print(f"guest: {text}", flush=True)
            return
        if "contender" in said:
            self.contender = VARIANTS[said["contender"]]
            return
        operation, _, mode = said["operation"].removeprefix("coherence-").rpartition("-")
        case = Case(self.contender, operation, mode)
        if "recorded" in said:
            self.traces += 1
        elif "unavailable" in said:
            self.found.unavailable[case] = said["unavailable"]
        else:
            self.replay(case, guest.WORK / f"trace.{self.traces}", said["count"])

    def replay(self, case: Case, path: Path, expected: int) -> None:
        found = self.found
        if found.names is None:
            found.names = coherence_trace.Names.of(guest.WORK, guest.MODULE)
        found.names.more((guest.WORK / "chains").read_bytes())
        result = replay(coherence_trace.sections(path.read_bytes()), found.names)
        if result.operations + result.interrupted != expected:
            raise FiguresError(f"{case}: {result.operations} and {result.interrupted} operations "
                               f"were recorded, not {expected}")
        found.results[case] = result
        if case in self.keep:
            found.traces[case] = path
        else:
            path.unlink()
        print(f"  {case}: {result.moved:.2f} lines moved", flush=True)


def measure(cpus: int, chosen: Sequence[Case], keep: Collection[Case] = ()) -> Found:
    """One boot, with a CPU more for the kernel's threads."""
    machine = guest.Machine(cpus=cpus + 1, memory=6 << 10, nvdimms={"nv0": guest.Nvdimm("4G")},
                            virtio_pmems={}, keep=False, plugin=f"{PLUGIN},out={guest.WORK}")
    listener = Listener(keep)
    result = guest.boot([GUEST, "coherence", str(cpus), *arguments_of(chosen)], timeout=TIMEOUT,
                        machine=machine, sink=by_lines(listener.line))
    if result.exit_status:
        raise FiguresError("\n".join(result.explain()))
    must_be_expected(chosen, listener.found)
    return listener.found


def must_be_expected(chosen: Sequence[Case], found: Found) -> None:
    cannot = {line.name: line.cannot for line in LINES}
    lines = []
    for case in chosen:
        done = case in found.results
        if done == (case.contender in cannot[case.operation]):
            why = found.unavailable.get(case, "no result")
            lines.append(f"{case}: {'unexpectedly done' if done else why}")
    if lines:
        raise FiguresError("\n".join(lines))


def moves_of(result: Result) -> Iterator[tuple[float, Move]]:
    for move, count in result.moves.most_common():
        yield count / result.operations, move


def explain(case: Case, result: Result) -> list[str]:
    """The lines that moved, and who moved them."""
    lines = [f"{case}, {result.cpus} CPUs: {result.moved:.2f} lines moved per operation, of "
             f"{result.lines / result.operations:.0f} used; "
             f"{result.instructions / result.operations:,.0f} instructions "
             f"({result.operations} operations; {result.interrupted} were interrupted, and left "
             "out)"]
    for rate, move in moves_of(result):
        if rate < RARE:
            break
        how = "written" if move.wrote else "read"
        before = ("the same" if move.used_by == move.written_by else
                  " < ".join(move.written_by) or "reads only")
        lines += [f"  {rate:5.2f}  {move.what}, {how} by {' < '.join(move.used_by)}",
                  f"         after {before}"]
    return lines


def show(cpus: Sequence[int], only: Collection[str]) -> None:
    """What was asked for, in detail; nothing is kept."""
    for count in cpus:
        print(f"== coherence: {count} CPUs", flush=True)
        chosen = cases(only)
        found = measure(count, chosen)
        for case in chosen:
            if case in found.results:
                print("\n".join(explain(case, found.results[case])))
            else:
                print(f"{case}: {found.unavailable[case]}")
