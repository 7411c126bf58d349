# SPDX-License-Identifier: GPL-2.0
"""What is said: exit statuses, standard output and standard error, and questions."""

import errno
import os
import sys
from typing import IO

from .values import MAX_WIDTH, MIN_WIDTH

OK, FAILED, USAGE, FORBIDDEN, MISSING, BUSY, UNCONFIRMED = range(7)
INTERRUPTED = 130


class Failure(Exception):
    """The end of the command: an exit status, and what to say."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def put(stream: IO[str] | None, text: str) -> OSError | None:
    """Writes at once. Returns why that failed: no work ends because nobody can hear of it."""
    try:
        if stream is None:
            raise OSError(errno.EBADF, "it is closed")
        stream.write(text)
        stream.flush()
    except OSError as error:
        return error
    except UnicodeEncodeError:
        # An encoding that has not even ASCII has no words for anything.
        if not text.isascii():
            return put(stream, text.encode("ascii", "backslashreplace").decode())
        return OSError(errno.EILSEQ, os.strerror(errno.EILSEQ))
    except ValueError:
        return OSError(errno.EBADF, "it is closed")
    return None


class Output:
    """Standard output, and what went wrong with it first."""

    def __init__(self) -> None:
        self.error: OSError | None = None

    def write(self, text: str) -> None:
        if self.error is None:
            self.error = put(sys.stdout, text)

    def end(self, status: int, is_report: bool) -> int:
        """The exit status: `is_report` if what was written is what the command is for."""
        # A reader that goes has seen enough.
        if self.error is None or self.error.errno == errno.EPIPE:
            return status
        if is_report and status == OK:
            say(f"standard output can't be written: {self.error.strerror}")
            return FAILED
        if self.error.errno != errno.EBADF:
            done = "it is done, but " if status == OK else ""
            say(f"{done}standard output can't be written: {self.error.strerror}")
        return status


OUTPUT = Output()


def show(text: str) -> None:
    """A line on standard output."""
    OUTPUT.write(f"{text}\n")


def printable(text: str) -> str:
    """Without what would steer a terminal: programs choose their own names."""
    return "".join(char if char.isprintable() else "?" for char in text)


def say(text: str) -> None:
    """A line on standard error, if there is any."""
    put(sys.stderr, f"rdax: {printable(text)}\n")


def text_of(error: OSError | Failure) -> str:
    """Without the number that Python puts in front."""
    if isinstance(error, Failure):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or 'it failed, and the kernel does not say why'}"


def terminal_width() -> int:
    import shutil

    return min(max(shutil.get_terminal_size().columns, MIN_WIDTH), MAX_WIDTH)


def is_terminal(stream: IO[str] | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False


def agree(what: str, yes: bool) -> None:
    """Say what will be lost, and go on only if that is wanted."""
    say(what)
    if yes:
        return
    if not is_terminal(sys.stdin):
        raise Failure(UNCONFIRMED, "refused: --yes is needed, because there is no terminal to ask "
                                   "at")
    if put(sys.stderr, "Go on? [y/N] "):
        raise Failure(UNCONFIRMED, "refused: --yes is needed, because the question can't be "
                                   "written")
    try:
        answer = sys.stdin.readline()
    except (OSError, ValueError):
        # The terminal has gone, or what it sent is no text.
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise Failure(UNCONFIRMED, "nothing was done")
