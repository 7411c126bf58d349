# SPDX-License-Identifier: GPL-2.0
"""What the part `coherence` measured, as it is shown, kept, published and checked."""

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import coherence_model
import plots
import tables
from coherence_replay import Result
from figures import CONTENDERS, RDAX, FiguresError
from operations import LINES, MODES

OUTPUT = Path("/build/coherence")
DOCUMENT = Path("/rdax/Documentation/performance/coherence.rst")
PUBLISHED = DOCUMENT.with_suffix("")
LIMITS = PUBLISHED / "limits.json"
MADE_BY = "make bench BENCH=coherence; scripts/lab bench --publish coherence"
BEGIN, END = ".. begin of the figures", ".. end of the figures"
# More than this many lines above the limit, or this part of it: a line has come back.
TOLERANCE = 0.15
PART = 0.05
# Whom a TLB flush asks depends on what the other CPUs have done since they went idle.
NO_LIMIT = (("sync-4k", "threads"),)
# Functions of a move that are kept, without those that only pass on.
FRAMES = 3
PASS_ON = re.compile(r"rust_helper_|(Atomic|atomic|[iu](8|16|32|64|size)|bool)::")
# Rarer moves are not told.
RARE = 0.05

# {"module": ..., "kernel": ..., "cases": {operation: {mode: {contender: {cpus: Figure}}}},
#  "rates": {operation-mode: {contender: [operations per second at each of coherence_model.CPUS]}}}
Measured = dict[str, object]
# What is kept of a Result.
Figure = dict[str, object]
ByCpus = dict[str, Figure]
Cases = dict[str, dict[str, dict[str, ByCpus]]]
# By operation-mode and contender.
Rates = dict[str, dict[str, list[float]]]


def told(frames: Iterable[str]) -> str:
    """A chain of calls without places and without what only passes on."""
    names = [frame.partition(" (")[0] for frame in frames]
    return " < ".join([name for name in names if not PASS_ON.match(name)][:FRAMES])


def figure_of(result: Result) -> Figure:
    """With its moves, those of the same functions together."""
    moves: dict[tuple[str, str, str], float] = {}
    for move, count in result.moves.items():
        key = (told(move.used_by), told(move.written_by), move.what)
        moves[key] = moves.get(key, 0.0) + count / result.operations
    return {
        "moved": round(result.moved, 3),
        "used": round(result.lines / result.operations, 1),
        "instructions": round(result.instructions / result.operations),
        "operations": result.operations,
        "moves": [{"rate": round(rate, 3), "by": by, "after": after, "what": what}
                  for (by, after, what), rate in sorted(moves.items(), key=lambda item: -item[1])
                  if rate >= RARE],
    }


def cases_of(measured: Measured) -> Cases:
    found = measured["cases"]
    assert isinstance(found, dict)
    return found


def rates_of(measured: Measured) -> Rates:
    found = measured["rates"]
    assert isinstance(found, dict)
    return found


def moved(figure: Figure | None) -> float | None:
    if figure is None:
        return None
    found = figure["moved"]
    assert isinstance(found, float | int)
    return float(found)


def cpus_of(cases: Cases) -> list[int]:
    return sorted({int(count) for modes in cases.values() for contenders in modes.values()
                   for by_cpus in contenders.values() for count in by_cpus})


def number(value: float | None) -> str:
    return tables.NOTHING if value is None else f"{value:.1f}"


def rows(cases: Cases, mode: str, columns: Sequence[tuple[str, int]]) -> list[list[str]]:
    """A line for each operation: what each contender moves with so many CPUs."""
    return [[line.title,
             *(number(moved(cases[line.name][mode].get(contender, {}).get(str(count))))
               for contender, count in columns)]
            for line in LINES if mode in cases.get(line.name, {})]


def simple_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """In reStructuredText; all columns but the first are right-aligned."""
    widths = [max(len(line[i]) for line in (header, *lines)) for i in range(len(header))]
    edge = "  ".join("=" * width for width in widths)

    def written(line: Sequence[str]) -> str:
        return "  ".join([line[0].ljust(widths[0]),
                          *(cell.rjust(width) for cell, width
                            in zip(line[1:], widths[1:], strict=True))]).rstrip()

    return [edge, written(header), edge, *(written(line) for line in lines), edge]


def block(measured: Measured) -> list[str]:
    """What the document contains of it."""
    cases = cases_of(measured)
    counts = cpus_of(cases)
    columns = [(RDAX, count) for count in counts]
    columns += [(contender, counts[-1]) for contender in CONTENDERS if contender != RDAX]
    header = [f"rdax {counts[0]}", *map(str, counts[1:]),
              *(contender for contender, _ in columns[len(counts):])]
    lines = [f"Linux {measured['kernel']}, rdax.ko {measured['module']}. Lines moved for each",
             (f"operation: by rdax with {', '.join(map(str, counts))} CPUs, by the others with "
              f"{counts[-1]}.")]
    for mode in MODES:
        if found := rows(cases, mode, columns):
            lines += ["", *simple_table([mode, *header], found)]
    return lines


def every_move(cases: Cases) -> list[str]:
    """Who moves lines, with as many CPUs as there are figures for."""
    count = str(cpus_of(cases)[-1])
    lines = []
    for line in LINES:
        for mode in MODES:
            for contender in CONTENDERS:
                figure = cases.get(line.name, {}).get(mode, {}).get(contender, {}).get(count)
                if figure is None:
                    continue
                moves = figure["moves"]
                assert isinstance(moves, list)
                costs = (f"{moved(figure):.2f} of {figure['used']} lines, "
                         f"{figure['instructions']:,} instructions.")
                lines += [f"### {line.title}, {mode}, {contender}", "", costs, ""]
                if moves:
                    lines += [*tables.table(["per operation", "used by", "after", "in"], (
                        [f"{move['rate']:.2f}", f"`{move['by']}`",
                         "the same" if move["by"] == move["after"] else
                         f"`{move['after']}`" if move["after"] else "reads only",
                         move["what"]] for move in moves)), ""]
    return lines


