# SPDX-License-Identifier: GPL-2.0
"""The figures of bench_locks.py as tables (Markdown) and plots (SVG)."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

# What the others are held against: the lock that the threads wanted to get rid of.
BASE = "mapping-write"

Row = dict[str, Any]
Part = Mapping[str, Any]

TITLES = {
    "none": "no lock",
    "mapping-mutex": "mutex of the mapping",
    "mapping-write": "rwsem of the mapping, for write",
    "mapping-read": "rwsem of the mapping, for read",
    "range": "range lock of the mapping",
    "hashed": "hashed mutexes, by first page",
    "hashed-pmd": "hashed mutexes, by 2 MiB",
    "hashed-all": "hashed mutexes, 2 MiB takes all",
    "hashed-index": "hashed mutexes, by 2 MiB, and the index",
    "numa-cpu": "hashed, table of the CPU's node",
    "numa-memory": "hashed, table of the memory's node",
    "entry-bit": "entry bit (rdax)",
}

# What counts mean that the page itself has no room for.
EXCLUSION = """\
**By first page**: Chinner's objection of 2016 holds. Such a hash fits one size of range.

**By 2 MiB**: this costs one pair nothing more, but neighbours wait for each other, and 1 GiB is
still not covered.

**2 MiB takes all**: the larger range takes every mutex that it may hash to, which for 512 pages is
the whole table. The cost is proportional to the number of CPUs (for 64 of them 512 mutexes, and an
array to remember them), and meanwhile every fault in every mapping stops.

**Table of the CPU's node**, as proposed: a page has as many locks as there are nodes. All tasks must
agree on the node, so it must be that of the memory. Then it is a larger table, near the memory
rather than near the CPU. (A hole in a file has no memory and no node.)

