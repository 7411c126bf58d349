# SPDX-License-Identifier: GPL-2.0
"""The tool scripts/rdax, on files made for the purpose: numbers, pictures, listings, refusals."""

import argparse
import contextlib
import errno
import fcntl
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree
from pathlib import Path
from unittest import mock

import layers
import rdax.cli

SCRIPTS = Path(__file__).resolve().parent.parent
# The tests put others in its place.
rdax_write = rdax.files.write

ENTRIES = """\
0x0 1 order 9 mapped dirty
0x200 1 order 9 mapped
0x400 3 order 0 zero
0x403 1 order 0 mapped locked dirty
0x404 2 order 0 mapped
0x406 1 order 0 empty locked
"""


class Numbers(unittest.TestCase):
    def test_sizes(self) -> None:
        for text, number in (("0", 0), ("4096", 4096), ("4K", 4096), ("4k", 4096), ("2M", 2 << 20),
                             ("1GiB", 1 << 30), ("1GB", 1 << 30),
                             ("3T", 3 << 40), ("1.5G", 3 << 29), ("0.5k", 512),
                             ("1.000G", 1 << 30), ("0x1000", 4096),
                             ("0XfF", 255), ("18446744073709551615", (1 << 64) - 1)):
            self.assertEqual(rdax.values.parse_size(text), number, text)

    def test_not_sizes(self) -> None:
        for text in ("", "K", "-1", "+1", "1.5", ".5G", "1.G", "0x1.8", "0.1G", "1.3K", "1iB",
                     "1B", "4 K", "4KK", "0x10K", "1E", "٣", "1_000",
                     "18446744073709551616", "16777216T", "4K\n"):
            with self.assertRaises(argparse.ArgumentTypeError, msg=text):
                rdax.values.parse_size(text)

    def test_text_is_exact(self) -> None:
        for number, text in ((0, "0"), (1, "1"), (1023, "1023"), (1024, "1K"), (4097, "4097"),
                             (16376 << 10, "16376K"), (2 << 20, "2M"), (4 << 30, "4G"),
                             (1 << 40, "1T"), (1 << 50, "1024T")):
            self.assertEqual(rdax.values.size_text(number), text)
            self.assertEqual(rdax.values.parse_size(text), number)

    def test_names(self) -> None:
        self.assertEqual(rdax.values.parse_device("/dev/rdax12"), "rdax12")
        self.assertEqual(rdax.values.parse_namespace("namespace0.1"), "namespace0.1")
        for text in ("rdax", "rdax01", "rdax0/..", "dax0.0", "/dev/../rdax0", "rdax0\n"):
            with self.assertRaises(argparse.ArgumentTypeError, msg=text):
                rdax.values.parse_device(text)
        for text in ("namespace0", "btt0.0", "namespace0.0/..", "namespace0.0,x"):
            with self.assertRaises(argparse.ArgumentTypeError, msg=text):
                rdax.values.parse_namespace(text)

    def test_aligns(self) -> None:
        self.assertEqual(rdax.values.parse_align("2048K"), 2 << 20)
        with self.assertRaises(argparse.ArgumentTypeError):
            rdax.values.parse_align("8K")

    def test_the_ioctl(self) -> None:
        # as the C compiler has it, of rust/uapi/rdax.h
        self.assertEqual(rdax.devices.IOC_PUNCH, 0x4018DA01)


class Modules(unittest.TestCase):
    def test_no_circle_of_imports(self) -> None:
        graph = {path.stem: set(re.findall(r"^from \.(\w+) import", path.read_text(), re.MULTILINE)
                                + ["files"] * ("from . import files" in path.read_text()))
                 for path in (SCRIPTS / "tool/rdax").glob("*.py")}
        self.assertIn("values", graph["cli"])
        self.assertEqual(layers.find_circle(graph), [])


class Pictures(unittest.TestCase):
    def layout(self, pages: int = 2048, first: int = 0,
               bad: tuple[tuple[int, int], ...] = ()) -> rdax.picture.Layout:
        return rdax.picture.Layout("rdax0", "namespace0.0", 4096, first, pages,
                           rdax.picture.parse_entries(ENTRIES) + rdax.picture.bad_parts(bad),
                           rdax.attributes.parse_extents("0x0 0x400 0x400\n0x400 0x0 0x400\n"))

    def test_entries(self) -> None:
        self.assertEqual(
            [(part.first, part.pages, part.state.label)
             for part in rdax.picture.parse_entries(ENTRIES)],
            [(0, 512, "2M dirty"), (512, 512, "2M"), (1024, 3, "hole"), (1027, 1, "4K dirty"),
             (1028, 2, "4K"), (1030, 1, "not mapped")])
        self.assertEqual(rdax.picture.parse_entries("0x0 1 order 18 mapped dirty\n")[0].state.label,
                         "1G dirty")
        self.assertEqual(rdax.picture.parse_entries("of a later version\n"), [])

    def test_ascii(self) -> None:
        # A cell of 32 pages shows the dirty one of the 7 that are something.
        self.assertEqual(rdax.picture.picture(self.layout(), 20, True, False), [
            "rdax0: 8M of namespace0.0, align 4K; 64K a cell",
            *(f"{where:>10} MMMMMMMM" for where in ("0", "512K", "1M", "1536K")),
            *(f"{where:>10} mmmmmmmm" for where in ("2M", "2560K", "3M", "3584K")),
            "        4M K.......",
            *(f"{where:>10} ........" for where in (
                "4608K", "5M", "5632K", "6M", "6656K", "7M", "7680K")),
            "k 4K: 8K",
            "m 2M: 2M",
            "K 4K dirty: 4K",
            "M 2M dirty: 2M",
            "o hole: 12K",
            ". not mapped: 4072K",
            "extent: 4M at 0, from 4M of the region on",
            "extent: 4M at 4M, from 0 of the region on",
        ])

    def test_part_with_every_page(self) -> None:
        layout = self.layout(9, 1023, ((1028 * 4096 + 512, 512),))
        lines = rdax.picture.picture(layout, 28, False, False)
        self.assertEqual(lines[0], "rdax0: 36K from 4092K on of namespace0.0, align 4K; 4K a cell")
        self.assertEqual(lines[1], "     4092K ▒□□□▂▚░··")
        self.assertIn("▚ bad: 4K", lines)

    def test_width(self) -> None:
        for width in (20, 79, 80, 300):
            lines = rdax.picture.picture(self.layout(), width, False, False)
            rows = [line for line in lines[1:] if line.startswith(" ")]
            self.assertEqual(len({len(row) for row in rows}), 1)
            self.assertLessEqual(len(rows[0]), width)
            self.assertLessEqual(len(rows), rdax.picture.ROWS)

    def test_colours_add_nothing_else(self) -> None:
        plain = rdax.picture.picture(self.layout(), 80, False, False)
        coloured = "\n".join(rdax.picture.picture(self.layout(), 80, False, True))
        self.assertIn("\x1b[33m▅", coloured)
        for state in rdax.picture.STATES:
            coloured = coloured.replace(f"\x1b[{state.colour}m", "")
        self.assertEqual(coloured.replace("\x1b[0m", ""), "\n".join(plain))

    def test_more_than_the_device_is_cut(self) -> None:
        layout = rdax.picture.Layout("rdax0", "namespace0.0", 4096, 0, 4,
                             rdax.picture.parse_entries("0x2 1 order 9 mapped\n"), [])
        self.assertEqual(rdax.picture.tally(layout),
                         [(rdax.picture.CLEAN[1], 2), (rdax.picture.UNUSED, 2)])
        self.assertEqual(len(rdax.picture.grid(layout, 1)), 4)

    def test_of_equal_rank_the_most_pages(self) -> None:
        # In the one cell: 3 pages of a 2 MiB entry, of which more are before it, and 5 of 4 KiB.
        parts = rdax.picture.parse_entries("0x200 1 order 9 mapped\n0x400 5 order 0 mapped\n")
        layout = rdax.picture.Layout("rdax0", "namespace0.0", 4096, 0x3fd, 8, parts, [])
        self.assertEqual(rdax.picture.grid(layout, 8), [rdax.picture.CLEAN[0]])

    def test_small_svg(self) -> None:
        layout = rdax.picture.Layout("rdax0", "namespace0.0", 4096, 0, 3,
                             rdax.picture.parse_entries("0x1 1 order 0 mapped\n"), [])
        self.assertIn('<rect x="346" y="40" width="256" height="20" fill="#a8d8a0">',
                      rdax.picture.svg(layout))

    def test_size_zero(self) -> None:
        layout = rdax.picture.Layout("rdax1", "namespace0.0", 4096, 0, 0, [], [])
        self.assertEqual(rdax.picture.picture(layout, 80, True, False),
                         ["rdax1: 0 of namespace0.0, align 4K; 4K a cell"])
        xml.etree.ElementTree.fromstring(rdax.picture.svg(layout).encode())

    def test_svg(self) -> None:
        text = rdax.picture.svg(self.layout(2048, 0, ((6 << 20, 512),)))
        root = xml.etree.ElementTree.fromstring(text.encode())
        name = "{http://www.w3.org/2000/svg}"
        rects = [(rect[0].text, rect.get("x"), rect.get("width"), rect.get("fill"))
                 for rect in root.iter(f"{name}rect") if len(rect)]
        self.assertEqual(rects[:7], [
            ("2M dirty: 2M at 0", "90", "512", "#e5a823"),
            ("2M: 2M at 2M", "602", "512", "#5cb552"),
            ("hole: 12K at 4M", "90", "3", "#7fd4d4"),
            ("4K dirty: 4K at 4108K", "93", "1", "#f2cf74"),
            ("4K: 8K at 4112K", "94", "2", "#a8d8a0"),
            ("not mapped: 2024K at 4120K", "96", "506", "#e8e8e8"),
            ("bad: 4K at 6M", "602", "1", "#d01c1c"),
        ])
        self.assertEqual(len(list(root.iter(f"{name}line"))), 1)
        self.assertIn("bad: 4K", [text.text for text in root.iter(f"{name}text")])


