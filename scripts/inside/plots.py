# SPDX-License-Identifier: GPL-2.0
"""The benchmark's figures as plots, in SVG."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

from figures import CONTENDERS, DEVICE_DAX, RDAX, Figures, Ratio

COLOURS = dict(zip(CONTENDERS, ("#c1440e", "#3b6ea5", "#6a994e", "#8d8d8d"), strict=True))
INK, GRID = "#222222", "#dddddd"
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 60, 40
BAR, GAP = 14, 16
LINE = 14


@dataclass(frozen=True)
class Area:
    """Where the data is, and its scale from 0 up."""

    width: float
    height: float
    highest: float

    def y(self, value: float) -> float:
        return TOP + self.height * (1 - value / self.highest)


def text(x: float, y: float, words: str, anchor: str = "middle", size: int = 12) -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{INK}">{escape(words)}</text>')


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{colour}" stroke-width="{width}"/>')


def rectangle(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{colour}"><title>{escape(title)}</title></rect>')


def step_for(highest: float) -> float:
    """A round distance between 4 to 8 grid lines."""
    step = 10.0 ** (len(str(int(highest))) - 1) if highest >= 1 else 0.1
    while highest / step < 4:
        step /= 2
    return step


def axis(area: Area, unit: str) -> list[str]:
    step, parts, value = step_for(area.highest), [], 0.0
    while value <= area.highest:
        y = area.y(value)
        parts += [line(LEFT, y, LEFT + area.width, y, GRID),
                  text(LEFT - 8, y + 4, f"{value:,g}", "end", 11)]
        value += step
    return [*parts, text(LEFT - 50, TOP - 12, unit, "start", 11)]


def legend(names: Iterable[str]) -> list[str]:
    parts, x = [], float(LEFT)
    for name in names:
        parts += [rectangle(x, TOP - 34, 11, 11, COLOURS[name], name),
                  text(x + 16, TOP - 24, name, "start")]
        x += 30 + 7.5 * len(name)
    return parts


def svg(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" font-family="sans-serif">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n'
            f"{text(LEFT, 18, title, 'start', 15)}\n{body}\n</svg>\n")


def bars(title: str, unit: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """A group for each operation, a bar for each contender that can do it."""
    widths = {name: GAP + BAR * len(row) for name, row in groups.items()}
    area = Area(max(sum(max(width, 74) for width in widths.values()), 420), 260,
                1.08 * max(value for row in groups.values() for value in row.values()))
    parts, x = [*axis(area, unit), *legend(CONTENDERS)], float(LEFT)
    lines = 1
    for name, row in groups.items():
        slot = max(widths[name], 74)
        at = x + (slot - BAR * len(row)) / 2
        for contender, value in row.items():
            parts.append(rectangle(at, area.y(value), BAR - 2, area.y(0) - area.y(value),
                                   COLOURS[contender], f"{contender}: {value:,.0f}"))
            at += BAR
        words = name.split("|")
        lines = max(lines, len(words))
        parts += [text(x + slot / 2, area.y(0) + 16 + LINE * i, word, size=11)
                  for i, word in enumerate(words)]
        x += slot
    return svg(LEFT + area.width + RIGHT, TOP + area.height + BOTTOM + LINE * (lines - 1), title,
               parts)


def lines_with_spread(title: str, unit: str, xs: Sequence[int],
                      series: Mapping[str, Sequence[Ratio]]) -> str:
    """A line through the ratios of each contender, and their spread."""
    highest = 1.08 * max(max(ratio.value, ratio.high) for row in series.values() for ratio in row)
    area = Area(420, 260, highest)
    parts = [*axis(area, unit), *legend(series)]
    places = [LEFT + area.width * (i + 0.5) / len(xs) for i in range(len(xs))]
    parts += [text(x, area.y(0) + 18, str(count)) for x, count in zip(places, xs, strict=True)]
    parts.append(text(LEFT + area.width / 2, area.y(0) + 34, "at the same time", size=11))
    for i, (contender, row) in enumerate(series.items()):
        colour, shift = COLOURS[contender], 8 * (i - (len(series) - 1) / 2)
        points = [(x + shift, area.y(ratio.value)) for x, ratio in zip(places, row, strict=True)]
        parts += [line(*a, *b, colour, 1.5) for a, b in pairwise(points)]
        for (x, y), ratio in zip(points, row, strict=True):
            low, high = area.y(ratio.low), area.y(ratio.high)
            parts += [line(x, low, x, high, colour, 2),
                      line(x - 3, low, x + 3, low, colour, 2),
                      line(x - 3, high, x + 3, high, colour, 2),
                      f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>']
    return svg(LEFT + area.width + RIGHT, TOP + area.height + BOTTOM + 8, title, parts)


# A small plot among others, with what is around it.
PANEL, PANEL_HEIGHT = 190, 150
PANEL_LEFT, PANEL_TOP, PANEL_BOTTOM = 56, 28, 40

# Values at each place of the axis, or None.
Row = Sequence[float | None]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten around these."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0 ** power for power in range(first, max(last, first + 1) + 1)]


def panel(left: float, top: float, title: str, xs: Sequence[int], series: Mapping[str, Row],
          logarithmic: bool) -> list[str]:
    """A line for each contender, from 0 up or in decades."""
    values = [value for row in series.values() for value in row if value is not None]
    if logarithmic:
        marks = decades(min(values), max(values))
        low, high, scale = math.log10(marks[0]), math.log10(marks[-1]), math.log10
    else:
        high = 1.08 * max(*values, 1.0)
        low, scale = 0.0, float
        step = step_for(high)
        marks = [step * i for i in range(int(high / step) + 1)]

    def y_of(value: float) -> float:
        return top + PANEL_HEIGHT * (1 - (scale(value) - low) / (high - low))

    bottom = top + PANEL_HEIGHT
    parts = [text(left, top - 10, title, "start", 12)]
    for mark in marks:
        parts += [line(left, y_of(mark), left + PANEL, y_of(mark), GRID),
                  text(left - 6, y_of(mark) + 4, f"{mark:g}", "end", 10)]
    places = [left + PANEL * (i + 0.5) / len(xs) for i in range(len(xs))]
    parts += [text(x, bottom + 14, str(count), size=10)
              for x, count in zip(places, xs, strict=True)]
    for contender, row in series.items():
        points = [(x, y_of(value), value) for x, value in zip(places, row, strict=True)
                  if value is not None]
        parts += [line(a[0], a[1], b[0], b[1], COLOURS[contender], 1.5)
                  for a, b in pairwise(points)]
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[contender]}">'
                  f'<title>{escape(contender)}: {value:.3g}</title></circle>'
                  for x, y, value in points]
    return parts


def panels(title: str, axis_title: str, xs: Sequence[int],
           plots: Mapping[str, Mapping[str, Row]], *, columns: int = 4,
           logarithmic: bool = False) -> str:
    """A small plot for each operation, over the number of CPUs."""
    width, height = PANEL_LEFT + PANEL + 8, PANEL_TOP + PANEL_HEIGHT + PANEL_BOTTOM
    parts = legend(contender for contender in CONTENDERS
                   if any(contender in series for series in plots.values()))
    for i, (name, series) in enumerate(plots.items()):
        row, column = divmod(i, columns)
        parts += panel(PANEL_LEFT + column * width, TOP + PANEL_TOP + row * height, name, xs,
                       series, logarithmic)
    rows = -(-len(plots) // columns)
    bottom = TOP + rows * height
    parts.append(text(PANEL_LEFT, bottom - 8, axis_title, "start", 11))
    return svg(min(len(plots), columns) * width + RIGHT, bottom, title, parts)


@dataclass(frozen=True)
class Costs:
    """A plot of operations whose costs are near enough for one scale.

    What costs more than CEILING is left out: zeroing or freeing a huge page of anonymous
    memory takes hundreds of times what all else does.
    """

    title: str
    ceiling: float
    operations: Mapping[str, str]


COSTS = {
    "faults.svg": Costs("Faults", 1e5, {
        "fault-4k-write-random": "4 KiB write|random", "fault-4k-read-random": "4 KiB read|random",
        "fault-4k-write-existing": "4 KiB write|entry exists",
        "write-after-read-4k": "4 KiB write|after read",
        "fault-4k-write-sequential": "4 KiB write|sequential",
        "fault-4k-read-sequential": "4 KiB read|sequential",
        "fault-2m-write": "2 MiB|write", "fault-2m-read": "2 MiB|read",
        "fault-1g-write": "1 GiB|write", "fault-1g-read": "1 GiB|read"}),
    "munmap.svg": Costs("munmap, per page", 1e4, {"munmap-4k": "4 KiB", "munmap-2m": "2 MiB"}),
    "calls.svg": Costs("Calls", 1e5, {
        "mmap": "mmap|of 1 GiB", "read-4k": "read|4 KiB", "write-4k": "write|4 KiB",
        "punch-4k-absent": "punch 4 KiB|no entry"}),
    "punch.svg": Costs("Punch and first write again", 1e7, {
        "punch-write-4k": "4 KiB", "punch-write-4k-all": "2 MiB|per 4 KiB"}),
    "punch-2m.svg": Costs("Punch and first write again", 1e7, {"punch-write-2m": "2 MiB"}),
    "fsync.svg": Costs("fsync", 1e7, {
        "fsync-1-of-16m": "1 page|of 16 MiB", "fsync-1-of-1g": "1 page|of 1 GiB",
        "fsync-100-of-1g": "100 pages|of 1 GiB"}),
}


def costs(plot: Costs, figures: Figures) -> str | None:
    groups: dict[str, dict[str, float]] = {}
    for operation, words in plot.operations.items():
        for contender in CONTENDERS:
            samples = figures.find(operation, contender)
            if samples and samples.median < plot.ceiling:
                groups.setdefault(words, {})[contender] = samples.median
    return bars(f"{plot.title}: instructions", "instructions", groups) if groups else None


def throughput(operation: str, title: str, counts: Sequence[int], figures: Figures) -> str | None:
    """Of each contender, as multiples of what device_dax does alone."""
    base = figures.find(f"{operation}-1", DEVICE_DAX)
    series: dict[str, list[Ratio]] = {}
    for contender in CONTENDERS:
        row = [figures.find(f"{operation}-{count}", contender) for count in counts]
        found = [samples for samples in row if samples]
        if base and len(found) == len(counts):
            series[contender] = [base.over(samples) for samples in found]
    if RDAX not in series:
        return None
    return lines_with_spread(title, "device_dax alone = 1", counts, series)


def of_costs(figures: Figures) -> dict[str, str]:
    found = {name: costs(plot, figures) for name, plot in COSTS.items()}
    return {name: image for name, image in found.items() if image}


def of_scaling(titles: Mapping[str, str], counts: Sequence[int],
               figures: Figures) -> dict[str, str]:
    found = {f"{name}.svg": throughput(name, title, counts, figures)
             for name, title in titles.items()}
    return {name: image for name, image in found.items() if image}
