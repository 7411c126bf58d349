# SPDX-License-Identifier: GPL-2.0
"""make bench BENCH=coherence: cache lines that move between CPUs, for each operation.

Each contender does each operation in a guest with as many CPUs as wanted, in processes and in
threads. The plugin records, coherence_replay counts. What fewer CPUs would do is a replay of what
so many of them have done.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import coherence_model
import coherence_report
import coherence_trace
import guest
from coherence_replay import Move, Result, replay
from figures import CONTENDERS, DEVICE_DAX, RDAX, FiguresError
from operations import LINES, MODES, VARIANTS
from tap import by_lines

GUEST = "/rdax/scripts/guest/bench"
PLUGIN = "/build/samples/coherence.so"
CPUS = (2, 4, 16, 64)
# Where bench-check looks, and for what the limits are.
CHECKED_CPUS = (4, 16)
# For which there is a prediction, from the traces of the most CPUs.
MODELLED = (("write-4k-dense", "processes"), ("write-4k-dense", "threads"),
            ("write-4k", "processes"), ("read-4k", "processes"), ("write-2m", "processes"),
            ("sync-4k", "processes"))
TIMEOUT = 7200
# Otherwise each CPU measures how fast it is, which takes long where the host has fewer CPUs.
PARAMETERS = "lpj=8000000"
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
    """By case, and number of CPUs."""

    results: dict[tuple[Case, int], Result] = field(default_factory=dict)
    unavailable: dict[Case, str] = field(default_factory=dict)
    traces: dict[Case, Path] = field(default_factory=dict)
    profiles: dict[Case, list[str]] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)  # that the console tells of
    names: coherence_trace.Names | None = None


class Listener:
    """Takes the guest's lines, and replays a trace as soon as it is there."""

    def __init__(self, cpus: Sequence[int], keep: Collection[Case], *, steps: bool = False,
                 module: Path = guest.MODULE) -> None:
        self.found = Found()
        self.cpus = cpus
        self.keep = keep
        self.steps = steps
        self.module = module
        self.contender = ""
        self.traces = 0

    def line(self, text: str) -> None:
        try:
            said = json.loads(text)
        except json.JSONDecodeError:
            print(f"guest: {text}", flush=True)
            return
        if "contender" in said:
            self.contender = VARIANTS.get(said["contender"], said["contender"])
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
            found.names = coherence_trace.Names.of(guest.WORK, self.module)
        found.names.more((guest.WORK / "chains").read_bytes())
        trace = list(coherence_trace.sections(path.read_bytes()))
        for cpus in self.cpus:
            result = found.results[case, cpus] = replay(trace, found.names, cpus)
            if result.operations * max(self.cpus) != expected * cpus:
                raise FiguresError(f"{case}: {result.operations} operations of {cpus} CPUs were "
                                   f"recorded, and {expected} of {max(self.cpus)} done")
        if self.steps:
            steps = path.with_name(path.name.replace("trace", "steps"))
            found.profiles[case] = profile(steps.read_bytes(), found.names)
            steps.unlink()
        if case in self.keep:
            found.traces[case] = path
        else:
            path.unlink()
        lines = ", ".join(f"{found.results[case, cpus].moved:.2f}" for cpus in self.cpus)
        print(f"  {case}: {lines} lines moved", flush=True)


def profile(steps: bytes, names: coherence_trace.Names) -> list[str]:
    """Where the instructions of an operation are: functions of the kernel, and files of the module with
    what of the kernel's is inlined there."""
    counts = Counter(names.room(address) for address in coherence_trace.median_steps(steps))
    return [f"{sum(counts.values()):6,}  instructions",
            *(f"{count:6,}  {room}" for room, count in counts.most_common())]


def measure(cpus: Sequence[int], chosen: Sequence[Case], keep: Collection[Case] = (), *,
            steps: bool = False) -> Found:
    """One boot, with a CPU more for the kernel's threads."""
    arguments = f"out={guest.WORK}" + ",steps=on" * steps
    machine = guest.Machine(cpus=max(cpus) + 1, memory=6 << 10, nvdimms={"nv0": guest.Nvdimm("4G")},
                            virtio_pmems={}, keep=False, plugin=f"{PLUGIN},{arguments}")
    listener = Listener(cpus, keep, steps=steps)
    result = guest.boot([GUEST, "coherence", str(max(cpus)), *arguments_of(chosen)],
                        timeout=TIMEOUT, machine=machine, parameters=PARAMETERS,
                        sink=by_lines(listener.line), boot_timeout=TIMEOUT)
    if result.status:
        raise FiguresError("\n".join(result.explain()))
    must_be_expected(chosen, listener.found)
    listener.found.trouble = result.trouble
    return listener.found