**The entry bit** needs no rule for sizes, because what the index contains decides what is locked. It
excludes by falling back: a range of 2 MiB that contains an entry of 4 KiB gets 4 KiB, and 4 KiB
inside an entry of 2 MiB lock all of it.
"""
MEMORY = """\
The entry bit's bytes are mostly the wait queues (rdax: one mapping for a device; fs/dax.c has one
table for all mappings). The index takes another 64 bytes for each GiB of the device. What is left
are 9 bytes for each page that was ever locked, while its entry exists, and 4 KiB for each GiB. Any
index that remembers pages costs these, whatever locks it. A hashed table for 64 CPUs takes 12 KiB.
The range lock takes the 24 bytes that seemed a waste in struct address_space.
"""

COLOURS = dict(zip(TITLES, (
    "#76b041", "#777777", "#000000", "#bbbbbb", "#d55e00", "#56b4e9", "#0072b2", "#009e73",
    "#8c564b", "#cc79a7", "#e69f00", "#e00000"), strict=True))


def fold(rows: Iterable[Row]) -> list[Row]:
    """One row for each case and scheme, with the list of its rounds in place of each figure."""
    folded: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = row["case"], row["scheme"]
        into = folded.setdefault(key, {"case": key[0], "scheme": key[1]})
        for name, value in row.items():
            if name not in ("case", "scheme"):
                into.setdefault(name, []).append(round(value, 5))
    return list(folded.values())


def rows_of(part: Part) -> dict[tuple[str, str], Row]:
    return {(row["case"], row["scheme"]): row for row in part["rows"]}


def schemes_of(part: Part) -> list[str]:
    return [name for name in TITLES if any(row["scheme"] == name for row in part["rows"])]


def cases_of(part: Part) -> list[str]:
    return list(dict.fromkeys(row["case"] for row in part["rows"]))


def median(row: Row, name: str = "value") -> float:
    return float(statistics.median(row[name]))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """All columns but the first are numbers."""
    return ["| " + " | ".join(header) + " |",
            "|---" + "|---:" * (len(header) - 1) + "|",
            *("| " + " | ".join(line) + " |" for line in lines), ""]


def instructions(part: Part) -> list[str]:
    rows = rows_of(part)
    cases = [case for case in cases_of(part) if case != "work"]
    base = {case: median(rows[case, BASE]) for case in cases}
    lines = []
    for name in schemes_of(part):
        line = [TITLES[name]]
        spread = 0.0
        for case in cases:
            row = rows[case, name]
            value = median(row)
            low, high = quartiles(row["value"])
            # no lock takes no instruction
            spread = max(spread, (high - low) / max(value, 1.0))
            line += [f"{value:,.0f}", f"{value / base[case]:.2f}"]
        lines.append([*line, f"{100 * spread:.1f} %"])
    header = ["scheme"]
    for case in cases:
        header += [case, "ratio"]
    work = median(rows["work", ""])
    return ["## Instructions of an uncontended pair", "",
            ("Lock and unlock, medians of all rounds; ratios to the rwsem taken for write. "
             "\"First\": at a range that was never locked; \"again\": at one that was. The spread "
             "is between the quartiles, of the worst column."), "",
            *table([*header, "spread"], lines),
            (f"The work in the critical section below is {work:,.0f} instructions, and as much is "
             "outside."), ""]


def memory(part: Part) -> list[str]:
    rows = rows_of(part)
    lines = []
    for name in schemes_of(part):
        small, large = rows["4k", name], rows["2m", name]
        lines.append([TITLES[name], f"{median(small, 'mapping'):,.0f}",
                      f"{median(small, 'shared'):,.0f}", f"{median(small, 'left') / 1024:,.0f}",
                      f"{median(large, 'left') / 1024:,.0f}"])
    return ["## Memory", "",
            (f"With {part['cpus']} CPUs and {part['nodes']} node. What is left behind is the growth "
             "of all slabs, to which others add some KiB."), "",
            *table(["scheme", "bytes a mapping", "bytes for all mappings",
                    "KiB left by 1 million pages", "KiB left by as many in 2 MiB"], lines),
            MEMORY]


def relative(part: Part, case: str, name: str) -> list[float]:
    """Throughput over that of BASE with one thread, round by round: what disturbs a round disturbs
    both."""
    rows = rows_of(part)
    base = rows[case.rpartition(" ")[0] + " 1", BASE]["value"]
    return [value / over for value, over in zip(rows[case, name]["value"], base, strict=True)]


def ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def relative_lines(part: Part) -> list[list[str]]:
    """The median and the quartiles of those, for each scheme and case."""
    lines = []
    for name in schemes_of(part):
        line = [TITLES[name]]
        for case in cases_of(part):
            ratios = relative(part, case, name)
            low, high = quartiles(ratios)
            line.append(f"{ratio(statistics.median(ratios))} ({ratio(low)}–{ratio(high)})")
        lines.append(line)
    return lines


def throughput(part: Part) -> list[str]:
    cases = cases_of(part)
    return ["## Throughput by threads", "",
            (f"{part['cpus']} virtual CPUs on {part['host_cpus']} of the host. Pairs per time, over "
             "those of the rwsem taken for write by one thread: the median of the rounds' ratios, "
             "and its quartiles. No contention: 4 MiB for each thread; some: 8 pages for all, in 4 "
             "ranges of 2 MiB; full: one page."), "",
            *table(["scheme", *(f"{case.split()[0]}, {case.split()[1]} thr." for case in cases)],
                   relative_lines(part)),
            ("A waiter for the entry bit sleeps at once; mutex and rwsem spin while the holder "
             "runs. The range lock hands over in order, so each pair costs a sleep and a wake-up "
             "where all want the same."), ""]


def mixed(part: Part) -> list[str]:
    cases = cases_of(part)
    rows = rows_of(part)
    fallbacks = [f"{case}: {100 * median(rows[case, 'entry-bit'], 'fallbacks'):.0f} %"
                 for case in cases if median(rows[case, "entry-bit"], "fallbacks")]
    header = [f"{contention}, {populate} first, {threads} thr."
              for contention, populate, threads in map(str.split, cases)]
    return ["## Mixed sizes", "",
            ("As above; a tenth of the ranges is of 2 MiB. \"2m first\": each page was locked once "
             "before, together with the others of its 2 MiB; \"4k first\": by itself. Where that "
             "leaves an entry, it decides who excludes whom."), "",
            *table(["scheme", *header], relative_lines(part)),
            "Ranges of 2 MiB for which the entry bit granted 4 KiB only, of all ranges: "
            + "; ".join(fallbacks) + ".", ""]


def fairness(part: Part) -> list[str]:
    rows = rows_of(part)
    lines = []
    for name in schemes_of(part):
        line = [TITLES[name]]
        for case in cases_of(part):
            row = rows[case, name]
            streak = statistics.median(longest / pairs for longest, pairs in
                                       zip(row["longest"], row["pairs"], strict=True))
            line += [f"{100 * median(row, 'least'):.1f} %", f"{100 * median(row, 'most'):.0f} %",
                     f"{median(row, 'longest'):,.0f}", f"{100 * streak:.0f} %"]
        lines.append(line)
    header = ["scheme"]
    for case in cases_of(part):
        header += [f"least of {case} thr.", "most", "longest streak", "of all"]
    return ["## Fairness", "",
            ("All threads want one page for 100 ms: the share of the thread that got least and of "
             "the one that got most; how often at most one got it in succession (where the scheme "
             "doesn't exclude this means nothing). Medians."), "",
            *table(header, lines),
            ("The entry bit goes to the first comer, not to the longest waiter, as a mutex does. "
             "The range lock gives each thread its share."), ""]


CONTENTIONS = {"none": "4 MiB for each", "some": "8 pages for all", "full": "one page for all"}


def meetings(part: Part) -> list[str]:
    """A line for each scheme, contention and share of time in the section; a column for each number
    of threads."""
    rows = rows_of(part)
    threads = sorted({int(case.split()[2]) for case in cases_of(part)})
    shares = {"work": "half of the time", "nap": "all the time"}
    lines = []
    for name in schemes_of(part):
        for contention, pages in CONTENTIONS.items():
            for how, share in shares.items():
                line = [f"{TITLES[name]}: {pages}, {share}"]
                for count in threads:
                    row = rows.get((f"{how} {contention} {count}", name))
                    line.append("–" if row is None else percent(
                        [met / pairs for met, pairs in
                         zip(row["violations"], row["pairs"], strict=True)]))
                lines.append(line)
    return ["## Meetings", "",
            ("Pairs that found another holder at their page, of all, by the number of threads: the "
             "median of the rounds, and its quartiles. \"Half of the time\": the critical section "
             "and the work outside are as for throughput. \"All the time\": each thread sleeps in "
             f"the section, so that {part['cpus']} CPUs are enough for all of them, and goes to the "
             "next page at once."), "",
            *table(["scheme, pages, time in the section", *(f"{count} thr." for count in threads)],
                   lines)]


def percent(shares: Sequence[float]) -> str:
    low, high = quartiles(shares)
    return (f"{100 * statistics.median(shares):.1f} % "
            f"({100 * low:.1f}–{100 * high:.1f})")


def exclusion(part: Part, schemes: Iterable[Mapping[str, str]]) -> list[str]:
    rows = rows_of(part)
    claims = {scheme["scheme"]: scheme for scheme in schemes}
    lines = []
    for name in schemes_of(part):
        line = [TITLES[name]]
        for case in cases_of(part):
            row = rows[case, name]
            count = median(row, "across" if case == "nodes" else "violations")
            said = claims[name][case.split()[0]] == "1"
            line.append(f"{count:,.0f} of {median(row, 'pairs'):,.0f}"
                        + ("" if said == (count == 0) else " (!)"))
        lines.append(line)
    words = {"faults": "one page, 4 thr., 1 node", "sizes": "4 KiB and 2 MiB, 2 thr., 1 node",
             "sizes 4k": "the same, 4 KiB first", "sizes 2m": "the same, 2 MiB first",
             "nodes": "one page, 8 thr., 4 nodes: holders on two nodes"}
    return ["## Exclusion", "",
            ("Holders of a range that found another holder at one of its pages, of all. Eight CPUs "
             "on four nodes."), "",
            *table(["scheme", *(words[case] for case in cases_of(part))], lines), EXCLUSION]


PLACES = {"own-page": "a page of its own, 32 MiB apart",
          "own-pages": "pages all over 32 MiB of its own",
          "near-pages": "a page of its own, 1 MiB apart",
          "same-page": "the same page"}


def doubts(part: Part) -> list[str]:
    """Why the moved lines cannot be right: a lock that all write to moves a line each time, and no
    lock moves none."""
    rows = rows_of(part)
    found = [] if rows else ["nothing was measured"]
    for case in cases_of(part):
        base, nothing = median(rows[case, BASE], "moved"), median(rows[case, "none"], "moved")
        if base < 1:
            found.append(f"{case}: {TITLES[BASE]}: {base} lines moved, and it is written each time")
        if nothing > 0:
            found.append(f"{case}: {TITLES['none']}: {nothing} lines moved, and it has none")
    return found


def coherence(part: Part) -> list[str]:
    rows, cases = rows_of(part), cases_of(part)
    counts = sorted({int(case.split()[1]) for case in cases})
    lines = [[TITLES[name], *(f"{median(rows[f'{place} {count}', name], 'moved'):.2f}"
                              for place in PLACES for count in counts)]
             for name in schemes_of(part)]
    moves = [[TITLES[row["scheme"]], PLACES[row["case"].split()[0]], f"{move['rate']:.2f}",
              f"`{move['by']}`",
              "the same" if move["by"] == move["after"] else f"`{move['after']}`"]
             for row in part["moves"] for move in row["moves"]]
    places = "; ".join(f"{place}: {words}" for place, words in PLACES.items())
    return ["## Cache lines that move", "",
            (f"Lines that move between CPUs for each lock and unlock, with {counts[0]} to "
             f"{counts[-1]} CPUs that take turns; hashed tables as for {part['cpus']} CPUs. Which "
             f"page a CPU locks: {places}. All pages were locked before. The method is that of "
             "../coherence.rst."), "",
            *table(["scheme", *(f"{place}, {count} CPUs" for place in PLACES for count in counts)],
                   lines),
            f"Who moves them, with {counts[-1]} CPUs:", "",
            "| scheme | page | a pair | used by | after |", "|---|---|---:|---|---|",
            *("| " + " | ".join(line) + " |" for line in moves), ""]


class Svg:
    """A picture, built up of shapes."""

    def __init__(self, width: int, height: int) -> None:
        self.size = width, height
        self.shapes: list[str] = []

    def text(self, x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> None:
        self.shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" '
                           f'text-anchor="{anchor}">{escape(text)}</text>')

    def line(self, points: Iterable[tuple[float, float]], colour: str, width: float = 1) -> None:
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.shapes.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" '
                           f'stroke-width="{width}"/>')

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self.shapes.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                           f'height="{height:.1f}" fill="{colour}"/>')

    def __str__(self) -> str:
        width, height = self.size
        return "\n".join([
            (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             f'viewBox="0 0 {width} {height}" font-family="sans-serif">'),
            f'<rect width="{width}" height="{height}" fill="white"/>', *self.shapes, "</svg>", ""])


def instructions_plot(part: Part) -> Svg:
    """Bars: a pair at a range of 4 KiB, first and again."""
    rows, schemes = rows_of(part), schemes_of(part)
    svg = Svg(760, 60 + 38 * len(schemes))
    most = max(median(rows[f"4k {which}", name])
               for name in schemes for which in ("first", "again"))
    svg.text(10, 20, "Instructions of an uncontended pair, 4 KiB: again (dark), first (light)",
             size=14)
    for i, name in enumerate(schemes):
        y = 40 + 38 * i
        svg.text(240, y + 18, TITLES[name], "end")
        for j, (which, colour) in enumerate((("again", "#0072b2"), ("first", "#9ecae1"))):
            value = median(rows[f"4k {which}", name])
            svg.bar(250, y + 14 * j, 440 * value / most, 12, colour)
            svg.text(255 + 440 * value / most, y + 14 * j + 10, f"{value:,.0f}", size=10)
    return svg


def throughput_plot(part: Part) -> Svg:
    """A panel for each contention: throughput by threads, over BASE with one thread."""
    schemes, cases = schemes_of(part), cases_of(part)
    contentions = list(dict.fromkeys(case.split()[0] for case in cases))
    threads = list(dict.fromkeys(int(case.split()[1]) for case in cases))
    side, gap, top = 230, 60, 50
    svg = Svg(gap + (side + gap) * len(contentions),
              top + side + 60 + 18 * ((len(schemes) + 2) // 3))
    svg.text(10, 20, "Pairs per time by threads, over those of the rwsem for write with one thread",
             size=14)
    values = {(case, name): statistics.median(relative(part, case, name))
              for case in cases for name in schemes}
    most = max(values.values()) * 1.05
    for i, contention in enumerate(contentions):
        left = gap + (side + gap) * i
        svg.text(left, top - 8, f"contention: {contention}")
        svg.line([(left, top), (left, top + side), (left + side, top + side)], "#000000")
        for tick in range(int(most * 2) + 1):
            y = top + side - side * tick / 2 / most
            svg.line([(left - 4, y), (left, y)], "#000000")
            svg.text(left - 8, y + 4, f"{tick / 2:.1f}", "end", 10)

        def at(index: int, value: float, left: int = left) -> tuple[float, float]:
            return (left + side * index / max(1, len(threads) - 1),
                    top + side - side * value / most)

        for j, count in enumerate(threads):
            svg.text(at(j, 0)[0], top + side + 16, str(count), "middle", 10)
        for name in schemes:
            points = [at(j, values[f"{contention} {count}", name])
                      for j, count in enumerate(threads)]
            svg.line(points, COLOURS[name], 3 if name == "entry-bit" else 1.5)
    for i, name in enumerate(schemes):
        x, y = gap + 285 * (i % 3), top + side + 44 + 18 * (i // 3)
        svg.line([(x, y - 4), (x + 20, y - 4)], COLOURS[name], 3)
        svg.text(x + 26, y, TITLES[name], size=11)
    return svg


def kernels(parts: Mapping[str, Part]) -> str:
    """On which each part was measured."""
    by_kernel: dict[str, list[str]] = {}
    for name, part in parts.items():
        by_kernel.setdefault(part.get("kernel", "not recorded"), []).append(name)
    return "; ".join(f"{kernel}: {', '.join(names)}" for kernel, names in by_kernel.items())


def write(results: Mapping[str, Any], directory: Path) -> None:
    """results.md, and a plot for each part that has one."""
    parts = results["parts"]
    lines = ["# The locks beside each other", "",
             "Written by `make bench-locks`; what it means is in ../locks.rst.", "",
             f"Kernels: {kernels(parts)}.", ""]
    for name, section in (("instructions", instructions), ("memory", memory),
                          ("throughput", throughput), ("mixed", mixed), ("fairness", fairness),
                          ("meetings", meetings)):
        if name in parts:
            lines += section(parts[name])
    if "exclusion" in parts:
        lines += exclusion(parts["exclusion"], results["schemes"])
    if "coherence" in parts:
        lines += coherence(parts["coherence"])
    (directory / "results.md").write_text("\n".join(lines))
    for name, plot in (("instructions", instructions_plot), ("throughput", throughput_plot)):
        if name in parts:
            (directory / f"{name}.svg").write_text(str(plot(parts[name])))
