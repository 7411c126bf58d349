# SPDX-License-Identifier: GPL-2.0
"""What scripts/rdax makes of the kernel's errors: the cause, or all that there can be."""

import errno
import fcntl
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path
from unittest import mock

import rdax.cli
import test_rdax as base

ABI = base.SCRIPTS.parent / "Documentation/ABI/testing/sysfs-class-rdax"
# The tables for what sysfs-class-rdax describes.
FILES = {
    "/sys/class/dax/rdaxN/size": rdax.errors.SIZE_ERRORS,
    "/sys/class/dax/rdaxN/align": rdax.errors.ALIGN_ERRORS,
    "/sys/class/dax/rdaxN/extents": rdax.errors.EXTENT_ERRORS,
    "/sys/bus/nd/drivers/rdax/bind": rdax.errors.BIND_ERRORS,
    "/sys/bus/nd/devices/namespaceX.Y/rdax_region/create": rdax.errors.CREATE_ERRORS,
    "/sys/bus/nd/devices/namespaceX.Y/rdax_region/delete": rdax.errors.DELETE_ERRORS,
}


class Tables(unittest.TestCase):
    def test_each_documented_error_has_a_meaning(self) -> None:
        texts = dict(re.findall(r"^What:\t+(\S+)\n((?:.+\n|\n(?!What:))*)", ABI.read_text(),
                                re.MULTILINE))
        for name, meanings in FILES.items():
            errnos = set(re.findall(r"\bE[A-Z]{3,8}\b", texts[name]))
            self.assertTrue(errnos, name)
            for text in errnos:
                self.assertIn(getattr(errno, text), meanings, (name, text))


