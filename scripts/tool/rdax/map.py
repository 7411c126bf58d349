# SPDX-License-Identifier: GPL-2.0
"""rdax map."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from .attributes import bad_blocks, parse_extents
from .files import forbidden, number_or, read
from .machine import Machine
from .picture import STATES, UNUSED, Layout, bad_parts, parse_entries, picture, svg, tally
from .report import Bytes, report
from .say import FAILED, MISSING, OUTPUT, Failure, is_terminal, show, terminal_width
from .values import PAGE, size_text


def layout_of(machine: Machine, args: argparse.Namespace) -> Layout:
    device = machine.device(args.device)
    views = machine.debugfs / "rdax" / args.device
    try:
        entries, extents = read(views / "entries"), read(views / "extents")
    except FileNotFoundError:
        if not (machine.debugfs / "rdax").is_dir():
            raise Failure(FAILED, f"there is no debugfs at {machine.debugfs} ('mount -t debugfs "
                                  f"none {machine.debugfs}')") from None
        raise Failure(MISSING, f"{args.device} no longer exists") from None
    size = number_or(device / "size") // PAGE
    first = args.offset // PAGE
    if first >= size and size:
        raise Failure(FAILED, f"{args.device} ends at {size_text(size * PAGE)}")
    pages = size - first
    if args.length:
        pages = min(pages, -(-(args.offset + args.length) // PAGE) - first)
    return Layout(args.device, machine.home(device), number_or(device / "align"), first,
                  pages, parse_entries(entries) + bad_parts(bad_blocks(device)),
                  parse_extents(extents))


def can_print(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def layout_data(layout: Layout) -> dict[str, Any]:
    end = layout.first + layout.pages
    parts = [(max(part.first, layout.first), min(part.first + part.pages, end), part.state)
             for part in sorted(layout.parts, key=lambda part: part.first)
             if part.state is not UNUSED]
    return {
        "name": layout.name, "namespace": layout.namespace, "align": layout.align,
        "offset": Bytes(layout.first * PAGE), "length": Bytes(layout.pages * PAGE),
        "parts": [{"offset": Bytes(first * PAGE), "length": Bytes((behind - first) * PAGE),
                   "state": state.label} for first, behind, state in parts if first < behind],
        "totals": {state.label: Bytes(pages * PAGE) for state, pages in tally(layout)},
        "extents": [{"offset": Bytes(extent.offset * PAGE), "length": Bytes(extent.pages * PAGE),
                     "region_offset": Bytes(extent.start * PAGE)} for extent in layout.extents],
    }


def do_map(machine: Machine, args: argparse.Namespace) -> None:
    layout = layout_of(machine, args)
    if args.json:
        report(args, layout_data(layout), "")
    elif args.svg == "-":
        OUTPUT.write(svg(layout))
    elif args.svg:
        try:
            Path(args.svg).write_text(svg(layout), encoding="utf-8")
        except PermissionError:
            raise forbidden(Path(args.svg).absolute(), "write") from None
        except OSError as error:
            raise Failure(FAILED, f"{args.svg} can't be written: {error.strerror}") from None
    else:
        ascii_only = args.ascii or not can_print("".join(state.block for state in STATES))
        colours = (is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
                   and os.environ.get("TERM") != "dumb")
        width = args.width or terminal_width()
        show("\n".join(picture(layout, width, ascii_only, colours)))
