# SPDX-License-Identifier: GPL-2.0
"""The result of a command: sentences for people, or JSON for programs."""

import argparse
from collections.abc import Callable
from typing import Any

from .say import show
from .values import size_text

# daxctl(1) and ndctl(1) show smaller sizes as numbers, and use GiB from here on.
PLAIN_BELOW = 5000 << 10
GIB_FROM = 2 << 30


class Bytes(int):
    """A size or an offset in a result: --human changes how JSON shows it."""


def human_text(number: int) -> str:
    """As `daxctl -u` shows a size: 15.63 GiB (16.78 GB)."""
    if number < PLAIN_BELOW:
        return str(int(number))
    letter, power = ("M", 2) if number < GIB_FROM else ("G", 3)
    binary, decimal = ((number * 200 // unit + 1) // 2 for unit in (1024 ** power, 1000 ** power))
    return (f"{binary // 100}.{binary % 100:02} {letter}iB "
            f"({decimal // 100}.{decimal % 100:02} {letter}B)")


def sizes(args: argparse.Namespace) -> Callable[[int], str]:
    """How sentences show a size."""
    return human_text if args.human else size_text


def humanized(data: Any) -> Any:
    if isinstance(data, Bytes):
        return human_text(data) if data >= PLAIN_BELOW else int(data)
    if isinstance(data, dict):
        return {key: humanized(value) for key, value in data.items()}
    if isinstance(data, list):
        return [humanized(value) for value in data]
    return data


def report(args: argparse.Namespace, data: Any, text: str) -> None:
    """Prints the result as one JSON value, or as text."""
    if args.json:
        import json

        show(json.dumps(humanized(data) if args.human else data, indent=2))
    elif text:
        show(text)