class Answers(base.Divisions):
    """One write is refused, and the kernel's log has nothing, or the reason."""

    def setUp(self) -> None:
        super().setUp()
        self.files({"sys/bus/nd/devices/namespace0.0/rdax_region/delete": "",
                    "dev/kmsg": "6,1,0,-;earlier: rdax2: size 4096 refused: long ago\n"})

    def answer(self, call: str, number: int, *argv: str, log: str = "") -> tuple[int, str]:
        original = self.driver.write

        def write(path: Path, text: str) -> None:
            if f"{path.parent.name}/{path.name} {text}" == call:
                if log:
                    with (self.top / "dev/kmsg").open("a") as file:
                        file.write(log)
                raise OSError(number, os.strerror(number))
            original(path, text)

        with mock.patch.object(rdax.files, "write", write):
            status, out, err = self.run_tool(*argv)
        self.assertEqual(out, "")
        return status, err.removeprefix("rdax: ").removesuffix("\n")

    def test_each_meaning(self) -> None:
        self.process(41, "fio", [])
        bind, unbind = ("bind", "namespace1.0"), ("unbind", "namespace0.0", "-y")
        resize, create = ("resize", "rdax2", "3G"), ("create", "namespace0.0", "--size", "1G")
        for call, argv, table, before in (
                ("rdax/bind namespace1.0", bind, rdax.errors.BIND_ERRORS, "namespace1.0: "),
                ("rdax/unbind namespace0.0", unbind, rdax.errors.UNBIND_ERRORS, "namespace0.0: "),
                ("nd_pmem/bind namespace0.0", (*unbind, "--to", "nd_pmem"), rdax.errors.PMEM_ERRORS,
                 "namespace0.0 is unbound, but nd_pmem does not take it: "),
                (f"rdax2/size {3 << 30}", resize, rdax.errors.SIZE_ERRORS, "size 3221225472"),
                ("rdax_region/create rdax0", create, rdax.errors.CREATE_ERRORS,
                 "no device can be made: "),
                ("rdax_region/delete rdax10", ("destroy", "rdax10", "-y"),
                 rdax.errors.DELETE_ERRORS,
                 "refused: ")):
            for number, meaning in table.items():
                self.doCleanups()
                self.setUp()
                shutil.rmtree(self.top / "proc/41")
                status, err = self.answer(call, number, *argv)
                if number == errno.EBUSY and "delete" in call:
                    meaning = "rdax10 is in use, by a process (or a file that is in none)"
                if number == errno.ENOENT and "size" in call:
                    continue
                meaning = meaning.replace("parameter force", "--force")
                self.assertIn(f"{before}", err)
                self.assertIn(meaning, err, call)
                self.assertIn(status, (1, 4, 5))
                # What is said is in the words of the table, and not those of the errno.
                self.assertNotIn(os.strerror(number), err)

    def test_no_number_is_not_too_small(self) -> None:
        _, err = self.answer("rdax/bind namespace1.0", errno.ENOSPC, "bind", "namespace1.0")
        self.assertIn("smaller than 2M or than the alignment, or the driver has no number", err)

    def test_log(self) -> None:
        bind = ("rdax/bind namespace1.0", errno.ENOSPC, "bind", "namespace1.0")
        line = "3,7,1,-;rdax namespace1.0: rdax: refused, 4096 bytes are too few\n"
        self.assertIn("namespace1.0: refused, 4096 bytes are too few; it was given",
                      self.answer(*bind, log=line)[1])
        # Of another, or no reason.
        for line in ("3,7,1,-;rdax namespace1.01: rdax: refused, 4096 bytes are too few\n",
                     "5,7,1,-;rdax namespace1.0: rdax: it may hold data (ext4), but parameter\n",
                     "4,7,1,-;rdax namespace1.0: rdax: parameter force lists its name, which\n",
                     "rubbish\n", ";\n", "3;\n"):
            self.assertIn("has no number left", self.answer(*bind, log=line)[1], line)
        line = "4,7,1,-;nd namespace1.0: could not reserve region [mem 0x1-0x2]\n"
        self.assertIn("namespace1.0: could not reserve region [mem 0x1-0x2]; it",
                      self.answer("rdax/bind namespace1.0", errno.EBUSY, "bind", "namespace1.0",
                                  log=line)[1])
        line = "6,7,1,-;rdax namespace0.0: create rdax0 refused: there is no such number\n"
        self.assertIn("made: there is no such number",
                      self.answer("rdax_region/create rdax0", errno.ENOSPC, "create", "namespace0.0",
                                  "--size", "1G", log=line)[1])
        line = "6,7,1,-;rdax namespace0.0: rdax10: size 3221225472 refused: of another\n"
        self.assertNotIn("of another", self.answer("rdax2/size 3221225472", errno.ENOSPC, "resize",
                                                   "rdax2", "3G", log=line)[1])

    def test_parameter_is_not_the_bind(self) -> None:
        # ENOSPC: the list is longer than an older module takes. It is not the namespace's size.
        for number, text in ((errno.ENOSPC, "longer than the loaded module takes"),
                             (errno.EINVAL, "the loaded module does not take that")):
            status, err = self.answer("parameters/align 2M", number, "bind", "namespace1.0",
                                      "--align", "2M")
            self.assertEqual(status, 1)
            self.assertIn("the parameter align can't be made '2M'", err)
            self.assertIn(text, err)
            self.assertIn("it was given back to nd_pmem", err)

    def test_parameter_that_stays_otherwise(self) -> None:
        # It is bound all the same.
        self.files({"sys/module/rdax/parameters/divided": "namespace1.0"})
        original = self.driver.write

        def write(path: Path, text: str) -> None:
            original(path, text)
            if path.name == "align" and text == "4K":
                raise OSError(errno.ENODEV, "no")

        with mock.patch.object(rdax.files, "write", write):
            status, out, err = self.run_tool("bind", "namespace1.0", "--align", "2M")
        self.assertEqual((status, out), (0, "namespace1.0: bound: no device; align 2M\n"))
        self.assertEqual(err, "rdax: parameter align could not be made '4K' again: no\n")

    def test_align_is_not_the_size(self) -> None:
        call = (f"rdax0/align {2 << 20}", errno.EINVAL, "create", "namespace0.0", "--size", "1G",
                "--align", "2M")

        def create(path: Path, _name: str) -> None:
            self.device("rdax0", "namespace0.0", "4096")
            path.write_text("rdax0")

        with mock.patch.object(self.driver, "create", create):
            _, err = self.answer(*call)
        self.assertIn("align 2097152 refused: the device's size, or the address of one", err)

    def test_cut_off_and_not_durable(self) -> None:
        status, err = self.answer(f"rdax2/size {1 << 30}", errno.EIO, "resize", "rdax2", "1G", "-y")
        self.assertEqual(status, 1)
        self.assertTrue(err.endswith("rdax2: size 1073741824: what was cut off could not be made "
                                     "durable; it is cut off"), err)

    def test_punch_and_sync(self) -> None:
        for number, text in ((errno.EIO, "a bad block can't be cleared"),
                             (errno.EFBIG, "it has become smaller"), (errno.ENXIO, "no longer exists")):
            with mock.patch.object(fcntl, "ioctl", side_effect=OSError(number, "oh")):
                _, _, err = self.run_tool("punch", "rdax2", "--offset", "0", "--length", "4K", "-y")
            self.assertIn(text, err)
            self.assertIn("; a part of it may be done", err)
        for number, text, status in (
                (errno.EIO, "write-back failed, so recent writes may be lost: oh", 1),
                (errno.ENXIO, "no longer exists; its end made durable", 4)):
            with mock.patch.object(os, "fsync", side_effect=OSError(number, "oh")):
                got, _, err = self.run_tool("sync", "rdax2")
            self.assertEqual(got, status)
            self.assertIn(text, err)