def must_be_expected(chosen: Sequence[Case], found: Found) -> None:
    cannot = {line.name: line.cannot for line in LINES}
    measured = {case for case, _ in found.results}
    lines = []
    for case in chosen:
        done = case in measured
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
    lines = [(f"{case}, {result.cpus} CPUs: {result.moved:.2f} lines moved per operation, of "
              f"{result.lines / result.operations:.0f} used; "
              f"{result.instructions / result.operations:,.0f} instructions "
              f"({result.operations} operations)")]
    for rate, move in moves_of(result):
        if rate < RARE:
            break
        how = "written" if move.wrote else "read"
        before = ("the same" if move.used_by == move.written_by else
                  " < ".join(move.written_by) or "reads only")
        lines += [f"  {rate:5.2f}  {move.what}, {how} by {' < '.join(move.used_by)}",
                  f"         after {before}"]
    return lines


def show(cpus: Sequence[int], only: Collection[str], *, instructions: bool = False) -> None:
    """What was asked for, in detail; nothing is kept."""
    chosen = cases(only)
    found = measure(cpus, chosen, steps=instructions)
    for case in chosen:
        if case in found.profiles:
            print("\n".join([f"{case}:", *found.profiles[case]]))
            continue
        for count in cpus:
            if (case, count) in found.results:
                print("\n".join(explain(case, found.results[case, count])))
        if case in found.unavailable:
            print(f"{case}: {found.unavailable[case]}")
    must_be_quiet(found)


def cases_of(found: Found) -> coherence_report.Cases:
    by_operation: coherence_report.Cases = {}
    for (case, cpus), result in found.results.items():
        by_contender = by_operation.setdefault(case.operation, {}).setdefault(case.mode, {})
        by_contender.setdefault(case.contender, {})[str(cpus)] = coherence_report.figure_of(result)
    return by_operation


def predict(found: Found) -> coherence_report.Rates:
    rates: coherence_report.Rates = {}
    for case, path in found.traces.items():
        rates.setdefault(f"{case.operation}-{case.mode}", {})[case.contender] = (
            coherence_model.rates(coherence_trace.sections(path.read_bytes())))
        path.unlink()
    return rates


def must_be_quiet(found: Found) -> None:
    """After the figures have been shown or kept: with so many CPUs it takes long to get them."""
    if found.trouble:
        raise FiguresError("\n".join(["the kernel's console tells of trouble:", *found.trouble]))


def whole(cpus: Sequence[int]) -> None:
    """Everything, and the prediction; both are kept."""
    chosen = cases()
    found = measure(cpus, chosen, [case for case in chosen
                                   if (case.operation, case.mode) in MODELLED])
    measured: coherence_report.Measured = {
        "module": guest.module(), "kernel": guest.kernel()["release"],
        "cases": cases_of(found), "rates": predict(found)}
    coherence_report.keep(measured)
    print(coherence_report.show(measured))
    must_be_quiet(found)


def check(limits_file: Path = coherence_report.LIMITS, *, reset: bool = False) -> int:
    """0 if rdax moves no more lines than it may, or if that becomes the limits."""
    found = measure(CHECKED_CPUS, cases([RDAX]))
    must_be_quiet(found)
    now = coherence_report.limits_of(cases_of(found), CHECKED_CPUS)
    if reset:
        coherence_report.write_limits(now, limits_file)
        return 0
    limits = json.loads(limits_file.read_text())
    worse = coherence_report.above(limits, now)
    by_name = {f"{case.operation}-{case.mode}-{cpus}": (case, result)
               for (case, cpus), result in found.results.items()}
    for name, line in worse.items():
        print(line)
        if name in by_name:
            print("\n".join(explain(*by_name[name])))
    print(f"{len(limits)} limits of moved lines, {len(worse)} not kept")
    return 1 if worse else 0
