# SPDX-License-Identifier: GPL-2.0
"""Shows, makes, resizes, removes, saves and restores regions and devices of rdax: rdax(8)."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from . import VERSION
from .bind import do_bind, do_unbind
from .daxbus import DRIVERS, MEMORY
from .create import do_create
from .devices import do_destroy, do_punch, do_resize, do_sync
from .errors import status_of
from .list import do_list
from .locks import INTERRUPTS
from .machine import Machine
from .map import do_map
from .restore import do_restore
from .save import do_save
from .say import (
    FAILED,
    FORBIDDEN,
    INTERRUPTED,
    OK,
    OUTPUT,
    USAGE,
    Failure,
    printable,
    put,
    say,
    text_of,
)
from .stat import do_stat
from .values import (
    parse_align,
    parse_any_device,
    parse_count,
    parse_device,
    parse_memory,
    parse_name_or_uuid,
    parse_new_size,
    parse_path,
    parse_seconds,
    parse_size,
    parse_width,
)

EPILOG = """\
SIZE, OFFSET and LENGTH are bytes, or have a suffix K, M, G or T: powers of 1024
(4096, 1.5G; 1G, 1GB and 1GiB are the same).
exit status: 0 done; 1 refused or failed; 2 wrong usage; 3 not permitted;
             4 no such device or namespace; 5 in use; 6 not confirmed (--yes);
             130 interrupted
"""
EXAMPLES = {
    "list": "rdax list\nrdax list --json | jq '.regions[].devices[].name'",
    "bind": "rdax bind namespace0.0\nrdax bind namespace0.0 --align 2M\nrdax bind dax3.0",
    "unbind": "rdax unbind namespace0.0\nrdax unbind namespace0.0 --to nd_pmem\n"
              "rdax unbind dax3.0 --to device_dax",
    "create": "rdax create namespace0.0              # all that is free\n"
              "rdax create namespace0.0 -s 1.5G -a 2M",
    "destroy": "rdax destroy rdax1",
    "resize": "rdax resize rdax0 2G\nrdax resize rdax0 +512M\nrdax resize rdax0 1G --yes",
    "punch": "rdax punch rdax0 --offset 1G --length 2M",
    "sync": "rdax sync rdax0",
    "save": "rdax save\nrdax save --output - namespace0.0",
    "restore": "rdax restore --dry-run\nrdax restore namespace0.0",
    "map": "rdax map rdax0\nrdax map rdax0 --offset 1G --length 64M\n"
           "rdax map rdax0 --svg rdax0.svg",
    "stat": "rdax stat\nrdax stat --interval 1\nrdax stat rdax0 --interval 5 --count 13 --json",
}
# Words that others use for these commands.
OTHER_WORDS = {"add": "create", "delete": "destroy", "remove": "destroy", "rm": "destroy",
               "ls": "list", "show": "list", "flush": "sync", "zero": "punch", "enable": "bind",
               "disable": "unbind", "reconfigure": "resize", "load": "restore", "iostat": "stat",
               "top": "stat", "stats": "stat"}


def epilog(name: str) -> str:
    lines = "".join(f"  {line}\n" for line in EXAMPLES[name].split("\n"))
    return f"examples:\n{lines}\n{EPILOG}"


class Parser(argparse.ArgumentParser):
    """One that writes as everything here does."""

    def _print_message(self, message: str, _file: object = None) -> None:
        OUTPUT.write(message)

    def print_help(self, file: object = None) -> None:
        OUTPUT.write(self.format_help())

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Says what a misspelt command may mean. Of other choices argparse knows the words."""
        if action.choices is None or action.metavar != "COMMAND" or value in action.choices:
            super()._check_value(action, value)
            return
        import difflib

        known = list(action.choices)
        near = difflib.get_close_matches(value.partition("-")[0], known, 1)
        hint = OTHER_WORDS.get(value.partition("-")[0]) or (near[0] if near else "")
        self.error(f"there is no command '{value}': "
                   + (f"did you mean '{hint}'?" if hint else f"there are {', '.join(known)}"))

    def error(self, message: str) -> NoReturn:
        put(sys.stderr, self.format_usage())
        put(sys.stderr, f"{self.prog}: error: {printable(message)}\n")
        raise SystemExit(USAGE)