def show(measured: Measured) -> str:
    cases = cases_of(measured)
    counts = cpus_of(cases)
    columns = [(contender, count) for contender in CONTENDERS for count in counts]
    lines = ["# Cache lines that move between CPUs", "",
             f"Linux {measured['kernel']}, rdax.ko {measured['module']}. Lines for each operation.",
             ""]
    for mode in MODES:
        lines += [f"## In {mode}", "",
                  *tables.table(["CPUs", *(f"{contender} {count}" for contender, count in columns)],
                                rows(cases, mode, columns)), ""]
    rates = rates_of(measured)
    lines += ["## Predicted: millions of operations per second", ""]
    for name, contenders in rates.items():
        lines += [*tables.table(
            [name, *map(str, coherence_model.CPUS)],
            ([contender, *(f"{rate / 1e6:.3g}" for rate in row)]
             for contender, row in contenders.items())), ""]
    lines += [f"## The lines, with {counts[-1]} CPUs", "", *every_move(cases)]
    return "\n".join(lines).rstrip("\n") + "\n"


def draw(measured: Measured) -> dict[str, str]:
    cases = cases_of(measured)
    counts = cpus_of(cases)
    images = {}
    for mode in MODES:
        plot: dict[str, dict[str, plots.Row]] = {}
        for line in LINES:
            series = {contender: [moved(by_cpus.get(str(count))) for count in counts]
                      for contender, by_cpus in cases.get(line.name, {}).get(mode, {}).items()}
            if series:
                plot[line.title] = dict(series)
        if plot:
            images[f"{mode}.svg"] = plots.panels(
                f"Cache lines moved for each operation, {mode}", "CPUs", counts, plot)
    rates = rates_of(measured)
    if rates:
        titles = {f"{line.name}-{mode}": f"{line.title}, {mode}"
                  for line in LINES for mode in MODES}
        images["prediction.svg"] = plots.panels(
            "A model: millions of operations per second, of all CPUs together",
            f"CPUs; a line moves in {coherence_model.MOVE * 1e9:.0f} ns, "
            f"an instruction takes {coherence_model.INSTRUCTION * 1e9:g} ns",
            coherence_model.CPUS,
            {titles[name]: {contender: [rate / 1e6 for rate in row]
                            for contender, row in contenders.items()}
             for name, contenders in rates.items()}, columns=3, logarithmic=True)
    return images


def without_details(cases: Cases) -> None:
    """Who moves the lines is only kept for the most CPUs."""
    most = str(cpus_of(cases)[-1])
    for modes in cases.values():
        for contenders in modes.values():
            for by_cpus in contenders.values():
                for count, figure in by_cpus.items():
                    if count != most:
                        figure.pop("moves", None)


def keep(measured: Measured) -> None:
    """All of it takes the place of what was there."""
    without_details(cases_of(measured))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for stale in OUTPUT.iterdir():
        stale.unlink()
    text = json.dumps(measured, indent=1)
    (OUTPUT / "figures.json").write_text(text + "\n")
    images = draw(measured)
    for name, image in images.items():
        (OUTPUT / name).write_text(image)
    (OUTPUT / "figures.md").write_text(
        f"<!-- SPDX-License-Identifier: GPL-2.0 -->\n<!-- made by {MADE_BY} -->\n"
        f"{show(measured)}\n## Plots\n\n"
        + "\n\n".join(f"![{name.removesuffix('.svg')}]({name})" for name in images) + "\n")


def kept() -> Measured:
    path = OUTPUT / "figures.json"
    if not path.exists():
        raise FiguresError("measure first: make bench BENCH=coherence")
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def with_block(document: str, lines: Iterable[str]) -> str:
    """The document with this between the marks."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise FiguresError(f"{DOCUMENT.name} has no marks for the figures")
    return "\n".join([f"{head}{BEGIN}", "", *lines, "", f"{END}{tail}"])


def publish() -> None:
    measured = kept()
    # as it is drawn now
    keep(measured)
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    for path in sorted(OUTPUT.iterdir()):
        shutil.copy(path, PUBLISHED / path.name)
        print(f"Documentation/performance/coherence/{path.name}")
    DOCUMENT.write_text(with_block(DOCUMENT.read_text(), block(measured)))
    print("Documentation/performance/coherence.rst")


Limits = Mapping[str, float]


def limits_of(cases: Cases, counts: Iterable[int]) -> Limits:
    """Lines that rdax moves, by operation, mode and CPUs."""
    found = {}
    for operation in (line.name for line in LINES if not line.allocates):
        for mode, contenders in cases.get(operation, {}).items():
            for count in counts if (operation, mode) not in NO_LIMIT else ():
                value = moved(contenders.get(RDAX, {}).get(str(count)))
                if value is not None:
                    found[f"{operation}-{mode}-{count}"] = value
    return found


def write_limits(limits: Limits, path: Path = LIMITS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(limits, indent=1) + "\n")


def above(limits: Limits, now: Limits) -> dict[str, str]:
    """What moves more lines than it may, or was not measured."""
    lines = {}
    for name, limit in limits.items():
        value = now.get(name)
        if value is None:
            lines[name] = f"{name}: not measured; {limit:.2f} lines before"
        elif value > limit + max(TOLERANCE, PART * limit):
            lines[name] = f"{name}: {value:.2f} lines moved, {limit:.2f} before"
    return lines