class Nodes(base.Fake):
    def test_what_is_no_node(self) -> None:
        # As "dd of=/dev/rdax2" makes it where there is no device: nothing of it is durable.
        self.files({"sys/class/dax/rdax2/dev": "240:2\n"})
        punch = ("punch", "rdax2", "--offset", "0", "--length", "4K", "-y")
        for argv in (("sync", "rdax2"), punch):
            with mock.patch.object(fcntl, "ioctl", side_effect=AssertionError):
                status, _, err = self.run_tool(*argv)
            self.assertEqual((status, err),
                             (1, f"rdax: refused: {self.top}/dev/rdax2 is not the node of rdax2\n"))


class Loads(base.Fake):
    def load(self, said: str, log: str = "") -> str:
        shutil.rmtree(self.machine.driver, ignore_errors=True)
        self.files({"dev/kmsg": ""})

        def ran(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
            (self.top / "dev/kmsg").write_text(log)
            return subprocess.CompletedProcess([], 1, "", said)

        with mock.patch.object(subprocess, "run", ran), \
                mock.patch.object(rdax.module, "may_load", lambda: True):
            status, _, err = self.run_tool("bind", "namespace1.0")
        self.assertEqual(status, 1)
        return err

    def test_meanings(self) -> None:
        for said, text in (("could not insert 'rdax': Key was rejected by service",
                            "does not trust the key"),
                           ("could not insert module x: Invalid parameters", "an option"),
                           ("could not insert module x: Invalid parameters", "another kernel"),
                           ("x: Unknown symbol in module", "modprobe libnvdimm"),
                           ("x: No space left on device", "an option is too long"),
                           ("x: Operation not permitted", "modules_disabled"),
                           ("Module rdax not found in directory /lib/modules/7", "dkms status")):
            err = self.load(f"modprobe: ERROR: {said}\n")
            self.assertIn(f"{said}; ", err)
            self.assertIn(text, err)

    def test_log(self) -> None:
        said = "modprobe: ERROR: could not insert 'rdax': Operation not permitted"
        log = ("4,1,1,-;rdax: loading out-of-tree module taints kernel.\n"
               "5,2,1,-;Lockdown: modprobe: unsigned module loading is restricted\n"
               "6,3,1,-;usb 1-1: new device\n")
        err = self.load(said, log)
        self.assertIn("not permitted; the kernel's log: Lockdown: modprobe: unsigned module "
                      "loading is restricted; the kernel is locked down and refuses", err)
        log = "3,1,1,-;rdax: version magic '7.2' should be '7.3'\n"
        self.assertIn("the kernel's log: rdax: version magic '7.2' should", self.load(said, log))
        log = "4,1,1,-;rdax: module verification failed: signature missing - tainting kernel\n"
        err = self.load(said, log)
        self.assertIn("modules_disabled", err)
        self.assertNotIn("taint", err)


if __name__ == "__main__":
    unittest.main()
