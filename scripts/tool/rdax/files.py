# SPDX-License-Identifier: GPL-2.0
"""Reading and writing the kernel's files, and why that is not permitted."""

import errno
import os
import re
import stat
from pathlib import Path

from .say import FAILED, FORBIDDEN, Failure
from .values import LONGEST_NUMBER, in_order

# Errors that say nothing about the file.
OUR_LACK = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def owner_text(path: Path) -> str:
    import grp
    import pwd

    try:
        found = path.stat()
    except OSError:
        return ""
    try:
        user = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        user = str(found.st_uid)
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = str(found.st_gid)
    return f" ({user}:{group}, mode {stat.S_IMODE(found.st_mode):04o})"


def forbidden(path: Path, right: str) -> Failure:
    """Which right on which file: the first directory on the way that is closed, or the file."""
    for parent in reversed(path.parents):
        if not os.access(parent, os.X_OK):
            path, right = parent, "enter"
            break
    root = "" if os.geteuid() == 0 else "; root has it"
    return Failure(FORBIDDEN, f"not permitted: the right to {right} {path}{owner_text(path)} "
                              f"is needed{root}")


def opened(path: Path, flags: int, right: str) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except PermissionError:
        raise forbidden(path, right) from None


def read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except PermissionError:
        raise forbidden(path, "read") from None


def read_or(path: Path, default: str = "") -> str:
    """For what may not be there, or go meanwhile."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError as error:
        if error.errno in OUR_LACK:
            raise
        return default


def number_or(path: Path, default: int = 0) -> int:
    text = read_or(path)
    return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text, re.ASCII) else default


def write(path: Path, text: str) -> None:
    """One write. An OSError is the kernel's answer to it, not a matter of rights."""
    handle = opened(path, os.O_WRONLY, "write")
    try:
        data = f"{text}\n".encode()
        if os.write(handle, data) != len(data):
            raise OSError(errno.EMSGSIZE, "the kernel took only a part of it")
    finally:
        os.close(handle)


def link_name(path: Path) -> str:
    try:
        return os.readlink(path).rsplit("/", 1)[-1]
    except OSError:
        return ""


def names_in(path: Path, prefix: str = "") -> list[Path]:
    """What is in a directory, if that is there. If it can't be read, that is no empty one."""
    try:
        names = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((path / name for name in names if name.startswith(prefix)), key=in_order)


def exact(path: Path) -> int:
    """A number that must be there."""
    text = read(path)
    if re.fullmatch(r"-?(0x[0-9a-f]{1,16}|[0-9]{1,20})", text, re.ASCII):
        return int(text, 16 if "x" in text else 10)
    raise Failure(FAILED, f"{path} has no number, but '{text[:LONGEST_NUMBER]}'")