class Fake(unittest.TestCase):
    """Two namespaces: namespace0.0 is bound and has two devices, nd_pmem has namespace1.0."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = Path(directory.name).resolve()
        self.machine = rdax.machine.Machine(self.top)
        # Only root could make nodes: files, told apart by their inodes.
        patch = mock.patch.object(rdax.users, "node_number", lambda found: (0, found.st_ino))
        patch.start()
        self.addCleanup(patch.stop)
        self.files({
            "sys/bus/nd/drivers/rdax/bind": "", "sys/bus/nd/drivers/rdax/unbind": "",
            "sys/bus/nd/drivers/nd_pmem/bind": "", "sys/bus/nd/drivers/nd_pmem/unbind": "",
            "sys/module/rdax/parameters/align": "4K", "sys/module/rdax/parameters/force": "",
            "sys/bus/nd/devices/namespace0.0/size": "4294967296",
            "sys/bus/nd/devices/namespace0.0/numa_node": "1",
            "sys/bus/nd/devices/namespace0.0/rdax_region/size": "4294967296",
            "sys/bus/nd/devices/namespace0.0/rdax_region/align": "4096",
            "sys/bus/nd/devices/namespace0.0/rdax_region/available_size": "1073741824",
            "sys/bus/nd/devices/namespace1.0/size": "536870912",
            "sys/bus/nd/devices/namespace1.0/mode": "raw",
            "sys/bus/nd/devices/namespace1.0/holder": "",
            "sys/bus/nd/devices/namespace1.0/numa_node": "-1",
            "sys/bus/nd/devices/namespace1.0/block/pmem1/dev": "259:0",
            "sys/bus/nd/devices/namespace1.0/block/pmem1/pmem1p1/partition": "1",
            "sys/bus/nd/devices/namespace1.0/block/pmem1/pmem1p1/dev": "259:1",
            # the seed of a region: nothing that could be bound
            "sys/bus/nd/devices/namespace1.1/size": "0",
            "dev/pmem1": "", "dev/pmem1p1": "",
            "proc/self/mountinfo": "", "proc/swaps": "Filename Type Size Used Priority\n",
        })
        for name, size in (("rdax10", 1 << 30), ("rdax2", 2 << 30)):
            self.files({f"sys/class/dax/{name}/size": str(size),
                        f"sys/class/dax/{name}/align": "4096",
                        # That of a file, which is no node.
                        f"sys/class/dax/{name}/dev": "0:0",
                        f"sys/class/dax/{name}/numa_node": "1",
                        f"sys/class/dax/{name}/badblocks": "8 2\n1024 1\n",
                        f"sys/class/dax/{name}/faults/pte_mapped": "7",
                        f"sys/class/dax/{name}/faults/pmd_mapped": "3",
                        f"sys/class/dax/{name}/faults/pud_mapped": "1",
                        f"sys/class/dax/{name}/entries/writebacks": "5", f"dev/{name}": ""})
            self.link(f"sys/class/dax/{name}/device", "../../../bus/nd/devices/namespace0.0")
        self.link("sys/bus/nd/devices/namespace0.0/driver", "../../drivers/rdax")
        self.link("sys/bus/nd/devices/namespace1.0/driver", "../../drivers/nd_pmem")
        self.process(1, "init", [])
        self.process(41, "fio", ["/dev/null", str(self.top / "dev/rdax2")])
        self.process(42, "old", [str(self.top / "dev/rdax2") + " (deleted)"])

    def files(self, texts: dict[str, str]) -> None:
        for name, text in texts.items():
            path = self.top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def link(self, name: str, target: str) -> None:
        (self.top / name).unlink(missing_ok=True)
        (self.top / name).symlink_to(target)

    def process(self, pid: int, name: str, targets: list[str], maps: str = "") -> None:
        self.files({f"proc/{pid}/comm": f"{name}\n", f"proc/{pid}/maps": maps})
        (self.top / f"proc/{pid}/fd").mkdir(exist_ok=True)
        for number, target in enumerate(targets):
            self.link(f"proc/{pid}/fd/{number}", target)

    def map_line(self, name: str, suffix: str = "") -> str:
        found = (self.top / "dev" / name).stat()
        inode = 0 if suffix else found.st_ino
        return (f"7f0000000000-7f0000200000 rw-s 00000000 {os.major(found.st_dev):02x}:"
                f"{os.minor(found.st_dev):02x} {inode}   {self.top}/dev/{name}{suffix}\n")

    def run_tool(self, *argv: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), \
                mock.patch.object(sys, "stdin", io.StringIO()):
            status = rdax.cli.main(argv, self.machine)
        return status, out.getvalue(), err.getvalue()


class Lists(Fake):
    def test_json(self) -> None:
        self.process(43, "mapper", [], self.map_line("rdax10"))
        status, out, err = self.run_tool("list", "--json")
        self.assertEqual((status, err), (0, ""))
        found = json.loads(out)
        self.assertEqual(set(found), {"regions", "unbound", "dax", "users_complete"})
        region, = found["regions"]
        self.assertEqual({key: value for key, value in region.items() if key != "devices"}, {
            "namespace": "namespace0.0", "uuid": None, "size": 4 << 30, "read_only": False,
            "align": 4096, "available_size": 1 << 30, "numa_node": 1})
        self.assertEqual(region["devices"][0], {
            "name": "rdax2", "size": 2 << 30, "align": 4096, "numa_node": 1, "bad_bytes": 1536,
            "faults": {"pmd_mapped": 3, "pte_mapped": 7, "pud_mapped": 1},
            "entries": {"writebacks": 5},
            "users": [
                {"pid": 41, "command": "fio", "how": ["open"], "stale": False},
                {"pid": 42, "command": "old", "how": ["open"], "stale": True}]})
        self.assertEqual(region["devices"][1]["name"], "rdax10")
        self.assertEqual(region["devices"][1]["users"],
                         [{"pid": 43, "command": "mapper", "how": ["mapped"], "stale": False}])
        self.assertEqual(found["unbound"], [{
            "namespace": "namespace1.0", "uuid": None, "size": 512 << 20, "read_only": False,
            "mode": "raw", "numa_node": -1,
            "driver": "nd_pmem", "claimed_by": None, "block": ["pmem1"], "uses": [],
            "bindable": True}])
        self.assertIs(found["users_complete"], True)

    def test_table(self) -> None:
        self.process(44, "e\x1b[31mvil", [], self.map_line("rdax10", " (deleted)"))
        status, out, _ = self.run_tool("list")
        self.assertEqual(status, 0)
        self.assertEqual(out, """\
                                         - FAULTS -
