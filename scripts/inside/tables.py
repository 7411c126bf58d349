# SPDX-License-Identifier: GPL-2.0
"""The benchmark's figures as tables, in Markdown."""

from collections.abc import Iterable, Mapping, Sequence

from figures import CONTENDERS, OURS, PEERS, Figures, Goal, Ratio, Samples

NOTHING = "–"


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """All columns but the first are aligned as numbers are."""
    return ["| " + " | ".join(header) + " |",
            "|---" + "|---:" * (len(header) - 1) + "|",
            *("| " + " | ".join(line) + " |" for line in lines)]


def number(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= limit:
            return f"{value / limit:,.2f} {unit}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def quotient(value: float | None) -> str:
    if value is None:
        return NOTHING
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 0.1:
        return f"{value:.2f}"
    return f"{value:.4f}" if value >= 0.0001 else "0"


def cell(samples: Samples | None) -> str:
    if samples is None:
        return NOTHING
    return number(samples.median) if samples.values else samples.unavailable or NOTHING


def costs(titles: Mapping[str, str], figures: Figures,
          contenders: Sequence[str] = CONTENDERS) -> list[str]:
    """A line for each operation: what it costs, and rdax over its peers."""
    lines = []
    pairs = [(ours, peer) for ours in OURS for peer in PEERS
             if ours in contenders and peer in contenders]
    for name, title in titles.items():
        found = figures.samples.get(name)
        if not found:
            continue
        spread = max((samples.spread for samples in found.values() if samples.values), default=0.0)
        # of a few pages more or less it says nothing
        of_rounds = NOTHING if name.startswith("memory-") else f"{100 * spread:.1f} %"
        lines.append([title, *(cell(found.get(contender)) for contender in contenders),
                      *(quotient(figures.ratio(name, peer, ours)) for ours, peer in pairs),
                      of_rounds])
    return table(["", *contenders, *(f"{ours} / {peer}" for ours, peer in pairs), "spread"], lines)


def with_spread(ratio: Ratio) -> str:
    return f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"


def scaling(titles: Mapping[str, str], threads: Sequence[int], figures: Figures) -> list[str]:
    """How much faster N threads are than one, and rdax than its peers with N threads."""
    lines = []
    for name, title in titles.items():
        for count in threads:
            parts = []
            for contender in CONTENDERS:
                one = figures.find(f"{name}-1", contender)
                several = figures.find(f"{name}-{count}", contender)
                parts.append(NOTHING if not one or not several else
                             with_spread(one.over(several)) if count != 1 else "1")
            for peer in PEERS:
                ours = figures.find(f"{name}-{count}", CONTENDERS[0])
                theirs = figures.find(f"{name}-{count}", peer)
                parts.append(with_spread(theirs.over(ours)) if ours and theirs else NOTHING)
            lines.append([f"{title}, {count}", *parts])
    return table(["", *CONTENDERS, *(f"rdax against {peer}" for peer in PEERS)], lines)


def goals(all_goals: Iterable[Goal], figures: Figures, whole: bool) -> list[str]:
    """With those that were not measured if it's the WHOLE."""
    lines = []
    for goal in all_goals:
        value = goal.value(figures)
        if value is None and not whole:
            continue
        lines.append([goal.title, f"{'≥' if goal.at_least else '≤'} {number(goal.limit)}",
                      NOTHING if value is None else
                      number(value) if value >= 100 else quotient(value),
                      "not measured" if value is None else
                      "reached" if goal.reached(value) else "**not reached**"])
    return table(["goal", "", "measured", ""], lines)
