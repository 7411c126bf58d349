# SPDX-License-Identifier: GPL-2.0
"""rdax map."""

import argparse
import os
import sys
from pathlib import Path

from .attributes import bad_blocks, parse_extents
from .files import forbidden, link_name, number_or, read
from .machine import Machine
from .picture import STATES, Layout, bad_parts, parse_entries, picture, svg
from .say import FAILED, MISSING, OUTPUT, Failure, is_terminal, show
from .values import MAX_WIDTH, MIN_WIDTH, PAGE, size_text


def layout_of(machine: Machine, args: argparse.Namespace) -> Layout:
    device = machine.device(args.device)
    views = machine.debugfs / "rdax" / args.device
    try:
        entries, extents = read(views / "entries"), read(views / "extents")
    except FileNotFoundError:
        if not (machine.debugfs / "rdax").is_dir():
            raise Failure(FAILED, f"there is no debugfs at {machine.debugfs} ('mount -t debugfs "
                                  f"none {machine.debugfs}')") from None
        raise Failure(MISSING, f"{args.device} has gone") from None
    size = number_or(device / "size") // PAGE
    first = args.offset // PAGE
    if first >= size and size:
        raise Failure(FAILED, f"{args.device} ends at {size_text(size * PAGE)}")
    pages = size - first
    if args.length:
        pages = min(pages, -(-(args.offset + args.length) // PAGE) - first)
    return Layout(args.device, link_name(device / "device"), number_or(device / "align"), first,
                  pages, parse_entries(entries) + bad_parts(bad_blocks(device)),
                  parse_extents(extents))


def can_print(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def do_map(machine: Machine, args: argparse.Namespace) -> None:
    import shutil

    layout = layout_of(machine, args)
    if args.svg == "-":
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
        width = args.width or min(max(shutil.get_terminal_size().columns, MIN_WIDTH), MAX_WIDTH)
        show("\n".join(picture(layout, width, ascii_only, colours)))