REGION        DEVICE  SIZE  ALIGN  NUMA  4K  2M  1G  IN USE BY
namespace0.0  rdax2     2G     4K     1   7   3   1  41 fio, 42 old (gone)
namespace0.0  rdax10    1G     4K     1   7   3   1  44 e?[31mvil (gone)
namespace0.0  (free)    1G
rdax2: 1536 bytes are bad ('rdax map')
rdax10: 1536 bytes are bad ('rdax map')
(gone): it has an earlier device of this name open, which no longer exists

NOT BOUND     SIZE  MODE  NUMA  HELD BY          CAN BE BOUND
namespace1.0  512M  raw     -1  nd_pmem (pmem1)  yes
""")

    def test_mounted(self) -> None:
        self.files({"proc/self/mountinfo":
                    "30 1 259:1 / /mnt/a\\040b rw - ext4 /dev/pmem1p1 rw\n"
                    "31 1 0:42 / /srv rw shared:1 - btrfs " + f"{self.top}/dev/pmem1 rw\n"})
        self.files({"proc/swaps": "Filename Type\n/dev/pmem1 partition 1 2 3\n"})
        (self.top / "sys/bus/nd/devices/namespace1.0/block/pmem1/holders/dm-0").mkdir(parents=True)
        _, out, _ = self.run_tool("list", "--json")
        other, = json.loads(out)["unbound"]
        self.assertEqual(other["uses"], [
            "pmem1p1 is mounted at /mnt/a b", "pmem1 is mounted at /srv", "pmem1 is swapped on",
            "pmem1 is part of dm-0"])
        self.assertIs(other["bindable"], False)

    def test_claimed(self) -> None:
        self.files({"sys/bus/nd/devices/namespace1.0/holder": "pfn1.0\n",
                    "sys/bus/nd/devices/namespace1.0/mode": "memory\n"})
        _, out, _ = self.run_tool("list")
        self.assertRegex(out, r"namespace1\.0  512M  fsdax +-1  pfn1\.0 \(pmem1\)  no, it is cl")

    def test_no_nvdimms(self) -> None:
        (self.top / "nothing/sys/bus").mkdir(parents=True)
        (self.top / "nothing/proc/1").mkdir(parents=True)
        self.machine = rdax.machine.Machine(self.top / "nothing")
        self.assertEqual(self.run_tool("list")[:2], (0, "no namespace is bound\n"))


class Kernel:
    """Stands for the kernel's side of writes to sysfs."""

    def __init__(self, fake: Fake, answer: int) -> None:
        self.fake, self.answer, self.log = fake, answer, list[str]()

    def write(self, path: Path, text: str) -> None:
        self.log.append(f"{path.parent.name}/{path.name} {text}")
        driver = f"sys/bus/nd/devices/{text}/driver"
        if path.parent.name == "parameters":
            path.write_text(text)
        elif path.name == "unbind":
            (self.fake.top / driver).unlink()
        elif self.answer and path.parent.name == "rdax":
            raise OSError(self.answer, os.strerror(self.answer))
        elif path.name == "bind":
            self.fake.link(driver, f"../../drivers/{path.parent.name}")
            if path.parent.name == "rdax":
                self.fake.files({f"sys/bus/nd/devices/{text}/rdax_region/align": "4096"})


class Binds(Fake):
    def with_kernel(self, answer: int, *argv: str) -> tuple[int, str, list[str]]:
        kernel = Kernel(self, answer)
        with mock.patch.object(rdax.files, "write", kernel.write):
            status, out, err = self.run_tool(*argv)
        return status, out + err, kernel.log

    def test_taken_and_parameters_as_before(self) -> None:
        self.files({"sys/module/rdax/parameters/force": "other"})
        status, text, log = self.with_kernel(0, "bind", "namespace1.0", "--force", "--align", "4K")
        self.assertEqual(status, 0, text)
        self.assertEqual(log, [
            "nd_pmem/unbind namespace1.0", "parameters/align 4K",
            "parameters/force other,namespace1.0", "rdax/bind namespace1.0",
            "parameters/align 4K", "parameters/force other"])

    def test_given_back(self) -> None:
        status, text, log = self.with_kernel(errno.EEXIST, "bind", "namespace1.0")
        self.assertEqual((status, text), (1, (
            "rdax: namespace1.0: it may hold data: something known is at its head or tail "
            "(--force overrides); it was given back to nd_pmem\n")))
        self.assertEqual(log[-1], "nd_pmem/bind namespace1.0")

    def test_given_back_when_interrupted(self) -> None:
        with mock.patch.object(rdax.bind, "take", side_effect=KeyboardInterrupt):
            status, text, log = self.with_kernel(0, "bind", "namespace1.0")
        self.assertEqual(status, 130, text)
        self.assertEqual(log[-1], "nd_pmem/bind namespace1.0")

    def refused(self, text: str, *options: str) -> None:
        status, got, log = self.with_kernel(0, "bind", "namespace1.0", *options)
        self.assertEqual((status, log), (5, []), got)
        self.assertIn(text, got)

    def test_in_use(self) -> None:
        self.files({"proc/self/mountinfo": "30 1 259:1 / /mnt rw - ext4 /dev/pmem1p1 rw\n"})
        self.refused("pmem1p1 is mounted at /mnt")
        status, text, _ = self.with_kernel(0, "bind", "namespace1.0", "--force")
        self.assertEqual(status, 0, text)
        self.assertIn("by force, although pmem1p1 is mounted at /mnt", text)

    def test_swap_is_never_taken(self) -> None:
        self.files({"proc/swaps": f"Filename\n{self.top}/dev/pmem1 partition 1 2 3\n"})
        self.refused("pmem1 is swapped on")
        self.refused("pmem1 is swapped on", "--force")

    def test_open(self) -> None:
        self.process(77, "dd", [str(self.top / "dev/pmem1")])
        self.refused("pmem1 is open in 77 dd")

    def test_open_for_a_moment(self) -> None:
        self.process(77, "(udev-worker)", [str(self.top / "dev/pmem1")])

        def closed(_seconds: float) -> None:
            (self.top / "proc/77/fd/0").unlink()

        with mock.patch.object(time, "sleep", closed):
            status, text, _ = self.with_kernel(0, "bind", "namespace1.0")
        self.assertEqual(status, 0, text)

    def test_open_exclusively(self) -> None:
        original = os.open

        def busy(path: Path, flags: int, *args: int) -> int:
            if flags & os.O_EXCL:
                raise OSError(errno.EBUSY, "busy")
            return original(path, flags, *args)

        with mock.patch.object(os, "open", busy):
            self.refused("pmem1 is open exclusively")

    def test_claimed(self) -> None:
        self.files({"sys/bus/nd/devices/namespace1.0/holder": "btt1.0\n",
                    "sys/bus/nd/devices/namespace1.0/mode": "safe\n"})
        status, text, log = self.with_kernel(0, "bind", "namespace1.0", "--force")
        self.assertEqual((status, log), (1, []))
        self.assertIn("sector mode, for btt1.0. 'ndctl create-namespace -f -e namespace1.0 -m raw'",
                      text)

    def test_unbind(self) -> None:
        status, text, log = self.with_kernel(0, "unbind", "namespace0.0")
        self.assertEqual((status, log), (5, []))
        self.assertIn("rdax2 is in use by 41 fio (", text)
        status, text, log = self.with_kernel(0, "unbind", "namespace0.0", "--force")
        self.assertEqual((status, log), (6, []))
        self.assertIn("--yes is needed", text)
        status, text, log = self.with_kernel(0, "unbind", "namespace0.0", "--force", "-y",
                                             "--to", "nd_pmem")
        self.assertEqual(status, 0, text)
        self.assertEqual(log, ["rdax/unbind namespace0.0", "nd_pmem/bind namespace0.0"])


NAMESPACE1 = """
[[region]]
namespace = "namespace1.0"
size = "512M"
resource = 0x180000000
align = "2M"
"""
DEVICES1 = """
[[region.device]]
name = "rdax3"
extents = ["256M 64M", "0 32M"]

[[region.device]]
name = "rdax1"
align = "4K"
extents = ["400M 12K"]
"""


class Configurations(unittest.TestCase):
    def problems(self, text: str) -> list[str]:
        config = rdax.config.parse_config(text, "FILE")
        return config.problems + [f"{entry.where}: {problem}" for entry in config.entries
                                  for problem in entry.problems]

    def test_good(self) -> None:
        text = NAMESPACE1 + DEVICES1 + """
[[ region ]]  # the rest
namespace = "namespace2.0"
uuid = "0C3F0000-1111-2222-3333-444455556666"
whole = true
force = true

[[region]]
namespace = "namespace3.0"
size = 1_048_576
align = 4096
device = []
"""
        self.assertEqual(self.problems(text), [])
        device, run, mib = rdax.config.DeviceConfig, rdax.config.Run, 1 << 20
        config = rdax.config.parse_config(text, "FILE")
        self.assertEqual([entry.region for entry in config.entries], [
            rdax.config.RegionConfig("namespace1.0", "", 512 * mib, 0x180000000, 2 * mib, False, (
                device("rdax3", 2 * mib, (run(256 * mib, 64 * mib), run(0, 32 * mib))),
                device("rdax1", 4096, (run(400 * mib, 12 << 10),)))),
            rdax.config.RegionConfig("namespace2.0", "0c3f0000-1111-2222-3333-444455556666",
                                     None, None, None, True, None),
            rdax.config.RegionConfig("namespace3.0", "", mib, None, 4096, False, ())])

    def test_what_is_written_is_read(self) -> None:
        runs = tuple(rdax.config.Run(8192 * number, 4096) for number in range(9))
        region = rdax.config.RegionConfig("namespace1.0", "", 1 << 20, 4096, 4096, True, (
            rdax.config.DeviceConfig("rdax0", 4096, runs),
            rdax.config.DeviceConfig("rdax1", 1 << 30, ())))
        for one in (region, region._replace(devices=()), region._replace(devices=None),
                    region._replace(uuid="0c3f0000-1111-2222-3333-444455556666", resource=None)):
            text = "\n".join(rdax.config.region_lines(one))
            entry, = rdax.config.parse_config(text, "FILE").entries
            self.assertEqual((entry.region, entry.problems), (one, []))

    def test_not_toml(self) -> None:
        for text, where in (("[[region]\n", "line 1"), ("a = 1\na = 2\n", "line 2"),
                            ("x = " + "[" * 5000, ""), ("x = 9" + "9" * 5000, "")):
            with self.assertRaisesRegex(rdax.say.Failure, f"^FILE: it is not valid TOML.*{where}"):
                rdax.config.parse_config(text, "FILE")

    def test_each_problem_is_one_sentence(self) -> None:
        device = '[[region.device]]\nname = "rdax0"\nextents = ["0 2M"]\n'
        for text, problem in (
                ('frob = 1\n', "FILE: there is no key 'frob'"),
                ('region = 1\n', "FILE: region: an array is needed, not an integer"),
                ('region = [1]\n', None),
                ('[[region]]\nwhole = true\n', "FILE:1: [[region]]: namespace is missing"),
                ('[[region]]\nnamespace = "pmem0"\nwhole = true\n',
                 ("FILE:1: [[region]]: namespace: 'pmem0' is not the name of a namespace "
                  "(namespace0.0)")),
                ('[[region]]\nnamespace = "namespace0.0"\nwhole = 1\n',
                 "FILE:1: namespace0.0: whole: true or false is needed, not an integer"),
                ('[[region]]\nnamespace = "namespace0.0"\n',
                 "FILE:1: namespace0.0: it has neither devices nor 'whole = true'"),
                ('\nregion = [{namespace = "namespace0.0"}]\n',
                 "FILE: region 1: namespace0.0: it has neither devices nor 'whole = true'"),
                ('[[region]]\nnamespace = "namespace0.0"\nwhole = true\nuuid = "1-2"\n',
                 "FILE:1: namespace0.0: uuid: '1-2' is not a UUID"),
                ('[[region]]\nnamespace = "namespace0.0"\nwhole = true\nsize = -1\n',
                 "FILE:1: namespace0.0: size: it is not from 0 to 2^64 - 1"),
                ('[[region]]\nnamespace = "namespace0.0"\nwhole = true\nsize = 1979-05-27\n',
                 "FILE:1: namespace0.0: size: an integer is needed, not a date or time"),
                ('[[region]]\nnamespace = "namespace0.0"\nsize = "4G"\n' + device,
                 "FILE:1: namespace0.0: align is missing"),
                ('[[region]]\nnamespace = "namespace0.0"\nalign = "4K"\n' + device,
                 "FILE:1: namespace0.0: size is missing"),
                (NAMESPACE1 + "whole = true\n" + device,
                 "FILE:2: namespace1.0: it has both devices and 'whole = true'"),
                (NAMESPACE1 + device + "colour = 7\n",
                 "FILE:2: namespace1.0: device 1 (rdax0): there is no key 'colour'"),
                (NAMESPACE1 + device.replace("extents", "extent"), None),
                (NAMESPACE1 + device.replace("rdax0", "rdax00"), None),
                (NAMESPACE1 + device.replace("0 2M", "0  2M"),
                 ("FILE:2: namespace1.0: device 1 (rdax0): extents: '0  2M' is not an offset and a "
                  "length ('0 1G')")),
                (NAMESPACE1 + device.replace("0 2M", "0 0"),
                 "FILE:2: namespace1.0: device 1 (rdax0): extents: '0 0' has no bytes"),
                (NAMESPACE1 + device.replace('"0 2M"', "2"),
                 ("FILE:2: namespace1.0: device 1 (rdax0): extents: a string is needed, not an "
                  "integer")),
                (NAMESPACE1 + device.replace("0 2M", "0 3M"),
                 ("FILE:2: namespace1.0: device 1 (rdax0): '0 3M' is not a multiple of its align, "
                  "2M")),
                (NAMESPACE1 + device.replace("0 2M", "1M 2M"),
                 ("FILE:2: namespace1.0: device 1 (rdax0): '1M 2M' is not a multiple of its align, "
                  "2M")),
                (NAMESPACE1 + device.replace("0 2M", "510M 4M"),
                 "FILE:2: namespace1.0: rdax0: '510M 4M' is beyond the size, 512M"),
                (NAMESPACE1 + device.replace("0 2M", "0 18446744073707454464"), None),
                (NAMESPACE1 + device + device.replace("0 2M", "4M 2M"),
                 "FILE:2: namespace1.0: rdax0 appears 2 times"),
                # the one in the middle ends before the first, which the last one overlaps
                (NAMESPACE1 + device.replace('"0 2M"', '"0 64M", "128M 2M"')
                 + device.replace("rdax0", "rdax1").replace("0 2M", "4M 2M").replace("4M", "64M")
                 + device.replace("rdax0", "rdax2").replace("0 2M", "62M 2M"),
                 "FILE:2: namespace1.0: rdax0 and rdax2 overlap: '0 64M' and '62M 2M'")):
            found = self.problems(text)
            self.assertEqual(found, [problem] if problem else found, text)
            self.assertTrue(found, text)
            self.assertNotIn("\n", "".join(found))

    def test_overlap_with_one_before_the_last(self) -> None:
        run = rdax.config.Run
        devices = [rdax.config.DeviceConfig("rdax0", 1, (run(0, 100),)),
                   rdax.config.DeviceConfig("rdax1", 1, (run(10, 10), run(50, 10)))]
        self.assertEqual(len(list(rdax.config.check_runs(devices, 100))), 2)

    def test_twice(self) -> None:
        other = NAMESPACE1.replace("1.0", "2.0") + DEVICES1.replace("rdax3", "rdax4")
        self.assertEqual(self.problems(NAMESPACE1 + DEVICES1 + other), [
            "FILE:2: namespace1.0: rdax1 is configured again at FILE:17: namespace2.0",
            "FILE:17: namespace2.0: rdax1 is configured again at FILE:2: namespace1.0"])
        # Also if one of them is wrong otherwise: then nobody knows what was meant.
        self.assertEqual(self.problems(NAMESPACE1 + "frob = 1\n" + "whole = true\n"
                                       + NAMESPACE1 + "whole = true\n"), [
            "FILE:2: namespace1.0: there is no key 'frob'",
            "FILE:2: namespace1.0: namespace1.0 is configured again at FILE:10: namespace1.0",
            "FILE:10: namespace1.0: namespace1.0 is configured again at FILE:2: namespace1.0"])
        # A UUID decides, and a name may have been another's.
        uuid = 'uuid = "0c3f0000-1111-2222-3333-44445555666%d"\nwhole = true\n'
        self.assertEqual(self.problems(NAMESPACE1 + uuid % 1 + NAMESPACE1 + uuid % 2), [])
        self.assertEqual(len(self.problems(NAMESPACE1 + uuid % 1 + NAMESPACE1 + uuid % 1)), 2)

    def test_merged(self) -> None:
        run = rdax.config.Run
        self.assertEqual(rdax.config.merged([run(4, 4), run(8, 4), run(0, 4), run(4, 1)]),
                         (run(4, 8), run(0, 5)))


class Driver:
    """Stands for the driver: what it makes of writes to the fake sysfs."""

    def __init__(self, fake: "Divisions") -> None:
        self.fake, self.log = fake, list[str]()
        # A write that fails with an errno.
        self.fails: dict[str, int | type[BaseException]] = {}

    def write(self, path: Path, text: str) -> None:
        call = f"{path.parent.name}/{path.name} {text}"
        self.log.append(call)
        failure = self.fails.get(call)
        if isinstance(failure, int):
            raise OSError(failure, os.strerror(failure))
        if failure:
            raise failure
        {"bind": self.bind, "unbind": self.unbind, "create": self.create, "delete": self.delete,
         "extents": self.append}.get(path.name, Path.write_text)(path, text)

    def bind(self, path: Path, name: str) -> None:
        self.fake.link(f"sys/bus/nd/devices/{name}/driver", f"../../drivers/{path.parent.name}")
        if path.parent.name == "rdax":
            parameters = self.fake.machine.parameters
            # By its UUID, if it has one.
            known = rdax.machine.uuid_of(self.fake.machine.namespaces / name) or name
            assert known in (parameters / "divided").read_text().split(",")
            size = (self.fake.machine.namespaces / name / "size").read_text()
            self.fake.region(name, int(size), int(rdax.values.parse_size(
                (parameters / "align").read_text())))

    def unbind(self, path: Path, name: str) -> None:
        (self.fake.top / f"sys/bus/nd/devices/{name}/driver").unlink()
        if path.parent.name == "rdax":
            for device in self.fake.machine.devices_of(name):
                shutil.rmtree(device)
            shutil.rmtree(self.fake.machine.namespaces / name / "rdax_region")

    def create(self, path: Path, name: str) -> None:
        if (self.fake.machine.devices / name).exists():
            raise OSError(errno.EEXIST, "exists")
        self.fake.device(name, path.parent.parent.name, (path.parent / "align").read_text())

    def delete(self, _path: Path, name: str) -> None:
        shutil.rmtree(self.fake.machine.devices / name)

    def append(self, path: Path, text: str) -> None:
        offset, length = map(int, text.split(" "))
        with path.open("a") as file:
            file.write(f"{offset} {length}\n")
        size = path.parent / "size"
        size.write_text(str(int(size.read_text()) + length))
        free = (path.parent / "device").resolve() / "rdax_region/available_size"
        free.write_text(str(int(free.read_text()) - length))


class Divisions(Fake):
    """namespace0.0 and its devices as the driver shows them; namespace1.0 is nd_pmem's."""

    def setUp(self) -> None:
        super().setUp()
        self.files({"sys/module/rdax/parameters/divided": "",
                    "sys/bus/nd/devices/namespace0.0/resource": "0x100000000\n",
                    "sys/bus/nd/devices/namespace1.0/resource": "0x180000000\n",
                    "sys/class/dax/rdax2/extents": f"{2 << 30} {1 << 30}\n0 {1 << 30}\n",
                    "sys/class/dax/rdax10/extents": f"{1 << 30} {1 << 29}\n"
                                                    f"{3 << 29} {1 << 29}\n"})
        self.config = self.top / "etc/rdax.conf"
        self.config.parent.mkdir()
        self.driver = Driver(self)
        patch = mock.patch.object(rdax.files, "write", self.driver.write)
        patch.start()
        self.addCleanup(patch.stop)

    def region(self, name: str, size: int, align: int) -> None:
        region = f"sys/bus/nd/devices/{name}/rdax_region"
        self.files({f"{region}/size": str(size), f"{region}/align": str(align),
                    f"{region}/available_size": str(size)})

    def device(self, name: str, namespace: str, align: str) -> None:
        path = f"sys/class/dax/{name}"
        self.files({f"{path}/size": "0", f"{path}/align": align, f"{path}/extents": ""})
        self.link(f"{path}/device", f"../../../bus/nd/devices/{namespace}")

    def restore(self, text: str, *argv: str) -> tuple[int, str, str]:
        self.config.write_text(text)
        return self.run_tool("restore", *argv)


SAVED0 = """
[[region]]
namespace = "namespace0.0"
size = "4G"
resource = 0x100000000
align = "4K"

[[region.device]]
name = "rdax2"
align = "4K"
extents = ["2G 1G", "0 1G"]

[[region.device]]
name = "rdax10"
align = "4K"
extents = ["1G 1G"]
"""


class Saves(Divisions):
    def saved(self, *argv: str) -> str:
        status, out, err = self.run_tool("save", *argv)
        self.assertEqual(status, 0, err)
        self.said = out + err
        return self.config.read_text()

    def refused(self, pattern: str, *argv: str) -> None:
        before = self.config.read_bytes() if self.config.exists() else None
        status, out, err = self.run_tool("save", *argv)
        self.assertEqual((status, out), (1, ""), err)
        self.assertRegex(err, pattern)
        self.assertEqual(self.config.read_bytes() if self.config.exists() else None, before)
        self.assertEqual([path.name for path in self.config.parent.iterdir()],
                         ["rdax.conf"] if before is not None else [])

    def test_new(self) -> None:
        self.assertEqual(self.saved(), rdax.config.HEADER + SAVED0)
        self.assertEqual(self.said, "namespace0.0: saved: rdax2 2G, rdax10 1G\n"
                                    f"{self.config}: written\n")
        # It has physical addresses.
        self.assertEqual(stat.S_IMODE(self.config.stat().st_mode), 0o600)
        self.saved()
        self.assertIn("as it was", self.said)
        self.assertEqual(list(self.config.parent.iterdir()), [self.config])

    def test_restored_is_as_configured(self) -> None:
        status, out, err = self.restore(self.saved())
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, "namespace0.0: as configured: rdax2 2G, rdax10 1G\n")
        self.assertEqual(self.driver.log, [])

    def test_uuid_in_place_of_resource(self) -> None:
        uuid = "0c3f0000-1111-2222-3333-444455556666"
        self.files({"sys/bus/nd/devices/namespace0.0/uuid": f"{uuid}\n"})
        self.assertEqual(self.saved(), rdax.config.HEADER + SAVED0.replace(
            'size = "4G"\nresource = 0x100000000\n', f'uuid = "{uuid}"\nsize = "4G"\n'))

    def test_stdout(self) -> None:
        self.config.write_text("not [ TOML")
        status, out, err = self.run_tool("save", "--output", "-")
        self.assertEqual((status, out, err), (0, rdax.config.HEADER + SAVED0, ""))
        self.assertEqual(self.config.read_text(), "not [ TOML")

    def test_mode_and_the_file_before_are_kept(self) -> None:
        self.config.write_text("# mine\n" + SAVED0.replace("4G", "8G"))
        self.config.chmod(0o640)
        self.saved()
        self.assertEqual(stat.S_IMODE(self.config.stat().st_mode), 0o640)
        backup = self.config.with_name("rdax.conf~")
        self.assertEqual(backup.read_text(), "# mine\n" + SAVED0.replace("4G", "8G"))
        self.assertEqual(stat.S_IMODE(backup.stat().st_mode), 0o640)
        self.assertEqual(len(list(self.config.parent.iterdir())), 2)

    def test_a_link_stays_one(self) -> None:
        real = self.top / "etc/real"
        real.write_text("")
        self.config.symlink_to("real")
        self.saved()
        self.assertTrue(self.config.is_symlink())
        self.assertEqual(real.read_text(), rdax.config.HEADER + SAVED0)

    def test_what_is_not_bound_is_kept(self) -> None:
        self.config.write_text(NAMESPACE1 + "force = true\n" + DEVICES1)
        text = self.saved()
        self.assertIn("namespace1.0 is not bound: its entry is kept (--forget", self.said)
        entries = rdax.config.parse_config(text, "FILE").entries
        self.assertEqual([entry.region.namespace for entry in entries],
                         ["namespace0.0", "namespace1.0"])
        self.assertEqual(entries[1].region,
                         rdax.config.parse_config(NAMESPACE1 + "force = true\n" + DEVICES1,
                                           "FILE").entries[0].region)
        self.assertEqual(self.saved("--forget"), rdax.config.HEADER + SAVED0)
        self.assertIn("namespace1.0 is not bound: its entry is removed", self.said)

    def test_only_some(self) -> None:
        self.region("namespace1.0", 512 << 20, 2 << 20)
        before = SAVED0.replace("rdax10", "rdax11")
        self.config.write_text(before)
        self.assertEqual(self.saved("namespace1.0"), rdax.config.HEADER + before + NAMESPACE1
                         + "device = []\n")
        status, _, err = self.run_tool("save", "namespace1.1")
        self.assertEqual(status, 4)
        self.assertIn("not bound", err)

    def test_force_stays_with_its_namespace(self) -> None:
        forced = SAVED0.replace("\n\n[[region.device]]", "\nforce = true\n\n[[region.device]]", 1)
        self.config.write_text(forced)
        self.assertEqual(self.saved(), rdax.config.HEADER + forced)
        # It was for another one, with the same name.
        self.config.write_text(forced.replace("0x100000000", "0x200000000"))
        self.assertEqual(self.saved(), rdax.config.HEADER + SAVED0)

    def test_a_name_that_another_entry_has(self) -> None:
        self.config.write_text(NAMESPACE1 + DEVICES1.replace("rdax3", "rdax2"))
        self.refused("rdax2 is configured again at ")

    def test_errors_in_the_file_before(self) -> None:
        for text in ("not [ TOML", NAMESPACE1, "frob = 1\n"):
            self.config.write_text(text)
            self.refused("^rdax: .*rdax.conf")

    def test_only_record_of_a_division(self) -> None:
        before = self.saved()
        for name in ("rdax2", "rdax10"):
            shutil.rmtree(self.machine.devices / name)
        self.files({"sys/bus/nd/devices/namespace0.0/rdax_region/available_size": str(4 << 30)})
        for whole in (False, True):
            if whole:
                # As after a bind.
                self.device("rdax0", "namespace0.0", "4096")
                self.driver.append(self.machine.devices / "rdax0/extents", f"0 {4 << 30}")
            status, out, err = self.run_tool("save")
            self.assertEqual((status, out), (6, ""), err)
            self.assertIn("is divided into rdax2 2G, rdax10 1G; now it has "
                          f"{'rdax0 4G' if whole else 'no device'}, as after a bind", err)
            self.assertEqual(self.config.read_text(), before)
        self.assertNotEqual(self.saved("--yes"), before)
        self.assertEqual(Path(f"{self.config}~").read_text(), before)
        # A region that was divided anew needs no answer.
        self.saved()

    def test_nothing_bound(self) -> None:
        shutil.rmtree(self.top / "sys/bus/nd/devices/namespace0.0")
        self.refused("no namespace is bound, nor a device of the dax bus: nothing was saved")

    def test_changing(self) -> None:
        # The sum of the extents is not the size, and debugfs does not know more.
        self.files({"sys/class/dax/rdax2/size": str(1 << 30)})
        self.refused("rdax2 is changing")
        self.files({"sys/class/dax/rdax2/size": str(2 << 30),
                    "sys/bus/nd/devices/namespace0.0/rdax_region/available_size": "0"})
        self.refused("namespace0.0 is changing: nothing was saved")

    def test_more_extents_than_a_page_shows(self) -> None:
        self.files({"sys/class/dax/rdax2/extents": f"{2 << 30} {1 << 30}\n",
                    "sys/kernel/debug/rdax/rdax2/extents": "0x0 0x80000 0x40000\n"
                                                           "0x40000 0x0 0x40000\n"})
        self.assertEqual(self.saved(), rdax.config.HEADER + SAVED0)

    def test_no_space(self) -> None:
        with mock.patch.object(os, "fsync", side_effect=OSError(errno.ENOSPC, "no space")):
            self.refused("no space")


