# SPDX-License-Identifier: GPL-2.0
"""The benchmark's figures: how they are computed, and what they are held against."""

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

# A ratio that is this much above the baseline's is worse.
TOLERANCE = 0.03

RDAX, DEVICE_DAX, EXT4, ANONYMOUS = "rdax", "device_dax", "ext4", "anonymous"
CONTENDERS = (RDAX, DEVICE_DAX, EXT4, ANONYMOUS)
PEERS = (DEVICE_DAX, EXT4)
# rdax on a device of the dax bus, with a struct page for each page.
TRACKED, PAGES = "rdax, tracked", "rdax, pages"
OURS = (RDAX, TRACKED, PAGES)

# An operation and a contender.
Cell = tuple[str, str]
# By operation and peer: rdax over the peer.
Ratios = Mapping[str, Mapping[str, float]]


class FiguresError(Exception):
    """What was measured isn't what had to be."""


@dataclass(frozen=True)
class Ratio:
    """Of two medians, and the middle half of the ratios that are made round by round."""

    value: float
    low: float
    high: float


@dataclass
class Samples:
    """The rounds of one contender with an operation, or why there are none."""

    values: list[float] = field(default_factory=list)
    unavailable: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        if len(self.values) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    @property
    def spread(self) -> float:
        """How wide the middle half of the rounds is, as a part of the median."""
        low, high = self.quartiles
        return (high - low) / abs(self.median) if self.median else 0.0

    def over(self, other: "Samples") -> "Ratio":
        """Both have taken turns."""
        if len(self.values) != len(other.values):
            raise FiguresError("rounds are missing")
        rounds = Samples([a / b for a, b in zip(self.values, other.values, strict=True)])
        return Ratio(self.median / other.median, *rounds.quartiles)

    def to_json(self) -> dict[str, object]:
        if not self.values:
            return {"unavailable": self.unavailable}
        return {"median": round(self.median, 2), "spread": round(self.spread, 4),
                "rounds": [round(value, 2) for value in self.values]}

    @classmethod
    def from_json(cls, found: Mapping[str, object]) -> "Samples":
        rounds = found.get("rounds", [])
        assert isinstance(rounds, list)
        return cls([float(value) for value in rounds], str(found.get("unavailable", "")))


@dataclass
class Figures:
    """By operation and contender."""

    samples: dict[str, dict[str, Samples]] = field(default_factory=dict)

    def of(self, operation: str, contender: str) -> Samples:
        return self.samples.setdefault(operation, {}).setdefault(contender, Samples())

    def find(self, operation: str, contender: str) -> Samples | None:
        """Its rounds, if there are any."""
        samples = self.samples.get(operation, {}).get(contender)
        return samples if samples and samples.values else None

    def quotient(self, over: Iterable[Cell], under: Iterable[Cell]) -> float | None:
        """Of products of medians; None if one of them wasn't measured or is nothing."""
        products = []
        for cells in (over, under):
            found = [self.find(*cell) for cell in cells]
            products.append(math.prod(samples.median if samples else math.nan
                                      for samples in found))
        value = products[0] / products[1] if products[1] else math.nan
        return None if math.isnan(value) else value

    def ratio(self, operation: str, peer: str, ours: str = RDAX) -> float | None:
        return self.quotient([(operation, ours)], [(operation, peer)])

    def ratios(self) -> Ratios:
        """Of all operations that rdax and a peer can do."""
        result: dict[str, dict[str, float]] = {}
        for operation in self.samples:
            for peer in PEERS:
                if (ratio := self.ratio(operation, peer)) is not None and ratio > 0:
                    result.setdefault(operation, {})[peer] = round(ratio, 4)
        return result

    def add(self, contender: str, line: str) -> None:
        """Take over a line that the program printed."""
        found = json.loads(line)
        samples = self.of(found["operation"], contender)
        if "unavailable" in found:
            samples.unavailable = found["unavailable"]
        elif "bytes" in found:
            samples.values.append(float(found["bytes"]))
        else:
            samples.values.append(found["total"] / found["count"])

    def to_json(self) -> dict[str, object]:
        return {operation: {contender: samples.to_json() for contender, samples in row.items()}
                for operation, row in self.samples.items()}

    @classmethod
    def from_json(cls, found: Mapping[str, Mapping[str, Mapping[str, object]]]) -> "Figures":
        return cls({operation: {contender: Samples.from_json(samples)
                                for contender, samples in row.items()}
                    for operation, row in found.items()})


@dataclass(frozen=True)
class Goal:
    """What a quotient of figures has to be at most, or at least."""

    title: str
    over: tuple[Cell, ...]
    under: tuple[Cell, ...]
    limit: float
    at_least: bool = False

    def value(self, figures: Figures) -> float | None:
        return figures.quotient(self.over, self.under)

    def reached(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def beside(operation: str, title: str, limits: Mapping[str, float]) -> Iterator[Goal]:
    """Goals of rdax over its peers."""
    for peer, limit in limits.items():
        yield Goal(f"{title} / {peer}", ((operation, RDAX),), ((operation, peer),), limit)


@dataclass(frozen=True)
class Worse:
    operation: str
    peer: str
    before: float
    now: float | None

    def __str__(self) -> str:
        what = f"{self.operation}: rdax / {self.peer} was {self.before:.3f}"
        if self.now is None:
            return f"{what} and was not measured"
        return f"{what}, is {self.now:.3f}: {100 * (self.now / self.before - 1):.1f} % worse"


def compare(baseline: Ratios, ratios: Ratios) -> list[Worse]:
    """What got worse than in the baseline, or lost."""
    worse = []
    for operation, peers in baseline.items():
        for peer, before in peers.items():
            now = ratios.get(operation, {}).get(peer)
            if now is None or now > before * (1 + TOLERANCE):
                worse.append(Worse(operation, peer, before, now))
    return worse
