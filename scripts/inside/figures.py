# SPDX-License-Identifier: GPL-2.0
"""What the benchmark's figures are, how they are computed, and what they are held against."""

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# A ratio this much above the baseline's is worse.
TOLERANCE = 0.03

RDAX, DEVICE_DAX, EXT4, ANONYMOUS = "rdax", "device_dax", "ext4", "anonymous"
CONTENDERS = (RDAX, DEVICE_DAX, EXT4, ANONYMOUS)
PEERS = (DEVICE_DAX, EXT4)


class FiguresError(Exception):
    """What was measured isn't what had to be."""


@dataclass(frozen=True)
class Row:
    """An operation, as the program names it in its results, and in words."""

    name: str
    title: str
    unit: str = "instructions"


@dataclass
class Samples:
    """The rounds of an operation with one contender, or why there are none."""

    values: list[float] = field(default_factory=list)
    unavailable: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """How far the middle half of the rounds is apart, as a part of the median."""
        low, high = self.quartiles
        return (high - low) / self.median if self.median else 0.0

    @property
    def quartiles(self) -> tuple[float, float]:
        if len(self.values) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high


@dataclass
class Figures:
    """All samples of a run, by operation and contender."""

    samples: dict[str, dict[str, Samples]] = field(default_factory=dict)

    def of(self, operation: str, contender: str) -> Samples:
        return self.samples.setdefault(operation, {}).setdefault(contender, Samples())

    def value(self, operation: str, contender: str) -> float | None:
        samples = self.samples.get(operation, {}).get(contender)
        return samples.median if samples and samples.values else None

    def ratio(self, over: "Cell", under: "Cell") -> float | None:
        a, b = self.value(*over), self.value(*under)
        return None if a is None or not b else a / b

    def add(self, contender: str, lines: Iterable[str]) -> None:
        """Take over what the program printed."""
        for line in lines:
            found = json.loads(line)
            samples = self.of(found["operation"], contender)
            if "unavailable" in found:
                samples.unavailable = found["unavailable"]
            elif "bytes" in found:
                samples.values.append(float(found["bytes"]))
            else:
                samples.values.append(found["total"] / found["count"])

    def ratios(self) -> dict[str, dict[str, float]]:
        """rdax over each peer, for each operation that both can do."""
        result: dict[str, dict[str, float]] = {}
        for operation in self.samples:
            for peer in PEERS:
                ratio = self.ratio((operation, RDAX), (operation, peer))
                if ratio is not None and ratio > 0:
                    result.setdefault(operation, {})[peer] = round(ratio, 4)
        return result

    def to_json(self) -> dict[str, object]:
        return {
            operation: {
                contender: {"unavailable": samples.unavailable} if not samples.values else {
                    "median": samples.median, "spread": round(samples.spread, 4),
                    "rounds": samples.values}
                for contender, samples in row.items()
            } for operation, row in self.samples.items()
        }


Cell = tuple[str, str]


@dataclass(frozen=True)
class Goal:
    """A figure over another one (or by itself), and where it has to be."""

    title: str
    over: Cell
    under: Cell | None
    limit: float
    at_least: bool = False

    def reached(self, figures: Figures) -> tuple[float | None, bool]:
        value = figures.value(*self.over) if self.under is None else figures.ratio(
            self.over, self.under)
        if value is None:
            return None, False
        return value, value >= self.limit if self.at_least else value <= self.limit


def against(operation: str, title: str, **limits: float) -> Iterator[Goal]:
    """Goals of rdax over its peers."""
    for peer, limit in limits.items():
        yield Goal(f"{title}, of {peer}", (operation, RDAX), (operation, peer), limit)


@dataclass(frozen=True)
class Worse:
    operation: str
    peer: str
    before: float
    now: float | None

    def __str__(self) -> str:
        if self.now is None:
            return f"{self.operation}: rdax / {self.peer} was {self.before:.3f}, now isn't measured"
        return (f"{self.operation}: rdax / {self.peer} was {self.before:.3f}, is {self.now:.3f}, "
                f"{100 * (self.now / self.before - 1):.1f} % worse")


def compare(baseline: Mapping[str, Mapping[str, float]],
            ratios: Mapping[str, Mapping[str, float]]) -> list[Worse]:
    """Which ratios got worse, or lost, since the baseline."""
    worse = []
    for operation, peers in baseline.items():
        for peer, before in peers.items():
            now = ratios.get(operation, {}).get(peer)
            if now is None or now > before * (1 + TOLERANCE):
                worse.append(Worse(operation, peer, before, now))
    return worse


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def cell(samples: Samples | None) -> str:
    if samples is None or not (samples.values or samples.unavailable):
        return "–"
    return number(samples.median) if samples.values else samples.unavailable


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """In Markdown; all columns but the first are numbers."""
    return ["| " + " | ".join(header) + " |",
            "|---" + "|---:" * (len(header) - 1) + "|",
            *("| " + " | ".join(line) + " |" for line in lines)]


def figures_table(rows: Iterable[Row], figures: Figures) -> list[str]:
    lines = []
    for row in rows:
        found = figures.samples.get(row.name)
        if not found:
            continue
        ratios = [figures.ratio((row.name, RDAX), (row.name, peer)) for peer in PEERS]
        spread = max((samples.spread for samples in found.values() if samples.values), default=0.0)
        lines.append([row.title, *(cell(found.get(contender)) for contender in CONTENDERS),
                      *("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
                      f"{100 * spread:.1f} %"])
    header = ["operation", *CONTENDERS, *(f"rdax / {peer}" for peer in PEERS), "spread"]
    return table(header, lines) if lines else []


def goals_table(goals: Iterable[Goal], figures: Figures) -> list[str]:
    lines = []
    for goal in goals:
        value, reached = goal.reached(figures)
        if value is None:
            verdict, text = "not measured", "–"
        else:
            verdict, text = "reached" if reached else "not reached", f"{value:.3f}"
        lines.append([goal.title, f"{'≥' if goal.at_least else '≤'} {goal.limit:g}", text, verdict])
    return table(["goal", "limit", "measured", ""], lines)