class Configured(Divisions):
    """bind and create look at what the configuration has for whom."""

    def test_divided(self) -> None:
        self.config.write_text(NAMESPACE1 + DEVICES1)
        status, out, err = self.run_tool("bind", "namespace1.0")
        self.assertEqual((status, out, self.driver.log), (1, "", []))
        self.assertIn("divides namespace1.0 into rdax1, rdax3. 'rdax restore namespace1.0' makes "
                      "these; with --whole", err)

    def test_names_of_others(self) -> None:
        self.config.write_text(NAMESPACE1 + DEVICES1.replace("rdax3", "rdax0"))
        status, out, err = self.run_tool("create", "namespace0.0", "--size", "4K")
        self.assertEqual(status, 0, err)
        self.assertIn("rdax3: 4K of namespace0.0", out)
        self.assertIn("rdax_region/create rdax3", self.driver.log)

    def test_bound_with_a_free_name(self) -> None:
        self.config.write_text((NAMESPACE1 + DEVICES1).replace("rdax3", "rdax0").replace(
            "namespace1.0", "namespace2.0"))
        status, out, err = self.run_tool("bind", "namespace1.0")
        self.assertEqual(status, 0, err)
        self.assertIn("bound: rdax3, 512M", out)

    def test_given_back_without_its_device(self) -> None:
        self.config.write_text((NAMESPACE1 + DEVICES1).replace("rdax3", "rdax0").replace(
            "namespace1.0", "namespace2.0"))
        for failure, status in ((errno.ENOMEM, 1), (KeyboardInterrupt, 130)):
            self.driver.fails["rdax_region/create rdax3"] = failure
            self.assertEqual(self.run_tool("bind", "namespace1.0")[0], status)
            self.assertEqual(self.driver.log[-2:],
                             ["rdax/unbind namespace1.0", "nd_pmem/bind namespace1.0"])

    def test_a_file_with_errors_hinders_nobody(self) -> None:
        self.config.write_text("[[region")
        status, out, err = self.run_tool("create", "namespace0.0", "--size", "4K")
        self.assertEqual(status, 0, err)
        self.assertIn("is not looked at: ", err)
        self.assertIn("rdax0: 4K of namespace0.0", out)


