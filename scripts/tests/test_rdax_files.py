# SPDX-License-Identifier: GPL-2.0
"""scripts/rdax with standard files that are closed, full, or read by nobody: its own words."""

import contextlib
import errno
import fcntl
import io
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from unittest import mock

import rdax.cli
import test_rdax as base

Result = TypeVar("Result")

# What Python says, and no operator should read.
PYTHON = re.compile(r"Traceback|Exception|\w(Error|Interrupt|Exit)\b|Errno|NoneType|\bNone\b|"
                    r"an error in rdax itself|<stdout>|<stdin>|line \d+, in ")

STDIN, STDOUT, STDERR = range(3)
CLOSED, FULL, UNREAD, READ_ONLY = "closed", "/dev/full", "a pipe that nobody reads", "read-only"


def setUpModule() -> None:
    # A shell's background job ignores it, and so would the programs that are started here.
    unittest.addModuleCleanup(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Driver(base.Driver):
    """Makes a device at a bind that is not divided, and devices without a name."""

    def bind(self, path: Path, name: str) -> None:
        if path.parent.name != "rdax":
            super().bind(path, name)
            return
        divided = self.fake.machine.parameters / "divided"
        before = divided.read_text()
        known = rdax.machine.uuid_of(self.fake.machine.namespaces / name) or name
        divided.write_text(known)
        super().bind(path, name)
        divided.write_text(before)
        if known not in before.split(","):
            self.fake.device("rdax0", name, "4096")

    def create(self, path: Path, name: str) -> None:
        name = "rdax0" if name == "1" else name
        super().create(path, name)
        path.write_text(name)


class Driven(base.Divisions):
    """With a driver that answers, and devices that no process uses."""

    def setUp(self) -> None:
        super().setUp()
        self.driver = Driver(self)
        for patch in (mock.patch.object(rdax.files, "write", self.driver.write),
                      mock.patch.object(fcntl, "ioctl", self.punched)):
            patch.start()
            self.addCleanup(patch.stop)
        self.files({"sys/kernel/debug/rdax/rdax2/entries": base.ENTRIES,
                    "sys/kernel/debug/rdax/rdax2/extents": "0x0 0x80000 0x80000\n",
                    "sys/bus/nd/devices/namespace0.0/rdax_region/delete": "",
                    "sys/bus/nd/devices/namespace0.0/rdax_region/create": "\n"})
        for pid in ("41", "42"):
            shutil.rmtree(self.top / "proc" / pid)

    def punched(self, handle: int, *_: object) -> int:
        os.write(handle, b"punched")
        return 0


class Forked(Driven):
    """The tool in a process of its own, with standard files as a shell would give them."""

    def start_over(self) -> None:
        """All files as at first."""
        self.doCleanups()
        self.setUp()

    def tree(self) -> dict[str, str]:
        """All that a command could have changed."""
        found = {}
        for path in sorted(self.top.rglob("*")):
            name = str(path.relative_to(self.top))
            if path.is_symlink():
                found[name] = os.readlink(path).replace(str(self.top), "")
            elif path.is_file():
                found[name] = path.read_text().replace(str(self.top), "")
        return found

    def fork(self, broken: dict[int, str], child: Callable[[], NoReturn]) -> tuple[int, str, str]:
        """Status, standard output and standard error, as far as there are any."""
        with contextlib.ExitStack() as stack:
            said = {number: stack.enter_context(tempfile.TemporaryFile("w+b"))
                    for number in (STDOUT, STDERR)}
            pid = os.fork()
            if not pid:
                with contextlib.suppress(BaseException):
                    self.become(broken, {number: file.fileno() for number, file in said.items()})
                    child()
                os._exit(99)
            _, status = os.waitpid(pid, 0)
            texts = []
            for file in said.values():
                file.seek(0)
                texts.append(file.read().decode())
        return os.waitstatus_to_exitcode(status), texts[0], texts[1]

    @staticmethod
    def become(broken: dict[int, str], said: dict[int, int]) -> None:
        for number in (STDIN, STDOUT, STDERR):
            how = broken.get(number)
            if how == CLOSED:
                os.close(number)
                continue
            if how == UNREAD:
                reader, handle = os.pipe()
                os.close(reader)
            elif how in (FULL, READ_ONLY) or number == STDIN:
                handle = os.open(FULL if how == FULL else "/dev/null",
                                 os.O_WRONLY if how == FULL else os.O_RDONLY)
            else:
                handle = said[number]
            os.dup2(handle, number)
        # As the interpreter does at its start.
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            mode = "w" if number else "r"
            setattr(sys, name, None if broken.get(number) == CLOSED else
                    os.fdopen(number, mode, encoding="utf-8", closefd=False))

    def run_program(self, argv: tuple[str, ...], broken: dict[int, str]) -> tuple[int, str, str]:
        return self.fork(broken, lambda: rdax.cli.run(argv, self.machine))


# Each command, and whether what it prints is its work.
COMMANDS: list[tuple[tuple[str, ...], bool]] = [
    (("list",), True), (("list", "--json"), True),
    (("bind", "namespace1.0", "--whole"), False),
    (("unbind", "namespace0.0", "-y", "--to", "nd_pmem"), False),
    (("create", "namespace0.0", "--size", "1G"), False), (("create", "namespace0.0"), False),
    (("create", "namespace0.0", "--json"), False),
    (("destroy", "rdax10", "-y"), False),
    (("resize", "rdax2", "1G", "-y"), False),
    (("punch", "rdax2", "--offset", "0", "--length", "4K", "-y"), False),
    (("sync", "rdax2"), False),
    (("save",), False), (("save", "--output", "-"), True),
    (("restore",), False), (("restore", "--json"), False), (("restore", "--dry-run"), True),
    (("map", "rdax2"), True), (("map", "rdax2", "--json"), True),
    (("map", "rdax2", "--svg", "-"), True),
    (("map", "rdax2", "--svg", "TOP/map.svg"), False),
    (("--help",), True), (("--version",), True), (("punch", "--help"), True),
]
# Commands that end otherwise, with their status.
ENDS: list[tuple[tuple[str, ...], int]] = [
    ((), 2), (("frobnicate",), 2), (("resize", "rdax2", "5X"), 2),
    (("sync", "rdax7"), 4), (("create", "namespace0.0", "--size", "1T"), 1),
    (("destroy", "rdax10"), 6), (("resize", "rdax2", "1G"), 6),
    (("punch", "rdax2", "--offset", "0", "--length", "4K"), 6),
    (("unbind", "namespace0.0"), 6), (("bind", "namespace7.0"), 4),
]


class StandardFiles(Forked):
    def setUp(self) -> None:
        super().setUp()
        self.config.write_text(base.SAVED0 + base.NAMESPACE1 + base.DEVICES1)

    def run_program(self, argv: tuple[str, ...], broken: dict[int, str]) -> tuple[int, str, str]:
        self.start_over()
        argv = tuple(word.replace("TOP", str(self.top)) for word in argv)
        status, out, err = super().run_program(argv, broken)
        self.assertNotRegex(out + err, PYTHON)
        return status, out, err.replace(str(self.top), "")

    def test_every_command_does_its_work(self) -> None:
        for argv, is_report in COMMANDS:
            status, printed, said = self.run_program(argv, {})
            self.assertEqual(status, 0, said)
            done = self.tree()
            for number, how in ((STDIN, CLOSED), (STDIN, UNREAD), (STDOUT, CLOSED), (STDOUT, FULL),
                                (STDOUT, UNREAD), (STDOUT, READ_ONLY), (STDERR, CLOSED),
                                (STDERR, FULL), (STDERR, UNREAD), (STDERR, READ_ONLY)):
                with self.subTest(argv=argv, file=number, how=how):
                    status, _, err = self.run_program(argv, {number: how})
                    self.assertEqual(self.tree(), done)
                    lost = number == STDOUT and how != UNREAD
                    self.assertEqual(status, 1 if is_report and lost else 0)
                    if number == STDERR:
                        continue
                    if is_report and lost:
                        self.assertRegex(err, r"rdax: standard output can't be written: .*\n$")
                    elif lost and how == FULL and printed:
                        self.assertRegex(err, r"rdax: it is done, but standard output can't be "
                                              r"written: No space left on device\n$")
                    else:
                        self.assertEqual(err, said)

    def test_other_ends_stay_what_they_are(self) -> None:
        for argv, wanted in ENDS:
            before = self.run_program(argv, {})
            self.assertEqual((before[0], before[1]), (wanted, ""))
            self.assertNotEqual(before[2], "")
            tree = self.tree()
            for broken in ({STDIN: CLOSED}, {STDOUT: CLOSED}, {STDOUT: FULL}, {STDOUT: UNREAD},
                           {STDERR: CLOSED}, {STDERR: FULL}, {STDERR: UNREAD},
                           {STDIN: CLOSED, STDOUT: CLOSED, STDERR: CLOSED}):
                with self.subTest(argv=argv, broken=broken):
                    status, out, err = self.run_program(argv, broken)
                    self.assertEqual(status, wanted)
                    self.assertEqual((out, err), ("", "" if STDERR in broken else before[2]))
                    self.assertEqual(self.tree(), tree)

    def test_all_closed(self) -> None:
        for argv, is_report in COMMANDS:
            self.run_program(argv, {})
            done = self.tree()
            with self.subTest(argv=argv):
                broken = {STDIN: CLOSED, STDOUT: CLOSED, STDERR: CLOSED}
                self.assertEqual(self.run_program(argv, broken), (int(is_report), "", ""))
                self.assertEqual(self.tree(), done)

    def test_each_region_is_restored_without_a_reader(self) -> None:
        for how in (CLOSED, FULL, UNREAD):
            status, _, _ = self.run_program(("restore",), {STDOUT: how})
            self.assertEqual(status, 0)
            self.assertEqual(rdax.files.link_name(self.machine.namespaces / "namespace1.0/driver"),
                             "rdax")

    def test_a_file_that_is_opened_is_no_standard_file(self) -> None:
        # Otherwise what a library prints would go to the device.
        def sync() -> NoReturn:
            with mock.patch.object(os, "fsync", lambda handle: os._exit(40 + handle)):
                rdax.cli.run(("sync", "rdax2"), self.machine)

        broken = {STDIN: CLOSED, STDOUT: CLOSED, STDERR: CLOSED}
        self.assertGreater(self.fork(broken, sync)[0], 42)

    def test_question_that_nobody_sees(self) -> None:
        stdin = io.StringIO("y\n")
        stdin.isatty = lambda: True  # type: ignore[method-assign]
        # Unbuffered, so that closing it does not fail.
        with io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True) as full:
            for stderr in (None, full):
                with mock.patch.object(sys, "stdin", stdin), \
                        mock.patch.object(sys, "stderr", stderr):
                    with self.assertRaisesRegex(rdax.say.Failure, "--yes is needed"):
                        rdax.say.agree("x", False)
                    rdax.say.agree("x", True)

    def test_answer_that_can_not_be_read(self) -> None:
        for problem in (OSError(errno.EIO, "gone"),
                        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")):
            stdin = mock.Mock(isatty=lambda: True, readline=mock.Mock(side_effect=problem))
            with mock.patch.object(sys, "stdin", stdin), \
                    contextlib.redirect_stderr(io.StringIO()), \
                    self.assertRaisesRegex(rdax.say.Failure, "nothing was done"):
                rdax.say.agree("x", False)


class Program(unittest.TestCase):
    """The file itself, started by a shell, on this machine."""

    def shell(self, text: str, **env: str) -> tuple[int, str]:
        done = subprocess.run(["bash", "-c", text, "bash", base.SCRIPTS / "rdax"], check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env={**os.environ, **env}, errors="surrogateescape")
        self.assertNotRegex(done.stdout + done.stderr, PYTHON, text)
        return done.returncode, done.stderr

    def test_shells(self) -> None:
        for words in ("--version", "--help", "sync --help"):
            self.assertEqual(self.shell(f'"$1" {words} >&-'),
                             (1, "rdax: standard output can't be written: it is closed\n"))
            self.assertEqual(self.shell(f'"$1" {words} >/dev/full'),
                             (1, ("rdax: standard output can't be written: No space left on "
                                  "device\n")))
            self.assertEqual(self.shell(f'"$1" {words} <&-'), (0, ""))
            self.assertEqual(self.shell(f'"$1" {words} 2>&-'), (0, ""))
            self.assertEqual(self.shell(f'set -o pipefail; "$1" {words} | :'), (0, ""))
        self.assertEqual(self.shell('"$1" frobnicate 2>/dev/full'), (2, ""))
        self.assertEqual(self.shell('"$1" sync rdax77 <&- >&- 2>&-'), (4, ""))

    def test_locales_and_python_s_variables(self) -> None:
        for env in ({"LANG": "C", "LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"},
                    {"PYTHONIOENCODING": "ascii:strict"}, {"PYTHONIOENCODING": "nonsense"},
                    {"PYTHONUTF8": "0", "LC_ALL": "C"}, {"PYTHONPATH": "/nonexistent"},
                    {"PYTHONHOME": "/nonexistent"}, {"PYTHONWARNINGS": "error"},
                    {"COLUMNS": "0"}, {"COLUMNS": "-1"}, {"COLUMNS": "x"}, {"COLUMNS": "1"},
                    {"TERM": "nonsense"}, {"TZ": "nonsense"}):
            for words, wanted in (("--help", 0),
                                  ("restore --config $'/\\377/\\303\\244\\e[31m'", 4)):
                status, err = self.shell(f'"$1" {words}', **env)
                self.assertEqual(status, wanted, (env, err))
                self.assertNotIn("\x1b", err)
        self.assertEqual(self.shell("\"$1\" $'\\377'", LC_ALL="C")[0], 2)

    def test_few_files(self) -> None:
        for number in range(4, 12):
            status, err = self.shell(f'ulimit -n {number}; "$1" sync rdax77')
            self.assertIn(status, (1, 4), err)

    def test_interrupted_while_it_starts(self) -> None:
        code = ("import builtins, os, runpy, signal, sys\n"
                "original = builtins.__import__\n"
                "def imported(name, *args, **kwargs):\n"
                "    if name == sys.argv[2]:\n"
                "        os.kill(os.getpid(), signal.SIGINT)\n"
                "    return original(name, *args, **kwargs)\n"
                "builtins.__import__ = imported\n"
                "runpy.run_path(sys.argv[1], run_name='__main__')\n")
        for module in ("argparse", "fcntl"):
            done = subprocess.run([sys.executable, "-B", "-c", code, base.SCRIPTS / "tool", module],
                                  check=False, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (-signal.SIGINT, ""), module)

    def test_interrupted_while_python_starts(self) -> None:
        """^C comes at each file that is opened: by bash, env, Python, and the program."""
        strace = shutil.which("strace")
        if not strace:
            self.skipTest("there is no strace")
        point, ends = 1, list[int]()
        while 0 not in ends:
            done = subprocess.run(
                [strace, "-f", "-qq", "-e", "trace=openat", "-o", "/dev/null", "-e",
                 f"inject=openat:signal=INT:when={point}", base.SCRIPTS / "rdax", "--version"],
                check=False, capture_output=True, text=True)
            self.assertNotRegex(done.stdout + done.stderr, PYTHON, point)
            ends.append(done.returncode)
            point += 5
        # 130 after run() has its handlers.
        self.assertLessEqual(set(ends), {0, 130, -signal.SIGINT})
        self.assertGreater(ends.count(-signal.SIGINT), 10)

    def test_directories(self) -> None:
        done = subprocess.run(["bash", "-c", '"$1" --version </', "bash", base.SCRIPTS / "rdax"],
                              check=False, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (0, f"rdax {rdax.VERSION}\n", ""))
        self.assertEqual(self.shell('"$1" --version 1</'),
                         (1, "rdax: standard output can't be written: it is closed\n"))
        self.assertEqual(self.shell('"$1" --version 2</'), (0, ""))

    def test_sighup_that_is_ignored_stays_so(self) -> None:
        code = ("import signal, os\n"
                "[signal.signal(n, signal.SIG_IGN) for n in (signal.SIGHUP, signal.SIGINT)]\n"
                "os.execv('/proc/self/exe', ['python3', '-I', '-c', '''\n"
                "import signal, sys\n"
                f"sys.path.insert(0, '{base.SCRIPTS}/tool')\n"
                "from rdax import cli\n"
                "def main(*_):\n"
                "    return int(any(signal.getsignal(n) != signal.SIG_IGN\n"
                "                   for n in (signal.SIGHUP, signal.SIGINT)))\n"
                "cli.main = main\n"
                "cli.run()\n"
                "'''])\n")
        done = subprocess.run([sys.executable, "-B", "-c", code], check=False, capture_output=True,
                              text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class Interrupted(Forked):
    """A signal at each point of a command: no trace of Python, and nothing is half done."""

    def interrupted(self, point: int, numbers: tuple[int, ...]) -> Callable[[Path, str], None]:
        """A write to the kernel; when that number POINT is answered, the signals are there."""
        calls = iter(range(1000))

        def write(path: Path, text: str) -> None:
            self.driver.write(path, text)
            if next(calls) == point:
                for number in numbers:
                    os.kill(os.getpid(), number)

        return write

    def at_each_point(self, argv: tuple[str, ...], whole: Callable[[], bool]) -> None:
        for numbers, wanted in (((signal.SIGINT,), 130), ((signal.SIGTERM,), 143),
                                ((signal.SIGHUP, signal.SIGTERM, signal.SIGINT), 129)):
            ends = set()
            for point in range(60):
                self.start_over()
                with mock.patch.object(rdax.files, "write", self.interrupted(point, numbers)):
                    status, out, err = self.run_program(argv, {})
                self.assertNotRegex(out + err, PYTHON)
                self.assertIn(status, (0, wanted), err)
                self.assertTrue(whole(), (argv, point, out, err, self.tree()))
                ends.add(status)
                if not status:
                    break
            self.assertEqual(ends, {0, wanted})

    def test_bind(self) -> None:
        def whole() -> bool:
            self.assertEqual((self.machine.parameters / "align").read_text().strip(), "4K")
            self.assertEqual((self.machine.parameters / "force").read_text().strip(), "")
            driver = rdax.files.link_name(self.machine.namespaces / "namespace1.0/driver")
            return driver in ("rdax", "nd_pmem")

        self.at_each_point(("bind", "namespace1.0", "--align", "2M", "--force", "--whole"), whole)

    def test_create(self) -> None:
        def whole() -> bool:
            size = self.machine.devices / "rdax0/size"
            return not size.exists() or size.read_text() == str(1 << 30)

        self.at_each_point(("create", "namespace0.0", "--size", "1G", "--align", "2M"), whole)


class Limits(Forked):
    def few_files(self, argv: tuple[str, ...], more: int) -> NoReturn:
        os.closerange(3, 256)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3 + more, 3 + more))
        rdax.cli.run(argv, self.machine)

    def test_few_open_files(self) -> None:
        for argv in (("list",), ("list", "--json"), ("save",), ("restore",), ("map", "rdax2"),
                     ("sync", "rdax2"), ("bind", "namespace1.0", "--whole"),
                     ("create", "namespace0.0", "--size", "1G")):
            for more in range(8):
                self.start_over()
                self.config.write_text(base.NAMESPACE1 + base.DEVICES1)
                status, out, err = self.fork({}, partial(self.few_files, argv, more))
                self.assertNotRegex(out + err, PYTHON)
                if status == 0 and argv[0] == "list":
                    # Not less than there is, without a word.
                    self.assertIn("rdax10", out)
                    self.assertIn("namespace1.0", out)
                self.assertIn(status, (0, 1), err)
                if status:
                    self.assertRegex(err, "Too many open files|open files", argv)