def parser() -> Parser:
    top = Parser(prog="rdax", description=__doc__, epilog=EPILOG, allow_abbrev=False,
                 formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--version", action="version", version=f"rdax {VERSION}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, function: Callable[[Machine, argparse.Namespace], None],
            text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False,
                                      epilog=epilog(name),
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
        command.set_defaults(function=function)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.add_argument("-u", "--human", action="store_true",
                             help="print sizes as 15.63 GiB (16.78 GB)")
        return command

    def yes(command: argparse.ArgumentParser) -> None:
        command.add_argument("-y", "--yes", action="store_true",
                             help="don't ask; needed where there is no terminal")

    def module(command: argparse.ArgumentParser) -> None:
        command.add_argument("--module", type=parse_path, metavar="PATH",
                             help="load this file if rdax isn't loaded")

    add("list", do_list, "regions, their devices and who uses them, and other namespaces")

    command = add("bind", do_bind, "make a namespace a region, with one device; or take a device "
                                   "of the dax bus")
    command.add_argument("namespace", type=parse_memory, metavar="NAMESPACE|DAX")
    command.add_argument("-a", "--align", type=parse_align,
                         help="4K, 2M or 1G (default: the module's)")
    command.add_argument("--force", action="store_true",
                         help="also when it holds something known, or is in use")
    command.add_argument("--whole", action="store_true",
                         help="as one device, although the configuration divides it")
    command.add_argument("--memory", choices=MEMORY,
                         help="of the dax bus: page frames only; or a struct page for each, so "
                              "that it can be pinned; or these, pinned only for a moment and "
                              "with exact syncs (default: frames, or as the parameter pages says)")
    module(command)

    command = add("unbind", do_unbind, "remove a region and its devices; or release a device of "
                                       "the dax bus")
    command.add_argument("namespace", type=parse_memory, metavar="NAMESPACE|DAX")
    command.add_argument("--force", action="store_true", help="also when it is in use")
    command.add_argument("--to", metavar="DRIVER", choices=["nd_pmem", *DRIVERS],
                         help="give it to this driver (nd_pmem; of the dax bus device_dax, kmem)")
    yes(command)

    command = add("create", do_create, "make another device in a region")
    command.add_argument("namespace", type=parse_name_or_uuid, metavar="NAMESPACE")
    command.add_argument("-s", "--size", type=parse_size, help="default: all that is free")
    command.add_argument("-a", "--align", type=parse_align,
                         help="4K, 2M or 1G (default: the region's)")

    command = add("destroy", do_destroy, "remove a device")
    command.add_argument("device", type=parse_device, metavar="DEVICE")
    yes(command)

    command = add("resize", do_resize, "make a device larger or smaller")
    command.add_argument("device", type=parse_device, metavar="DEVICE")
    command.add_argument("size", type=parse_new_size, metavar="SIZE",
                         help="the new size, or +SIZE for so much more")
    yes(command)

    command = add("punch", do_punch, "zero a range of a device, so that it becomes a hole")
    command.add_argument("device", type=parse_any_device, metavar="DEVICE")
    command.add_argument("--offset", type=parse_size, required=True)
    command.add_argument("--length", type=parse_size, required=True)
    yes(command)

    command = add("sync", do_sync, "make all earlier writes durable")
    command.add_argument("device", type=parse_any_device, metavar="DEVICE")

    command = add("save", do_save, "write to the configuration file how regions are divided")
    command.add_argument("namespaces", type=parse_memory, metavar="NAMESPACE|DAX", nargs="*",
                         help="only these (default: all bound ones)")
    command.add_argument("--output", type=parse_path, metavar="FILE",
                         help="instead of /etc/rdax.conf (-: to stdout)")
    command.add_argument("--forget", action="store_true",
                         help="remove the entries of namespaces that are not bound")
    yes(command)

    command = add("restore", do_restore, "bind and divide regions as the configuration file says")
    command.add_argument("namespaces", type=parse_memory, metavar="NAMESPACE|DAX", nargs="*",
                         help="only these (default: all in the file)")
    command.add_argument("--config", type=parse_path, metavar="FILE",
                         help="instead of /etc/rdax.conf")
    command.add_argument("--dry-run", action="store_true", help="say what would be done")
    command.add_argument("--if-configured", action="store_true",
                         help="a NAMESPACE that the file does not have is no error")
    module(command)

    command = add("map", do_map, "a picture of what is mapped, dirty, a hole, or bad")
    command.add_argument("device", type=parse_any_device, metavar="DEVICE")
    command.add_argument("--ascii", action="store_true", help="letters instead of blocks")
    command.add_argument("--svg", type=parse_path, metavar="FILE",
                         help="write an SVG image instead (-: to stdout)")
    command.add_argument("--width", type=parse_width, help="columns (default: the terminal's)")
    command.add_argument("--offset", type=parse_size, default=0, help="only from here on")
    command.add_argument("--length", type=parse_size, default=0, help="only so much")

    command = add("stat", do_stat, "how many faults, waits and write-backs there are, and how often")
    command.add_argument("devices", type=parse_any_device, metavar="DEVICE", nargs="*",
                         help="only these (default: all)")
    command.add_argument("--interval", type=parse_seconds, metavar="SECONDS",
                         help="again and again, with what was counted in between, per second")
    command.add_argument("--count", type=parse_count, metavar="N",
                         help="end after so many reports")
    return top


def is_report(args: argparse.Namespace) -> bool:
    """Whether what it prints is what the command is for."""
    return (args.function in (do_list, do_stat) or args.function is do_map and args.svg in (None, "-")
            or args.function is do_save and args.output == "-"
            or args.function is do_restore and args.dry_run)


def places(error: BaseException) -> str:
    """The files and lines of this program that an error came by."""
    lines, trace = [], error.__traceback__
    while trace:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.parent == Path(__file__).parent:
            lines.append(f"{path.name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return ", ".join(lines)


def main(argv: Sequence[str] | None = None, machine: Machine | None = None) -> int:
    OUTPUT.error = None
    top = parser()
    try:
        args = top.parse_args(argv)
        if args.function is do_punch and not args.length:
            top.error("argument --length: must not be 0")
        if args.function is do_stat and args.count and not args.interval:
            top.error("argument --count: needs --interval")
        if args.json and (args.function is do_map and args.svg
                          or args.function is do_save and args.output == "-"):
            top.error("argument --json: standard output or the file has something else then")
    except SystemExit as end:
        return OUTPUT.end(end.code if isinstance(end.code, int) else OK, is_report=True)
    return OUTPUT.end(status_after(args, machine or Machine()), is_report(args))


def status_after(args: argparse.Namespace, machine: Machine) -> int:
    """Does it, and says why not."""
    try:
        args.function(machine, args)
        return OK
    except Failure as failure:
        say(str(failure))
        return failure.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        say(text_of(error))
        return FORBIDDEN if isinstance(error, PermissionError) else status_of(error)
    except MemoryError:
        say("there is not enough memory")
    except ImportError as error:
        say(f"the module {error.name} of Python can't be read: Python 3.11 or later is needed, and "
            "a process may have too many open files")
    except Exception as error:  # noqa: BLE001
        say(f"an error in rdax itself, of version {VERSION}, at {places(error)}: please "
            "report it")
    return FAILED


def fill_standard_files() -> None:
    """Nothing that is opened later may be taken for a standard file that was closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one.
            os.open(os.devnull, os.O_RDWR)


def watch_signals() -> None:
    """What was begun is undone on the way out, and no other signal disturbs that."""
    seen = False

    def interrupted(number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            return
        seen = True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    for number in INTERRUPTS:
        # nohup(1), or a shell, may have it ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupted)


def run(argv: Sequence[str] | None = None, machine: Machine | None = None) -> NoReturn:
    """The program: whatever its standard files are, nothing of Python is to be heard."""
    status = FAILED
    try:
        watch_signals()
        fill_standard_files()
        status = main(argv, machine)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else FAILED
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception:  # noqa: BLE001
        say("it can't start: there may be too little memory, or too many files are open")
    finally:
        # All is written. What the interpreter does at its end can fail in words of its own.
        os._exit(status)