class Meanwhile(Divisions):
    """Another process changes a device while a question waits for its answer."""

    def changed(self, *argv: str) -> None:
        size = self.machine.devices / "rdax2/size"

        def agree(_what: str, _yes: bool) -> None:
            size.write_text(str(3 << 30))

        with mock.patch.object(rdax.devices, "agree", agree):
            status, out, err = self.run_tool(*argv)
        self.assertEqual((status, out), (1, ""), err)
        self.assertIn("refused: rdax2 has changed meanwhile", err)
        self.assertEqual(self.driver.log, [])

    def test_resize(self) -> None:
        self.changed("resize", "rdax2", "1G")

    def test_destroy(self) -> None:
        self.files({"sys/bus/nd/devices/namespace0.0/rdax_region/delete": ""})
        with mock.patch.object(rdax.devices, "refuse_used"):
            self.changed("destroy", "rdax2")

    def test_added_size(self) -> None:
        size = self.machine.devices / "rdax2/size"

        def other(*_args: object) -> None:
            size.write_text(str(3 << 30))

        with mock.patch.object(rdax.devices, "refuse_too_large", other):
            status, _, err = self.run_tool("resize", "rdax2", "+512M")
        self.assertEqual((status, self.driver.log), (1, []), err)


class Programs(unittest.TestCase):
    def test_not_of_the_current_directory(self) -> None:
        for part in rdax.module.PROGRAMS.split(":"):
            self.assertTrue(part.startswith("/"))