# What may stand in a file of the kernel, or go wrong with it.
JUNK = ("", "\n", "\0", "x", "-1", "²", "9" * 5000, "1 2 3", "1 x", "0x0 0x0", "\n\n\n",
        "a b c d e f g h i j", "30 1 259:1", "- - - - - - -", "\x1b[31m\u2028\udcff", "\\777",
        "0x0 1 order 99999999999 mapped", "0x0 0x0 0x0", "18446744073709551616",
        "7f-7f rw-s 0 0:0 0   ", "pmem1 pmem1")


def failing(call: Callable[..., Result], numbers: dict[str, int]) -> Callable[..., Result]:
    """CALL, which fails with these errnos for these paths."""
    def fails(path: Path | str = ".", *args: Any, **kwargs: Any) -> Result:
        number = numbers.get(str(path))
        if number:
            raise OSError(number, os.strerror(number), str(path))
        return call(path, *args, **kwargs)

    return fails


class Junk(base.Divisions):
    """The kernel's files say anything, or nothing: the tool never fails in words of Python."""

    def commands(self) -> Iterator[tuple[str, ...]]:
        for argv, _ in COMMANDS:
            if argv[0] not in ("--help", "--version"):
                yield tuple(word.replace("TOP", str(self.top)) for word in argv)

    def ordinary(self) -> list[Path]:
        return sorted(path for path in self.top.rglob("*")
                      if path.is_file() and not path.is_symlink() and "etc/" not in str(path))

    def run_all(self, what: object) -> None:
        for argv in self.commands():
            with contextlib.suppress(FileNotFoundError):
                (self.top / "map.svg").unlink()
            status, out, err = self.run_tool(*argv)
            self.assertIn(status, range(7), (what, argv))
            self.assertNotRegex(out + err, PYTHON, (what, argv))

    def fresh(self) -> None:
        self.doCleanups()
        self.setUp()
        self.files({"sys/kernel/debug/rdax/rdax2/entries": base.ENTRIES,
                    "sys/kernel/debug/rdax/rdax2/extents": "0x0 0x80000 0x80000\n",
                    "sys/bus/nd/devices/namespace0.0/rdax_region/create": "rdax2\n"})
        self.config.write_text(base.SAVED0 + base.NAMESPACE1 + base.DEVICES1)
        for patch in (mock.patch.object(fcntl, "ioctl", lambda *_: 0),
                      mock.patch.object(rdax.files, "write", lambda path, text: None),
                      mock.patch.object(time, "sleep", lambda seconds: None)):
            patch.start()
            self.addCleanup(patch.stop)

    def test_text(self) -> None:
        chance = random.Random(18)
        for turn in range(16):
            self.fresh()
            for path in chance.sample(self.ordinary(), chance.choice((1, 1, 2, 5, 12))):
                text = chance.choice(JUNK) + chance.choice(("", "\n", "\n" + chance.choice(JUNK)))
                path.write_bytes(text.encode(errors="surrogateescape"))
            self.run_all(turn)

    def test_errors(self) -> None:
        chance = random.Random(18)
        numbers = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ENOENT, errno.EACCES, errno.ENOMEM,
                   errno.EMFILE, errno.ESTALE, errno.EINTR, errno.EPERM)
        for turn in range(16):
            self.fresh()
            bad = {str(path): chance.choice(numbers)
                   for path in chance.sample(self.ordinary(), chance.choice((1, 2, 6)))}
            lists = {str(path.parent): chance.choice(numbers)
                     for path in chance.sample(self.ordinary(), 1)}
            with mock.patch.object(Path, "open", failing(Path.open, bad)), \
                    mock.patch.object(os, "listdir", failing(os.listdir, lists)):
                self.run_all((turn, bad, lists))

    def test_writes(self) -> None:
        for number in (errno.EBUSY, errno.EINVAL, errno.ENOSPC, errno.ENXIO, errno.ENODEV,
                       errno.EROFS, errno.EACCES, errno.ENOMEM, errno.EIO, errno.EPIPE,
                       errno.EAGAIN, errno.E2BIG, 512, 9999):
            self.fresh()
            refuses = mock.Mock(side_effect=OSError(number, os.strerror(number)))
            with mock.patch.object(rdax.files, "write", refuses), \
                    mock.patch.object(fcntl, "ioctl", refuses), \
                    mock.patch.object(os, "fsync", refuses):
                self.run_all(number)

    def test_missing(self) -> None:
        for gone in ("sys", "proc", "dev", "etc", "sys/class", "sys/bus", "sys/kernel",
                     "sys/module", "sys/bus/nd/devices/namespace0.0/rdax_region",
                     "sys/class/dax/rdax2", "proc/self"):
            self.fresh()
            shutil.rmtree(self.top / gone)
            self.run_all(gone)


class Listed(base.Fake):
    def test_processes_that_are_hidden(self) -> None:
        self.assertIn("IN USE BY", self.run_tool("list")[1])
        self.assertNotIn("that this user may", self.run_tool("list")[1])
        shutil.rmtree(self.top / "proc/1")
        self.assertIn("IN USE BY: only processes that this user may look at",
                      self.run_tool("list")[1])

    def test_no_sysfs(self) -> None:
        shutil.rmtree(self.top / "sys")
        (self.top / "sys").mkdir()
        status, out, err = self.run_tool("list")
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, "^rdax: there is no sysfs at .*/sys ")

    def test_directory_that_can_not_be_read(self) -> None:
        # A part is not the whole: no empty list.
        for number in (errno.EMFILE, errno.EIO, errno.ENOMEM):
            with mock.patch.object(os, "listdir", side_effect=OSError(number, "oh", "name")):
                status, out, err = self.run_tool("list")
            self.assertEqual((status, out, err), (1, "", "rdax: name: oh\n"))


if __name__ == "__main__":
    unittest.main()
