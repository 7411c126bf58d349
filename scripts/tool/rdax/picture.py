# SPDX-License-Identifier: GPL-2.0
"""A picture of a device's entries, as text or SVG."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .attributes import Extent
from .values import PAGE, size_text

PMD_ORDER, PUD_ORDER = 9, 18


class State(NamedTuple):
    """What a part of a device can be. In a cell of the picture, the highest rank shows."""

    label: str
    rank: int
    block: str
    ascii: str
    colour: str
    fill: str


UNUSED = State("not mapped", 0, "·", ".", "2", "#e8e8e8")
HOLE = State("hole", 1, "□", "o", "36", "#7fd4d4")
CLEAN = (State("4K", 2, "░", "k", "32", "#a8d8a0"),
         State("2M", 2, "▒", "m", "32", "#5cb552"),
         State("1G", 2, "▓", "g", "32", "#2b7a22"))
DIRTY = (State("4K dirty", 3, "▂", "K", "33", "#f2cf74"),
         State("2M dirty", 3, "▅", "M", "33", "#e5a823"),
         State("1G dirty", 3, "█", "G", "33", "#a87408"))
BAD = State("bad", 4, "▚", "!", "1;31", "#d01c1c")
STATES = (*CLEAN, *DIRTY, HOLE, BAD, UNUSED)


class Part(NamedTuple):
    first: int
    pages: int
    state: State


class Layout(NamedTuple):
    """What a picture shows, in pages."""

    name: str
    namespace: str
    align: int
    first: int
    pages: int
    parts: list[Part]
    extents: list[Extent]


def parse_entries(text: str) -> list[Part]:
    """The debugfs file: lines '<first> <number> order <order> <kind>[ locked][ dirty]'."""
    parts = []
    for line in text.splitlines():
        match = re.match(r"(0x[0-9a-f]{1,16}) (\d{1,20}) order (\d{1,2}) (empty|zero|mapped)\b(.*)",
                         line, re.ASCII)
        if match is None:
            continue
        order = int(match[3])
        level = (order >= PMD_ORDER) + (order >= PUD_ORDER)
        state = {"empty": UNUSED, "zero": HOLE,
                 "mapped": (DIRTY if "dirty" in match[5].split() else CLEAN)[level]}[match[4]]
        parts.append(Part(int(match[1], 16), int(match[2]) << order, state))
    return parts


def bad_parts(runs: Iterable[tuple[int, int]]) -> list[Part]:
    """Pages with a bad block."""
    return [Part(first // PAGE, (first + length - 1) // PAGE - first // PAGE + 1, BAD)
            for first, length in runs if length]


def power_of_two(number: int) -> int:
    """The largest that is not larger."""
    return 1 << max(number, 1).bit_length() - 1


def cell_pages(pages: int, cells: int) -> int:
    """How many pages a cell stands for: a power of two, so that all fit."""
    each = 1
    while pages > each * cells:
        each *= 2
    return each


def grid(layout: Layout, each: int) -> list[State]:
    """A state for each `each` pages: of the highest rank, and of these the one with most pages."""
    shown: list[dict[State, int]] = [{} for _ in range(-(-layout.pages // each))]
    end = layout.first + layout.pages
    for part in layout.parts:
        first, behind = max(part.first, layout.first), min(part.first + part.pages, end)
        for cell in range((first - layout.first) // each, -(-(behind - layout.first) // each)):
            begin = layout.first + cell * each
            pages = min(begin + each, behind) - max(begin, first)
            shown[cell][part.state] = shown[cell].get(part.state, 0) + pages
    return [max(cell, key=lambda state: (state.rank, cell[state]), default=UNUSED)
            for cell in shown]


def tally(layout: Layout) -> list[tuple[State, int]]:
    """The pages of each state that there is; bad ones are counted besides."""
    pages: Counter[State] = Counter()
    end = layout.first + layout.pages
    for part in layout.parts:
        here = min(part.first + part.pages, end) - max(part.first, layout.first)
        if here > 0 and part.state is not UNUSED:
            pages[part.state] += here
    used = sum(pages.values()) - pages[BAD]
    pages[UNUSED] = max(layout.pages - used, 0)
    return [(state, pages[state]) for state in STATES if pages[state]]


def headline(layout: Layout, each: int) -> str:
    start = size_text(layout.first * PAGE)
    part = f" from {start} on" if layout.first else ""
    return (f"{layout.name}: {size_text(layout.pages * PAGE)}{part} of {layout.namespace}, align "
            f"{size_text(layout.align)}; {size_text(each * PAGE)} a cell")


def extent_lines(layout: Layout) -> list[str]:
    return [f"extent: {size_text(extent.pages * PAGE)} at {size_text(extent.offset * PAGE)}, "
            f"from {size_text(extent.start * PAGE)} of the region on" for extent in layout.extents]


LABEL = 10
ROWS = 16


def picture(layout: Layout, width: int, ascii_only: bool, colours: bool) -> list[str]:
    """Rows of cells, and what they mean."""
    columns = power_of_two(width - LABEL - 1)
    each = cell_pages(layout.pages, columns * ROWS)

    def drawn(state: State, count: int = 1) -> str:
        text = (state.ascii if ascii_only else state.block) * count
        return f"\x1b[{state.colour}m{text}\x1b[0m" if colours else text

    lines = [headline(layout, each)]
    cells = grid(layout, each)
    for row in range(0, len(cells), columns):
        here = (layout.first + row * each) * PAGE
        text = "".join(drawn(state, count) for _, count, state in runs(cells[row:row + columns]))
        lines.append(f"{size_text(here):>{LABEL}} {text}")
    lines += [f"{drawn(state)} {state.label}: {size_text(pages * PAGE)}"
              for state, pages in tally(layout)]
    return lines + extent_lines(layout)


def runs(cells: Sequence[State]) -> Iterator[tuple[int, int, State]]:
    """Cells that are alike and follow each other: the first, and how many."""
    begin = 0
    for index in range(1, len(cells) + 1):
        if index == len(cells) or cells[index] is not cells[begin]:
            yield begin, index - begin, cells[begin]
            begin = index


def svg(layout: Layout) -> str:
    """The picture with 1024 cells a row, each run of them with a title."""
    columns, height, left, top = 1024, 24, 90, 40
    each = cell_pages(layout.pages, columns * ROWS)
    columns = min(columns, power_of_two(2 * layout.pages - 1))
    scale = 1024 // columns
    cells = grid(layout, each)
    rows = -(-len(cells) // columns)
    legend = tally(layout)
    notes = extent_lines(layout)
    bottom = top + rows * height + 30
    total = bottom + 20 * (len(legend) + len(notes))
    out = ['<?xml version="1.0" encoding="UTF-8"?>',
           (f'<svg xmlns="http://www.w3.org/2000/svg" width="1134" height="{total}" '
            'font-family="monospace" font-size="13">'),
           f'<title>{layout.name}</title>',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="10" y="20">{headline(layout, each)}</text>']
    for row in range(rows):
        line = cells[row * columns:(row + 1) * columns]
        y = top + row * height
        at = layout.first + row * columns * each
        out.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">'
                   f'{size_text(at * PAGE)}</text>')
        for begin, count, state in runs(line):
            where = f"{size_text(count * each * PAGE)} at {size_text((at + begin * each) * PAGE)}"
            out.append(f'<rect x="{left + begin * scale}" y="{y}" width="{count * scale}" '
                       f'height="{height - 4}" fill="{state.fill}">'
                       f'<title>{state.label}: {where}</title></rect>')
    for extent in layout.extents:
        cell = (extent.offset - layout.first) // each
        if 0 < cell < len(cells):
            x, y = left + cell % columns * scale, top + cell // columns * height
            out.append(f'<line x1="{x}" x2="{x}" y1="{y - 2}" y2="{y + height - 2}" '
                       'stroke="black"/>')
    for index, (state, pages) in enumerate(legend):
        y = bottom + 20 * index
        out.append(f'<rect x="{left}" y="{y - 11}" width="14" height="14" fill="{state.fill}"/>')
        out.append(f'<text x="{left + 22}" y="{y}">{state.label}: {size_text(pages * PAGE)}</text>')
    for index, note in enumerate(notes, len(legend)):
        out.append(f'<text x="{left}" y="{bottom + 20 * index}">{note}</text>')
    return "\n".join([*out, "</svg>", ""])