class Locks(Divisions):
    def test_others_that_may_not_change_it_cannot_hold_it(self) -> None:
        handle = os.open(self.machine.driver, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_EX)
        flock = fcntl.flock

        def at_once(handle: int, flags: int) -> None:
            flock(handle, flags | fcntl.LOCK_NB)

        with mock.patch.object(fcntl, "flock", at_once):
            self.assertEqual(self.run_tool("create", "namespace0.0", "--size", "4K")[0], 0)

    def test_who_waits_says_so(self) -> None:
        handle = os.open(self.machine.driver / "bind", os.O_WRONLY)

        def let_go(_handle: int, flags: int) -> None:
            if flags & fcntl.LOCK_NB:
                raise BlockingIOError
            os.close(handle)

        fcntl.flock(handle, fcntl.LOCK_EX)
        with mock.patch.object(fcntl, "flock", let_go):
            status, _, err = self.run_tool("create", "namespace0.0", "--size", "4K")
        self.assertEqual(status, 0, err)
        self.assertIn("another rdax is at work: this one waits for it", err)


class Restores(Divisions):
    def test_restored(self) -> None:
        status, out, err = self.restore(NAMESPACE1 + DEVICES1)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, "namespace1.0: restored: rdax3 96M, rdax1 12K\n")
        mib = 1 << 20
        self.assertEqual(self.driver.log, [
            "nd_pmem/unbind namespace1.0",
            "parameters/align 2M", "parameters/divided namespace1.0", "rdax/bind namespace1.0",
            "parameters/align 4K", "parameters/divided ",
            "rdax_region/create rdax3", f"rdax3/extents {256 * mib} {64 * mib}",
            f"rdax3/extents 0 {32 * mib}",
            "rdax_region/create rdax1", "rdax1/align 4096", f"rdax1/extents {400 * mib} 12288"])
        self.driver.log.clear()
        status, out, err = self.run_tool("restore")
        self.assertEqual((status, err, self.driver.log), (0, "", []))
        self.assertEqual(out, "namespace1.0: as configured: rdax1 12K, rdax3 96M\n")

    def test_whole_gets_a_name_that_nobody_wants(self) -> None:
        taken = SAVED0.replace("rdax2", "rdax0")
        status, out, _ = self.restore(taken + NAMESPACE1 + "whole = true\n", "namespace1.0")
        self.assertEqual((status, out), (0, "namespace1.0: restored: rdax1 512M\n"))
        self.assertEqual(self.run_tool("restore", "namespace1.0")[:2],
                         (0, "namespace1.0: as configured: rdax1 512M\n"))

    def test_bound_without_devices_is_divided(self) -> None:
        self.region("namespace1.0", 512 << 20, 2 << 20)
        self.link("sys/bus/nd/devices/namespace1.0/driver", "../../drivers/rdax")
        status, out, err = self.restore(NAMESPACE1 + DEVICES1)
        self.assertEqual((status, out), (0, "namespace1.0: restored: rdax3 96M, rdax1 12K\n"), err)
        self.assertEqual(self.driver.log[0], "rdax_region/create rdax3")

    def unchanged(self, text: str, pattern: str, *argv: str) -> None:
        """Refused, in one sentence and the last one, and nothing was written anywhere."""
        status, out, err = self.restore(text, *argv)
        self.assertEqual((status, out, self.driver.log), (1, "", []), err)
        self.assertRegex(err, f"^rdax: {self.config}:2: namespace..0: {pattern}\n"
                              f"rdax: some regions are not as {self.config} says: see above\n$")

    def test_bound_otherwise(self) -> None:
        for old, new, problem in (
                ("rdax10", "rdax11", "rdax10 is not configured"),
                ("1G 1G", "3G 1G", "rdax10 has other extents"),
                ('"2G 1G", "0 1G"', '"0 1G", "2G 1G"', "rdax2 has other extents"),
                ('name = "rdax10"\nalign = "4K"', 'name = "rdax10"\nalign = "2M"',
                 "rdax10 has align 4K, not 2M"),
                ('align = "4K"', 'align = "2M"', "it has align 4K, not 2M")):
            self.unchanged(SAVED0.replace(old, new),
                           f"namespace0.0 is bound otherwise, and left as it is: {problem}")
        more = '[[region.device]]\nname = "rdax1"\nextents = []\n'
        self.unchanged(SAVED0 + more, ".*: there is no rdax1")
        self.unchanged(SAVED0.partition("\n\n[[region.device]]")[0] + "\nwhole = true\n",
                       ".*: it is not one device with all of it")

    def test_another_namespace(self) -> None:
        self.unchanged(NAMESPACE1.replace("512M", "1G") + DEVICES1,
                       "refused: namespace1.0 is another .* it has 512M, not 1G")
        self.unchanged(NAMESPACE1.replace("0x18", "0x19") + DEVICES1,
                       "refused: .* it is at 0x180000000, not at 0x190000000")
        self.unchanged(NAMESPACE1.replace("1.0", "7.0") + DEVICES1, "there is no namespace7.0")
        uuid = "0c3f0000-1111-2222-3333-444455556666"
        with_uuid = NAMESPACE1 + f'uuid = "{uuid}"\n' + DEVICES1
        self.unchanged(with_uuid, f"no namespace has the uuid {uuid}; namespace1.0 is another one, "
                                  "with none")
        other = uuid.replace("0c3f", "dddd")
        self.files({"sys/bus/nd/devices/namespace1.0/uuid": f"{other}\n"})
        self.unchanged(with_uuid, f"no namespace has the uuid {uuid}; namespace1.0 is another one, "
                                  f"with {other}")
        self.files({"sys/bus/nd/devices/namespace1.0/uuid": f"{uuid}\n"})
        self.unchanged(NAMESPACE1 + DEVICES1, f"refused: .* 'uuid = \"{uuid}\"' must be there.*")
        # The UUID decides, not the name.
        status, out, err = self.restore(with_uuid.replace("1.0", "0.0"))
        self.assertEqual((status, out), (0, "namespace1.0: restored: rdax3 96M, rdax1 12K\n"), err)

    def test_larger_align_than_the_media_has(self) -> None:
        # 0x180000000 is a multiple of 1 GiB, and half of it is not.
        self.files({"sys/bus/nd/devices/namespace1.0/size": str(2 << 30)})
        text = NAMESPACE1.replace("512M", "2G") + (
            '[[region.device]]\nname = "rdax3"\nalign = "1G"\nextents = ["512M 1G"]\n')
        self.unchanged(text, "rdax3: '512M 1G' is not at a multiple of its align, 1G")

    def test_a_name_that_is_taken(self) -> None:
        self.unchanged(NAMESPACE1 + DEVICES1.replace("rdax3", "rdax2"),
                       "refused: namespace0.0 has a device rdax2 already")

    def test_in_use(self) -> None:
        self.files({"proc/self/mountinfo": "30 1 259:1 / /mnt rw - ext4 /dev/pmem1p1 rw\n"})
        # force is about what is on the media, not about programs.
        self.unchanged(NAMESPACE1 + "force = true\n" + DEVICES1,
                       "refused: pmem1p1 is mounted at /mnt .*")

    def test_claimed(self) -> None:
        self.files({"sys/bus/nd/devices/namespace1.0/holder": "btt1.0\n",
                    "sys/bus/nd/devices/namespace1.0/mode": "safe\n"})
        self.unchanged(NAMESPACE1 + "force = true\n" + DEVICES1, "refused: .* in sector mode, .*")

    def test_older_module(self) -> None:
        (self.machine.parameters / "divided").unlink()
        self.unchanged(NAMESPACE1 + DEVICES1, "the loaded module can't bind a namespace without .*")

    def test_undone(self) -> None:
        self.files({"sys/class/dax/rdax7/size": "0"})
        for call, error in (("rdax3/extents 0 33554432", errno.EBUSY),
                            ("rdax_region/create rdax1", errno.ENOSPC),
                            ("rdax1/align 4096", errno.EINVAL)):
            self.driver.fails, self.driver.log = {call: error}, []
            status, out, err = self.restore(NAMESPACE1 + DEVICES1)
            self.assertEqual((status, out), (1, ""))
            self.assertRegex(err, rf"^rdax: {self.config}:2: namespace1.0: .*; undone: it was "
                                  r"given back to nd_pmem\nrdax: some regions")
            self.assertEqual(self.driver.log[-2:],
                             ["rdax/unbind namespace1.0", "nd_pmem/bind namespace1.0"])
            self.assertEqual(self.machine.devices_of("namespace1.0"), [])

    def test_undone_where_it_was_bound(self) -> None:
        self.region("namespace1.0", 512 << 20, 2 << 20)
        self.link("sys/bus/nd/devices/namespace1.0/driver", "../../drivers/rdax")
        self.driver.fails = {"rdax1/align 4096": errno.EINVAL}
        status, _, err = self.restore(NAMESPACE1 + DEVICES1)
        self.assertEqual(status, 1)
        self.assertIn("; undone: rdax1, rdax3 removed\n", err)
        self.assertEqual(self.driver.log[-2:], ["rdax_region/delete rdax1",
                                                "rdax_region/delete rdax3"])

    def test_undone_when_interrupted(self) -> None:
        self.driver.fails = {"rdax_region/create rdax1": KeyboardInterrupt}
        status, _, err = self.restore(NAMESPACE1 + DEVICES1)
        self.assertEqual((status, err), (130, ("rdax: namespace1.0: undone: it was given back to "
                                               "nd_pmem\n")))

    def test_refused_by_the_driver(self) -> None:
        self.driver.fails = {"rdax/bind namespace1.0": errno.EEXIST}
        status, _, err = self.restore(NAMESPACE1 + DEVICES1)
        self.assertEqual(status, 1)
        self.assertIn(":2: namespace1.0: it may hold data: something known is at its head or tail "
                      "('force = true' overrides); it was given back to nd_pmem\n", err)
        self.driver.fails = {}
        status, _, err = self.restore(NAMESPACE1 + "force = true\n" + DEVICES1)
        self.assertEqual(status, 0, err)
        self.assertIn("parameters/force namespace1.0", self.driver.log)

    def test_a_driver_that_does_otherwise_is_found_out(self) -> None:
        def longer(path: Path, text: str) -> None:
            offset, _ = text.split(" ")
            Driver.append(self.driver, path, f"{offset} {128 << 20}")

        with mock.patch.object(self.driver, "append", longer):
            status, _, err = self.restore(NAMESPACE1 + DEVICES1)
        self.assertEqual(status, 1)
        self.assertIn("the driver made something else: rdax1 has other extents; undone: it was "
                      "given back", err)

    def test_the_rest_is_done(self) -> None:
        wrong = SAVED0.replace("4G", "8G")
        status, out, err = self.restore("frob = 1\n" + wrong + NAMESPACE1 + DEVICES1)
        self.assertEqual((status, out), (1, "namespace1.0: restored: rdax3 96M, rdax1 12K\n"))
        self.assertEqual(err, (
            f"rdax: {self.config}: there is no key 'frob'\n"
            f"rdax: {self.config}:3: namespace0.0: refused: namespace0.0 is another namespace, or "
            "has changed: it has 4G, not 8G\n"
            f"rdax: some regions are not as {self.config} says: see above\n"))

    def test_dry_run(self) -> None:
        status, out, err = self.restore(NAMESPACE1 + DEVICES1, "--dry-run")
        self.assertEqual((status, out, err, self.driver.log),
                         (0, "namespace1.0: would be bound: rdax3 96M, rdax1 12K\n", "", []))

    def test_only_some(self) -> None:
        text = SAVED0.replace("4G", "8G") + NAMESPACE1 + DEVICES1
        status, _, err = self.restore(text, "namespace1.0")
        self.assertEqual((status, err), (0, ""))
        status, _, err = self.restore(text, "namespace7.0")
        self.assertEqual(status, 1)
        self.assertIn("does not have namespace7.0", err)
        self.assertEqual(self.restore(text, "namespace7.0", "--if-configured"), (0, "", ""))

    def test_no_file(self) -> None:
        self.assertEqual(self.run_tool("restore"),
                         (4, "", f"rdax: there is no {self.config} ('rdax save' writes it)\n"))

    def test_not_text(self) -> None:
        self.config.write_bytes(b"# \xff\n")
        self.assertEqual(self.run_tool("restore"), (1, "", (
            f"rdax: {self.config}: it is not valid TOML, so nothing of it is used: byte 2 is not "
            "UTF-8\n")))


class CommandLine(Fake):
    def test_usage(self) -> None:
        for argv in ((), ("frobnicate",), ("bind",), ("bind", "pmem0"), ("destroy", "rdax"),
                     ("resize", "rdax2", "5X"), ("resize", "rdax2"), ("create",),
                     ("resize", "rdax2", "-1G"), ("map", "rdax2", "--json", "--svg", "x"),
                     ("save", "--json", "--output", "-"),
                     ("create", "namespace0.0", "--size", "1G", "--align", "3M"),
                     ("punch", "rdax2", "--offset", "0", "--length", "0"),
                     ("save", "--output", ""), ("restore", "--config", ""),
                     ("bind", "namespace1.0", "--module", ""), ("map", "rdax2", "--svg", ""),
                     ("list", "--js"), ("map", "rdax2", "--width", "x")):
            status, out, err = self.run_tool(*argv)
            self.assertEqual((status, out), (2, ""), argv)
            self.assertIn("usage: rdax", err)
            self.assertNotIn("Traceback", err)

    def test_help_and_version(self) -> None:
        for command in ("list", "bind", "unbind", "create", "destroy", "resize", "punch", "sync",
                        "save", "restore", "map"):
            status, out, _ = self.run_tool(command, "--help")
            self.assertEqual(status, 0)
            self.assertIn("exit status: 0 done;", out)
        self.assertEqual(self.run_tool("--version")[:2], (0, f"rdax {rdax.VERSION}\n"))

    def test_missing(self) -> None:
        for argv in (("destroy", "rdax7", "-y"), ("map", "rdax7"), ("sync", "rdax7"),
                     ("bind", "namespace7.0"), ("create", "namespace1.0", "--size", "4K")):
            status, _, err = self.run_tool(*argv)
            self.assertEqual(status, 4, argv)
            self.assertRegex(err, r"^rdax: .*\n$")

    def test_shrinking_needs_a_yes(self) -> None:
        size = self.top / "sys/class/dax/rdax2/size"
        status, _, err = self.run_tool("resize", "rdax2", "1G")
        self.assertEqual((status, size.read_text()), (6, str(2 << 30)))
        self.assertIn("loses its last 1G", err)
        status, _, err = self.run_tool("resize", "rdax2", "3G")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(size.read_text(), f"{3 << 30}\n")

    def test_answer_at_a_terminal(self) -> None:
        for answer, agreed in (("y\n", True), ("YES\n", True), ("\n", False), ("", False)):
            stdin = io.StringIO(answer)
            stdin.isatty = lambda: True  # type: ignore[method-assign]
            with mock.patch.object(sys, "stdin", stdin), \
                    contextlib.redirect_stderr(io.StringIO()):
                if agreed:
                    rdax.say.agree("x", False)
                else:
                    with self.assertRaises(rdax.say.Failure):
                        rdax.say.agree("x", False)

    def test_no_trace_of_an_error_in_it(self) -> None:
        with mock.patch.object(rdax.list, "inventory", side_effect=ZeroDivisionError("oh")):
            self.assertEqual(self.run_tool("list"),
                             (1, "", mock.ANY))
            err = self.run_tool("list")[2]
        self.assertRegex(err, r"^rdax: an error in rdax itself, of version [0-9.]+, at "
                              r"\w+\.py:\d+(, \w+\.py:\d+)+: please report it\n$")

    @unittest.skipIf(os.geteuid() == 0, "root may do everything")
    def test_forbidden(self) -> None:
        path = self.top / "sys/class/dax/rdax2/size"
        path.chmod(0o444)
        status, _, err = self.run_tool("resize", "rdax2", "1G", "--yes")
        self.assertEqual(status, 3)
        self.assertIn(f"the right to write {path} (", err)

    def test_reader_goes(self) -> None:
        with subprocess.Popen([SCRIPTS / "rdax", "list", "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout and process.stderr
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")

    def test_in_one_file(self) -> None:
        path = self.top / "rdax"
        subprocess.run([sys.executable, "-B", SCRIPTS / "tool/pack", path], check=True)
        (self.top / "link").symlink_to(path)
        for program in (path, self.top / "link"):
            done = subprocess.run([program, "list", "--help"], check=False, capture_output=True,
                                  text=True, cwd=self.top)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("usage: rdax list", done.stdout)

    def test_executable(self) -> None:
        self.assertTrue((SCRIPTS / "rdax").stat().st_mode & stat.S_IXUSR)


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    for action in rdax.cli.parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    raise AssertionError("no commands")


class Completion(Fake):
    def complete(self, *words: str) -> list[str]:
        script = (f". {SCRIPTS}/completion/rdax; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); "
                  "_rdax; printf '%s\\n' \"${COMPREPLY[@]}\"")
        env = os.environ | {"_RDAX_SYS": f"{self.top}/sys"}
        done = subprocess.run(["bash", "-c", script, "bash", "rdax", *words], check=True,
                              text=True, capture_output=True, env=env)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_words(self) -> None:
        self.assertEqual(self.complete("un"), ["unbind"])
        self.assertEqual(self.complete("bind", "n"), ["namespace1.0", "namespace1.1"])
        self.assertEqual(self.complete("unbind", "n"), ["namespace0.0"])
        self.assertEqual(sorted(self.complete("destroy", "r")), ["rdax10", "rdax2"])
        self.assertEqual(self.complete("create", "namespace0.0", "--align", ""), ["4K", "2M", "1G"])
        self.assertEqual(self.complete("resize", "rdax2", "--y"), ["--yes"])
        self.assertEqual(self.complete("create", "namespace0.0", "-a", "2"), ["2M"])
        self.assertEqual(self.complete("create", "namespace0.0", "-s", ""), [])
        self.assertEqual(self.complete("save", "n"), ["namespace0.0"])
        self.assertEqual(self.complete("restore", "namespace1.0", "--d"), ["--dry-run"])
        self.assertEqual(self.complete("restore", "n"),
                         ["namespace0.0", "namespace1.0", "namespace1.1"])

    def test_uuids(self) -> None:
        uuid = "0c3f0000-1111-2222-3333-444455556666"
        self.files({"sys/bus/nd/devices/namespace1.0/uuid": f"{uuid}\n",
                    "sys/bus/nd/devices/namespace1.1/uuid": "\n"})
        self.assertEqual(self.complete("bind", "0"), [uuid])
        self.assertEqual(self.complete("restore", "0c"), [uuid])
        self.assertEqual(self.complete("unbind", "0"), [])

    def test_every_command_and_option(self) -> None:
        commands = [word for word in self.complete("") if not word.startswith("-")]
        parsers = command_parsers()
        self.assertEqual(commands, list(parsers))
        for name, command in parsers.items():
            options = {option for option in command._option_string_actions
                       if option.startswith("--")}
            self.assertEqual(set(self.complete(name, "--")), options, name)

    def test_written_from_the_parser(self) -> None:
        done = subprocess.run([sys.executable, "-B", SCRIPTS / "tool/completions", "--check"],
                              check=False, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


if __name__ == "__main__":
    unittest.main()
